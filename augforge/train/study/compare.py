"""Which dataset trains the better model: the same network, steps and seeds on each, judged by one validation set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from augforge.errors import TrainError
from augforge.files import replacing
from augforge.keys import digest, rng_for
from augforge.progress import Progress, Silent
from augforge.report.show import save_png
from augforge.report.tables import plural
from augforge.sample import IGNORE
from augforge.store.dataset import Dataset
from augforge.train.config import TrainConfig
from augforge.train.run import write_json
from augforge.train.study.bootstrap import Estimate, Values, estimate, means, over_classes, resampled
from augforge.train.study.common import Common, Side, common_set
from augforge.train.study.forest import forest_plot
from augforge.train.study.judged import judge
from augforge.train.study.learner import Learn, Titled, learn, unwatched

CHECKPOINTS = 10
"""Of a run, unless the configuration says otherwise."""
FEW_SEEDS, FEW_GROUPS = 5, 10
"""Below, intervals over them are likely too narrow, and the notes say so."""


def compare(
    datasets: Sequence[Dataset],
    config: TrainConfig,
    out: Path,
    *,
    seeds: int = 3,
    budget: int | None = None,
    source: str | None = None,
    progress: Progress | None = None,
    learn: Learn = learn,
) -> dict[str, Any]:
    """Train the same model on several datasets and say how they differ, class by class.

    Every model takes the same number of optimizer steps and is judged as it is at the end of them, by the source
    images that all datasets hold back for validation, at their own pixels and raw labels. Differences are to the first
    dataset, with intervals over seeds and images (see `bootstrap`).

    A run is a folder below ``out/runs``, named by what decides it; calling again goes on, and reuses what is finished.
    ``out`` also gets ``compare.json`` (what is returned), ``compare.png`` (a forest plot) and ``scores.parquet``, a row
    for each model, image and class.

    Args:
        datasets: two or more of the same classes; the first is what the others are compared to.
        config: of all runs. Its ``steps`` and ``seed`` are those of the comparison: ``seed`` is the first one's.
        out: folder of the comparison.
        seeds: models trained on each dataset.
        budget: optimizer steps of each model; None takes what the configuration makes of the first dataset.
        source: where the raw data lies, if not where the first dataset was built from.
        progress: is told how far the work is.
        learn: trains a model; the bundled trainer.

    Raises:
        TrainError: the datasets cannot be compared, with the reason.
    """
    if len(datasets) < 2:
        raise TrainError(f"{len(datasets)} dataset to compare; expected two or more. Name them all")
    common = common_set(datasets, source)
    steps = budget or config.steps or _steps(config, datasets[0])
    numbers = [config.seed + k for k in range(seeds)]
    judged = []
    for seed in numbers:
        settled = _settled(config, steps, seed)
        for side in common.sides:
            titled = Titled(f"{side.label}, seed {seed}", progress or Silent())
            table = _judged(side, settled, common, out, titled, learn)
            judged.append(table.select(pl.lit(side.label).alias("dataset"), pl.lit(seed).alias("seed"), pl.all()))
    scores = pl.concat(judged)
    with replacing(out / "scores.parquet") as path:
        scores.write_parquet(path)
    found = _found(scores, common, config, steps, numbers)
    save_png(forest_plot(found), out / "compare.png")
    write_json(out / "compare.json", found)
    return found


def _steps(config: TrainConfig, dataset: Dataset) -> int:
    """Optimizer steps of the configuration's epochs on a dataset."""
    batches = math.ceil(dataset.manifest.splits.get("train", 0) / config.data.batch_size)
    return max(1, config.epochs * batches // config.optimizer.accumulate)


def _settled(config: TrainConfig, steps: int, seed: int) -> TrainConfig:
    """The configuration of a run; an epoch of few samples is too short for a checkpoint each."""
    checkpoint = config.checkpoint_every or max(1, steps // CHECKPOINTS)
    return unwatched(config).model_copy(update={"seed": seed, "steps": steps, "checkpoint_every": checkpoint})


def _judged(
    side: Side, config: TrainConfig, common: Common, out: Path, progress: Progress, learn: Learn
) -> pl.DataFrame:
    """The judgement of a run, which is trained as far as it is not yet."""
    dataset = side.dataset
    decides = digest(config.model_dump(mode="json"))[:8]
    run = out / "runs" / f"{dataset.name}-{dataset.version[:8]}-seed{config.seed}-{decides}"
    table = run / f"judged-{_identity(common)[:8]}.parquet"
    if not table.exists():
        learned = learn(dataset, config, run, progress)
        with replacing(table) as path:
            judge(learned, side, common, progress).write_parquet(path)
    return pl.read_parquet(table)


def _identity(common: Common) -> str:
    """What a judgement hangs on beside the run: the images with their labels."""
    return digest(common.classes, [(record.name, record.group, record.content) for record in common.records])


# ---- what it says ----------------------------------------------------------------------------------------------------


def _found(
    scores: pl.DataFrame, common: Common, config: TrainConfig, steps: int, seeds: Sequence[int]
) -> dict[str, Any]:
    classes = [name for name in common.sides[0].dataset.classes if name != IGNORE]
    values = _values(scores, [side.label for side in common.sides], seeds, common.names, classes)
    rng = rng_for("compare", [side.dataset.version for side in common.sides], seeds, common.names)
    drawn = _with_mean(resampled(values, common.groups, rng))
    observed = _with_mean(means(values))
    covered = {label: float(mean) for label, mean in scores.group_by("dataset").agg(pl.col("covered").mean()).rows()}
    found = {
        "steps": steps,
        "seeds": list(seeds),
        "images": len(common.records),
        "groups": len(set(common.groups)),
        "source": common.source.path,
        "classes": classes,
        "datasets": [
            {
                **_described(side, steps, config),
                "left_out": common.left_out[side.label],
                "covered": covered[side.label],
                **_scored(observed, drawn, place, classes),
            }
            for place, side in enumerate(common.sides)
        ],
        "warnings": [*common.warnings, *_size_warning(common.sides, config)],
    }
    return {**found, "notes": [*_notes(found)]}


def _values(
    scores: pl.DataFrame, labels: Sequence[str], seeds: Sequence[int], names: Sequence[str], classes: Sequence[str]
) -> Values:
    """Dice by dataset, seed, image and class: (D, S, I, C)."""
    axes: dict[str, Sequence[Any]] = {"dataset": labels, "seed": seeds, "name": names, "class": classes}
    values = np.full([len(axis) for axis in axes.values()], np.nan)
    places = [
        scores[column].replace_strict({value: place for place, value in enumerate(axis)}, return_dtype=pl.Int64)
        for column, axis in axes.items()
    ]
    values[tuple(place.to_numpy() for place in places)] = scores["dice"].to_numpy()
    return values


def _with_mean(values: Values) -> Values:
    """Values by class with their mean in front."""
    return np.concatenate([over_classes(values)[..., None], values], axis=-1)


def _described(side: Side, steps: int, config: TrainConfig) -> dict[str, Any]:
    dataset = side.dataset
    samples = dataset.manifest.splits.get("train", 0)
    taken = steps * config.data.batch_size * config.optimizer.accumulate
    facts = {"label": side.label, "folder": str(dataset.folder), "version": dataset.version}
    return {**facts, "train": samples, "epochs": round(taken / max(1, samples), 2)}


def _scored(observed: Values, drawn: Values, place: int, classes: Sequence[str]) -> dict[str, Any]:
    """A dataset's Dice, and what it has more than the first; (D, 1 + C) and (B, D, 1 + C), the mean in front."""
    dice = [estimate(observed[place, k], drawn[:, place, k]) for k in range(len(classes) + 1)]
    more, more_drawn = observed[place] - observed[0], drawn[:, place] - drawn[:, 0]
    differences = [estimate(more[k], more_drawn[:, k]) if place else None for k in range(len(classes) + 1)]
    entries = [_entry(*pair) for pair in zip(dice, differences, strict=True)]
    return {"mean": entries[0], "by_class": dict(zip(classes, entries[1:], strict=True))}


def _entry(dice: Estimate, difference: Estimate | None) -> dict[str, Any]:
    said = {"dice": dice.value, "low": dice.low, "high": dice.high}
    return {**said, "difference": difference.to_json() if difference else None}


def _size_warning(sides: Sequence[Side], config: TrainConfig) -> Iterator[str]:
    sizes = {side.label: tuple(side.dataset.index.select(pl.col("width", "height").max()).row(0)) for side in sides}
    if config.data.size is None and len(set(sizes.values())) > 1:
        said = ", ".join(f"{label} {width}x{height}" for label, (width, height) in sizes.items())
        yield (
            f"the datasets are stored in different sizes ({said}), so the network may see them in different sizes. "
            "Set data.size to see them all in one"
        )


def _notes(found: dict[str, Any]) -> Iterator[str]:
    """How to read it, and what it does not say."""
    first, seeds = found["datasets"][0]["label"], len(found["seeds"])
    several = len(found["classes"]) * (len(found["datasets"]) - 1)
    yield f"Every model took {found['steps']} optimizer steps and was judged as it was at their end."
    judges = f"{plural(seeds, 'seed')} and {plural(found['images'], 'image')} of {plural(found['groups'], 'group')}"
    yield f"Differences are to {first}: mean over {judges}."
    yield (
        "Each interval is for 95 % by itself. They are not corrected for looking at several: of "
        f"{several} differences by class, {several / 20:.2g} would leave 0 outside by chance. Read the mean first."
    )
    if seeds == 1:
        yield "With one seed the intervals are over images alone: another seed may give another answer."
    elif seeds < FEW_SEEDS:
        yield f"{seeds} seeds say little of how runs vary: intervals are likely too narrow. Take {FEW_SEEDS} or more."
    if found["groups"] < FEW_GROUPS:
        groups = plural(found["groups"], "group")
        yield f"{groups} say little of how patients vary: intervals are likely too narrow."
    for entry in found["datasets"]:
        if entry["left_out"]:
            images = plural(entry["left_out"], "image")
            yield f"{entry['label']} holds back {images} more, which not all do; they judge nobody."
        if entry["covered"] < 1:
            yield (
                f"The samples of {entry['label']} show {entry['covered']:.1%} of the images' pixels; what they do not "
                "show counts as predicted absent."
            )
