"""metal: the filter that finds rings, plates, screws, wires, implants and crowns on radiographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augforge import bitmask
from augforge.ops.core import Candidate, Context, Examples, FilterParams, Flag, filter_op
from augforge.ops.filters.metal_body import Flags
from augforge.ops.filters.metal_regions import FoundRegion, brightness_across, find_regions, overlap_by_half
from augforge.ops.filters.metal_view import SIDE, View, resize_mask, views_of
from augforge.ops.geometry import sample_planes
from augforge.sample import Box, Sample

FAINT = 150
"""Pixels: the further a region is below this size, the more it must stand out."""
BURNT, MORE = 0.04, 14.0
"""Where burnt out bones overlap they look as even and as sharp as metal. So the prominence that is required grows by
`MORE` times the share of the body that is burnt out elsewhere; above `BURNT` no blurred edge is excused."""
PLATE_SHARE, PLATE_LENGTH, PLATE_BURNT = (0.0013, 0.012), 0.045, 0.35
"""Share of the image of a region that may be a plate; its least length, and least share of all that is burnt out."""
CONVEX, SLENDER = 0.76, 2.5
"""A burnt out bone is convex and stout: a plate has gaps between its screws, or is this many times as long as wide."""
PLATE_EASE = (0.33, 0.3, 0.28, 0.6)
"""The bone below a plate may be nearly as bright as the plate, so all thresholds are multiplied by these."""
BRIGHTEST = 252
"""Gray value, of 255, from which a pixel is burnt out."""
STEEP = 0.4
"""A sharp step of this height, from air (0) to the brightest (1), is never a bone's, however bright the rest is."""
LENIENT = 0.82
"""Factor on `sharpness` for a region whose plateau is three times the threshold: holes and threads blur its edge."""
FINE_LEAST, COARSE_LEAST = (0.001, 0.08), (0.22, 0.38)
"""The least prominence and contrast. In the coarse view all edges look sharp, so more is required."""
COARSE_PLATEAU = 0.7
"""Factor on `plateau` in the coarse view, where the surroundings of a large region look more uneven."""
LARGE, EASE = 0.012, (0.75, 0.7, 0.4, 0.75)
"""No bone of at least this share of the image has such steps all round, so all thresholds are multiplied by these."""
STRIP = 0.05
"""Regions along the image's border are the film's if they lie within this share of the longer side."""
LETTERS = 4
"""This many similar regions in a row are writing."""


class Metal(FilterParams):
    """Find metal: rings, plates, screws, wires, implants, crowns; the reason is ``ring`` or ``implant``.

    Metal lets almost nothing of the beam through. So a region is metal if it is brighter than all bone nearby
    (`prominence`), even and about as bright as anything in the image (`plateau`), reaches that brightness within the
    image's blur all round (`sharpness`), and lies on the body (`contact`), not beside it as the film's labels, markers
    and borders do. Gray values are measured from air (0) to the body's brightest (1), and lengths in an image of 1024
    pixels on its longer side, so that exposure, bit depth and size hardly matter. If much of the body is burnt out,
    more is required.

    If a sample has masks, they are used: the body is where they lie and around them, metal is within `reach` of them,
    and a ring crosses one of the `fingers`. Without masks the body is found in the image by thresholds after Otsu
    (1979), and a ring is a flat shape with bone on both long sides and none beyond its ends.

    On a forearm that is nearly burnt out a plate is told from bone by its shape, and by being most of what is burnt out
    on the whole film. It cannot find metal where bone is burnt out all round it, nor nail art, which lets the beam
    through, and takes arrows drawn on the body for metal; writing, a row of four letters or more, is left out.
    """

    prominence: float = Field(0.045, gt=0, le=1, description="how much brighter it is than any bone nearby, 0 to 1")
    plateau: float = Field(3.2, gt=0, description="prominence over the unevenness and what it lacks of full brightness")
    sharpness: float = Field(0.9, gt=0, le=1, description="share of its edge that is a step, not a ramp")
    contact: float = Field(0.4, ge=0, le=1, description="share of its edge that the body surrounds")
    reach: float = Field(0.1, ge=0, description="greatest distance from any mask, as a share of the longer side")
    fingers: tuple[str, ...] = Field(
        ("finger-*", "*phalan*"), description="classes that a ring may cross; * stands for any letters"
    )


@filter_op("metal", Metal, version=2, examples=Examples([{}, {"action": "tag", "prominence": 0.02}]))
def metal(candidate: Candidate, params: Metal, ctx: Context) -> Flag | None:
    """Flag a sample with a region that is metal; the strongest region gives the reason."""
    found = find_metal(candidate.features, params)
    if not found:
        return None
    return Flag(found[0].kind, found[0].score, boxes=tuple(region.box for region in found))


