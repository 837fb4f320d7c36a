"""How well a classifier predicts the label of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.train.evaluation.scores import mean_known, none_if_nan

Vectors = NDArray[np.floating[Any]]
"""(N, L), one row per sample."""


def label_scores(probabilities: Vectors, truth: Vectors, labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, and for each label precision, recall and the area under the ROC curve.

    Args:
        probabilities: (N, L), 0 to 1.
        truth: (N, L); may be soft: a sample's label is its highest entry.
        labels: the L names.

    Returns:
        JSON-like; None for an undefined score: precision of a label that is never predicted, recall of one that no
        sample has, AUROC of one that no sample or every sample has.
    """
    predicted, true = probabilities.argmax(axis=1), truth.argmax(axis=1)
    classes = {}
    for c, name in enumerate(labels):
        hits = np.count_nonzero((predicted == c) & (true == c))
        classes[name] = {
            "auroc": none_if_nan(auroc(probabilities[:, c], true == c)),
            "precision": hits / count if (count := np.count_nonzero(predicted == c)) else None,
            "recall": hits / count if (count := np.count_nonzero(true == c)) else None,
            "samples": int(np.count_nonzero(true == c)),
        }
    mean = mean_known(np.array([each["auroc"] for each in classes.values()], float))
    accuracy = float((predicted == true).mean()) if len(true) else None
    return {"accuracy": accuracy, "mean_auroc": mean, "classes": classes}


def auroc(scores: NDArray[np.floating[Any]], true: NDArray[np.bool_]) -> float:
    """The chance that a true sample scores higher than a false one, ties counted half (Mann and Whitney 1947).

    NaN if all samples are true, or all are false.
    """
    positive, negative = scores[true], np.sort(scores[~true])
    if not len(positive) or not len(negative):
        return np.nan
    below = sum(negative.searchsorted(positive, side).sum() for side in ("left", "right"))
    return float(below / 2 / len(positive) / len(negative))
