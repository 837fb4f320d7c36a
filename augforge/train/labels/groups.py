"""Groups of labels: of some exactly one is true, of others any number; what that means for vectors of labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from augforge.errors import TrainError, nearest, some

Vectors = NDArray[np.floating[Any]]
"""(N, L), one row per sample, 0 to 1; NaN where a label is unknown."""
Flags = NDArray[np.bool_]
Kind = Literal["single", "multi"]

ONLY_GROUP = "label"
"""Name of the one group, where the configuration names none."""
_TRUE = 0.5
"""Weight from which a label holds, where labels are soft."""
_ROUNDING = 1e-3  # mixed labels are float32 shares of areas
_FEW = 0.1
"""If fewer samples than this share decide that labels are no alternatives, they may be mistakes, and one is named."""
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class LabelGroup:
    """Labels with outputs of their own in the network's last layer.

    Attributes:
        name: of the group.
        labels: in the order of the outputs.
        multi: each label is judged by itself, by a sigmoid; else exactly one is true, by a softmax.
    """

    name: str
    labels: tuple[str, ...]
    multi: bool = False

    @property
    def kind(self) -> Kind:
        """What the configuration calls it as a `task`."""
        return "multi" if self.multi else "single"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LabelGroup:
        """What `dataclasses.asdict` gives, undone."""
        return cls(data["name"], tuple(data["labels"]), data["multi"])


def main_figure(groups: Sequence[LabelGroup]) -> str:
    """The key of the figure by which the best network is kept: that of the first group."""
    return "mean_average_precision" if groups[0].multi else "accuracy"


def labels_of(groups: Sequence[LabelGroup]) -> tuple[str, ...]:
    """All labels of the groups, in the order of the network's outputs."""
    return tuple(label for group in groups for label in group.labels)


def slices(groups: Sequence[LabelGroup]) -> Iterator[tuple[LabelGroup, slice]]:
    """Each group with its outputs."""
    start = 0
    for group in groups:
        yield group, slice(start, start + len(group.labels))
        start += len(group.labels)


def derive_groups(
    label_groups: Mapping[str, Sequence[str]],
    task: Kind | Mapping[str, Kind] | None,
    labels: Sequence[str],
    truth: Vectors,
    names: Sequence[str],
) -> tuple[tuple[LabelGroup, ...], list[str]]:
    """The groups of a run, and warnings about labels that may be mistakes.

    A group is multi if the configuration says so. If it says nothing, a group is single where every row of its labels
    sums to 1, so that exactly one is true (or shares of several, in a mixed image); anything else, such as a row of
    zeros or a pair, makes it multi. Rows in which all of its labels are unknown say nothing.

    Args:
        label_groups: labels by group, as configured; empty for one group of all labels.
        task: of all groups, or by group; None leaves it to the rows.
        labels: of the dataset.
        truth: (N, L), of all samples to train and validate on.
        names: of the N samples, for messages.

    Raises:
        TrainError: a group or label is unknown or doubled, or samples do not fit the configured task.
    """
    chosen = {name: tuple(group) for name, group in label_groups.items()} or {ONLY_GROUP: tuple(labels)}
    _check_names(chosen, task, labels)
    groups, warnings = [], list[str]()
    for name, group in chosen.items():
        sums, its_names = _known_sums(truth[:, [labels.index(label) for label in group]], names)
        kind = task.get(name) if isinstance(task, Mapping) else task
        if kind == "single":
            warnings += _check_single(name, group, sums, its_names)
        alternatives = len(group) > 1 and len(sums) > 0 and bool(_is_one(sums).all())
        multi = kind == "multi" or (kind is None and not alternatives)
        groups.append(LabelGroup(name, group, multi))
        if multi and kind is None:
            warnings += _doubt(name, sums, its_names)
    left_out = [label for label in labels if label not in labels_of(groups)]
    if left_out:
        warnings.append(f"label_groups names no group of {some(left_out, _SHOWN)}: they are not predicted")
    return tuple(groups), warnings


def _known_sums(truth: Vectors, names: Sequence[str]) -> tuple[NDArray[Any], Sequence[str]]:
    """The sums of a group's columns, of the samples in which any label is known, and the names of these samples."""
    known: Flags = np.asarray(~np.isnan(truth).all(axis=1))
    return np.nansum(truth[known], axis=1), [name for name, flag in zip(names, known, strict=True) if flag]


