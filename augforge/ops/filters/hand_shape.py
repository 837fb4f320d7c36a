"""Where a radiograph shows a hand: its silhouette, its palm and its fingers, found without labels.

All lengths are pixels of the reduced picture, whose longer side is `SIDE`. The method follows from what a film shows
besides the hand: it is often padded to a square, turned together with its padding, brighter on one side, and marked
with letters. So the padding is painted over with what lies next to it, the brightness of the air is subtracted, and of
the silhouettes at several thresholds the one that shows fingers best is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.sample import Image

Gray = NDArray[np.float32]
Mask = NDArray[np.uint8]
Point = NDArray[np.float64]

SIDE = 256
_THRESHOLDS = tuple(0.04 * 1.26**i for i in range(11))
"""Brightness above the air, as a share of the picture's range."""
_SAME = 0.035
"""Gray values that differ from a corner's by less belong to its padding."""
_ENOUGH = 9.3
"""With this score the picture is not tried again with other padding removed; five long fingers score 10."""
_LEAST = 3.5
"""The score of two long fingers and a short one; a silhouette that scores less is no hand."""


@dataclass(frozen=True)
class Finger:
    """A finger: where it ends, where it leaves the palm, its direction (a unit vector) and its mean width."""

    tip: Point
    base: Point
    direction: Point
    length: float
    width: float
    area: int


@dataclass(frozen=True)
class Hand:
    """A hand: the largest circle inside it, its fingers from one side to the other, and how hand-like it is."""

    centre: Point
    radius: float
    fingers: tuple[Finger, ...]
    score: float


def reduce_picture(image: Image) -> Gray:
    """The picture as gray values from 0 to about 1, its longer side `SIDE` pixels."""
    gray = image if image.ndim == 2 else image[..., :3]
    scale = SIDE / max(image.shape[:2])
    width, height = (max(1, round(length * scale)) for length in image.shape[1::-1])
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(gray, (width, height), interpolation=kind).astype(np.float32)
    smooth = cv2.GaussianBlur(small if small.ndim == 2 else small.mean(axis=2), (0, 0), 1.0)
    low, high = (float(np.percentile(smooth, share)) for share in (0.5, 99.5))
    return np.asarray(np.clip((smooth - low) / max(high - low, 1e-6), 0, 1.05), np.float32)


def find_hand(gray: Gray) -> Hand | None:
    """The most hand-like silhouette at any threshold; None if nothing looks like a hand."""
    best: Hand | None = None
    for picture in _padding_guesses(gray):
        above = picture - _air_brightness(picture)
        for threshold in _THRESHOLDS:
            hand = _hand_from(_silhouette(above, threshold), above / np.float32(threshold))
            if hand is not None and hand.score > (best.score if best else _LEAST):
                best = hand
        if best is not None and best.score > _ENOUGH:
            break
    return best


def _padding_guesses(gray: Gray) -> Iterator[Gray]:
    """The picture without bright padding; then also without dark padding; then as it is. Each only if it differs."""
    plain = remove_padding(gray)
    bare = remove_padding(gray, dark=True)
    yield plain
    if not np.array_equal(bare, plain):
        yield bare
    if plain is not gray:
        yield gray


def remove_padding(gray: Gray, dark: bool = False) -> Gray:
    """Paint over even areas at the corners that are brighter than what lies next to them, up to three layers of them.

    With `dark`, also over darker ones if the rest is convex, as a film is and a hand is not.
    """
    height, width = gray.shape
    for _ in range(3):
        before = gray
        for corner in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
            gray = _paint_corner(gray, corner, dark)
        if gray is before:
            break
    return gray


def _paint_corner(gray: Gray, corner: tuple[int, int], dark: bool) -> Gray:
    """Paint over the even area at one corner with what lies next to it; the same array if that is no padding."""
    found = np.zeros((gray.shape[0] + 2, gray.shape[1] + 2), np.uint8)
    flags = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY
    cv2.floodFill(gray.copy(), found, corner, 1, _SAME, _SAME, flags)
    area = np.ascontiguousarray(found[1:-1, 1:-1])
    if not 0.002 < area.mean() < 0.95:
        return gray
    wide, wider = (cv2.dilate(area, _disc(radius)).astype(bool) for radius in (3, 7))
    beside = wider & ~wide
    if beside.sum() < 20:
        return gray
    level, usual = (float(np.quantile(gray[beside], share)) for share in (0.35, 0.5))
    here = float(np.median(gray[area.astype(bool)]))
    if level > here - 0.02:
        if not dark or usual < here + 0.02 or not _is_convex(1 - area):
            return gray
        level = usual
    rim = gray < max(here, level) + 2 * _SAME  # the padding's blurred edge; brighter pixels belong to the hand
    return np.where(wide & rim, np.minimum(_nearest_values(gray, beside), np.float32(level)), gray)


