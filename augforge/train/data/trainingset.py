"""The samples of one or several datasets as one set to train on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import PlanError, TrainError
from augforge.ops.sides import Sides
from augforge.sample import IGNORE, Sample
from augforge.store.dataset import Dataset
from augforge.store.sides import complete_sides


class TrainingSet:
    """The training samples of one or several datasets, one dataset after the other.

    Args:
        datasets: what to train on, such as ``[dataset.split("train")]``.

    Raises:
        TrainError: no sample, or datasets of different classes or labels.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        if not sum(map(len, datasets)):
            raise TrainError("there is no sample to train on; expected a dataset with a split 'train'")
        check_same_tables(datasets)
        self.classes, self.labels = datasets[0].classes, datasets[0].labels
        self.sides = _united_sides(datasets)
        self._parts = list(datasets)
        self._ends = np.cumsum([len(part) for part in self._parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, i: int) -> Sample:
        part = int(np.searchsorted(self._ends, i, "right"))
        return self._parts[part][i - int(self._ends[part]) + len(self._parts[part])]

    def column(self, name: str) -> list[Any]:
        """A column of the index, for all samples."""
        return [value for part in self._parts for value in part.index[name].to_list()]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Stored width and height, (N, 2)."""
        return np.asarray(np.array([self.column("width"), self.column("height")], np.int64).T)

    @property
    def has_colour(self) -> bool:
        """Whether any sample has more than one channel."""
        return any(channels > 1 for channels in self.column("channels"))

    @property
    def has_uint16(self) -> bool:
        """Whether any sample is stored with 16 bits."""
        return "uint16" in self.column("dtype")

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which classes each sample has pixels of, (N, classes); False for a class that is not known."""
        return np.array([[bool(area[name]) for name in self.classes] for area in self.column("area")])

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which labels are at least 0.5, (N, labels); all False for a sample without label vector."""
        return self._label_values >= 0.5

    @property
    def _label_values(self) -> NDArray[np.float64]:
        none = [0.0] * len(self.labels)
        return np.array([none if label is None else label for label in self.column("label")], float)

    @property
    def label_vectors(self) -> NDArray[np.float64]:
        """The label vectors, (N, labels), NaN where a label is unknown; of samples that all have one."""
        return np.concatenate([label_vectors(part) for part in self._parts])

    def rarity_weights(self) -> NDArray[np.float64]:
        """Sampling weights, one per sample, with which rare classes are drawn about as often as common ones.

        A sample's weight is 1 / the share of samples that show its rarest class, among those in which the class is
        known; 1 for a sample that shows no class. `ignore` is not a class here. A dataset without classes is weighted
        by labels of at least 0.5.
        """
        names = [name for name in self.classes if name != IGNORE]
        areas = np.array([[area[name] for name in names] for area in self.column("area")], float)  # NaN: not known
        shown = areas > 0 if names else self.labelled
        known = ~np.isnan(areas if names else self._label_values)
        shares = np.maximum(shown.sum(axis=0), 1) / np.maximum(known.sum(axis=0), 1)
        return np.asarray(np.where(shown, 1 / shares, 1.0).max(axis=1, initial=1.0))


def label_vectors(dataset: Dataset) -> NDArray[np.float64]:
    """The label vectors of a dataset's samples, (N, labels), NaN where a label is unknown; all must have one."""
    return np.array(dataset.index["label"].to_list(), np.float64).reshape(len(dataset), len(dataset.labels))


def check_same_tables(datasets: Sequence[Dataset]) -> None:
    """Raise TrainError unless all datasets have the same classes and labels, in the same order."""
    for other in datasets[1:]:
        _check_same_tables(datasets[0], other)


def _check_same_tables(first: Dataset, other: Dataset) -> None:
    for what, table, theirs in (("class", first.classes, other.classes), ("label", first.labels, other.labels)):
        if table == theirs:
            continue
        missing, more = sorted({*table} - {*theirs}), sorted({*theirs} - {*table})
        differences = [f"lacks {', '.join(missing)}"] if missing else []
        differences += [f"has {', '.join(more)} besides"] if more else []
        facts = " and ".join(differences) or f"has the same {what} names in another order"
        expected = f"the {what} table of {first.folder}: {', '.join(table) or 'none'}"
        raise TrainError(f"{other.folder} {facts}; expected {expected}. Build both with the same list of classes")


def _united_sides(datasets: Sequence[Dataset]) -> Sides:
    """The sides of all datasets; TrainError if one pairs a name otherwise than another does."""
    united = Sides()
    for dataset in datasets:
        try:
            united = united.unite(complete_sides(dataset.manifest))
        except PlanError as error:
            raise TrainError(f"{dataset.folder}: {error}, in all datasets. Build them with the same `sides`") from None
    return united.complete(datasets[0].classes, datasets[0].labels)
