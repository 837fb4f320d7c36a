"""Drawing annotated shapes into bit-planes: polygons, discs, strokes and masks.

A drawing consists of parts. Each has a class and either a ring, flat ``[x, y, x, y, ...]`` in pixels with pixel centres
at integers, or a mask with the position of its upper left corner. Rings follow `bitmask.rasterise`: rounded by
``np.rint``, filled by ``cv2.fillPoly`` with their boundary, cut to the image; or another rule of `fills`. A ring that
crosses itself is filled by the even-odd rule: what it encloses twice is left out. Parts of one class are united.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.errors import SourceError, shorten
from augforge.sources.raster.fills import Fill, fill_centres, fill_coco
from augforge.sources.scan.documents import MAX_PIXEL

Ring: TypeAlias = list[float]
Mask: TypeAlias = tuple[NDArray[Any], int, int]
"""Pixels (H, W), non-zero where the class is, and the x and y of the first one in the image."""
Part: TypeAlias = tuple[str, Ring | Mask]
_REMEDY = "Correct or remove the polygon."


class DegeneratePolygon(SourceError):
    """A polygon of fewer than three distinct points, which encloses nothing; ``drop_degenerate`` leaves it out."""


def flat_ring(values: Any, where: str) -> Ring:
    """A polygon's flat [x, y, x, y, ...] as floats, so that 7 and 7.0 are equal.

    Raises DegeneratePolygon for one or two points, and SourceError for anything else that is no polygon.
    """
    if not isinstance(values, list) or not set(map(type, values)) <= {int, float} or len(values) % 2:
        raise SourceError(f"{where}: polygon {_odd_ring(values)}; expected a flat list [x, y, x, y, ...]. {_REMEDY}")
    if values and (not (min(values) > -MAX_PIXEL and max(values) < MAX_PIXEL) or any(map(math.isnan, values))):
        raise SourceError(f"{where}: polygon has points that are NaN, infinite or beyond any image. {_REMEDY}")
    if len(values) < 6:
        require_area(list(zip(values[::2], values[1::2], strict=True)), where)
    return list(map(float, values))


def polygon_ring(values: Any, where: str) -> Ring:
    """`flat_ring` of a polygon, of which three points have to be distinct: else it raises DegeneratePolygon."""
    ring = flat_ring(values, where)
    if len({*zip(ring[:6:2], ring[1:6:2], strict=True)}) < 3:  # of nearly all polygons, the first three are
        require_area(list(zip(ring[::2], ring[1::2], strict=True)), where)
    return ring


def require_area(points: Sequence[Sequence[float]], where: str) -> None:
    """Raise DegeneratePolygon, which begins with ``where``, if fewer than three of the points are distinct."""
    distinct = len({tuple(point) for point in points})
    if distinct < 3:
        count = f"{len(points)} point{'s' * (len(points) != 1)}"
        fact = count if len(points) < 3 else f"{count}, of which only {distinct} differ{'s' * (distinct == 1)}"
        raise DegeneratePolygon(
            f"{where}: {fact}; expected 3 or more different ones. {_REMEDY} Or set 'drop_degenerate: true', which "
            "leaves out such polygons."
        )


def _odd_ring(values: Any) -> str:
    """What is wrong with a polygon that is no flat list of pairs of numbers, for a message."""
    if not isinstance(values, list):
        return f"is {shorten(values)}"
    if any(isinstance(value, list | dict) for value in values):
        return f"is the nested list {shorten(values)}"
    odd = next((value for value in values if type(value) not in (int, float)), None)
    if isinstance(odd, str):
        return f"holds the text {shorten(odd)} where a number has to stand"
    everything = all(type(value) in (int, float) for value in values)
    return f"holds {len(values)} numbers, which are no pairs" if everything else f"holds {shorten(odd)}, no number"


class Stroke(list[float]):
    """A ring of a drawn line, whose outline is part of it whatever rule fills polygons: it may have no inside."""


def draw(
    parts: Iterable[Part], height: int, width: int, classes: Sequence[str], fill: Fill = "outline"
) -> bitmask.Planes:
    """Bit-planes (H, W, P) with all parts drawn; ``fill`` says which pixels a ring covers."""
    index = {name: c for c, name in enumerate(classes)}
    masks: list[tuple[int, Mask]] = []
    apart: dict[int, list[Ring]] = {}

    def rings() -> Iterator[tuple[int, list[NDArray[np.float64]]]]:
        for name, shape in parts:
            if isinstance(shape, tuple):
                masks.append((index[name], shape))
            elif fill != "outline" and not isinstance(shape, Stroke):
                apart.setdefault(index[name], []).append(shape)
            else:
                yield index[name], [np.reshape(shape, (-1, 2))]

    planes = bitmask.rasterise(rings(), height, width, len(classes))
    for c, found in apart.items():
        bitmask.merge_class(planes, c, _FILLS[fill](found, height, width))
    for c, mask in masks:
        _paste(planes, c, mask)
    return planes


_FILLS = {"pixel-centre": fill_centres, "coco": fill_coco}


def _paste(planes: bitmask.Planes, c: int, mask: Mask) -> None:
    """Add a mask to class ``c``, cut to the image."""
    pixels, x, y = mask
    (height, width), (rows, columns) = pixels.shape, planes.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, columns), min(y + height, rows)
    if x0 < x1 and y0 < y1:
        bitmask.merge_class(planes[y0:y1, x0:x1], c, pixels[y0 - y : y1 - y, x0 - x : x1 - x])


def box_ring(x0: float, y0: float, x1: float, y1: float, fill: Fill) -> Ring:
    """The ring of a box that covers the pixels from its first edges up to, and without, its last edges."""
    if fill != "outline":  # these rules leave out the last edge themselves
        return rectangle(x0, y0, x1, y1)
    return rectangle(x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Ring:
    """The ring of a rectangle through two opposite corners, both inclusive."""
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def disc(x: float, y: float, radius: float) -> Ring:
    """A ring around a point, less than a tenth of a pixel inside the true circle up to a radius of 20,000."""
    count = min(1024, max(8, 4 * math.ceil(2 * math.sqrt(radius))))
    angles = [2 * math.pi * i / count for i in range(count)]
    return [value for a in angles for value in (x + radius * math.cos(a), y + radius * math.sin(a))]


def stroke(points: Sequence[Sequence[float]], width: float) -> Iterator[Ring]:
    """Rings of a line through points, ``width`` pixels wide with round ends; 1 is a line of single pixels."""
    half = max(0.0, (width - 1) / 2)
    for x, y in points:
        yield Stroke(disc(x, y, half))
    for (x0, y0), (x1, y1) in pairwise(points):
        length = math.hypot(x1 - x0, y1 - y0)
        if length:
            dx, dy = (y0 - y1) * half / length, (x1 - x0) * half / length
            yield Stroke([x0 + dx, y0 + dy, x1 + dx, y1 + dy, x1 - dx, y1 - dy, x0 - dx, y0 - dy])
