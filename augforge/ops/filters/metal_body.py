"""Find the body in a radiograph from the image alone, for the metal filter on samples without masks.

A film's frame, its padding and air are darker than bone and even; the body is brighter than air and uneven. Gray
values are divided into three groups by Otsu's method with two thresholds (Otsu 1979): air, soft tissue, bone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Flags = NDArray[np.uint8]
"""0 or 1 at each pixel."""

SIDE = 256
"""Pixels of the longer side of the image in which the body is sought."""
EVEN = 2.0
"""Gray values per pixel, at that size: an area with a smaller slope is even."""


@dataclass(frozen=True)
class Body:
    """Masks (H, W) of 0 and 1, of the image's size."""

    body: Flags
    white: Flags  # white areas that are film or padding, not anatomy


def find_body(gray: Gray) -> Body:
    """Find the body in a radiograph with bright bone on darker air, turned and padded in any way."""
    height, width = gray.shape
    small = np.asarray(cv2.medianBlur(_shrink(gray), 3), np.uint8)
    slope = _slope(small)
    white = _white_corners(small, slope)
    air, bone = _otsu_thresholds(small[white == 0] if white.mean() < 0.9 else small)
    frame = _find_frame(small, slope, air, bone, white)
    air = _refine_air(small, slope, frame, air)
    floor = _tissue_floor(small, air)
    body = _add_skin(small, frame, _bright_parts(small, frame, air), floor)
    return Body(_enlarge(body, width, height) & (gray >= floor), _enlarge(white, width, height))


def _enlarge(part: Flags, width: int, height: int) -> Flags:
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _shrink(gray: Gray) -> Gray:
    height, width = gray.shape
    scale = SIDE / max(height, width)
    if scale >= 1:
        return gray
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def _slope(small: Gray) -> NDArray[np.float32]:
    """The slope at each pixel, in gray values per pixel."""
    x, y = (cv2.Sobel(small, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0))
    return np.asarray(cv2.magnitude(x, y), np.float32)


def _otsu_thresholds(values: Gray) -> tuple[int, int]:
    """The two thresholds that divide gray values into three groups with the least variance inside."""
    share = np.bincount(values.ravel(), minlength=256) / values.size
    weight, total = (np.concatenate([[0.0], np.cumsum(part)]) for part in (share, share * np.arange(256)))

    def between(low: NDArray[np.int_], high: NDArray[np.int_]) -> NDArray[np.float64]:
        held = np.maximum(weight[high] - weight[low], 1e-12)
        return np.asarray((total[high] - total[low]) ** 2 / held, np.float64)

    at = np.arange(1, 256)
    value = between(at * 0, at)[:, None] + between(at[:, None], at[None]) + between(at, at * 0 + 256)[None]
    value[np.tril_indices(255)] = -1
    low, high = np.unravel_index(int(value.argmax()), value.shape)
    return int(low) + 1, int(high) + 1


def _white_corners(small: Gray, slope: NDArray[np.float32]) -> Flags:
    """White even areas at the corners of the image: padding, or film outside a round collimator."""
    flat = ((slope < EVEN) & (small >= 250)).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    chosen = np.zeros(count, bool)
    chosen[[parts[y, x] for y in (0, -1) for x in (0, -1)]] = True
    chosen &= stats[:, cv2.CC_STAT_AREA] >= 0.004 * small.size
    chosen[0] = False
    return np.asarray(cv2.dilate(chosen[parts].astype(np.uint8), np.ones((5, 5), np.uint8)), np.uint8)


def _find_frame(small: Gray, slope: NDArray[np.float32], air: int, bone: int, white: Flags) -> Flags:
    """White corners, even areas at the border, and even areas beside those: a frame in a frame.

    Areas as bright as bone count only if they are of one gray and not white: a burnt out forearm touches the border.
    """
    parts, area, level, spread = _even_parts(small, slope, bone)
    large = (area >= 0.007 * small.size) & ((level < bone) | (spread < 3))
    large[0] = False
    rim = np.concatenate([parts[[2, -3]].ravel(), parts[:, [2, -3]].ravel()]) if min(small.shape) > 5 else parts.ravel()
    chosen = large & (np.bincount(rim, minlength=len(area)) >= 0.05 * sum(small.shape))
    for _ in range(4):
        near = cv2.dilate(np.asarray(chosen[parts], np.uint8) | white, np.ones((11, 11), np.uint8))
        beside = np.bincount(parts[near > 0], minlength=len(area)) >= 20
        more = beside & large & ~chosen & ((level >= air) | bool(white.any()))
        if not more.any():
            break
        chosen |= more
    return np.asarray(cv2.dilate(chosen[parts].astype(np.uint8), np.ones((3, 3), np.uint8)), np.uint8) | white


def _even_parts(
    small: Gray, slope: NDArray[np.float32], bone: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Connected even areas, darker or brighter than bone: labels, and area, mean and standard deviation of each."""
    parts, count = np.zeros(small.shape, np.int32), 1
    for low, high in ((0, bone), (bone, 245)):
        flat = ((slope < EVEN) & (small >= low) & (small < high)).astype(np.uint8)
        more, labels = cv2.connectedComponents(cv2.erode(flat, np.ones((3, 3), np.uint8)), connectivity=4)
        parts[labels > 0] = labels[labels > 0] + (count - 1)
        count += more - 1
    area = np.bincount(parts.ravel(), minlength=count)
    values, some = small.ravel().astype(float), np.maximum(area, 1)
    level, square = (np.bincount(parts.ravel(), part, count) / some for part in (values, values**2))
    return parts, area, level, np.sqrt(np.maximum(square - level**2, 0))


def _refine_air(small: Gray, slope: NDArray[np.float32], frame: Flags, air: int) -> int:
    """The threshold between air and tissue, found again without the frame if there is even air left."""
    rest = frame == 0
    if not frame.any() or rest.sum() < 100:
        return air
    inside, _ = _otsu_thresholds(small[rest])
    dark = rest & (small < inside)
    even = dark.sum() > 0.02 * small.size and float(np.mean(slope[dark] < EVEN)) > 0.6
    return inside if even else air


def _bright_parts(small: Gray, frame: Flags, air: int) -> Flags:
    """What is brighter than air, without the frame, thin strips, and small parts such as markers."""
    bright = ((small >= air) & (frame == 0)).astype(np.uint8)
    bright = cv2.morphologyEx(bright, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    _, parts, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept = (areas >= 0.1 * areas.max()) & (areas > 0)
    return np.asarray(kept[parts], np.uint8)


def _tissue_floor(small: Gray, air: int) -> float:
    """A gray value between the mean of air and the threshold to tissue."""
    dark = small[small < air]
    level = float(dark.mean()) if dark.size else 0.0
    return level + 0.35 * (air - level)


def _add_skin(small: Gray, frame: Flags, body: Flags, floor: float) -> Flags:
    """Add to the body the thin tissue at its rim and in fingertips, which is only slightly brighter than air."""
    near = cv2.dilate(body, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (31, 31)))
    faint = ((small >= floor) & (frame == 0)).astype(np.uint8) & near
    opened = cv2.morphologyEx(faint, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    count, parts = cv2.connectedComponents(cv2.bitwise_or(opened, body), connectivity=4)
    held = np.bincount(parts[body > 0], minlength=count) > 0
    held[0] = False
    return np.asarray(held[parts], np.uint8)
