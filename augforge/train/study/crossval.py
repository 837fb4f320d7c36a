"""Cross-validation by groups: predict every sample by a model that never saw its patient, and rate its labels."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from rich.console import Console
from rich.text import Text

from augforge import bitmask
from augforge.errors import TrainError
from augforge.keys import digest
from augforge.progress import Progress, Silent
from augforge.report.tables import pairs, table
from augforge.train.evaluation.scores import Truth, dice, none_if_nan, overlap, truth_of
from augforge.train.heritage import check_not_seen
from augforge.train.labels.crossval import (
    label_source_table,
    labelled_fold,
    merge_label_tables,
    render_label_crossval,
    score_label_fold,
    summarise_labels,
    why_to_drop,
)
from augforge.train.prediction.table import (
    ClassPrediction,
    ImagePrediction,
    Predictions,
    TableHeader,
    encode_image,
    write_predictions,
)
from augforge.train.run import write_frame, write_json
from augforge.train.rundata import learns_labels
from augforge.train.study.bootstrap import mean_of_classes
from augforge.train.study.folds import Fold, folds_by, folds_of, mean_and_sd, warnings_of, without_group
from augforge.train.study.learner import ModelTrainer, TitledProgress, TrainedModel, train_model, without_validation
from augforge.train.study.quality import class_quality, least_derived, propose_drops, source_table, write_table

if TYPE_CHECKING:
    from augforge.store.dataset import Dataset
    from augforge.train.config import TrainConfig
    from augforge.train.prediction.inference import Prediction

SAMPLE_COLUMNS = {
    "source": pl.String,
    "name": pl.String,
    "group": pl.String,
    "fold": pl.Int64,
    "class": pl.String,
    "dice": pl.Float64,
    "quality": pl.Float64,
}
"""Columns of `samples.parquet`, one row for each sample and class; null if the class is not known in the sample."""


class FoldFiles(NamedTuple):
    """Files of a fold whose held-out samples were scored."""

    scores: Path
    predictions: Path

    @property
    def run(self) -> str:
        """The name of the run's folder."""
        return self.scores.parent.name


def crossval(
    dataset: Dataset,
    config: TrainConfig,
    out: Path,
    *,
    folds: int = 5,
    split_seed: int = 0,
    propose: int = 0,
    by: str | None = None,
    progress: Progress | None = None,
    train_model: ModelTrainer = train_model,
) -> dict[str, Any]:
    """Train on all folds but one, in turn, and score the samples of the fold held out.

    Takes the samples of ``train`` and ``val``. Each model is the one at the end of its run. Each fold has a folder
    below ``out``, named by what decides it: a second call resumes stopped runs and reuses finished ones. ``out`` also
    gets

    - ``predictions.parquet``: what each sample's model predicts for it, as `augforge predict` writes it,
    - ``samples.parquet``: Dice and label quality of each sample and class,
    - ``label_quality.csv``: one row per source image, for a recipe's ``source.metadata`` (see `quality.source_table`),
    - ``review.yaml``, if asked for: the source images of the lowest quality, as a review file that drops them,
    - ``crossval.json``: the result that is returned.

    Labels are judged by `labels.crossval`: in place of Dice stand accuracy, mAP and others.

    Args:
        dataset: the dataset.
        config: of each run.
        out: folder of the cross-validation.
        folds: number of folds.
        split_seed: of the hash that assigns groups to folds.
        propose: number of source images in ``review.yaml``.
        by: hold out each value of a label group or of ``metadata.COLUMN`` in turn, instead of parts of the groups.
            A label group that is held out by is neither trained nor judged.
        progress: shows how far the work is.
        train_model: trains a model; by default the bundled trainer.

    Raises:
        TrainError: fewer groups than folds, or a fold without a sample to train on or to score.
    """
    all_folds = folds_by(dataset, by, config.label_groups) if by else folds_of(dataset, folds, split_seed)
    config = without_validation(without_group(config, by))
    check_not_seen(config.init, [group for fold in all_folds for group in fold.groups])
    learns = learns_labels(config, dataset)
    all_folds = [labelled_fold(fold) for fold in all_folds] if learns else all_folds
    files = []
    for fold in all_folds:
        titled = TitledProgress(f"fold {fold.number}", progress or Silent())
        files.append(_train_and_score(fold, config, out, titled, train_model))
    samples = pl.concat([pl.read_parquet(each.scores, glob=False) for each in files])
    write_frame(out / "samples.parquet", samples)
    predictions, quality, review = (out / name for name in ("predictions.parquet", "label_quality.csv", "review.yaml"))
    (merge_label_tables if learns else _merge_predictions)([each.predictions for each in files], predictions)
    sources = (label_source_table if learns else source_table)(samples)
    write_table(sources, quality)
    if propose:
        propose_drops(sources, review, propose, why_to_drop if learns else None)
    figures = (
        summarise_labels(all_folds, config.threshold, predictions, samples)
        if learns
        else _summarise(all_folds, samples)
    )
    result = {
        "dataset": {"name": dataset.name, "folder": str(dataset.folder), "version": dataset.version},
        **figures,
        "samples": samples["name"].n_unique(),
        "sources": sources.height,
        "predictions": str(predictions),
        "label_quality": str(quality),
        "review": str(review) if propose else None,
        "worst": sources.head(max(10, propose)).to_dicts(),
    }
    return _write_result(result, by, all_folds, files, out)