def _check_names(groups: Mapping[str, Sequence[str]], task: Any, labels: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name, group in groups.items():
        for label in group:
            if label not in labels:
                raise TrainError(f"label_groups.{name}: the dataset has no label '{label}'.{nearest(label, labels)}")
            if label in seen:
                raise TrainError(
                    f"label_groups: '{label}' is in {seen[label]} and in {name}; expected it once. Leave it out of one"
                )
            seen[label] = name
    for name in task if isinstance(task, Mapping) else ():
        if name not in groups:
            raise TrainError(f"task.{name}: no group of labels has that name.{nearest(name, groups)}")


def _is_one(sums: NDArray[Any]) -> Flags:
    return np.asarray(np.abs(sums - 1) <= _ROUNDING)


def _check_single(name: str, labels: Sequence[str], sums: NDArray[Any], names: Sequence[str]) -> Iterator[str]:
    """Raise TrainError if several labels of a sample are true, where one is expected; a warning if none is."""
    if len(labels) < 2:
        raise TrainError(f"task is single, but {name} has one label, {labels[0]}. Set task: multi")
    _check_alternatives(name, sums, names)
    none = [sample for sample, total in zip(names, sums, strict=True) if not total]
    if none:
        yield (
            f"{_samples(len(none))}, such as {none[0]}, have no label of {name}; as task is single, they "
            "count as not labelled there"
        )


def _check_alternatives(name: str, sums: NDArray[Any], names: Sequence[str]) -> None:
    wrong = np.flatnonzero(~_is_one(sums) & (sums != 0))
    if len(wrong):
        raise TrainError(
            f"of the labels of {name} exactly one is expected in each sample (task single), but those of "
            f"{names[wrong[0]]} sum to {sums[wrong[0]]:.4g}, and so in {_samples(len(wrong))}. Train with "
            "task: multi, or correct the labels"
        )


def _samples(count: int) -> str:
    """A number of samples; loading processes import this module, and not the report's tables."""
    return f"{count:,} sample{'' if count == 1 else 's'}"


def _doubt(name: str, sums: NDArray[Any], names: Sequence[str]) -> Iterator[str]:
    others = np.flatnonzero(~_is_one(sums))
    if 0 < len(others) < _FEW * len(sums):
        yield (
            f"{len(others)} of {_samples(len(sums))}, such as {names[others[0]]}, have no label of {name} or "
            "several, so each label is judged by itself. If exactly one is meant, correct them and set task: single"
        )


def select_labels(groups: Sequence[LabelGroup], labels: Sequence[str], truth: Vectors, names: Sequence[str]) -> Vectors:
    """The columns of a dataset's label vectors that a run predicts, in its order: (N, L), see `settle_unknown`.

    Raises:
        TrainError: of a single group, a sample has several labels.
    """
    chosen = settle_unknown(groups, truth[:, [labels.index(label) for label in labels_of(groups)]])
    for group, part in slices(groups):
        if not group.multi:
            _check_alternatives(group.name, chosen[:, part].sum(axis=1), names)
    return chosen


def settle_unknown(groups: Sequence[LabelGroup], truth: Vectors) -> Vectors:
    """The vectors, (N, L), without NaN in single groups: where one label is true, those that are unknown are not."""
    settled = np.array(truth)
    for group, part in slices(groups):
        if not group.multi:
            settled[:, part] = np.nan_to_num(truth[:, part])
    return settled


def true_labels(groups: Sequence[LabelGroup], truth: Vectors) -> Flags:
    """Which labels hold, (N, L): the highest of a single group, and those of at least 0.5 of others."""
    flags = truth >= _TRUE
    for group, part in slices(groups):
        if not group.multi:
            flags[:, part] = _highest(truth[:, part]) & (truth[:, part].sum(axis=1, keepdims=True) > 0)
    return flags


def predicted_labels(groups: Sequence[LabelGroup], probabilities: Vectors, thresholds: Sequence[float]) -> Flags:
    """Which labels are predicted, (N, L): the highest of a single group, and those that reach their threshold."""
    flags = probabilities >= np.asarray(thresholds, probabilities.dtype)
    for group, part in slices(groups):
        if not group.multi:
            flags[:, part] = _highest(probabilities[:, part])
    return flags


def labelled_rows(group: LabelGroup, truth: Vectors) -> Flags:
    """The samples that are labelled in a group, (N,), of the group's columns.

    Of a single one these are rows that are not 0, of others those of which any label is known.
    """
    return np.asarray(~np.isnan(truth).all(axis=1) if group.multi else truth.sum(axis=1) > 0)


def _highest(values: Vectors) -> Flags:
    """True at the highest value of each row, the first of equals."""
    return np.asarray(np.arange(values.shape[1]) == values.argmax(axis=1)[:, None])


def absent_label_warnings(groups: Sequence[LabelGroup], truth: Vectors) -> Iterator[str]:
    """Warnings of labels that no training sample has, or all have, or that are unknown in some.

    Raises:
        TrainError: that is so for all labels: there is nothing to learn.
    """
    truth = settle_unknown(groups, truth)
    known = ~np.isnan(truth)
    high, low = np.nan_to_num(truth).max(axis=0), np.where(known, truth, np.inf).min(axis=0)
    never = high == 0
    if not (high > low).any():
        raise TrainError(
            "all training samples have the same labels, so there is nothing to learn. Look at the split: augforge "
            "inspect"
        )
    absent = [label for label, missing in zip(labels_of(groups), never, strict=True) if missing]
    if absent:
        yield (
            f"no training sample has the label {some(absent, _SHOWN)}: the network learns that none ever has. Leave "
            "it out with class_map, or add samples"
        )
    always = [label for label, least in zip(labels_of(groups), low, strict=True) if _TRUE <= least < np.inf]
    if always:
        yield f"all training samples have the label {some(always, _SHOWN)}: the network learns that it is always there"
    partly = [label for label, column in zip(labels_of(groups), known.T, strict=True) if not column.all()]
    if partly:
        fewest = int(known.sum(axis=0).min())
        yield (
            f"{some(partly, _SHOWN)} {'is' if len(partly) == 1 else 'are'} unknown in some training samples, the one "
            f"known least in all but {_samples(fewest)}; a sample counts for the labels that it knows"
        )
