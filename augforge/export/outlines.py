"""Outlines of a class as polygons that give the same pixels when they are filled.

A ring goes through the centres of the class's border pixels, so filling it with its boundary, as ``cv2.fillPoly`` and
Pillow do, gives the class back exactly. Each connected piece is one ring: for formats without holes, a hole is joined
to the outline by a bridge, a line of the class's pixels that is followed there and back. Points are shifted right and
down by a quarter pixel: readers that truncate and readers that round then find the same pixel. OpenCV and Pillow draw
slanted edges differently, so simplified outlines must be good in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Ring = NDArray[np.int32]
"""int32 (N, 2): x and y of pixels."""
Polygon = NDArray[np.float64]
"""float64 (N, 2), N >= 3: x and y of points; pixel centres are at integers."""

MIN_IOU = 0.98
"""Least IoU of a class with its simplified outlines."""

_MIN_TOLERANCE = 0.5  # pixels: less saves no points
_OFFSET = 0.25
_SIDE = 0.2  # side of the triangle that represents a single pixel


def polygons(mask: NDArray[np.uint8], origin: tuple[int, int], tolerance: float = 0.0) -> list[Polygon]:
    """One polygon per connected piece (8 neighbours) of ``mask``, from top to bottom.

    Args:
        mask: uint8 (H, W) of 0 and 1, the box of a class.
        origin: x and y of the box in the image.
        tolerance: pixels by which outlines may move to save points. It is halved until their IoU with the class is at
            least `MIN_IOU`; below half a pixel they are exact.
    """
    rings = sorted(exact_rings(mask), key=lambda ring: (ring[:, 1].min(), ring[:, 0].min()))
    found = [_make_drawable(ring) for ring in rings]
    while tolerance >= _MIN_TOLERANCE:
        simple = [_make_drawable(_as_ring(cv2.approxPolyDP(ring[:, None], tolerance, True))) for ring in rings]
        if iou(mask, simple) >= MIN_IOU:
            found = simple
            break
        tolerance /= 2
    return [polygon + np.array(origin) for polygon in found]


def edge_polygons(mask: NDArray[np.uint8], origin: tuple[int, int]) -> list[Ring]:
    """Exact polygons along the edges of pixels, int32: pixel x reaches from x to x + 1, as in COCO. See `polygons`."""
    doubled = np.repeat(
        np.repeat(mask, 2, axis=0), 2, axis=1
    )  # every pixel becomes 2x2, so each of its edges has pixels of its own
    rings = [_drop_straight_points((ring + 1) // 2) for ring in exact_rings(doubled)]
    return sorted((ring + np.array(origin) for ring in rings), key=lambda ring: (ring[:, 1].min(), ring[:, 0].min()))


def exact_rings(mask: NDArray[np.uint8]) -> list[Ring]:
    """One ring per connected piece of ``mask``, holes bridged, without points that are not needed to be exact."""
    found, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if hierarchy is None:
        return []
    rings = [_as_ring(ring) for ring in found]
    parents: list[int] = hierarchy[0, :, 3].tolist()
    holes: dict[int, list[Ring]] = {i: [] for i, parent in enumerate(parents) if parent < 0}
    for ring, parent in zip(rings, parents, strict=True):
        if parent >= 0:
            holes[parent].append(ring)
    return [_drop_straight_points(_bridge_holes(rings[i], inner, mask)) for i, inner in holes.items()]


def _as_ring(contour: NDArray[Any]) -> Ring:
    """An OpenCV contour, (N, 1, 2), as (N, 2)."""
    return np.asarray(contour, np.int32).reshape(-1, 2)


def iou(mask: NDArray[np.uint8], outlines: Sequence[Polygon]) -> float:
    """IoU of a mask (H, W) with outlines filled one by one: the lower of what OpenCV and Pillow draw."""
    drawn, picture = np.zeros_like(mask), Image.new("L", mask.shape[::-1])
    pen = ImageDraw.Draw(picture)
    for polygon in outlines:
        cv2.fillPoly(drawn, [polygon.astype(np.int32)], (1,))
        pen.polygon(polygon.reshape(-1).tolist(), fill=1, outline=1)
    pairs = ((cv2.countNonZero(mask & found), cv2.countNonZero(mask | found)) for found in (drawn, np.asarray(picture)))
    return min(shared / max(either, 1) for shared, either in pairs)


def _bridge_holes(outer: Ring, holes: Sequence[Ring], mask: NDArray[np.uint8]) -> Ring:
    """One ring from an outer one and its holes.

    From the leftmost point of each hole a bridge runs left along the row, through pixels of the class, to the first
    border. That border is the outer ring or a hole that begins further left, so with all bridges everything is
    connected, and no bridge leaves the class. Each hole with what hangs on it is then inserted into the ring that its
    bridge ends at, the rightmost hole first: by then it holds everything that hangs on it.
    """
    if not holes:
        return outer
    rings = [outer, *sorted(holes, key=lambda ring: int(ring[:, 0].min()))]
    starts = [0, *(int(ring[:, 0].argmin()) for ring in rings[1:])]
    ring_at: dict[tuple[int, int], tuple[int, int]] = {}  # pixel -> index of a ring, index of its point
    detours: list[dict[int, list[Ring]]] = [
        {} for _ in rings
    ]  # of each ring: index of a point -> rings that hang there
    links: list[tuple[int, int]] = [(0, 0)]  # of each ring: where its bridge ends; the outer one has none
    for i, (ring, start) in enumerate(zip(rings, starts, strict=True)):
        if i:
            links.append(ring_at[_border_left_of(ring[start], mask)])
        for at, (x, y) in enumerate(ring.tolist()):
            ring_at.setdefault((x, y), (i, at))
    for i in range(len(rings) - 1, 0, -1):
        ring = _insert_detours(rings[i], starts[i], detours[i])
        parent, at = links[i]
        detours[parent].setdefault(at, []).append(np.concatenate([ring, ring[:1]]))
    return _insert_detours(outer, 0, detours[0])


def _border_left_of(point: NDArray[np.int32], mask: NDArray[np.uint8]) -> tuple[int, int]:
    """The last pixel of the class, going left from one of its pixels."""
    x, y = point.tolist()
    empty = np.flatnonzero(mask[y, :x] == 0)
    return (int(empty[-1]) + 1 if len(empty) else 0), y


def _insert_detours(ring: Ring, start: int, detours: dict[int, list[Ring]]) -> Ring:
    """The ring from point ``start`` on; at a point with detours each is followed, and the point visited again."""
    turned = np.roll(ring, -start, axis=0)
    parts, done = [], 0
    for at, hanging in sorted(((index - start) % len(ring), hanging) for index, hanging in detours.items()):
        parts.append(turned[done : at + 1])
        for detour in hanging:
            parts += [detour, turned[at : at + 1]]
        done = at + 1
    return np.concatenate([*parts, turned[done:]])


def _drop_straight_points(ring: Ring) -> Ring:
    """The ring without points on a straight line between their neighbours."""
    ring = ring[np.any(ring != np.roll(ring, 1, axis=0), axis=1)] if len(ring) > 1 else ring
    if len(ring) < 3:
        return ring
    ahead = np.sign(np.roll(ring, -1, axis=0) - ring)
    turns = np.any(ahead != np.roll(ahead, 1, axis=0), axis=1)
    return ring[turns]


def _make_drawable(ring: Ring) -> Polygon:
    """A ring as a polygon of at least three points: a single pixel becomes a tiny triangle, a line a thin one."""
    points = ring + np.float64(_OFFSET)
    if len(points) > 2:
        return np.asarray(points)
    if len(points) == 1:
        return np.concatenate([points, points + (_SIDE, 0), points + _SIDE])
    upright = points[0, 0] == points[1, 0]
    return np.concatenate([points, points[1:] + ((_SIDE, 0) if upright else (0, _SIDE))])
