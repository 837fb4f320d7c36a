"""How well labels are predicted: accuracy, balanced accuracy, AUROC, average precision, F1, and what is confused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.train.evaluation.scores import mean_of, none_if_nan, share_of
from augforge.train.labels.groups import (
    Flags,
    LabelGroup,
    Vectors,
    labelled_rows,
    predicted_labels,
    slices,
    true_labels,
)


def label_scores(
    probabilities: Vectors, truth: Vectors, groups: Sequence[LabelGroup], thresholds: Sequence[float]
) -> dict[str, Any]:
    """All figures of predicted labels.

    Args:
        probabilities: (N, L), 0 to 1.
        truth: (N, L); may be soft, see `true_labels`; NaN, in multi groups, where a label is unknown: it is not judged.
        groups: of the L labels.
        thresholds: of each label, from which those of multi groups are predicted.

    Returns:
        JSON-like: the figures of the first group (see `group_scores`), ``groups`` with those of each, and ``classes``,
        by label (see `label_figures`).
    """
    true, predicted = true_labels(groups, truth), predicted_labels(groups, probabilities, thresholds)
    by_group, classes = {}, dict[str, Any]()
    for group, part in slices(groups):
        rows = labelled_rows(group, truth[:, part])
        own, holds, said = probabilities[rows, part], true[rows, part], predicted[rows, part]
        known = ~np.isnan(truth[rows, part])
        figures = {
            name: label_figures(*(each[known[:, c], c] for each in (own, holds, said)))
            for c, name in enumerate(group.labels)
        }
        by_group[group.name] = {
            "task": group.kind,
            "labels": list(group.labels),
            "labelled": int(rows.sum()),
            **group_scores(group, holds, said, known, figures),
        }
        classes |= figures
    first = next(iter(by_group.values()))
    top = {key: first[key] for key in _MEANS}
    return {**top, "groups": by_group, "classes": classes}


_MEANS = ("accuracy", "exact_match", "balanced_accuracy", "mean_auroc", "mean_average_precision", "mean_f1")


def group_scores(
    group: LabelGroup, true: Flags, predicted: Flags, known: Flags, figures: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The figures of a group, None where they are not defined.

    Args:
        group: of K labels.
        true, predicted, known: (N, K), which labels hold, are predicted and are known, of the samples labelled in the
            group. What is not known is not judged.
        figures: of each label, from `label_figures`.

    Returns:
        JSON-like. ``accuracy``: the share of right decisions: of samples in a single group, of samples and labels in
        others; ``exact_match``: share of samples all of whose labels are right; ``balanced_accuracy``: in a single
        group the mean recall of the labels that samples have, in others the mean over labels of (recall +
        specificity) / 2; means over labels of AUROC, average precision (mAP) and F1; ``confusion`` of a single group:
        samples by true (row) and predicted label.
    """
    right = true == predicted
    exact = float((right | ~known).all(axis=1).mean()) if len(true) else None
    accuracy = (float(right[known].mean()) if len(true) else None) if group.multi else exact
    balanced = "balanced_accuracy" if group.multi else "recall"
    means = {f"mean_{key}": mean_of(figures.values(), key) for key in ("auroc", "average_precision", "f1")}
    return {
        "accuracy": accuracy,
        "exact_match": exact,
        "balanced_accuracy": mean_of(figures.values(), balanced),
        **means,
        "confusion": None if group.multi else (true.T.astype(int) @ predicted.astype(int)).tolist(),
    }


def label_figures(probability: NDArray[Any], true: Flags, predicted: Flags) -> dict[str, Any]:
    """The figures of one label over N samples; None where they are not defined.

    Returns:
        JSON-like: ``auroc``, ``average_precision``, ``precision`` (None if the label is never predicted), ``recall``
        (None if no sample has it), ``f1`` (None if neither), ``balanced_accuracy`` (the mean of recall and
        specificity; None unless some samples have it and some do not), ``samples`` that have it, and ``predicted``.
    """
    hits, positive, said = (int(np.count_nonzero(each)) for each in (true & predicted, true, predicted))
    negative = len(true) - positive
    recall, specificity = share_of(hits, positive), share_of(negative - (said - hits), negative)
    return {
        "auroc": none_if_nan(auroc(probability, true)),
        "average_precision": none_if_nan(average_precision(probability, true)),
        "precision": share_of(hits, said),
        "recall": recall,
        "f1": share_of(2 * hits, positive + said),
        "balanced_accuracy": None if recall is None or specificity is None else (recall + specificity) / 2,
        "samples": positive,
        "predicted": said,
    }


def auroc(scores: NDArray[np.floating[Any]], true: Flags) -> float:
    """The chance that a true sample scores higher than a false one, ties counted half (Mann and Whitney 1947).

    NaN if all samples are true, or all are false.
    """
    positive, negative = scores[true], np.sort(scores[~true])
    if not len(positive) or not len(negative):
        return np.nan
    below = sum(negative.searchsorted(positive, side).sum() for side in ("left", "right"))
    return float(below / 2 / len(positive) / len(negative))


def average_precision(scores: NDArray[np.floating[Any]], true: Flags) -> float:
    """The mean precision at each recall that is reached, without interpolation; samples of one score come together.

    That is sum over thresholds of (R_n - R_{n-1}) P_n, as scikit-learn computes it. NaN if no sample is true.
    """
    if not true.any():
        return np.nan
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.flatnonzero(np.diff(-scores[order], append=np.inf))
    hits = true[order].cumsum()[last_of_score]
    precision = hits / (last_of_score + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / true.sum())