def _is_convex(mask: Mask) -> bool:
    """Whether the largest part of a mask fills its convex hull, but for small dents."""
    outlines, _ = cv2.findContours(
        cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(3)), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    if not outlines:
        return False
    largest = max(outlines, key=cv2.contourArea)
    return bool(cv2.contourArea(largest) > 0.93 * cv2.contourArea(cv2.convexHull(largest)))


def _nearest_values(gray: Gray, source: NDArray[np.bool_]) -> Gray:
    """Give each pixel the value of the nearest source pixel."""
    away = (~source).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    values = np.zeros(int(labels.max()) + 1, np.float32)
    values[labels[source]] = gray[source]
    return np.asarray(values[labels])


def _air_brightness(gray: Gray) -> Gray:
    """The brightness of the air: a quadratic surface below the picture's gray values, by asymmetric least squares."""
    small = cv2.resize(gray, (48, 48), interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
    terms, weights = _quadratic_terms(48, 48).reshape(6, -1), np.ones(small.size)
    for _ in range(20):
        normal = np.einsum("in,n,jn->ij", terms, weights, terms) + 1e-6 * np.eye(6)
        factors = np.linalg.solve(normal, np.einsum("in,n->i", terms, weights * small))
        above = small - np.einsum("i,in->n", factors, terms)
        weights = np.where(above > 0, 0.02, 1.0) / np.maximum(1, np.abs(above) / 0.03)
    return np.asarray(np.einsum("i,ihw->hw", factors, _quadratic_terms(*gray.shape)), np.float32)


@cache
def _quadratic_terms(height: int, width: int) -> NDArray[np.float64]:
    """1, x, y, x^2, xy and y^2 from -1 to 1 across the picture: (6, height, width)."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def _silhouette(above: Gray, threshold: float) -> Mask | None:
    """The largest area above the threshold, without thin lines and holes; None if its size is not that of a hand."""
    mask = cv2.morphologyEx((above > threshold).astype(np.uint8), cv2.MORPH_OPEN, _disc(2))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    if not 0.03 < stats[largest, cv2.CC_STAT_AREA] / mask.size < 0.7:
        return None
    outlines, _ = cv2.findContours((labels == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros_like(mask), outlines, -1, 1, -1), np.uint8)


def _hand_from(mask: Mask | None, above: Gray) -> Hand | None:
    """Palm and fingers of a silhouette; None if it has fewer than three, no bright palm, or lies along the border.

    `above` is the brightness above the air, 1 at the silhouette's edge.
    """
    if mask is None or _rim_share(mask) > 0.25:
        return None
    depth = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 5), np.float32)
    _, radius, _, where = cv2.minMaxLoc(depth)
    if radius < 8 or _share_bright(above, where, radius) < 0.9:
        return None
    centre = np.array(where, np.float64)
    fingers, stray = _find_fingers(mask, depth, centre, radius)
    if len(fingers) < 3:
        return None
    ordered, gap = _order_clockwise(fingers, centre)
    if gap < 130:
        return None
    quality = sorted((_finger_quality(finger, above) for finger in ordered), reverse=True)
    score = sum(quality[:5]) - sum(quality[5:])
    area = sum(f.area for f in ordered)
    return Hand(centre, radius, ordered, score * area / (area + 0.7 * stray))


def _share_bright(above: Gray, centre: Sequence[int], radius: float) -> float:
    """The share of the palm that is clearly brighter than air: it is no air that a film's edge encloses."""
    circle = cv2.circle(np.zeros(above.shape, np.uint8), (centre[0], centre[1]), int(radius), 1, -1).astype(bool)
    return float((above[circle] > 1.25).mean())


def _finger_quality(finger: Finger, above: Gray) -> float:
    """1 to 2, the longer the finger the more; half of that if it does not end in air."""
    x, y = finger.tip + finger.width * finger.direction
    row, column = (min(max(round(v), 0), size - 1) for v, size in zip((y, x), above.shape, strict=True))
    worth = 1 + min(1.0, finger.length / (0.25 * SIDE))
    return worth if above[row, column] < 0.6 else worth / 2


def _rim_share(mask: Mask) -> float:
    """The share of the picture's border that a silhouette covers."""
    covered = sum(int(line.sum()) for line in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    return covered / (2 * sum(mask.shape))


def _find_fingers(mask: Mask, depth: Gray, centre: Point, radius: float) -> tuple[list[Finger], int]:
    """Split what lies outside all discs of half the palm's size into fingers and the area of everything else."""
    reach = 0.5 * radius
    to_body = cv2.distanceTransform((depth <= reach).astype(np.uint8), cv2.DIST_L2, 5)
    rest = mask & (to_body > reach + 1.5).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(rest)
    found, stray = [], 0
    for label in np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] > 0.12 * radius**2) + 1:
        x, y, w, h, area = (int(value) for value in stats[label])
        window = (slice(y, y + h), slice(x, x + w))
        inside = labels[window] == label
        finger = _finger_from(inside, np.array([x, y], np.float64), centre, radius)
        if finger is not None and to_body[window][inside].min() < reach + 4:
            found.append(finger)
        else:
            stray += area
    usual = float(np.median([finger.width for finger in found])) if found else 0.0
    alike = [finger for finger in found if 0.5 * usual < finger.width < 1.7 * usual]
    return alike, stray + sum(f.area for f in found) - sum(f.area for f in alike)