def _write_result(
    result: dict[str, Any], by: str | None, folds: Sequence[Fold], files: Sequence[FoldFiles], out: Path
) -> dict[str, Any]:
    """Write ``crossval.json``, with the folds' runs, what was held out by, and what was not trained on for that."""
    entries = [{**entry, "run": each.run} for entry, each in zip(result["folds"], files, strict=True)]
    result = {**result, "folds": entries, "by": by, "warnings": [*warnings_of(folds)] if by else []}
    write_json(out / "crossval.json", result)
    return result


# ---- one fold --------------------------------------------------------------------------------------------------------


def _train_and_score(
    fold: Fold, config: TrainConfig, out: Path, progress: Progress, train_model: ModelTrainer
) -> FoldFiles:
    """The files of a fold; both training and scoring are skipped if an earlier call has done them."""
    held_out = [] if fold.value is None else [fold.value]
    fold_digest = digest(config.identity(), fold.train.version, sorted(fold.groups), *held_out)[:8]
    run_folder = out / f"fold{fold.number}-{fold_digest}"
    files = FoldFiles(run_folder / "judged.parquet", run_folder / "predictions.parquet")
    if not files.scores.exists():
        try:
            model = train_model(fold.train, config, run_folder, progress, (fold.train, fold.held_out))
        except TrainError as error:
            raise TrainError(f"fold {fold.number}: {error}") from error
        score = score_label_fold if model.groups else score_fold
        write_frame(files.scores, score(fold, model, files.predictions, progress))  # last: then both are complete
    return files


def score_fold(fold: Fold, model: TrainedModel, out: Path, progress: Progress) -> pl.DataFrame:
    """Predict the held-out samples of a fold, at their own pixels, and compare with their labels.

    Args:
        fold: the fold.
        model: a model that was not trained on the held-out samples.
        out: the table of predictions to write.
        progress: shows how far the work is.

    Returns:
        a row for each sample and class, see `SAMPLE_COLUMNS`.
    """
    progress.start("judge", len(fold.held_out))
    rows: list[tuple[Any, ...]] = []
    thresholds = (model.threshold,) * len(model.outputs)
    header = TableHeader(model.outputs, thresholds, {"crossval": fold.held_out.version, "fold": fold.number})
    write_predictions(out, header, _predict_held_out(fold, model, rows, progress))
    table = pl.DataFrame(rows, schema=SAMPLE_COLUMNS, orient="row")
    return table.with_columns(pl.col("dice", "quality").fill_nan(None))


def _predict_held_out(
    fold: Fold, model: TrainedModel, rows: list[tuple[Any, ...]], progress: Progress
) -> Iterator[ImagePrediction]:
    """Predictions of the held-out samples; once a prediction is consumed, its scores are appended to `rows`."""
    for source, sample, prediction in zip(fold.sources, fold.held_out, model.predict(iter(fold.held_out)), strict=True):
        truth = truth_of(sample, fold.held_out.classes, model.outputs, model.regions)
        scorer = _SampleScorer(truth, model)
        yield encode_image(sample.name, f"{sample.name}.png", scorer.score_classes(prediction))
        scores = zip(model.outputs, scorer.dice(), scorer.quality.tolist(), strict=True)
        rows += [(source, sample.name, sample.group, fold.number, *each) for each in scores]
        progress.advance(1)


