"""The shapes of CVAT's XML as rings or run lengths.

Coordinates are continuous: the first pixel reaches from 0 to 1. Polygons are drawn through their points, as those of
COCO are; boxes and ellipses cover the pixels whose centres lie inside of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.sources.raster import rle
from augforge.sources.raster.outlines import Box
from augforge.sources.raster.shapes import Ring, flat_ring, rectangle
from augforge.sources.scan.documents import MAX_PIXEL
from augforge.sources.scan.images import MAX_PIXELS

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""

Pixels: TypeAlias = tuple[str, Box]
"""Compressed run lengths, and the box around the whole shape, which may reach out of the image."""

_EDGE = 1e-9
"""Pixels by which a centre may lie outside of an edge, since sines and cosines are rounded."""

WITHOUT_AREA = frozenset({"polyline", "points", "cuboid", "skeleton"})
"""Kinds of annotations that say that a class is there, but not on which pixels."""


def number(element: Element, name: str, where: str) -> float:
    """A finite number in an attribute. Raises SourceError."""
    try:
        value = float(element.get(name, ""))
    except ValueError:
        value = math.nan
    if not abs(value) < MAX_PIXEL:
        raise SourceError(
            f"{where}: {name} is {element.get(name)!r:.40}; expected a number of pixels. Export it again."
        )
    return value


def _whole(element: Element, name: str, where: str) -> int:
    value = number(element, name, where)
    if value != int(value):
        raise SourceError(f"{where}: {name} is {value}; expected a whole number of pixels. Export it again.")
    return int(value)


def _polygon(element: Element, where: str, size: Size) -> Ring:
    try:
        points = [float(value) for pair in element.get("points", "").split(";") for value in _pair(pair)]
    except ValueError:
        raise SourceError(f"{where}: points are no list 'x,y;x,y;...' of pixels. Export it again.") from None
    return flat_ring(points, where)


def _pair(text: str) -> tuple[str, str]:
    x, y = text.split(",")
    return x, y


def _box(element: Element, where: str, size: Size) -> Ring | Pixels:
    """A box as the ring of its edges; if it is turned, the run lengths of its pixels."""
    x0, y0, x1, y1 = (number(element, name, where) for name in ("xtl", "ytl", "xbr", "ybr"))
    x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
    if not (angle := _rotation(element, where)):
        return rectangle(x0, y0, x1, y1)
    cx, cy, half, across_half = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
    along, across = _axes(size, cx, cy, angle)
    inside = (abs(along) <= half + _EDGE) & (abs(across) <= across_half + _EDGE)
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    return rle.encode(inside), _box_around(
        cx, cy, half * cosine + across_half * sine, half * sine + across_half * cosine
    )


def _box_around(cx: float, cy: float, across: float, down: float) -> Box:
    return cx - across, cy - down, cx + across, cy + down


def _rotation(element: Element, where: str) -> float:
    """Radians, clockwise in the image."""
    return math.radians(number(element, "rotation", where)) if element.get("rotation") else 0.0


def _axes(size: Size, cx: float, cy: float, angle: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the centres of all pixels (H, W) lie along and across axes that are turned around a point."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]] + 0.5
    along = (x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)
    return along, (y - cy) * math.cos(angle) - (x - cx) * math.sin(angle)


def _ellipse(element: Element, where: str, size: Size) -> Pixels:
    """The run lengths of the pixels whose centres lie in an ellipse."""
    cx, cy, rx, ry = (number(element, name, where) for name in ("cx", "cy", "rx", "ry"))
    if not (rx > 0 and ry > 0):
        raise SourceError(f"{where}: rx and ry are {rx} and {ry}; expected more than 0. Correct or remove the ellipse.")
    angle = _rotation(element, where)
    along, across = _axes(size, cx, cy, angle)
    cosine, sine = math.cos(angle), math.sin(angle)
    box = _box_around(cx, cy, math.hypot(rx * cosine, ry * sine), math.hypot(rx * sine, ry * cosine))
    return rle.encode((along / rx) ** 2 + (across / ry) ** 2 <= 1), box


def _mask(element: Element, where: str, size: Size) -> Pixels:
    """The run lengths of a mask, which CVAT writes along the rows of a box, beginning with zeros."""
    left, top, width, height = (_whole(element, name, where) for name in ("left", "top", "width", "height"))
    words = [word.strip() for word in element.get("rle", "").split(",")]
    sound = all(word.isdecimal() and len(word) < 12 for word in words) and min(width, height) > 0
    runs = np.array(words, np.int64) if sound and width * height <= MAX_PIXELS else np.empty(0, np.int64)
    if runs.sum() != width * height:
        raise SourceError(f"{where}: rle does not fill a box of {width}x{height} pixels. Export it again.")
    inside = np.repeat((np.arange(len(runs)) % 2).astype(np.uint8), runs).reshape(height, width)
    whole = np.zeros((size[1], size[0]), np.uint8)
    x0, y0 = max(left, 0), max(top, 0)
    cut = inside[y0 - top : max(size[1] - top, 0), x0 - left : max(size[0] - left, 0)]
    whole[y0 : y0 + cut.shape[0], x0 : x0 + cut.shape[1]] = cut
    return rle.encode(whole), (left, top, left + width, top + height)


SHAPES: Mapping[str, Callable[[Element, str, Size], Ring | Pixels]] = {
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
    "mask": _mask,
}
"""For each kind of annotation with an area, what gives its ring or its pixels. Raises SourceError."""