def _finger_from(inside: NDArray[np.bool_], corner: Point, centre: Point, radius: float) -> Finger | None:
    """A part of the silhouette as a finger; None if its shape or place is not a finger's."""
    y, x = np.nonzero(inside)
    points = np.stack([x, y], axis=1) + corner
    middle = points.mean(axis=0)
    direction = _direction(points - middle, middle - centre)
    along = (points[:, 0] - middle[0]) * direction[0] + (points[:, 1] - middle[1]) * direction[1]
    length = float(np.ptp(along)) + 1
    width = len(points) / length
    base, tip = (points[along <= np.quantile(along, 0.05)], points[along >= np.quantile(along, 0.97)])
    finger = Finger(tip.mean(axis=0), base.mean(axis=0), direction, length, width, len(points))
    hull = cv2.contourArea(cv2.convexHull(points.astype(np.float32))) + length + width
    return finger if len(points) > 0.78 * hull and _is_plausible(finger, centre, radius) else None


def _direction(points: Point, outward: Point) -> Point:
    """The main axis of points about their centre, pointing outward."""
    xx, yy, xy = (float(np.mean(points[:, i] * points[:, j])) for i, j in ((0, 0), (1, 1), (0, 1)))
    angle = 0.5 * math.atan2(2 * xy, xx - yy)
    axis = np.array([math.cos(angle), math.sin(angle)])
    return axis if axis @ outward >= 0 else -axis


def _is_plausible(finger: Finger, centre: Point, radius: float) -> bool:
    """Whether a finger is long and thin, begins near the palm, and points away from it."""
    out = finger.tip - centre
    off = abs(out[0] * finger.direction[1] - out[1] * finger.direction[0]) / radius
    begins = math.dist(finger.base, centre) / radius
    slender = finger.length > 1.7 * finger.width and 0.15 < finger.width / radius < 0.9
    placed = 0.9 < begins < 2.9 and off < 1.3 and finger.direction @ out > 0.8 * math.hypot(*out)
    return bool(slender and placed and 0.6 < finger.length / radius < 4.5)


def _order_clockwise(fingers: list[Finger], centre: Point) -> tuple[tuple[Finger, ...], float]:
    """Fingers clockwise from behind the widest gap, where the forearm is, and that gap in degrees."""
    angles = np.array([math.degrees(math.atan2(*(f.tip - centre)[::-1])) for f in fingers])
    order = np.argsort(angles)
    gaps = np.diff(np.append(angles[order], angles[order[0]] + 360))
    widest = int(gaps.argmax())
    return tuple(fingers[i] for i in np.roll(order, -widest - 1)), float(gaps[widest])


@cache
def _disc(radius: int) -> Mask:
    """A filled circle, for dilation and opening."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x * x + y * y <= radius * radius + 0.5, np.uint8)
