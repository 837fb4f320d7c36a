"""Cross-validation of classifiers: figures of predictions by models that saw none of the fold, and label quality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.text import Text

from augforge.errors import TrainError
from augforge.report.tables import table
from augforge.train.data.trainingset import label_vectors
from augforge.train.labels.groups import (
    LabelGroup,
    Vectors,
    labels_of,
    main_figure,
    select_labels,
    slices,
    true_labels,
)
from augforge.train.labels.scores import label_scores
from augforge.train.labels.table import LabelHeader, LabelRow, LabelTable, write_labels
from augforge.train.labels.tables import format_score
from augforge.train.study.folds import mean_and_sd
from augforge.train.study.quality import least_derived, softmin

if TYPE_CHECKING:
    from augforge.progress import Progress
    from augforge.train.study.folds import Fold
    from augforge.train.study.learner import TrainedModel

SAMPLE_COLUMNS = {
    "source": pl.String,
    "name": pl.String,
    "group": pl.String,
    "fold": pl.Int64,
    "label": pl.String,
    "given": pl.Float64,
    "probability": pl.Float64,
    "predicted": pl.Boolean,
    "quality": pl.Float64,
}
"""Columns of a table with a row for each sample and label. `given` is null where the label is unknown. `quality` is the
probability that the model gives to what the label says; null for labels of a single group that the sample does not
have, and for unknown ones."""
_FIGURES = ("accuracy", "balanced_accuracy", "mean_average_precision", "mean_auroc", "mean_f1")
_BY_LABEL = ("auroc", "average_precision", "precision", "recall", "f1")


def score_label_fold(fold: Fold, model: TrainedModel, out: Path, progress: Progress) -> pl.DataFrame:
    """Predict the labels of a fold's held-out samples, and compare them with those given.

    Args:
        fold: the fold.
        model: a classifier that was not trained on the held-out samples.
        out: the table of predictions to write.
        progress: shows how far the work is.

    Returns:
        a row for each sample and label, see `SAMPLE_COLUMNS`.
    """
    progress.start("judge", len(fold.held_out))
    held_out, groups = fold.held_out, model.groups
    truth = select_labels(groups, held_out.labels, label_vectors(held_out), held_out.index["name"].to_list())
    thresholds = (model.threshold,) * truth.shape[1]
    made_by = {"crossval": held_out.version, "fold": fold.number}
    rows = list(_predicted_rows(fold, model, progress))
    write_labels(out, header := LabelHeader(groups, thresholds, made_by), rows)
    said = np.array([row.probabilities for row in rows], np.float64)
    qualities = label_qualities(groups, said, truth)
    frame = []
    for source, row, group, given, quality in zip(
        fold.sources, rows, held_out.index["group"].to_list(), truth.tolist(), qualities.tolist(), strict=True
    ):
        names = header.predicted(row.probabilities)
        values = zip(header.labels, given, row.probabilities.tolist(), quality, strict=True)
        frame += [
            (source, row.name, group, fold.number, label, share, probability, label in names, worth)
            for label, share, probability, worth in values
        ]
    # Unknown is null: for polars NaN is more than any number, so it would pass for a label that is given.
    return pl.DataFrame(frame, schema=SAMPLE_COLUMNS, orient="row").with_columns(
        pl.col("given", "quality").fill_nan(None)
    )


def _predicted_rows(fold: Fold, model: TrainedModel, progress: Progress) -> Iterator[LabelRow]:
    sizes = fold.held_out.index.select("width", "height").iter_rows()
    for prediction, (width, height) in zip(model.predict(iter(fold.held_out)), sizes, strict=True):
        yield LabelRow(prediction.name, f"{prediction.name}.png", width, height, prediction.probabilities)
        progress.advance(1)


def label_qualities(groups: Sequence[LabelGroup], probabilities: Vectors, truth: Vectors) -> Vectors:
    """The probability of what each label says, (N, L): p of a label that holds, 1 - p of one that does not.

    That is the self-confidence of cleanlab (Northcutt, Jiang and Chuang, "Confident learning", 2021). NaN for labels of
    a single group that do not hold: their probabilities say nothing beyond that of the one that does; and where a label
    is unknown.
    """
    true = true_labels(groups, truth)
    quality = np.where(np.isnan(truth), np.nan, np.where(true, probabilities, 1 - probabilities))
    for group, part in slices(groups):
        if not group.multi:
            quality[:, part] = np.where(true[:, part], quality[:, part], np.nan)
    return quality


def label_source_table(samples: pl.DataFrame) -> pl.DataFrame:
    """One row per source image, which a recipe's ``metadata`` can join by name, from one row per sample and label.

    ``quality`` is the soft minimum over the labels of the mean over the source image's `least_derived` samples;
    ``given`` and ``predicted`` name labels, ``worst_label`` is that of the lowest quality.

    Args:
        samples: with `SAMPLE_COLUMNS`.
    """
    by_label = (
        least_derived(samples)
        .group_by("source", "label", maintain_order=True)
        .agg(pl.col("quality", "given").mean(), pl.col("predicted").any())
    )
    known = by_label.filter(pl.col("quality").is_not_null())
    worst = known.sort("quality", "label").group_by("source", maintain_order=True).first()
    whole = known.group_by("source", maintain_order=True).agg(
        pl.col("quality").map_batches(lambda s: softmin(s.to_numpy()), returns_scalar=True, return_dtype=pl.Float64)
    )
    names = by_label.group_by("source", maintain_order=True).agg(
        pl.col("label").filter(pl.col("given") >= 0.5).str.join(";").alias("given"),
        pl.col("label").filter(pl.col("predicted")).str.join(";").alias("predicted"),
    )
    lowest = worst.select("source", pl.col("label").alias("worst_label"), pl.col("quality").alias("worst_quality"))
    joined = whole.join(names, on="source").join(lowest, on="source")
    return joined.rename({"source": "name"}).sort("quality", "name")


def why_to_drop(row: Mapping[str, Any]) -> str:
    """The reason of a proposed drop."""
    labels = f"labelled {row['given'] or 'none'}, predicted {row['predicted'] or 'none'}"
    return f"label quality {row['quality']:.3f}; {labels}; worst {row['worst_label']}, {row['worst_quality']:.3f}"


def merge_label_tables(tables: Sequence[Path], out: Path) -> None:
    """Write the predictions of all folds as one table."""
    members = [LabelTable(path) for path in tables]
    first = members[0].header
    header = LabelHeader(first.groups, first.thresholds, {"crossval": first.made_by["crossval"]})
    orders = [[member.header.labels.index(label) for label in first.labels] for member in members]
    rows = [
        LabelRow(row.name, row.file, row.width, row.height, row.probabilities[order])
        for member, order in zip(members, orders, strict=True)
        for row in member
    ]
    write_labels(out, header, sorted(rows, key=lambda row: row.name))


def labelled_fold(fold: Fold) -> Fold:
    """A fold whose held-out samples all have labels; TrainError if none has."""
    held_out = fold.held_out.where(pl.col("label").is_not_null())
    if not len(held_out):
        raise TrainError(f"no sample held out in fold {fold.number} has labels. Label some, or take other folds")
    return replace(fold, held_out=held_out)


def summarise_labels(
    folds: Sequence[Fold], threshold: float, predictions: Path, samples: pl.DataFrame
) -> dict[str, Any]:
    """The figures of a cross-validation of labels, JSON-like.

    ``folds`` has the figures of each fold, ``mean`` their mean and standard deviation over folds, ``by_label`` the
    same for each label, and ``pooled`` the figures of all out-of-fold predictions together (see `label_scores`).

    Args:
        folds: what was cross-validated.
        threshold: of labels that are judged by themselves.
        predictions: the table of all folds' predictions.
        samples: with `SAMPLE_COLUMNS`.
    """
    groups = LabelTable(predictions).header.groups
    counted = least_derived(samples)
    scores = [_scores(counted.filter(pl.col("fold") == fold.number), groups, threshold) for fold in folds]
    return {
        "task": "classification",
        "figure": main_figure(groups),
        "folds": [
            {**fold.describe(), **{key: each[key] for key in _FIGURES}}
            for fold, each in zip(folds, scores, strict=True)
        ],
        "mean": {key: _spread([each[key] for each in scores]) for key in _FIGURES},
        "by_label": {
            label: {key: _spread([each["classes"][label][key] for each in scores]) for key in _BY_LABEL}
            for label in labels_of(groups)
        },
        "pooled": _scores(counted, groups, threshold),
    }


def _scores(samples: pl.DataFrame, groups: Sequence[LabelGroup], threshold: float) -> dict[str, Any]:
    """The figures of samples, from one row per sample and label; labels are in the order of the groups."""
    labels = labels_of(groups)
    said, given = (samples[key].to_numpy().reshape(-1, len(labels)) for key in ("probability", "given"))
    return label_scores(said, given, groups, (threshold,) * len(labels))


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    return dict(zip(("value", "sd"), mean_and_sd(values), strict=True))


def render_label_crossval(result: Mapping[str, Any], console: Console) -> None:
    """Print the result of a cross-validation of labels."""
    folds = table("fold", "trained on", "judged", "accuracy", "balanced", "mAP", "AUROC", right=6)
    keys = ("accuracy", "balanced_accuracy", "mean_average_precision", "mean_auroc")
    for entry in result["folds"]:
        title = entry.get("held_out", str(entry["fold"]))
        counts = (f"{entry[key]:,}" for key in ("train", "held"))
        folds.add_row(Text(title), *counts, *(format_score(entry[key]) for key in keys))
    folds.add_row(Text("mean", "bold"), "", "", *(format_score(result["mean"][key]["value"]) for key in keys))
    console.print(folds, "", sep="\n")
    labels = table("label", "AUROC", "AP", "precision", "recall", "F1", right=5)
    for name, entry in result["by_label"].items():
        shown = ("auroc", "average_precision", "precision", "recall", "f1")
        labels.add_row(Text(name), *(format_score(entry[key]["value"]) for key in shown))
    console.print(labels, "", sep="\n")
    worst = table("lowest label quality", "quality", "given", "predicted", right=1)
    for row in result["worst"]:
        worst.add_row(Text(row["name"]), f"{row['quality']:.4f}", Text(row["given"]), Text(row["predicted"]))
    console.print(worst, "", sep="\n")
