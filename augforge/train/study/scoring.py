"""Scoring a model on the common validation set, at the source's own pixels and raw labels."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from augforge import bitmask
from augforge.progress import Progress
from augforge.train.evaluation.scores import dice, overlap, truth_of
from augforge.train.mirrored import exchange_back
from augforge.train.prediction.blend import blend, count_samples
from augforge.train.study.common import CommonSet, ComparedDataset

if TYPE_CHECKING:
    from augforge.train.study.learner import TrainedModel

SCORE_COLUMNS = {
    "name": pl.String,
    "group": pl.String,
    "class": pl.String,
    "dice": pl.Float64,
    "intersection": pl.Int64,
    "predicted": pl.Int64,
    "true": pl.Int64,
    "covered": pl.Float64,
}
"""Columns of a model's scores, one row for each image and class: `dice` is null where the class is not known, `covered`
is the share of the image's pixels that the dataset's samples show."""


def score_model(model: TrainedModel, compared: ComparedDataset, common: CommonSet, progress: Progress) -> pl.DataFrame:
    """Predict a dataset's samples of the common validation set and compare them with the raw labels.

    Returns:
        a row for each image and class, see `SCORE_COLUMNS`.
    """
    progress.start("judge", len(common.records))
    predictions = model.predict(compared.samples(common.names))
    rows: list[dict[str, Any]] = []
    for record, group, raw in zip(common.records, common.groups, common.raw_samples(), strict=True):
        views = compared.views[record.name]
        roots = [view.root for view in views]
        shown = zip(islice(predictions, len(roots)), views, strict=True)  # a prediction for each sample that shows it
        parts = [exchange_back(prediction, view.exchange, model.outputs) for prediction, view in shown]
        truth = truth_of(raw, common.classes, model.outputs, model.regions)
        masks = (layer >= model.threshold for layer in blend(parts, roots))
        predicted = bitmask.from_masks(masks, len(model.outputs))
        overlaps = overlap(predicted, truth.planes, len(model.outputs), truth.ignore)
        dices = np.where(truth.known, dice(overlaps), np.nan)
        covered = float((count_samples(roots) > 0).mean())
        for name, score, pixels in zip(model.outputs, dices, overlaps.T.tolist(), strict=True):
            values = (record.name, group, name, score, *pixels, covered)
            rows.append(dict(zip(SCORE_COLUMNS, values, strict=True)))
        progress.advance(1)
    return pl.DataFrame(rows, schema=SCORE_COLUMNS, orient="row").with_columns(pl.col("dice").fill_nan(None))