class _SampleScorer:
    """Scores one sample class by class while its prediction is written, so that one class is in memory at a time."""

    def __init__(self, truth: Truth, model: TrainedModel) -> None:
        self._truth, self._threshold = truth, model.threshold
        self._predicted = np.zeros_like(bitmask.contiguous(truth.planes))
        self.quality = np.full(len(model.outputs), np.nan)

    def score_classes(self, prediction: Prediction) -> Iterator[ClassPrediction]:
        """Each class's predicted mask, after its label quality was computed."""
        true_masks = bitmask.to_masks(self._truth.planes, len(self.quality))
        for c, (layer, true_mask) in enumerate(zip(prediction.layers(), true_masks, strict=True)):
            mask = layer >= self._threshold
            bitmask.merge_class(self._predicted, c, mask)
            if self._truth.known[c]:
                self.quality[c] = class_quality(layer, true_mask, self._truth.ignore)
            yield mask, self._threshold, None

    def dice(self) -> list[float]:
        """By class, after all classes were scored; NaN where the sample does not know the class."""
        overlaps = overlap(self._predicted, self._truth.planes, len(self.quality), self._truth.ignore)
        dices: list[float] = np.where(self._truth.known, dice(overlaps), np.nan).tolist()
        return dices


def _merge_predictions(paths: Sequence[Path], out: Path) -> None:
    """Write the predictions of all folds as one table."""
    tables = [Predictions(path) for path in paths]
    header = replace(tables[0].header, made_by={"crossval": tables[0].header.made_by["crossval"]})
    write_predictions(out, header, heapq.merge(*tables, key=lambda image: image.name))


# ---- the result ------------------------------------------------------------------------------------------------------


def _summarise(folds: Sequence[Fold], samples: pl.DataFrame) -> dict[str, Any]:
    classes = samples["class"].unique(maintain_order=True).to_list()
    counted = least_derived(samples)
    scores = np.array([_class_means(counted.filter(pl.col("fold") == fold.number), classes) for fold in folds])
    means = mean_of_classes(scores)
    return {
        "folds": [{**fold.describe(), "dice": none_if_nan(mean)} for fold, mean in zip(folds, means, strict=True)],
        "mean": _spread(means),
        "by_class": {name: _spread(scores[:, c]) for c, name in enumerate(classes)},
    }


def _class_means(samples: pl.DataFrame, classes: Sequence[str]) -> list[float]:
    means: dict[str, float | None] = dict(samples.group_by("class").agg(pl.col("dice").mean()).iter_rows())
    return [np.nan if (mean := means.get(name)) is None else mean for name in classes]


def _spread(values: Iterable[float]) -> dict[str, float | None]:
    return dict(zip(("dice", "sd"), mean_and_sd(values), strict=True))


def render_crossval(result: dict[str, Any], console: Console) -> None:
    """Print the result of `crossval`."""
    (render_label_crossval if result.get("task") == "classification" else _render_classes)(result, console)
    for warning in result["warnings"]:
        console.print(Text(f"Warning: {warning}", "yellow"))
    keys = {"predictions": "predictions", "label quality": "label_quality", "proposed drops": "review"}
    console.print(pairs({label: result[key] for label, key in keys.items() if result[key]}))


def _render_classes(result: Mapping[str, Any], console: Console) -> None:
    folds = table("fold", "groups", "trained on", "judged", "Dice", right=4)
    for entry in result["folds"]:
        counts = (f"{entry[key]:,}" for key in ("groups", "train", "held"))
        folds.add_row(Text(entry.get("held_out", str(entry["fold"]))), *counts, _number(entry["dice"]))
    console.print(folds, "", sep="\n")
    classes = table("class", "Dice", "sd over folds", right=2)
    for name, entry in (("mean", result["mean"]), *result["by_class"].items()):
        classes.add_row(Text(name, "bold" if name == "mean" else ""), _number(entry["dice"]), _number(entry["sd"]))
    console.print(classes, "", sep="\n")
    worst = table("lowest label quality", "quality", "Dice", "worst class", "its Dice", right=4)
    for row in result["worst"]:
        scores = (_number(row["quality"]), _number(row["dice"]), Text(row["worst_class"]), _number(row["worst_dice"]))
        worst.add_row(Text(row["name"]), *scores)
    console.print(worst, "", sep="\n")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
