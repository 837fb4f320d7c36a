"""Samples that were made of several others, such as mosaics, with what they were made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from augforge.report.html.pixels import Tile, tile_facts
from augforge.report.html.thumbnails import Thumbnail, make_thumbnail
from augforge.report.show import choose_rows
from augforge.store.dataset import Dataset

_SMALL = 180
"""Pixels of the longer side of a part's thumbnail."""


@dataclass(frozen=True, slots=True)
class Part:
    """A source image that shows in a sample.

    Attributes:
        name: of the source image.
        box: x0, y0, x1, y1 where it shows, in percent of the sample's width and height.
        thumbnail: of a sample of the dataset that shows this image alone; None if the dataset holds none.
    """

    name: str
    box: tuple[float, float, float, float]
    thumbnail: Thumbnail | None


@dataclass(frozen=True, slots=True)
class Family:
    """A sample and its parts."""

    tile: Tile
    parts: tuple[Part, ...]


def read_families(dataset: Dataset, most: int = 4) -> list[Family]:
    """Up to `most` samples in which several source images show, of each step alike."""
    roots = pl.col("lineage").struct.field("roots")
    several = dataset.where(roots.list.len() > 1)
    if not len(several):
        return []
    alone = dataset.where(roots.list.len() == 1)
    names = alone.index.select(root=roots.list.first().struct.field("name")).with_row_index()
    first: Mapping[str, int] = dict(names.unique("root", keep="first").select("root", "index").rows())
    return [_family(several, position, alone, first) for position in choose_rows(several.index, most)]


def _family(dataset: Dataset, position: int, alone: Dataset, first: Mapping[str, int]) -> Family:
    tile = Tile(tile_facts(dataset, position), make_thumbnail(dataset[position], dataset.classes))
    lineage: Mapping[str, Any] = dataset.index["lineage"][position]
    return Family(tile, tuple(_part(root, tile.facts, alone, first) for root in lineage["roots"]))


def _part(root: Mapping[str, Any], facts: Mapping[str, Any], alone: Dataset, first: Mapping[str, int]) -> Part:
    place = first.get(root["name"])
    thumbnail = None if place is None else make_thumbnail(alone[place], alone.classes, _SMALL)
    (x0, y0, x1, y1), width, height = root["clip"], facts["width"], facts["height"]
    box = (100 * x0 / width, 100 * y0 / height, 100 * x1 / width, 100 * y1 / height)
    return Part(root["name"], box, thumbnail)