@metal.measures(reads=("fingers",))
def measure_regions(sample: Sample, params: Metal, ctx: Context) -> dict[str, Any]:
    """Measure all regions that may be metal, how much of the body is burnt out, and the grain."""
    anatomy = _Anatomy.from_sample(sample, params.fingers, ctx.classes)
    views = views_of(sample.image, None if anatomy is None else anatomy.union)
    regions = [
        {**region, "coarse": view is not views[0]} for view in views for region in _measure_view(view, sample, anatomy)
    ]
    fine = views[0]
    burnt = float(np.mean(fine.gray[fine.body > 0] >= BRIGHTEST)) if fine.body.any() else 0.0
    return {"regions": regions, "burnt": round(burnt, 4), "noise": round(fine.noise / 255, 4)}


def _measure_view(view: View, sample: Sample, anatomy: _Anatomy | None) -> list[dict[str, Any]]:
    """Measure each region in a view."""
    found = find_regions(view)
    anatomy = None if anatomy is None or not found else anatomy.resized(view)
    rows = _count_row_mates([region.features["box"] for region in found], view.whole)
    return [
        {
            **region.features,
            **_place_in_image(view, region, sample),
            "across": brightness_across(view, region),
            "row": row,
            "burnt": _share_burnt(view, region),
            **({} if anatomy is None else anatomy.describe(view, region)),
        }
        for region, row in zip(found, rows, strict=True)
    ]


def _share_burnt(view: View, region: FoundRegion) -> float:
    """The burnt out pixels of a region as a share of the body."""
    height, width = region.mask.shape
    gray = view.gray[region.top : region.top + height, region.left : region.left + width]
    burnt = int(np.count_nonzero(gray[region.mask > 0] >= BRIGHTEST))
    return round(burnt / max(1, int(np.count_nonzero(view.body))), 4)


@dataclass(frozen=True)
class Region:
    """A region that is metal: its half-open box in pixels of the image, its kind, and its score of 1 or more."""

    box: Box
    kind: str
    score: float


def find_metal(features: Mapping[str, Any], params: Metal) -> list[Region]:
    """The regions that are metal by these thresholds, strongest first; of nested ones only the strongest."""
    scored = [(region_score(region, features["burnt"], params), region) for region in features["regions"]]
    found = [Region(_as_box(region["box"]), kind_of(region), value) for value, region in scored if value >= 1]
    kept: list[Region] = []
    for region in sorted(found, key=lambda region: (-region.score, region.box)):
        if not any(overlap_by_half(region.box, other.box) for other in kept):
            kept.append(region)
    return kept


def _as_box(corners: Sequence[int]) -> Box:
    x0, y0, x1, y1 = corners
    return (x0, y0, x1, y1)


def region_score(region: Mapping[str, Any], burnt: float, params: Metal) -> float:
    """How far a region is beyond the threshold that it exceeds least: 1 or more is metal."""
    if region["contact"] < params.contact or region.get("distance", 0) > params.reach or _belongs_to_film(region):
        return 0.0
    least_prominence, least_contrast = COARSE_LEAST if region["coarse"] else FINE_LEAST
    plate = _is_like_a_plate(region, burnt)
    elsewhere = 0.0 if plate else max(0.0, burnt - region["burnt"])
    stands_out = max(region["prominence"] / _needed_prominence(region, elsewhere, params), _steepness(region))
    plateau = region["plateau"] / params.plateau / (COARSE_PLATEAU if region["coarse"] else 1)
    plain = plateau >= 3 and elsewhere < BURNT and not region["coarse"]
    margins = (
        min(stands_out, region["prominence"] / least_prominence),
        plateau,
        (region["sharpness"] / params.sharpness / (LENIENT if plain else 1)) ** 4,
        region["contrast"] / least_contrast,
    )
    large = region["coarse"] and region["share"] >= LARGE
    eases = PLATE_EASE if plate else EASE if large else (1, 1, 1, 1)
    return round(float(min(margin / ease for margin, ease in zip(margins, eases, strict=True))), 3)


def _is_like_a_plate(region: Mapping[str, Any], burnt: float) -> bool:
    """Whether a region has a plate's size, is much of what is burnt out on the film, and is not shaped like a bone."""
    least, most = PLATE_SHARE
    sized = not region["coarse"] and least <= region["share"] <= most and region["length"] >= PLATE_LENGTH
    shaped = region["solidity"] < CONVEX or region["length"] >= SLENDER * region["width"]
    return bool(sized and shaped and region["burnt"] >= PLATE_BURNT * burnt > 0)


def _needed_prominence(region: Mapping[str, Any], elsewhere: float, params: Metal) -> float:
    """The prominence that is required: more of a small region, and more if much is burnt out elsewhere."""
    small = float(params.prominence * (1 + FAINT / region["pixels"]))
    return small + min(0.25, MORE * elsewhere)


