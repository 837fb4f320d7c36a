"""Find bright regions with sharp edges in a radiograph, and measure what distinguishes metal from bone in them.

Metal lets almost nothing of the beam through: it is nearly even, brighter than all bone beside it, and reaches its full
brightness within the image's blur. Bone may be as bright, but it is uneven and its edges are ramps. Gray values are
measured from air (0) to the body's brightest (1), so exposure hardly matters. The filter's thresholds are not applied
here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.ops.filters.metal_body import Flags, Gray
from augforge.ops.filters.metal_view import OUT, View

LEVELS = (0.03, 0.07, 0.13, 0.20, 0.30, 0.42)
"""How far below the brightest a region's threshold lies, in shares of the way down to the body's median."""
BURNT_OUT = 254
"""Gray value, of 255, from which bone and metal are one: they are told apart by thickness."""
THICK = 1 / 340
"""Share of the longer side: plates are more than twice as thick, the bright rim of a burnt out bone is not."""
SMALLEST, LARGEST = 4e-5, 0.15
"""Smallest and largest area of a region, as shares of the image."""
MOST = 30
"""Number of regions that are kept, those with the strongest evidence."""
STEPS = np.array([-3, -2, -1, 0, 1, 2, 3, 4, 5, 6], np.float32)
"""Pixels across a region's edge, outwards, at which the profile is read."""
INSIDE = 4
"""Index in the profile at which the outside begins."""
LEDGE = 0.1
"""If the third pixel outside falls by less than this share of the step, the step ends there."""
NEAR = 3
"""Pixels from a region's edge at which its surroundings begin; they end at `OUT`."""


@dataclass(frozen=True)
class FoundRegion:
    """A region: its features, its mask, and where the mask's window lies in the view."""

    features: dict[str, Any]
    mask: Flags
    left: int
    top: int


