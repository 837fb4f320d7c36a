"""Evaluating a classifier: figures of every label, what is confused, and pictures of the worst samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augforge.errors import TrainError
from augforge.progress import Progress
from augforge.report.paint import Picture
from augforge.report.show import save_png
from augforge.store.dataset import Dataset
from augforge.train.data.trainingset import label_vectors
from augforge.train.evaluation.pictures import save_worst
from augforge.train.evaluation.segmentation import ID_COLUMNS
from augforge.train.labels.groups import (
    LabelGroup,
    Vectors,
    labelled_rows,
    predicted_labels,
    select_labels,
    slices,
    true_labels,
)
from augforge.train.labels.pictures import confusion_picture, label_picture
from augforge.train.labels.predictor import label_predictor
from augforge.train.labels.scores import label_scores
from augforge.train.run import TrainingRun, write_frame

if TYPE_CHECKING:
    from augforge.train.labels.predictor import LabelPrediction
    from augforge.train.prediction.remaining import Remaining

_SMALLEST = 1e-7
"""A probability below it counts as this much in the loss of a sample."""


def check_labels(run: TrainingRun, part: Dataset) -> None:
    """Raise TrainError unless a dataset has the labels of a run, in any order; others if the run left some out."""
    missing, more = sorted({*run.labels} - {*part.labels}), sorted({*part.labels} - {*run.labels})
    if missing or (more and not run.config.label_groups):
        raise TrainError(
            f"{part.folder} has the labels {', '.join(part.labels) or 'none'}; expected those that the model was "
            f"trained for: {', '.join(run.labels)}. Choose another dataset"
        )


def evaluate_labels(
    run: TrainingRun,
    parts: Sequence[Dataset],
    remaining: Sequence[Remaining],
    folder: Path,
    worst: int,
    progress: Progress,
    **options: Any,
) -> dict[str, Any]:
    """Evaluate a classifier on the samples that have labels, and write tables and pictures to a folder.

    The folder gets ``samples.parquet`` (label, probability, predicted labels and loss of each sample),
    ``confusion-N.png`` for the N-th group, if it is one of alternatives, and ``worst-N.png``.

    Args:
        run: a classifier.
        parts: samples of datasets.
        remaining: by which steps those of each dataset are prepared first.
        folder: to write into.
        worst: number of samples with the highest loss to draw.
        progress: advances with each sample.
        options: of `label_predictor`.

    Returns:
        JSON-like: `label_scores`, ``labelled``, the number of samples with labels, ``thresholds`` of labels that are
        judged by themselves, ``worst``, and ``warnings``.
    """
    labelled = [part.where(pl.col("label").is_not_null()) for part in parts]
    truth = np.concatenate(
        [
            select_labels(run.spec.groups, part.labels, label_vectors(part), part.index["name"].to_list())
            for part in labelled
        ]
    )
    predictor = label_predictor(run, **options)
    predictions = chain.from_iterable(
        each.prepare_for(predictor).predict(part) for each, part in zip(remaining, labelled, strict=True)
    )
    probabilities = np.array(_advance(predictions, progress), np.float64).reshape(truth.shape)
    losses = sample_losses(run.spec.groups, probabilities, truth)
    ids = pl.concat([part.index.select(*ID_COLUMNS, "label") for part in labelled])
    write_frame(folder / "samples.parquet", _sample_table(run, ids, probabilities, losses))
    result = label_scores(probabilities, truth, run.spec.groups, run.thresholds)
    _draw_confusion(result, folder)
    places = [(part, i) for part in labelled for i in range(len(part))]
    chosen = np.argsort(-losses, kind="stable")[:worst].tolist()
    worst_samples = [(*places[i], probabilities[i], truth[i], losses[i]) for i in chosen]
    judged_alone = [label for group in run.spec.groups if group.multi for label in group.labels]
    thresholds = dict(zip(run.labels, run.thresholds, strict=True))
    return {
        **result,
        "labelled": len(truth),
        "thresholds": {label: thresholds[label] for label in judged_alone},
        "worst": save_worst(_draw_worst(run, worst_samples), folder),
        "warnings": predictor.warnings,
    }


def _advance(predictions: Iterable[LabelPrediction], progress: Progress) -> list[NDArray[np.float32]]:
    rows = []
    for each in predictions:
        rows.append(each.probabilities)
        progress.advance(1)
    return rows


def sample_losses(groups: Sequence[LabelGroup], probabilities: Vectors, truth: Vectors) -> NDArray[np.float64]:
    """How surprising the labels of each sample are to the model, (N,): the mean of its groups' losses.

    The loss of a single group is the cross entropy, that of others the mean over its known labels of the binary one; 0
    where a sample is not labelled in a group.
    """
    likely = np.clip(probabilities, _SMALLEST, 1 - _SMALLEST)
    losses = np.zeros((len(truth), len(groups)))
    for column, (group, part) in enumerate(slices(groups)):
        known = ~np.isnan(truth[:, part])
        p, t = likely[:, part], np.nan_to_num(truth[:, part])
        entropy = -(t * np.log(p))
        if group.multi:
            entropy = (entropy - (1 - t) * np.log(1 - p)) * known / np.maximum(known.sum(axis=1, keepdims=True), 1)
        losses[:, column] = np.where(labelled_rows(group, truth[:, part]), entropy.sum(axis=1), 0)
    return np.asarray(losses.mean(axis=1))


def _sample_table(
    run: TrainingRun, ids: pl.DataFrame, probabilities: Vectors, losses: NDArray[np.float64]
) -> pl.DataFrame:
    """A row for each sample, with a struct of probabilities by label and the names of the predicted labels."""
    by_label = pl.Struct(dict.fromkeys(run.labels, pl.Float64))
    named = [dict(zip(run.labels, row, strict=True)) for row in probabilities.tolist()]
    flags = predicted_labels(run.spec.groups, probabilities, run.thresholds)
    names = [[label for label, flag in zip(run.labels, row, strict=True) if flag] for row in flags.tolist()]
    return ids.with_columns(
        probability=pl.Series(named, dtype=by_label),
        predicted=pl.Series(names, dtype=pl.List(pl.String)),
        loss=pl.Series(losses, dtype=pl.Float64),
    )


def _draw_confusion(result: dict[str, Any], folder: Path) -> None:
    for stale in folder.glob("confusion-*.png"):
        stale.unlink()
    for number, (name, group) in enumerate(result["groups"].items(), start=1):
        if group["confusion"] is not None:
            path = folder / f"confusion-{number}.png"
            save_png(confusion_picture(name, group["labels"], np.array(group["confusion"])), path)


def _draw_worst(run: TrainingRun, samples: Sequence[Any]) -> Iterator[tuple[Picture, dict[str, Any]]]:
    """Pictures of samples with their true and predicted labels, and their names and losses."""
    for part, i, probabilities, truth, loss in samples:
        sample = part[i]
        true = true_labels(run.spec.groups, truth[None])[0]
        predicted, unknown = predicted_labels(run.spec.groups, probabilities[None], run.thresholds)[0], np.isnan(truth)
        names = [f"{name} (unknown)" if flag else name for name, flag in zip(run.labels, unknown, strict=True)]
        picture = label_picture(sample, names, probabilities, predicted & ~unknown, true, float(loss))
        yield picture, {"name": sample.name, "loss": float(loss)}
