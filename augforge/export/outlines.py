"""Outlines of a class as polygons that give the same pixels again.

A ring goes through the centres of the class's border pixels, so filling it with its boundary, as ``cv2.fillPoly`` and
Pillow do, gives the class back exactly. Each connected piece is one ring: formats that cannot hold holes get them
bridged, along a row of pixels that belong to the class. Points are given a quarter pixel right of and below the centre:
readers that cut off the fraction and readers that round find the same pixel. Slanted edges are not drawn alike, so
simpler outlines are judged by both OpenCV and Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Ring = NDArray[np.int32]
"""(N, 2) pixels, x and y."""
Polygon = NDArray[np.float64]
"""(N, 2) points, N >= 3, x and y; pixel centres at integers."""

MIN_IOU = 0.98
"""What simpler outlines must keep of a class."""

_LEAST = 0.5  # pixels: less saves no points
_OFFSET = 0.25
_SIDE = 0.2  # of the triangle that stands for a single pixel


def polygons(mask: NDArray[np.uint8], origin: tuple[int, int], tolerance: float = 0.0) -> list[Polygon]:
    """One polygon for each connected piece (8 neighbours) of ``mask``, top to bottom.

    Args:
        mask: uint8 (H, W) of 0 and 1, a class's box.
        origin: x and y of the box in the image.
        tolerance: pixels that an outline may move to need fewer points, halved as long as less than `MIN_IOU` of the
            class would stay; below half a pixel it is exact.
    """
    rings = sorted(exact_rings(mask), key=lambda ring: (ring[:, 1].min(), ring[:, 0].min()))
    found = [_drawable(ring) for ring in rings]
    while tolerance >= _LEAST:
        simple = [_drawable(_flat(cv2.approxPolyDP(ring[:, None], tolerance, True))) for ring in rings]
        if iou(mask, simple) >= MIN_IOU:
            found = simple
            break
        tolerance /= 2
    return [polygon + np.array(origin) for polygon in found]


def edge_polygons(mask: NDArray[np.uint8], origin: tuple[int, int]) -> list[Ring]:
    """Like `polygons`, exact, but along the edges of pixels: pixel x reaches from x to x + 1, as COCO has it."""
    doubled = np.repeat(np.repeat(mask, 2, axis=0), 2, axis=1)  # both edges of a pixel are pixels now
    rings = [_corners((ring + 1) // 2) for ring in exact_rings(doubled)]
    return sorted((ring + np.array(origin) for ring in rings), key=lambda ring: (ring[:, 1].min(), ring[:, 0].min()))


def exact_rings(mask: NDArray[np.uint8]) -> list[Ring]:
    """A ring for each connected piece of ``mask``, holes bridged, with as few points as give it exactly."""
    found, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if hierarchy is None:
        return []
    rings = [_flat(ring) for ring in found]
    parents: list[int] = hierarchy[0, :, 3].tolist()
    holes: dict[int, list[Ring]] = {i: [] for i, parent in enumerate(parents) if parent < 0}
    for ring, parent in zip(rings, parents, strict=True):
        if parent >= 0:
            holes[parent].append(ring)
    return [_corners(_bridged(rings[i], inner, mask)) for i, inner in holes.items()]


def _flat(contour: NDArray[Any]) -> Ring:
    """OpenCV's (N, 1, 2) as (N, 2)."""
    return np.asarray(contour, np.int32).reshape(-1, 2)


def iou(mask: NDArray[np.uint8], outlines: Sequence[Polygon]) -> float:
    """Intersection over union of a mask and outlines filled one by one, as OpenCV or as Pillow does: the lower one."""
    drawn, picture = np.zeros_like(mask), Image.new("L", mask.shape[::-1])
    pen = ImageDraw.Draw(picture)
    for polygon in outlines:
        cv2.fillPoly(drawn, [polygon.astype(np.int32)], (1,))
        pen.polygon(polygon.reshape(-1).tolist(), fill=1, outline=1)
    pairs = ((cv2.countNonZero(mask & found), cv2.countNonZero(mask | found)) for found in (drawn, np.asarray(picture)))
    return min(shared / max(either, 1) for shared, either in pairs)


def _bridged(outer: Ring, holes: Sequence[Ring], mask: NDArray[np.uint8]) -> Ring:
    """One ring of an outer one and holes.

    From the leftmost point of each hole the row goes left through the class until its border. What lies there is the
    outer ring or a hole that begins further left: all hang together, and no bridge leaves the class.
    """
    if not holes:
        return outer
    rings = [outer, *sorted(holes, key=lambda ring: int(ring[:, 0].min()))]
    starts = [0, *(int(ring[:, 0].argmin()) for ring in rings[1:])]
    places: dict[tuple[int, int], tuple[int, int]] = {}
    pieces: list[dict[int, list[Ring]]] = [{} for _ in rings]
    links: list[tuple[int, int]] = [(0, 0)]
    for i, (ring, start) in enumerate(zip(rings, starts, strict=True)):
        if i:
            links.append(places[_border_left_of(ring[start], mask)])
        for at, (x, y) in enumerate(ring.tolist()):
            places.setdefault((x, y), (i, at))
    for i in range(len(rings) - 1, 0, -1):
        ring = _woven(rings[i], starts[i], pieces[i])
        parent, at = links[i]
        pieces[parent].setdefault(at, []).append(np.concatenate([ring, ring[:1]]))
    return _woven(outer, 0, pieces[0])


def _border_left_of(point: NDArray[np.int32], mask: NDArray[np.uint8]) -> tuple[int, int]:
    """The last pixel of the class on the way left from a pixel of it."""
    x, y = point.tolist()
    empty = np.flatnonzero(mask[y, :x] == 0)
    return (int(empty[-1]) + 1 if len(empty) else 0), y


def _woven(ring: Ring, start: int, pieces: dict[int, list[Ring]]) -> Ring:
    """The ring from ``start`` on; where pieces hang at a point, each is walked around and the point visited again."""
    turned = np.roll(ring, -start, axis=0)
    parts, done = [], 0
    for at, hanging in sorted(((index - start) % len(ring), hanging) for index, hanging in pieces.items()):
        parts.append(turned[done : at + 1])
        for piece in hanging:
            parts += [piece, turned[at : at + 1]]
        done = at + 1
    return np.concatenate([*parts, turned[done:]])


def _corners(ring: Ring) -> Ring:
    """The ring without points that lie straight between their neighbours."""
    ring = ring[np.any(ring != np.roll(ring, 1, axis=0), axis=1)] if len(ring) > 1 else ring
    if len(ring) < 3:
        return ring
    ahead = np.sign(np.roll(ring, -1, axis=0) - ring)
    turns = np.any(ahead != np.roll(ahead, 1, axis=0), axis=1)
    return ring[turns]


def _drawable(ring: Ring) -> Polygon:
    """At least three points, none twice in a row: a pixel becomes a tiny triangle, a line a thin one."""
    points = ring + np.float64(_OFFSET)
    if len(points) > 2:
        return points
    if len(points) == 1:
        return np.concatenate([points, points + (_SIDE, 0), points + _SIDE])
    upright = points[0, 0] == points[1, 0]
    return np.concatenate([points, points[1:] + ((_SIDE, 0) if upright else (0, _SIDE))])
