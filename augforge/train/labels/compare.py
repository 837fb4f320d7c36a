"""Comparing datasets by the classifiers trained on them: balanced accuracy on one common validation set."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from augforge.errors import TrainError
from augforge.progress import Progress
from augforge.train.labels.groups import Vectors, labelled_rows, predicted_labels, select_labels, slices, true_labels
from augforge.train.study.bootstrap import Values, mean_of_classes, mean_scores, resample_means
from augforge.train.study.common import CommonSet, ComparedDataset

if TYPE_CHECKING:
    from augforge.train.study.learner import TrainedModel

SCORE_COLUMNS = {
    "name": pl.String,
    "group": pl.String,
    "class": pl.String,
    "given": pl.Boolean,
    "probability": pl.Float64,
    "predicted": pl.Int64,
    "on_given": pl.Float64,
    "on_others": pl.Float64,
    "covered": pl.Float64,
}
"""Columns of a model's scores, one row for each image and label (`class`). `on_given` is 1 or 0 for a right or wrong
decision where the image has the label, `on_others` where it has not; the other one is null. Labels of a single group
have no `on_others`. `covered` is 1: whole images are judged."""


def score_label_model(
    model: TrainedModel, compared: ComparedDataset, common: CommonSet, progress: Progress
) -> pl.DataFrame:
    """Predict a dataset's samples of the common validation set and compare them with the raw labels.

    An image that several samples show gets the mean of their probabilities.

    Returns:
        a row for each image and label, see `SCORE_COLUMNS`.
    """
    progress.start("judge", len(common.records))
    predictions = model.predict(compared.samples(common.names))
    said, given = [], []
    for record, raw in zip(common.records, common.raw_samples(), strict=True):
        if raw.label is None:
            raise TrainError(
                f"{record.name} has no label in {common.source.path}, so no model can be judged by it. Label it, or "
                "leave it out of both datasets"
            )
        parts = list(islice(predictions, len(compared.views[record.name])))
        said.append(np.mean([part.probabilities for part in parts], axis=0, dtype=np.float64))
        given.append(raw.label)
        progress.advance(1)
    probabilities = np.array(said)
    truth = select_labels(model.groups, common.labels, np.array(given, np.float64), common.names)
    return _score_table(model, common, probabilities, truth)


def _score_table(model: TrainedModel, common: CommonSet, probabilities: Vectors, truth: Vectors) -> pl.DataFrame:
    true = true_labels(model.groups, truth)
    thresholds = (model.threshold,) * truth.shape[1]
    predicted = predicted_labels(model.groups, probabilities, thresholds)
    right = predicted == true
    tables = []
    for group, part in slices(model.groups):
        known = labelled_rows(group, truth[:, part])[:, None] & ~np.isnan(truth)
        for label, c in zip(group.labels, range(part.start, part.stop), strict=True):
            on_given = np.where(true[:, c] & known[:, c], right[:, c], np.nan)
            on_others = np.where(~true[:, c] & known[:, c] & group.multi, right[:, c], np.nan)
            names = (common.names, common.groups, [label] * len(true))
            said = (true[:, c], probabilities[:, c], predicted[:, c].astype(np.int64))
            values = (*names, *said, on_given, on_others, [1.0] * len(true))
            tables.append(pl.DataFrame(dict(zip(SCORE_COLUMNS, values, strict=True)), schema=SCORE_COLUMNS))
    return pl.concat(tables).with_columns(pl.col("on_given", "on_others").fill_nan(None))


def balanced_accuracies(given: Values, others: Values) -> Values:
    """Balanced accuracy by label, (D, L), of decisions (D, S, I, L) on images with a label and on others.

    It is the mean of recall and specificity; for labels of a single group, which have no others, the recall. The mean
    over the labels is then what is called balanced accuracy there.
    """
    return mean_of_classes(np.stack([mean_scores(given), mean_scores(others)], axis=-1))


def resample_balanced(given: Values, others: Values, groups: Sequence[str], rng: Any) -> Values:
    """The result of `balanced_accuracies` in each draw of the bootstrap, (B, D, L)."""
    both = resample_means(np.concatenate([given, others], axis=-1), groups, rng)
    return mean_of_classes(np.stack(np.split(both, 2, axis=-1), axis=-1))