def find_regions(view: View) -> list[FoundRegion]:
    """Regions that may be metal, then those that are thick and burnt out; of nested ones only the strongest of each."""
    middle = float(np.median(view.gray[::4, ::4][view.body[::4, ::4] > 0])) if view.body[::4, ::4].any() else 128.0
    down = Downhill(view.gray)
    masks = [(view.gray >= 255 - level * (255 - middle)).astype(np.uint8) for level in LEVELS]
    burnt = (view.gray >= BURNT_OUT).astype(np.uint8)
    reach = 2 * max(1, round(max(view.whole) * THICK)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    thick = np.asarray(cv2.morphologyEx(burnt, cv2.MORPH_OPEN, disc), np.uint8)
    found = [region for bright in masks for region in _bright_regions(view, down, bright, bright)]
    # A plate on a bone that is nearly burnt out may lie inside a stronger region, which is the bone and the plate.
    return _strongest(found) + _strongest(list(_bright_regions(view, down, thick, burnt)))


def _strongest(found: list[FoundRegion]) -> list[FoundRegion]:
    kept: list[FoundRegion] = []
    for region in sorted(found, key=lambda region: -_evidence(region.features)):
        if len(kept) < MOST and not any(
            overlap_by_half(region.features["box"], other.features["box"]) for other in kept
        ):
            kept.append(region)
    return kept


def _evidence(features: dict[str, Any]) -> float:
    """How strongly a region suggests metal, to choose among nested ones."""
    return float(features["plateau"] * features["sharpness"] ** 4)


def overlap_by_half(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether boxes share at least half of the smaller one."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width > 0 and height > 0 and width * height >= 0.5 * smaller


def _bright_regions(view: View, down: Downhill, bright: Flags, beside: Flags) -> Iterator[FoundRegion]:
    """Connected regions of a mask whose edge on the body is fairly sharp; `beside` is too bright to compare with."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    parts = np.asarray(labels, np.int32)
    areas = stats[:, cv2.CC_STAT_AREA]
    looked = (areas >= max(6, SMALLEST * view.pixels)) & (areas <= LARGEST * view.pixels)
    looked[0] = False
    if not looked.any():
        return
    contact, sharpness, contrast = _read_edge(view, down, bright, parts, looked).summarise(count)
    for part in np.flatnonzero(looked & (contact >= 0.2) & (sharpness >= 0.5) & (contrast >= 8)):
        found = _measure_region(view, parts, beside, int(part), stats[part, :4].tolist())
        if found is not None:
            found.features.update(
                contact=round(float(contact[part]), 3),
                sharpness=round(float(sharpness[part]), 3),
                contrast=round(float(contrast[part]) / 255, 3),
            )
            yield found


class Downhill:
    """The direction in which gray values fall fastest."""

    def __init__(self, gray: Gray) -> None:
        smooth = cv2.GaussianBlur(gray, (0, 0), 1.0)
        self.rise = [cv2.Sobel(smooth, cv2.CV_16S, dx, 1 - dx, ksize=3) for dx in (1, 0)]

    def at(self, y: NDArray[np.int_], x: NDArray[np.int_]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Unit vectors x, y at the given pixels."""
        along = [-rise[y, x].astype(np.float32) for rise in self.rise]
        length = np.maximum(np.hypot(*along), 1e-6)
        return along[0] / length, along[1] / length


@dataclass(frozen=True)
class Edge:
    """The edge pixels of all regions at one threshold."""

    part: NDArray[np.int32]  # (n,) which region
    on_body: NDArray[np.bool_]  # (n,) whether the body lies on the other side
    step: NDArray[np.float32]  # (n,) how far the gray falls within 3 pixels
    sharp: NDArray[np.bool_]  # (n,) whether it falls little further after that

    def summarise(self, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """For each region: the share of its edge on the body and, of that, the sharp share and the mean step."""
        rim = np.maximum(np.bincount(self.part, minlength=count), 1)
        inner = np.bincount(self.part, self.on_body, count)
        sharp = self.on_body & self.sharp & (self.step > 8)
        enough = np.where(inner >= 6, inner, np.inf)
        mean = np.bincount(self.part, self.step * self.on_body, count) / enough
        return inner / rim, np.bincount(self.part, sharp, count) / enough, mean


def _read_edge(view: View, down: Downhill, bright: Flags, parts: NDArray[np.int32], looked: NDArray[np.bool_]) -> Edge:
    """Read profiles across the edge of the chosen regions, in the direction in which gray values fall."""
    inner = cv2.erode(bright, np.ones((3, 3), np.uint8), borderValue=1)
    y, x = np.divmod(np.flatnonzero(bright - inner), bright.shape[1])
    held = looked[parts[y, x]]
    x, y = x[held], y[held]
    at_x, at_y = (
        np.clip(start[:, None] + along[:, None] * STEPS, 0, limit - 1).astype(np.float32)
        for start, along, limit in zip((x, y), down.at(y, x), view.size, strict=True)
    )
    gray = _read_between_pixels(view.gray, at_x, at_y)
    inside = gray[:, :INSIDE].max(axis=1)
    beyond = np.rint(at_y[:, INSIDE + 3]).astype(int), np.rint(at_x[:, INSIDE + 3]).astype(int)
    step, fall = (inside - gray[:, INSIDE : INSIDE + end].min(axis=1) for end in (3, 6))
    ledge = gray[:, INSIDE + 1] - gray[:, INSIDE + 2] < LEDGE * step
    return Edge(parts[y, x], view.body[beyond] > 0, step, (step > 0.7 * fall) | (ledge & (step > 38)))


def _read_between_pixels(gray: Gray, x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Read gray values between pixels; in strips, since cv2.remap takes at most 32767 rows."""
    strips = np.array_split(np.arange(len(x)), len(x) // 30_000 + 1)
    read = [cv2.remap(gray, x[rows], y[rows], cv2.INTER_LINEAR) for rows in strips if len(rows)]
    return np.concatenate(read).astype(np.float32) if read else np.zeros(x.shape, np.float32)


def _measure_region(
    view: View, parts: NDArray[np.int32], bright: Flags, part: int, box: Sequence[int]
) -> FoundRegion | None:
    """Measure one region inside its own window; None if nothing of the body surrounds it."""
    x, y, width, height = box
    left, top = max(0, x - OUT), max(0, y - OUT)
    window = (slice(top, y + height + OUT), slice(left, x + width + OUT))
    mask = (parts[window] == part).astype(np.uint8)
    near, out = (cv2.dilate(mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) for reach in (NEAR, OUT))
    around = view.gray[window][(out > near) & (view.body[window] > 0) & (bright[window] == 0)]
    if around.size < 10:
        return None
    core = cv2.erode(mask, np.ones((3, 3), np.uint8))
    inside = view.gray[window][(core if core.sum() >= 12 else mask) > 0]
    level, spread = float(np.median(inside)), float(np.std(inside))
    prominence = (level - float(np.percentile(around, 95))) / 255
    features = {
        "box": [x, y, x + width, y + height],
        "level": round(level / 255, 3),
        "prominence": round(prominence, 3),
        "plateau": round(prominence / _unevenness(level, spread, view.noise), 2),
        **_measure_place(view, x, y, width, height),
    }
    return FoundRegion(features | _measure_shape(mask), mask, left, top)


def _unevenness(level: float, spread: float, noise: float) -> float:
    """How far a region is from an even area of the brightest gray, apart from its grain; always above 0."""
    below = max(0.0, 255 - level - noise / 2)
    uneven = math.sqrt(max(0.0, spread**2 - noise**2))
    return 0.015 + (below + 2 * uneven) / 255


def _measure_place(view: View, x: int, y: int, width: int, height: int) -> dict[str, Any]:
    """How many sides of the image a box touches, and how far it reaches inwards from a side along which it lies."""
    (x, y), (right, bottom) = (x + view.left, y + view.top), view.whole
    gaps = (x, y, right - x - width, bottom - y - height)
    depths = [gap + reach for gap, reach in zip(gaps, (width, height, width, height), strict=True)]
    along = (height, width, height, width)
    strips = [depth / max(view.whole) for depth, length in zip(depths, along, strict=True) if length >= 4 * depth]
    return {"sides": gaps.count(0), "strip": round(min(strips), 3) if strips else None}


def _measure_shape(mask: Flags) -> dict[str, Any]:
    """Length, width and direction of the rectangle around a region, in pixels, and how much of its hull it fills."""
    outline = np.concatenate(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0])
    hull = cv2.convexHull(outline)
    filled = np.zeros_like(mask)
    cv2.fillConvexPoly(filled, hull, 1)
    _, (width, height), angle = cv2.minAreaRect(hull)
    if width < height:
        width, height, angle = height, width, angle + 90
    return {
        "length": round(width + 1, 1),
        "width": round(height + 1, 1),
        "angle": round(angle % 180, 1),
        "solidity": round(float(mask.sum()) / float(filled.sum()), 3),
    }


def brightness_across(view: View, region: FoundRegion) -> float:
    """How much brighter it is beside a region's long sides than beyond its ends: beside a ring there is bone."""
    (x, y), (width, height), degrees = cv2.minAreaRect(cv2.findNonZero(region.mask))
    turn = np.radians(degrees if width >= height else degrees + 90)
    beyond = max(3.0, 0.006 * max(view.whole))
    long, short = max(width, height) / 2 + beyond, min(width, height) / 2 + beyond
    smooth = cv2.blur(view.gray, (5, 5))

    def gray(dx: float, dy: float) -> float:
        column, row = round(x + region.left + dx), round(y + region.top + dy)
        within = 0 <= column < view.size[0] and 0 <= row < view.size[1]
        return float(smooth[row, column]) / 255 if within else 0.0

    sides = [gray(-s * short * np.sin(turn), s * short * np.cos(turn)) for s in (-1, 1)]
    ends = [gray(s * long * np.cos(turn), s * long * np.sin(turn)) for s in (-1, 1)]
    return round(min(sides) - sum(ends) / 2, 3)