def _steepness(region: Mapping[str, Any]) -> float:
    return float(region["contrast"] / STEEP * min(1.0, region["pixels"] / 60))


def _belongs_to_film(region: Mapping[str, Any]) -> bool:
    """Whether a region is writing, a corner of the film, or a strip along the image's side or half across it."""
    strip = region["strip"] is not None and region["strip"] < STRIP
    long = region["length"] >= 0.5 and region["width"] <= 0.03
    return bool(strip or long or region["sides"] >= 2 or region["row"] >= LETTERS)


def kind_of(region: Mapping[str, Any]) -> str:
    """``ring`` for a flat shape that crosses a finger, else ``implant``."""
    aspect = region["length"] / region["width"]
    flat = 1.4 <= aspect <= 10 and region["solidity"] >= 0.3 and region["length"] <= 0.13
    crosses = region["across"] > (0.005 if aspect <= 5 else 0.1) and region.get("finger", 1) >= 0.1
    return "ring" if flat and crosses else "implant"


def _place_in_image(view: View, region: FoundRegion, sample: Sample) -> dict[str, Any]:
    """Box and area in pixels of the image, in pixels of the view, length and width as shares of the longer side."""
    x0, y0, x1, y1 = region.features["box"]
    corners = np.array([x0 + view.left, y0 + view.top, x1 + view.left, y1 + view.top]) * view.scale
    limits = [sample.width, sample.height] * 2
    side, area = max(view.whole), int(region.mask.sum())
    return {
        "box": [min(round(float(at)), limit) for at, limit in zip(corners, limits, strict=True)],
        "area": round(area * view.scale**2),
        "pixels": area,
        "share": round(area / view.pixels, 5),
        "length": round(region.features["length"] / side, 4),
        "width": round(region.features["width"] / side, 4),
    }


@dataclass(frozen=True)
class _Anatomy:
    """A sample's masks: the union of all classes, and the union of the fingers if there are any."""

    union: Flags
    fingers: Flags | None

    @classmethod
    def from_sample(cls, sample: Sample, fingers: Sequence[str], classes: Sequence[str]) -> _Anatomy | None:
        """The sample's masks, shrunk; None if no class has a pixel."""
        planes = _shrink_planes(sample)
        union = bitmask.union(planes).astype(np.uint8)
        chosen = [c for c, name in enumerate(classes) if any(fnmatchcase(name, pattern) for pattern in fingers)]
        named = bitmask.union(planes, chosen).astype(np.uint8) if chosen and union.any() else None
        return cls(union, named) if union.any() else None

    def resized(self, view: View) -> _Anatomy:
        """The same at the size of a view."""
        return _Anatomy(
            resize_mask(self.union, *view.whole),
            None if self.fingers is None else resize_mask(self.fingers, *view.whole),
        )

    def describe(self, view: View, region: FoundRegion) -> dict[str, Any]:
        """A region's overlap with masks and with fingers, and its distance from masks as a share of the longer side."""
        x, y = region.left + view.left, region.top + view.top
        inside = region.mask > 0
        window = (slice(y, y + inside.shape[0]), slice(x, x + inside.shape[1]))
        found = {
            "overlap": round(float(self.union[window][inside].mean()), 3),
            "distance": round(float(self.distance[window][inside].min()) / max(view.whole), 4),
        }
        if self.fingers is not None:
            found["finger"] = round(float(self.fingers[window][inside].mean()), 3)
        return found

    @cached_property
    def distance(self) -> NDArray[np.float32]:
        """Distance of each pixel to the nearest mask, in pixels."""
        return np.asarray(cv2.distanceTransform(1 - self.union, cv2.DIST_L2, 3), np.float32)


def _shrink_planes(sample: Sample) -> bitmask.Planes:
    scale = min(1.0, SIDE / max(sample.width, sample.height))
    return sample_planes(sample.masks, max(1, round(sample.width * scale)), max(1, round(sample.height * scale)))


def _count_row_mates(boxes: Sequence[Sequence[int]], whole: tuple[int, int]) -> list[int]:
    """Count for each box the similar boxes in its row, itself included: letters are low and of one height."""
    if not boxes:
        return []
    x0, y0, x1, y1 = np.array(boxes, float).T
    height, middle = y1 - y0, (y0 + y1) / 2
    tall = np.maximum(height[:, None], height)
    gap = np.maximum(x0[:, None], x0) - np.minimum(x1[:, None], x1)
    alike = (np.minimum(height[:, None], height) >= 0.6 * tall) & (abs(middle[:, None] - middle) <= 0.4 * tall)
    linked = alike & (gap <= 1.5 * tall) & (tall <= 0.05 * max(whole))
    np.fill_diagonal(linked, True)
    for _ in range(len(boxes).bit_length()):
        linked = (linked.astype(int) @ linked.astype(int)) > 0
    return [int(count) for count in linked.sum(axis=1)]
