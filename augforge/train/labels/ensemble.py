"""Predicted labels of several models as one: the mean of their probabilities, or a vote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import TrainError
from augforge.progress import Progress, Silent
from augforge.train.labels.groups import predicted_labels, slices
from augforge.train.labels.table import (
    LabelHeader,
    LabelRow,
    LabelTable,
    check_csv_labels,
    write_label_csv,
    write_labels,
)
from augforge.train.prediction.reading import align_tables
from augforge.train.prediction.shares import shares_by_class
from augforge.train.prediction.submission import ImageName, use_file_names

Probabilities = NDArray[np.float64]
_TIE = 1e-3
"""Share of the probabilities in the votes of alternatives, so that they decide between equally many votes."""
_DIGITS = 6
_MAJORITY = 0.500001
"""More than half of the weight."""


def ensemble_labels(
    tables: Sequence[Path],
    out: Path,
    method: str,
    shares: Sequence[float],
    *,
    class_weights: Mapping[str, Sequence[float]] | None = None,
    threshold: float | None = None,
    csv: Path | None = None,
    image_name: ImageName = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Join tables of predicted labels of the same images; they are read side by side, image by image.

    Args:
        tables: two or more, written by `predict` or `ensemble`.
        out: the table to write; its probabilities are the weighted means, or the shares of the votes.
        method: ``mean``: of the probabilities; ``vote``: of the predicted labels: of a single group, the label with
            most of the weight, and the likelier one of equals; another label if more than half of the weight says so.
        shares: weights of the tables, which sum to 1.
        class_weights: of each table for a label, by its name, where they are others; 0 leaves a table out. Labels of a
            single group are then brought to a sum of 1 again.
        threshold: of labels that are judged by themselves: of mean, the probability, by default the weighted mean of
            the tables' own thresholds; of vote, the share of the weight (at least, not more than).
        csv, image_name: a CSV to write in addition.
        progress: advances with each image.

    Raises:
        TrainError: options that do not fit, or tables that differ in labels or images.
    """
    members = [LabelTable(path) for path in tables]
    first = members[0].header
    _check_same(members)
    if threshold is not None and not any(group.multi for group in first.groups):
        raise TrainError("of these labels the likeliest is predicted, so there is no threshold. Leave --threshold out")
    if csv is not None:
        check_csv_labels(first.labels)
        use_file_names(members[0].files(), image_name)
    by_label = shares_by_class(first.labels, shares, class_weights or {})
    of_labels = {label: [*by_label[label]] for label in class_weights or ()}
    made_by: dict[str, Any] = {
        "ensemble": [dict(member.header.made_by) for member in members],
        "method": method,
        "weights": [*shares],
    }
    if of_labels:
        made_by["class_weights"] = of_labels
    header = LabelHeader(first.groups, _thresholds(members, by_label, method, threshold), made_by)
    progress = progress or Silent()
    progress.start("ensemble", len(members[0]))
    classes = write_labels(out, header, _join(members, header, by_label, _METHODS[method], progress))
    if csv is not None:
        write_label_csv(out, csv, image_name)
    return {
        "task": "classification",
        "method": method,
        "tables": [str(path) for path in tables],
        "weights": [*shares],
        "class_weights": of_labels,
        "images": len(members[0]),
        "predictions": str(out),
        "csv": None if csv is None else str(csv),
        "classes": classes,
    }


def _check_same(members: Sequence[LabelTable]) -> None:
    """Raise TrainError unless all tables have the same groups of labels; labels may be in another order."""
    first = members[0]
    wanted = {(group.multi, frozenset(group.labels)) for group in first.header.groups}
    for member in members:
        if {(group.multi, frozenset(group.labels)) for group in member.header.groups} != wanted:
            differing = sorted({*member.header.labels} ^ {*first.header.labels})
            facts = f"labels: {', '.join(differing)}" if differing else "groups of labels, or another task for them"
            raise TrainError(f"{member.path} and {first.path} are not of the same {facts}. Join others")


def _thresholds(
    members: Sequence[LabelTable], shares: Mapping[str, Sequence[float]], method: str, threshold: float | None
) -> tuple[float, ...]:
    labels = members[0].header.labels
    if method == "vote":
        return (_MAJORITY if threshold is None else threshold,) * len(labels)
    if threshold is not None:
        return (threshold,) * len(labels)
    own = [dict(zip(member.header.labels, member.header.thresholds, strict=True)) for member in members]
    means = (sum(share * each[label] for share, each in zip(shares[label], own, strict=True)) for label in labels)
    return tuple(round(mean, _DIGITS) for mean in means)


def _join(
    members: Sequence[LabelTable],
    header: LabelHeader,
    shares: Mapping[str, Sequence[float]],
    values: Callable[[LabelHeader, Probabilities], Probabilities],
    progress: Progress,
) -> Iterator[LabelRow]:
    orders = [[member.header.labels.index(label) for label in header.labels] for member in members]
    by_table = np.array([shares[label] for label in header.labels]).T
    uneven = _uneven_groups(header, by_table)
    for rows in align_tables(members):
        total = np.zeros(len(header.labels))
        for row, member, order, share in zip(rows, members, orders, by_table, strict=True):
            total += share * values(member.header, row.probabilities.astype(np.float64))[order]
        for part in uneven:
            total[part] = _distribution(total[part])
        first = rows[0]
        rounded = np.round(total, _DIGITS).astype(np.float32)  # 0.1 + 0.2 must tie with 0.3
        yield LabelRow(first.name, first.file, first.width, first.height, rounded)
        progress.advance(1)


def _uneven_groups(header: LabelHeader, by_table: Probabilities) -> list[slice]:
    """The single groups whose labels get other shares of the tables, (tables, L): their sums are not 1 any more."""
    single = (part for group, part in slices(header.groups) if not group.multi)
    return [part for part in single if np.ptp(by_table[:, part], axis=1).any()]


def _distribution(values: Probabilities) -> Probabilities:
    """Values of alternatives, brought to a sum of 1; equal ones where all are 0."""
    total = values.sum()
    return values / total if total > 0 else np.full(len(values), 1 / len(values))


def _votes(header: LabelHeader, probabilities: Probabilities) -> Probabilities:
    """1 for each predicted label, 0 for others; in single groups nearly so, since the likelier of equals wins."""
    flags = predicted_labels(header.groups, probabilities[None].astype(np.float32), header.thresholds)[0]
    votes: Probabilities = flags.astype(np.float64)
    for group, part in slices(header.groups):
        if not group.multi:
            votes[part] += _TIE * (probabilities[part] - votes[part])
    return votes


_METHODS: dict[str, Callable[[LabelHeader, Probabilities], Probabilities]] = {
    "mean": lambda header, probabilities: probabilities,
    "vote": _votes,
}
