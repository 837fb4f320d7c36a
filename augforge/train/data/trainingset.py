"""The samples of one or several datasets as one set to train on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import TrainError
from augforge.sample import IGNORE, Sample
from augforge.store.dataset import Dataset

_READ = ["name", "group", "split", "label", "metadata", "area", "shard", "width", "height", "channels", "dtype"]
_READ += ["image_offset", "image_bytes", "masks_offset", "masks_bytes"]


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
        first = datasets[0]
        for other in datasets[1:]:
            _check_alike(first, other)
        self.classes, self.labels = first.classes, first.labels
        self._parts = [_slim(dataset) for dataset in datasets]
        self._ends = np.cumsum([len(part) for part in self._parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, i: int) -> Sample:
        part = int(np.searchsorted(self._ends, i, "right"))
        return self._parts[part][i - int(self._ends[part]) + len(self._parts[part])]

    def column(self, name: str) -> list[Any]:
        """A column of the index, of all samples."""
        return [value for part in self._parts for value in part.index[name].to_list()]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Stored width and height, (N, 2)."""
        return np.array([self.column("width"), self.column("height")], np.int64).T

    @property
    def has_colour(self) -> bool:
        return any(channels > 1 for channels in self.column("channels"))

    @property
    def has_uint16(self) -> bool:
        return "uint16" in self.column("dtype")

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which classes each sample has pixels of, (N, classes); not of a class that it does not know."""
        return np.array([[bool(area[name]) for name in self.classes] for area in self.column("area")])

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which labels are at least 0.5, (N, labels); none of a sample without label vector."""
        none = [0.0] * len(self.labels)
        return np.array([none if label is None else label for label in self.column("label")]) >= 0.5

    def rarity_weights(self) -> NDArray[np.float64]:
        """A sampling weight a sample, by which rare classes come as often as common ones.

        One over the share of the samples that hold its rarest class, of those that know it; 1 for a sample that holds
        none. `ignore` is no class. Without classes it goes by labels of at least 0.5.
        """
        names = [name for name in self.classes if name != IGNORE]
        areas = np.array([[area[name] for name in names] for area in self.column("area")], float)  # NaN: not known
        held = areas > 0 if names else self.labelled
        known = ~np.isnan(areas) if names else np.ones(held.shape, bool)
        shares = np.maximum(held.sum(axis=0), 1) / np.maximum(known.sum(axis=0), 1)
        return np.asarray(np.where(held, 1 / shares, 1.0).max(axis=1, initial=1.0))


def _slim(dataset: Dataset) -> Dataset:
    """The dataset with only what reading needs in its index, for it travels to each worker."""
    columns = [name for name in _READ if name in dataset.index.columns]
    return Dataset(dataset.folder, dataset.manifest, dataset.index.select(columns), dataset.remote)


def _check_alike(first: Dataset, other: Dataset) -> None:
    for what, table, theirs in (("class", first.classes, other.classes), ("label", first.labels, other.labels)):
        if table == theirs:
            continue
        missing, more = sorted({*table} - {*theirs}), sorted({*theirs} - {*table})
        told = [f"lacks {', '.join(missing)}"] if missing else []
        told += [f"has {', '.join(more)} besides"] if more else []
        raise TrainError(
            f"{other.folder} {' and '.join(told) or f'has the same {what} names in another order'}; expected the "
            f"{what} table of {first.folder}: {', '.join(table) or 'none'}. Build both with the same list of classes"
        )
