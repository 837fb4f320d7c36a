"""What the shapes of one image say of where they lie, so that a listing can tell what is implausible about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from augforge.sources.raster.fills import Fill

Box: TypeAlias = tuple[float, float, float, float]
"""Smallest and largest x and y: x0, y0, x1, y1."""
Farthest: TypeAlias = list[tuple[float, str]]
"""The shapes that lie farthest to the left, above, to the right and below; empty if there are no shapes.

For each: how far its box reaches towards the image from there, and its name.
"""

TOLERANCE = 0.5
"""Pixels by which a shape may reach out of its image: x = 0 may mean the centre of the first pixel or its left edge."""

_SAME = 1e-6
"""The share of a box's area that a ring may lack to count as one that fills it."""


@dataclass(slots=True)
class Outlines:
    """The shapes of one image, taken in as they are read, before the image itself is.

    Attributes:
        size: width and height that the annotation states, or None.
        far: the shapes that lie farthest out; see `shape_outside_image`.
        leaving: the boxes of the shapes that reach out of the stated size; without one, of all.
        framing: class and box of each ring that fills its box and begins at the image's first pixel.
        rings: how many rings there are.
        within_one: how many of these lie within 0 to 1, as shares of the image's size do.
        fractions: how many of those are not all whole numbers.
        dropped: how many polygons were left out by ``drop_degenerate``.
        slack: by how much a shape may reach out of the size without being told.
        in_shares: whether coordinates are shares of the image's size; then the size is (1, 1).
    """

    size: Sequence[float] | None = None
    far: Farthest = field(default_factory=list)
    leaving: list[Box] = field(default_factory=list)
    framing: list[tuple[str, Box]] = field(default_factory=list)
    rings: int = 0
    within_one: int = 0
    fractions: int = 0
    dropped: int = 0
    slack: float = TOLERANCE
    in_shares: bool = False

    def add_ring(self, class_: str, ring: Sequence[float], where: str) -> Box:
        """Take in a ring of a class, and give the box around it; ``where`` is what messages call it."""
        box = box_of(zip(ring[::2], ring[1::2], strict=True))
        self.add_box(box, where)
        self.rings += 1
        if not self.in_shares and min(box) >= 0 and max(box) <= 1:
            self.within_one += 1
            self.fractions += not all(map(float.is_integer, ring))
        elif max(box[:2]) <= self.slack and _fills_box(ring, box):
            self.framing.append((class_, box))
        return box

    def add_box(self, box: Box, where: str) -> None:
        """Take in the box around a shape that is no ring, such as a mask."""
        self.far = extend_farthest(self.far, box, where)
        if self.size is None or reach_of(box, self.size) > self.slack:
            self.leaving.append(box)

    def facts(self) -> dict[str, Any]:
        """What `OutlineCensus.see` reads, JSON-like."""
        return {
            "far": self.far,
            "leaving": self.leaving,
            "framing": self.framing,
            "rings": [self.rings, self.within_one, self.fractions],
            "dropped": self.dropped,
        }


def box_of(points: Iterable[Sequence[float]], around: float = 0.0) -> Box:
    """The box around points (x, y), extended by ``around`` on all sides."""
    xs, ys = zip(*points, strict=True)
    return min(xs) - around, min(ys) - around, max(xs) + around, max(ys) + around


def extend_farthest(far: Farthest, box: Box, shape: str) -> Farthest:
    """`Farthest` with one more shape; its name is for messages."""
    x0, y0, x1, y1 = box
    reach = [(edge, shape) for edge in (x1, y1, -x0, -y0)]
    return list(map(min, far, reach)) if far else reach


def shape_outside_image(far: Farthest, image: Mapping[str, Any], path: Path) -> str | None:
    """The error message if a shape lies wholly outside its image, or None.

    x = 0 may mean the centre of the first pixel or its left edge; a shape that reaches the image by one of the two
    meanings counts as inside.
    """
    limits = (-0.5, -0.5, -image["width"], -image["height"])
    shape = next((shape for (reach, shape), limit in zip(far, limits, strict=False) if reach < limit), None)
    if shape is None:
        return None
    return (
        f"{path}: {shape} lies outside its image of {image['width']}x{image['height']} pixels; expected some of it "
        "inside. Restore the image that was annotated, or correct or remove the annotation."
    )


def reach_of(box: Box, size: Sequence[float]) -> float:
    """How many pixels a box reaches out of an image of width and height; negative if it does not."""
    return max(-box[0], -box[1], box[2] - size[0], box[3] - size[1])


def in_pixels(outlines: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    """The `Outlines.facts` of shapes that are given in shares of the image's size."""
    sides = (image["width"], image["height"]) * 2

    def scaled(box: Sequence[float]) -> list[float]:
        return [part * side for part, side in zip(box, sides, strict=True)]

    framing = [[name, scaled(box)] for name, box in outlines["framing"]]
    return {**outlines, "leaving": list(map(scaled, outlines["leaving"])), "framing": framing}


def covered_classes(outlines: Mapping[str, Any], image: Mapping[str, Any], fill: Fill) -> Iterator[str]:
    """The classes of shapes that cover every pixel of an image, by `Outlines.facts`."""
    first, last = _FIRST_AND_LAST[fill]
    for class_, (x0, y0, x1, y1) in outlines["framing"]:
        if max(x0, y0) <= first and x1 >= image["width"] + last and y1 >= image["height"] + last:
            yield class_


_FIRST_AND_LAST: Mapping[Fill, tuple[float, float]] = {
    "outline": (0.5, -1),
    "pixel-centre": (0, -1 + _SAME),
    "coco": (0.5, -0.5),
}
"""By each rule of filling: where a ring that covers all pixels begins at the latest, and ends before the edge."""


def _fills_box(ring: Sequence[float], box: Box) -> bool:
    """Whether a ring's area (by the shoelace formula) is that of the box around it."""
    points = list(zip(ring[::2], ring[1::2], strict=True))
    twice = abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise([*points, points[0]])))
    whole = (box[2] - box[0]) * (box[3] - box[1])
    return whole > 0 and twice / 2 >= whole * (1 - _SAME)
