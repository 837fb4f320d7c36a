"""Which dataset trains the better model: train the same network on each, score all on one validation set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from augforge.errors import TrainError, some
from augforge.keys import digest, rng_for
from augforge.progress import Progress, Silent
from augforge.report.show import save_png
from augforge.report.tables import plural
from augforge.train.heritage import check_not_seen
from augforge.train.labels.compare import score_label_model
from augforge.train.run import write_frame, write_json
from augforge.train.study.arrays import FIGURES, judged_classes
from augforge.train.study.bootstrap import Estimate, Values, estimate, mean_of_classes
from augforge.train.study.common import SHOWN, CommonSet, ComparedDataset, common_set
from augforge.train.study.forest import forest_plot
from augforge.train.study.learner import ModelTrainer, TitledProgress, train_model, without_validation
from augforge.train.study.scoring import score_model

if TYPE_CHECKING:
    from augforge.store.dataset import Dataset
    from augforge.train.config import TrainConfig

CHECKPOINTS = 10
"""Number of checkpoints in each run, unless the configuration sets ``checkpoint_every``."""
LONGEST_SEED = 2**63
FEW_SEEDS, FEW_GROUPS = 5, 10
"""With fewer, the intervals are likely too narrow, and the notes say so."""


def compare(
    datasets: Sequence[Dataset],
    config: TrainConfig,
    out: Path,
    *,
    seeds: int = 3,
    budget: int | None = None,
    source: str | None = None,
    progress: Progress | None = None,
    train_model: ModelTrainer = train_model,
) -> dict[str, Any]:
    """Train the same model on several datasets and report how they differ, class by class.

    Every model takes the same number of optimizer steps. Its final weights are scored on the source images that all
    datasets hold back for validation, at the images' own pixels and against the raw labels; classifiers by balanced
    accuracy (see `labels.compare`). Differences are to the first dataset, with intervals over seeds and images (see
    `bootstrap`).

    Each run has a folder below ``out/runs``, named by what decides it: a second call resumes stopped runs and reuses
    finished ones. ``out`` also gets ``compare.json`` (the result that is returned), ``compare.png`` (a forest plot) and
    ``scores.parquet``, with a row for each model, image and class.

    Args:
        datasets: two or more of the same classes; the others are compared to the first.
        config: of all runs; ``config.seed`` is the first of the seeds.
        out: folder of the comparison.
        seeds: number of models trained on each dataset.
        budget: optimizer steps of each model; None takes ``config.steps``, or else what the configuration's epochs
            come to on the first dataset.
        source: where the raw data is now, if it was moved since the first dataset was built.
        progress: shows how far the work is.
        train_model: trains a model; by default the bundled trainer.

    Raises:
        TrainError: the datasets cannot be compared, with the reason.
    """
    if len(datasets) < 2:
        raise TrainError(f"{len(datasets)} dataset to compare; expected two or more. Name them all")
    common = common_set(datasets, source)
    check_not_seen(config.init, common.groups)
    steps = budget or config.steps or _default_budget(config, datasets[0])
    all_seeds = _all_seeds(config.seed, seeds)
    tables = []
    for seed in all_seeds:
        run_config = _run_config(config, steps, seed)
        for compared in common.compared:
            titled = TitledProgress(f"{compared.label}, seed {seed}", progress or Silent())
            table = _train_and_score(compared, run_config, common, out, titled, train_model)
            tables.append(table.select(pl.lit(compared.label).alias("dataset"), pl.lit(seed).alias("seed"), pl.all()))
    scores = pl.concat(tables)
    write_frame(out / "scores.parquet", scores)
    result = _summarise(scores, common, config, steps, all_seeds)
    save_png(forest_plot(result), out / "compare.png")
    write_json(out / "compare.json", result)
    return result


def _all_seeds(first: int, count: int) -> list[int]:
    """The seeds from the first on; TrainError if they go beyond the longest."""
    if first + count > LONGEST_SEED:
        raise TrainError(f"seed is {first}, and {count} seeds go beyond {LONGEST_SEED - 1}. Take a smaller one")
    return [first + k for k in range(count)]


def _default_budget(config: TrainConfig, dataset: Dataset) -> int:
    """Optimizer steps that the configuration's epochs come to on a dataset."""
    batches = math.ceil(dataset.manifest.splits.get("train", 0) / config.data.batch_size)
    return max(1, config.epochs * batches // config.optimizer.accumulate)


def _run_config(config: TrainConfig, steps: int, seed: int) -> TrainConfig:
    """The configuration of one run. Checkpoints are written by steps: on a small dataset, epochs are far too short."""
    checkpoint_every = config.checkpoint_every or max(1, steps // CHECKPOINTS)
    changes = {"seed": seed, "steps": steps, "checkpoint_every": checkpoint_every}
    return without_validation(config).model_copy(update=changes)


def _train_and_score(
    compared: ComparedDataset,
    config: TrainConfig,
    common: CommonSet,
    out: Path,
    progress: Progress,
    train_model: ModelTrainer,
) -> pl.DataFrame:
    """The scores of one run; both training and scoring are skipped if an earlier call has done them.

    The run's folder is named by what decides the model, the table in it by what else decides the scores: after an
    edited label the model is kept and only scored again.
    """
    dataset = compared.dataset
    config_digest = digest(config.identity())[:8]
    run_folder = out / "runs" / f"{dataset.name}-{dataset.version[:8]}-seed{config.seed}-{config_digest}"
    table = run_folder / f"judged-{_images_digest(common)[:8]}.parquet"
    if not table.exists():
        model = train_model(dataset, config, run_folder, progress)
        score = score_label_model if model.groups else score_model
        write_frame(table, score(model, compared, common, progress))
    return pl.read_parquet(table, glob=False)


def _images_digest(common: CommonSet) -> str:
    """What decides scores besides the model: the images of the common set with their labels."""
    labels = [common.labels] if common.labels else []
    return digest(common.classes, *labels, [(record.name, record.group, record.content) for record in common.records])


# ---- the result ------------------------------------------------------------------------------------------------------


def _summarise(
    scores: pl.DataFrame, common: CommonSet, config: TrainConfig, steps: int, seeds: Sequence[int]
) -> dict[str, Any]:
    """The result of a comparison, JSON-like: each dataset's figures and their difference to the first one's."""
    figure = "balanced_accuracy" if "given" in scores.columns else "dice"
    classes = judged_classes(scores, common, figure, config.weights.regions)
    rng = rng_for("compare", [each.dataset.version for each in common.compared], seeds, common.names)
    observed, resampled = map(_with_mean_first, FIGURES[figure](scores, common, seeds, classes, rng))
    never = never_predicted(scores, [each.label for each in common.compared], classes)
    covered = {label: float(mean) for label, mean in scores.group_by("dataset").agg(pl.col("covered").mean()).rows()}
    result = {
        "steps": steps,
        "seeds": list(seeds),
        "images": len(common.records),
        "groups": len(set(common.groups)),
        "source": common.source.path,
        "figure": figure,
        "classes": classes,
        "datasets": [
            {
                **_dataset_facts(compared, steps, config),
                "left_out": common.left_out[compared.label],
                "covered": covered[compared.label],
                **_figure_and_difference(observed, resampled, d, classes, figure, never),
            }
            for d, compared in enumerate(common.compared)
        ],
        "warnings": [*common.warnings, *_size_warning(common.compared, config)],
    }
    return {**result, "notes": [*_notes(result)]}


def never_predicted(scores: pl.DataFrame, labels: Sequence[str], classes: Sequence[str]) -> list[set[str]]:
    """For each dataset, the classes or labels that none of its models predicted in any image."""
    predicted = scores.group_by("dataset", "class").agg(pl.col("predicted").sum()).filter(pl.col("predicted") > 0)
    found = set(predicted.select("dataset", "class").iter_rows())
    return [{name for name in classes if (label, name) not in found} for label in labels]


def _with_mean_first(values: Values) -> Values:
    """Values by class (..., C) with the mean over classes in front: (..., 1 + C)."""
    return np.concatenate([mean_of_classes(values)[..., None], values], axis=-1)


def _dataset_facts(compared: ComparedDataset, steps: int, config: TrainConfig) -> dict[str, Any]:
    dataset = compared.dataset
    samples = dataset.manifest.splits.get("train", 0)
    samples_seen = steps * config.data.batch_size * config.optimizer.accumulate
    facts = {"label": compared.label, "folder": str(dataset.folder), "version": dataset.version}
    return {**facts, "train": samples, "epochs": round(samples_seen / max(1, samples), 2)}


def _figure_and_difference(
    observed: Values, resampled: Values, d: int, classes: Sequence[str], figure: str, never: Sequence[set[str]]
) -> dict[str, Any]:
    """The figure of dataset `d`, and how much higher it is than the first one's; the first one has no difference.

    Args:
        observed: figures of all seeds and images, (D, 1 + C), the mean over classes in front.
        resampled: the same in each draw of the bootstrap, (B, D, 1 + C).
        d: index of the dataset.
        classes: the C names.
        figure: its key.
        never: of each dataset, the classes that its models never predict.
    """
    columns = range(len(classes) + 1)
    own = [estimate(observed[d, k], resampled[:, d, k]) for k in columns]
    # The difference is taken within each draw: what is hard in an image is hard for both datasets and cancels.
    higher, higher_resampled = observed[d] - observed[0], resampled[:, d] - resampled[:, 0]
    differences = [estimate(higher[k], higher_resampled[:, k]) if d else None for k in columns]
    entries = [_entry(figure, *pair) for pair in zip(own, differences, strict=True)]
    by_class = dict(zip(classes, entries[1:], strict=True))
    for name, entry in by_class.items():
        entry["never_predicted"] = name in never[d]
        if entry["difference"] is not None:  # an interval of width 0 would look certain, and nothing was compared
            entry["difference"]["never_predicted"] = name in never[d] & never[0]
    return {"mean": entries[0], "by_class": by_class}


def _entry(figure: str, own: Estimate, difference: Estimate | None) -> dict[str, Any]:
    values = {figure: own.value, "low": own.low, "high": own.high}
    return {**values, "difference": difference.to_json() if difference else None}


def _size_warning(compared: Sequence[ComparedDataset], config: TrainConfig) -> Iterator[str]:
    sizes = {each.label: tuple(each.dataset.index.select(pl.col("width", "height").max()).row(0)) for each in compared}
    if config.data.size is None and len(set(sizes.values())) > 1:
        listed = ", ".join(f"{label} {width}x{height}" for label, (width, height) in sizes.items())
        yield (
            f"the datasets are stored in different sizes ({listed}), so the network may see them in different sizes. "
            "Set data.size to see them all in one"
        )


def _notes(result: dict[str, Any]) -> Iterator[str]:
    """How to read the result, and what it does not say."""
    first, seeds = result["datasets"][0]["label"], len(result["seeds"])
    comparisons = len(result["classes"]) * (len(result["datasets"]) - 1)
    yield f"Every model took {plural(result['steps'], 'optimizer step')} and was judged as it was at their end."
    basis = f"{plural(seeds, 'seed')} and {plural(result['images'], 'image')} of {plural(result['groups'], 'group')}"
    yield f"Differences are to {first}: mean over {basis}."
    yield (
        "Each interval is a 95 % interval on its own, not corrected for looking at several: of "
        f"{comparisons} differences by class, {comparisons / 20:.2g} would leave 0 outside by chance. Read the mean "
        "first."
    )
    if seeds == 1:
        yield "With one seed the intervals are over images alone: another seed may give another answer."
    elif seeds < FEW_SEEDS:
        yield f"{seeds} seeds say little of how runs vary: intervals are likely too narrow. Take {FEW_SEEDS} or more."
    if result["groups"] < FEW_GROUPS:
        groups = plural(result["groups"], "group")
        yield f"{groups} say little of how patients vary: intervals are likely too narrow."
    for entry in result["datasets"]:
        if never := [name for name, each in entry["by_class"].items() if each["never_predicted"]]:
            yield f"The models of {entry['label']} never predict {some(never, SHOWN)}, in no image."
        if entry["left_out"]:
            images = plural(entry["left_out"], "image")
            yield f"{entry['label']} holds back {images} more, which not all datasets do; no model is scored on them."
        if entry["covered"] < 1:
            yield (
                f"The samples of {entry['label']} show {entry['covered']:.1%} of the images' pixels; what they do not "
                "show counts as predicted absent."
            )
