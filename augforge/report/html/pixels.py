"""What only pixels show: intensities, and which classes cover one another. Of a bounded number of samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.report.html.thumbnails import Thumbnail, make_thumbnail
from augforge.report.show import choose_rows
from augforge.sample import Sample
from augforge.store.dataset import Dataset

BINS = 32
_MOST_PIXELS = 20_000
"""Pixels of a sample that are compared, spread evenly: overlaps of classes are shares, and need no more."""


@dataclass(frozen=True)
class Tile:
    """A sample of the gallery: its row of the index, as plain values, and its thumbnail."""

    facts: dict[str, Any]
    thumbnail: Thumbnail


@dataclass
class Pixels:
    """What the decoded samples show.

    Attributes:
        tiles: in the order of the gallery.
        intensities: counts between equal steps of the range of the image's type, by split.
        areas: pixels of each class, and ``common`` those of each pair, (C, C), both of thinned-out masks.
    """

    tiles: list[Tile]
    intensities: dict[str, NDArray[np.int64]]
    areas: NDArray[np.int64]
    common: NDArray[np.int64] = field(repr=False)

    def overlaps(self) -> list[list[float | None]]:
        """The share of each row's class that each column's class covers too; None for a class that is not shown."""
        return [
            [None if not area else float(both) / float(area) for both in row]
            for area, row in zip(self.areas.tolist(), self.common.tolist(), strict=True)
        ]


def read_pixels(dataset: Dataset, most: int) -> Pixels:
    """Decode up to `most` samples, of each split and step alike."""
    count = len(dataset.classes)
    counts: dict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(BINS, np.int64))
    seen = Pixels([], counts, np.zeros(count, np.int64), np.zeros((count, count), np.int64))
    for position, sample in load_samples(dataset, choose_rows(dataset.index, most)):
        seen.tiles.append(Tile(tile_facts(dataset, position), make_thumbnail(sample, dataset.classes)))
        seen.intensities[sample.split] += _histogram(sample)
        common = _common_pixels(sample, count)
        seen.common += common
        seen.areas += common.diagonal()
    return seen


def load_samples(dataset: Dataset, positions: Iterable[int]) -> Iterator[tuple[int, Sample]]:
    """Samples with their positions in the dataset."""
    return ((position, dataset[position]) for position in positions)


def tile_facts(dataset: Dataset, position: int) -> dict[str, Any]:
    """What a page says of one sample, JSON-like."""
    columns = ["name", "group", "split", "step", "tags", "width", "height", "area", "label", "parents"]
    row = dataset.index.select(*columns).row(position, named=True)
    return {
        "position": position,
        **{key: row[key] for key in ("name", "group", "split", "width", "height")},
        "step": row["step"] or "source",
        "tags": list(row["tags"] or ()),
        "parents": list(row["parents"] or ()),
        "shown": [name for name, pixels in row["area"].items() if pixels],
        "labels": _given_labels(row["label"], dataset.labels),
    }


def _given_labels(label: Sequence[float | None] | None, names: Sequence[str]) -> list[str]:
    return [name for name, weight in zip(names, label or (), strict=False) if (weight or 0) > 0]  # None: unknown


def _histogram(sample: Sample) -> NDArray[np.int64]:
    image = sample.image if sample.image.ndim == 2 else sample.image[..., :3]
    top = np.iinfo(image.dtype).max + 1
    counts: NDArray[np.int64] = np.histogram(image[::2, ::2], BINS, (0, top))[0]
    return counts


def _common_pixels(sample: Sample, classes: int) -> NDArray[np.int64]:
    """How many pixels each pair of classes shares, (C, C), in masks that are thinned out."""
    step = max(1, int(np.sqrt(sample.width * sample.height / _MOST_PIXELS)))
    masks = bitmask.keep(sample.masks, sample.known)[::step, ::step]
    flat = bitmask.to_stack(masks, classes).reshape(classes, -1).astype(np.float32)
    return np.asarray(np.rint(flat @ flat.T), np.int64)
