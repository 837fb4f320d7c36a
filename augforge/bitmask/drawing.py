"""Polygons drawn into bit-planes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from augforge.bitmask.layout import Planes, empty, plane_and_bit


def rasterise(polygons: Iterable[tuple[int, Sequence[ArrayLike]]], height: int, width: int, classes: int) -> Planes:
    """Draw polygons, each (class index, rings), into new planes (H, W, P).

    A ring is (N, 2) xy in pixels, pixel centres at integers. ``rings[0]`` is the exterior; the others are holes in this
    polygon alone (inside it, apart from each other). Polygons of the same class are united. The pixels are those that
    ``cv2.fillPoly`` sets for one polygon's rings, rounded to int32 by ``np.rint`` (half to even), boundary included,
    on a canvas that holds the polygon whole and is then cropped to the image: fillPoly's own clipping moves edges. What
    lies outside the image by more than its width or height is clipped first; clipped edges may move by a pixel.

    Raises:
        ValueError: a class outside 0..C-1, or a ring of fewer than 3 points, with NaN, or with values beyond int32.
    """
    planes = empty(height, width, classes)
    for c, rings in polygons:
        plane, bit = plane_and_bit(c, classes)
        _draw(planes[..., plane], [_check_ring(ring, c) for ring in rings], 1 << bit)
    return planes


def _check_ring(ring: ArrayLike, c: int) -> NDArray[np.float64]:
    """A ring as (N, 2) points rounded to whole pixels; ValueError if it cannot be drawn."""
    points = np.rint(np.asarray(ring, np.float64))
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise ValueError(f"ring of class {c} has shape {points.shape}; expected (N, 2) points, N >= 3")
    if not (np.abs(points) < 2**31).all():
        raise ValueError(f"ring of class {c} has points that are NaN, infinite or beyond int32; expected pixels")
    return points


def _draw(layer: NDArray[np.uint8], rings: list[NDArray[np.float64]], value: int) -> None:
    """OR ``value`` into the pixels of ``layer`` (H, W) that one polygon's rings cover."""
    size = np.array(layer.shape[::-1])
    parts = [part.astype(np.int32) for ring in rings if len(part := _clip(ring, -size, 2 * size))]
    if not parts:
        return
    points = np.concatenate(parts)
    low, high = points.min(axis=0), points.max(axis=0) + 1
    (x0, y0), (x1, y1) = np.maximum(low, 0), np.minimum(high, size)
    if x0 < x1 and y0 < y1:
        canvas = np.zeros((high - low)[::-1], np.uint8)
        cv2.fillPoly(canvas, parts, (value,), offset=(-int(low[0]), -int(low[1])))
        layer[y0:y1, x0:x1] |= canvas[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]]


def _clip(ring: NDArray[np.float64], low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.float64]:
    """The part of a ring inside low..high (x and y), after Sutherland and Hodgman; (0, 2) if nothing is inside."""
    for axis, sign, limit in ((0, 1, low[0]), (0, -1, high[0]), (1, 1, low[1]), (1, -1, high[1])):
        depth = sign * (ring[:, axis] - limit)
        inside = depth >= 0
        if not inside.all():
            crossing = inside != np.roll(inside, -1)
            share = np.divide(depth, depth - np.roll(depth, -1), out=np.zeros_like(depth), where=crossing)
            cut = np.rint(ring + share[:, None] * (np.roll(ring, -1, axis=0) - ring))
            ring = np.stack([ring, cut], axis=1)[np.stack([inside, crossing], axis=1)]
    return ring
