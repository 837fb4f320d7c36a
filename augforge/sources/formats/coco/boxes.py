"""The ``bbox`` of COCO's annotations: [x, y, width, height], which some tools write as two corners [x0, y0, x1, y1]."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any, TypeGuard

from augforge.sources.raster.outlines import Box
from augforge.sources.scan.documents import is_pixel

_ROUNDING = 1
"""Pixels by which tools let boxes reach out of the image."""


@dataclass(slots=True)
class BoxCounts:
    """What the boxes of some annotations say of how they are written.

    Attributes:
        beside: how many annotations have polygons and a box.
        apart: how many of these have their polygons elsewhere than their box.
        apart_fitting: how many of these fit once the box is read as two corners.
        drawn: how many boxes are drawn, as there is nothing else, in an image whose size the file states, but none that
            begins at its first pixel: it is the same either way.
        corners: how many of these lie in their image once they are read as two corners.
        leaving: how many of these reach out of their image as they are.
    """

    beside: int = 0
    apart: int = 0
    apart_fitting: int = 0
    drawn: int = 0
    corners: int = 0
    leaving: int = 0

    def see_polygons(self, bounds: Sequence[Box], box: Sequence[float]) -> None:
        """Take in the ``bbox`` of an annotation whose polygons have these boxes around them."""
        self.beside += 1
        if lie_apart(bounds, box):
            self.apart += 1
            as_corners = [*box[:2], box[2] - box[0], box[3] - box[1]]
            self.apart_fitting += min(as_corners[2:]) > 0 and not lie_apart(bounds, as_corners)

    def see_drawn(self, box: Sequence[float], size: Sequence[float] | None) -> None:
        """Take in the ``bbox`` of an annotation that has nothing else, in an image of width and height."""
        if size is not None and max(box[:2]) > 0:
            far = [side + _ROUNDING for side in size]
            self.drawn += 1
            self.corners += all(start < end <= most for start, end, most in zip(box, box[2:], far, strict=False))
            self.leaving += any(start + end > most for start, end, most in zip(box, box[2:], far, strict=False))

    def facts(self) -> list[int]:
        """The counts, JSON-like, which `BoxCounts` takes again."""
        return [*astuple(self)]

    @classmethod
    def sum(cls, counts: Iterable[Sequence[int]]) -> BoxCounts:
        """The counts of several images together, by their facts."""
        return cls(*map(sum, zip(*counts, strict=True)))


def is_box(value: Any) -> TypeGuard[list[float]]:
    """Whether a value is [x, y, width, height] in pixels."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_pixel, value)) and min(value[2:]) > 0


def lie_apart(bounds: Sequence[Box], box: Sequence[float]) -> bool:
    """Whether the polygons of an annotation, given by the boxes around them, lie elsewhere than its ``bbox``.

    So it is if the two boxes have less than half of their union in common, after each has grown by a pixel all round:
    tools round differently.
    """
    x, y, width, height = box
    edges = list(zip(*bounds, strict=True))
    here = (min(edges[0]) - 1, min(edges[1]) - 1, max(edges[2]) + 1, max(edges[3]) + 1)
    there = (x - 1, y - 1, x + width + 1, y + height + 1)
    across, down = (max(0, min(here[i + 2], there[i + 2]) - max(here[i], there[i])) for i in range(2))
    areas = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (here, there))
    return bool(3 * across * down < areas)
