"""Which pixels a polygon covers: rules other than OpenCV's, which includes the pixels of the outline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augforge.sources.raster import rle

Fill = Literal["outline", "pixel-centre", "coco"]
"""Which pixels a polygon covers."""

POLYGON_FILL: Fill = Field(
    "outline",
    description="pixels of a polygon: those inside and on its outline (cv2.fillPoly), half a pixel wider all round; "
    "those whose centre lies inside, pixel centres at integers; or exactly those of pycocotools. Lines and points are "
    "drawn by their outline whatever this says",
)


def with_fill(content: Any, fill: Fill) -> Any:
    """The ``content`` for `make_record` with the rule, unless it is the default, which leaves ids as they are."""
    return content if fill == "outline" else [content, fill]


def fill_centres(rings: Sequence[Sequence[float]], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels (H, W) whose centres, at integers, lie in one of the rings, flat [x, y, ...]; each by even-odd.

    A centre on a left or upper edge is inside, one on a right or lower edge is not. So polygons that share an edge
    neither overlap nor leave a gap there.
    """
    inside = np.zeros((height, width), bool)
    for ring in rings:
        inside |= _fill_ring(np.reshape(np.asarray(ring, np.float64), (-1, 2)), height, width)
    return inside


def _fill_ring(points: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels with an odd number of crossings to their left in the row of their centres."""
    starts, ends = points, np.roll(points, -1, axis=0)
    turned = starts[:, 1] > ends[:, 1]  # from top to bottom, so that an edge crosses alike in both its polygons
    upper, lower = np.where(turned[:, None], ends, starts), np.where(turned[:, None], starts, ends)
    first = np.clip(np.ceil(upper[:, 1]), 0, height).astype(np.int64)
    counts = np.clip(np.ceil(lower[:, 1]), 0, height).astype(np.int64) - first
    edge = np.repeat(np.arange(len(points)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    share = (rows - upper[edge, 1]) / (lower[edge, 1] - upper[edge, 1])
    crossing = upper[edge, 0] + share * (lower[edge, 0] - upper[edge, 0])
    crossings = np.zeros((height, width + 1), np.uint8)  # they wrap at 256, and stay odd or even
    np.add.at(crossings, (rows, np.clip(np.ceil(crossing), 0, width).astype(np.int64)), 1)
    return np.asarray(np.cumsum(crossings[:, :width], axis=1, dtype=np.uint8) & 1).view(bool)


def fill_coco(rings: Sequence[Sequence[float]], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels (H, W) that pycocotools gives for the union of the rings, flat [x, y, ...].

    What lies outside the image by more than its width or height is clipped before, as it would cost memory.
    """
    from pycocotools import mask  # imported late: only this rule needs it

    near = [ring for ring in (_clip(ring, height, width) for ring in rings) if len(ring) >= 6]
    if not near:
        return np.zeros((height, width), bool)
    counts = mask.merge(mask.frPyObjects(near, height, width))["counts"]
    return rle.decode(str(counts, "ascii"), height, width).astype(bool)


def _clip(ring: Sequence[float], height: int, width: int) -> list[float]:
    """The part of a ring within -W..2W and -H..2H, after Sutherland and Hodgman; the ring itself if it is all of it."""
    points = np.reshape(np.asarray(ring, np.float64), (-1, 2))
    for axis, sign, limit in ((0, 1, -width), (0, -1, 2 * width), (1, 1, -height), (1, -1, 2 * height)):
        depth = sign * (points[:, axis] - limit)
        inside = depth >= 0
        if not inside.all():
            crossing = inside != np.roll(inside, -1)
            share = np.divide(depth, depth - np.roll(depth, -1), out=np.zeros_like(depth), where=crossing)
            cut = points + share[:, None] * (np.roll(points, -1, axis=0) - points)
            points = np.stack([points, cut], axis=1)[np.stack([inside, crossing], axis=1)]
    clipped: list[float] = points.reshape(-1).tolist()
    return clipped
