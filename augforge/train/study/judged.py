"""A model judged on the common validation set, at the source's own pixels and raw labels."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import polars as pl

from augforge import bitmask
from augforge.progress import Progress
from augforge.train.measure.scores import dice, overlap, truth_of
from augforge.train.prediction.blend import blended, counted
from augforge.train.study.common import Common, Side
from augforge.train.study.learner import Learned

JUDGED = {
    "name": pl.String,
    "group": pl.String,
    "class": pl.String,
    "dice": pl.Float64,
    "intersection": pl.Int64,
    "predicted": pl.Int64,
    "true": pl.Int64,
    "covered": pl.Float64,
}
"""Columns of a judgement, one row for each image and class: `dice` is null where the class is not known, `covered` is
the share of the image's pixels that the dataset's samples show."""


def judge(learned: Learned, side: Side, common: Common, progress: Progress) -> pl.DataFrame:
    """Predict a dataset's samples of the common validation set and compare them with the raw labels.

    Returns:
        a row for each image and class, see `JUDGED`.
    """
    progress.start("judge", len(common.records))
    predictions = learned.predict(side.samples(common.names))
    rows: list[dict[str, Any]] = []
    for record, group, raw in zip(common.records, common.groups, common.raw(), strict=True):
        roots = [view.root for view in side.views[record.name]]
        parts = list(islice(predictions, len(roots)))
        truth = truth_of(raw, common.classes, learned.outputs)
        masks = (layer >= learned.threshold for layer in blended(parts, roots))
        overlaps = overlap(
            bitmask.from_masks(masks, len(learned.outputs)), truth.planes, len(learned.outputs), truth.ignore
        )
        found = np.where(truth.known, dice(overlaps), np.nan)
        shown = float((counted(roots) > 0).mean())
        for name, score, pixels in zip(learned.outputs, found, overlaps.T.tolist(), strict=True):
            rows.append(dict(zip(JUDGED, (record.name, group, name, score, *pixels, shown), strict=True)))
        progress.advance(1)
    return pl.DataFrame(rows, schema=JUDGED, orient="row").with_columns(pl.col("dice").fill_nan(None))
