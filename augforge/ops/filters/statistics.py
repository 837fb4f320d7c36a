"""Filters that compare size and shape of a class with the training split: class_area, class_shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augforge import bitmask
from augforge.errors import PlanError
from augforge.ops.core import Candidate, Context, Examples, Flag, filter_op
from augforge.ops.filters.robust import (
    Norm,
    Table,
    count_groups,
    deviations,
    flag_beyond,
    make_norm,
    median,
    median_polish,
    rounded,
    spread,
    to_table,
    training_rows,
)
from augforge.ops.filters.select import ClassFilter
from augforge.sample import Sample

LEAST_OTHERS = 3
"""Number of classes that a sample must show before one can be compared with the others."""
AREA_FLOOR, ELONGATION_FLOOR, FILL_FLOOR = 0.05, 0.05, 0.02
"""Least spread of natural logarithms: about 5 % and 2 %."""


class Statistic(ClassFilter):
    """Parameters of filters that compare each class with the same class in the training split."""

    min_samples: int = Field(
        8, ge=3, description="a class that fewer training samples show is not judged, nor is anything in a smaller set"
    )
    at_border: Literal["skip", "judge"] = Field(
        "skip", description="whether a class is judged that touches the picture's border and so may be cut off"
    )

    def names(self, ctx: Context) -> tuple[str, ...]:
        """The classes that are compared."""
        return self.classes or ctx.content


class ClassArea(Statistic):
    """Samples in which a class is far larger or smaller than usual, or missing: broken polygons, swapped labels.

    The logarithm of a class's area is compared, without the sample's own scale (the median over its classes), so that
    the sizes of body and picture do not matter. The score is the largest robust z: the distance from the training
    median in units of 1.4826 median absolute deviations (Iglewicz and Hoaglin 1993). The spread is at least 5 %, and
    wide enough that a tenth of the training set may lie far off: so many are another kind, such as children. Unknown
    classes are not judged; an absent one can be reported on its own, as ``class missing``.
    """

    threshold: float = Field(5.0, gt=0, description="|z| of a class above which a sample is flagged")
    relative_to: Literal["others", "picture"] = Field(
        "others", description="compare a class with the sample's other classes (3 or more), or with the picture's area"
    )
    missing: float | None = Field(
        0.95,
        gt=0,
        le=1,
        description="flag a sample without a class that at least this share of the training samples shows; null: never",
    )

    def check(self, ctx: Context) -> None:
        """Raise PlanError if a class is not in the table, or if there are too few to compare with each other."""
        super().check(ctx)
        if self.relative_to == "others" and len(self.names(ctx)) < LEAST_OTHERS:
            raise PlanError(
                f"class_area compares a class with the others, and there are {len(self.names(ctx))} classes; expected "
                f"at least {LEAST_OTHERS}. Set `relative_to: picture`"
            )


@filter_op(
    "class_area",
    ClassArea,
    version=1,
    examples=Examples([{}, {"relative_to": "picture", "missing": None, "classes": ["class-0", "class-1"]}]),
)
def class_area(candidate: Candidate, params: ClassArea, ctx: Context) -> Flag | None:
    """Flag a sample in which a class is missing, or larger or smaller than usual."""
    if ctx.fitted is None:
        return None
    areas, least = candidate.features["area"], params.missing
    missing = [name for name, share in ctx.fitted["present"].items() if least and share >= least and areas[name] == 0]
    if missing:
        return Flag("class missing", detail=", ".join(missing))
    return flag_beyond(
        "class area", area_scores(candidate, params, ctx.fitted), params.threshold, candidate.features["box"]
    )


@class_area.measures(reads=())
def measure_area(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    """Measure area and box of each class."""
    areas, boxes = bitmask.areas_and_boxes(sample.masks, len(ctx.classes))
    return {"area": by_class(sample, ctx, areas.tolist()), "box": boxes_by_class(sample, ctx, boxes)}


@class_area.fits
def fit_area(candidates: Sequence[Candidate], params: ClassArea, ctx: Context) -> dict[str, Any] | None:
    """Fit the usual areas; None if there are too few training samples."""
    rows, names = training_rows(candidates), params.names(ctx)
    if len(rows) < params.min_samples:
        return None
    table = _log_areas(rows, params, names)
    center, left = median_polish(table) if params.relative_to == "others" else (median(table, 0), table)
    known = to_table([row.features["area"] for row in rows], names)
    usual = make_norm(names, center, spread(left, count_groups(rows), AREA_FLOOR), left, params.min_samples)
    return {**usual, "present": _presence(names, known, params.min_samples)}


def area_scores(candidate: Candidate, params: ClassArea, fitted: Mapping[str, Any]) -> dict[str, float]:
    """The z-score of each class's area."""
    center = fitted["center"]
    left = _log_areas([candidate], params, list(center))[0] - np.array([*center.values()])
    if params.relative_to == "others":
        left = left - median(left, 0)
    return {name: z / fitted["scale"][name] for name, z in zip(center, left.tolist(), strict=True) if math.isfinite(z)}


def _log_areas(rows: Sequence[Candidate], params: ClassArea, names: Sequence[str]) -> Table:
    """Logarithms of the classes' shares of the picture; NaN if one is absent, unknown, cut off or on its own."""
    table = to_table([_judged_values(row, "area", params.at_border) for row in rows], names)
    table[table == 0] = np.nan
    if params.relative_to == "others":
        table[np.count_nonzero(~np.isnan(table), axis=1) < LEAST_OTHERS] = np.nan
    return np.asarray(np.log(table / [[row.width * row.height] for row in rows]))


def _presence(names: Sequence[str], areas: Table, least: int) -> dict[str, float]:
    """The share of samples with a class among those that know it, for classes that at least `least` samples know."""
    known, there = np.count_nonzero(~np.isnan(areas), axis=0), np.count_nonzero(areas > 0, axis=0)
    return {name: rounded(there[i] / known[i]) for i, name in enumerate(names) if known[i] >= least}


class ClassShape(Statistic):
    """Samples in which a class has an unusual shape: truncated, folded or swapped polygons, bones seen from the end.

    From the second moments of a class's pixels: `elongation`, the ratio of the long to the short axis of the ellipse
    with the same moments, and `fill`, its area as a share of that ellipse's (1 for an ellipse; notches, holes and
    scattered pieces lower it). Neither depends on place, size, rotation or mirroring. The score is the largest robust z
    of their logarithms, as in `class_area`; the spread is at least 5 % for elongation and 2 % for fill.
    """

    threshold: float = Field(5.0, gt=0, description="|z| of a class above which a sample is flagged")
    min_pixels: int = Field(25, ge=1, description="a class with fewer pixels is not judged")


@filter_op("class_shape", ClassShape, version=1, examples=Examples([{}, {"at_border": "judge", "threshold": 3}]))
def class_shape(candidate: Candidate, params: ClassShape, ctx: Context) -> Flag | None:
    """Flag a sample in which a class has an unusual shape."""
    if ctx.fitted is None:
        return None
    kinds = shape_scores(candidate, params, ctx.fitted)
    scores = {f"{name} {kind}": z for kind, found in kinds.items() for name, z in found.items()}
    boxes = {f"{name} {kind}": box for kind in kinds for name, box in candidate.features["box"].items()}
    return flag_beyond("class shape", scores, params.threshold, boxes)


@class_shape.measures(reads=())
def measure_shape(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    """Measure area, elongation, fill and box of each class."""
    areas, boxes = bitmask.areas_and_boxes(sample.masks, len(ctx.classes))
    shapes = [
        _ellipse_shape(moments(sample, c, boxes[c])) if areas[c] else (None, None) for c in range(len(ctx.classes))
    ]
    return {
        "pixels": by_class(sample, ctx, areas.tolist()),
        "elongation": by_class(sample, ctx, [shape[0] for shape in shapes]),
        "fill": by_class(sample, ctx, [shape[1] for shape in shapes]),
        "box": boxes_by_class(sample, ctx, boxes),
    }


@class_shape.fits
def fit_shape(candidates: Sequence[Candidate], params: ClassShape, ctx: Context) -> dict[str, Norm] | None:
    """Fit the usual shapes; None if there are too few training samples."""
    rows, names = training_rows(candidates), params.names(ctx)
    if len(rows) < params.min_samples:
        return None
    fitted = {}
    for kind, floor in (("elongation", ELONGATION_FLOOR), ("fill", FILL_FLOOR)):
        table = to_table([_log_values(row, kind, params) for row in rows], names)
        scale = spread(table, count_groups(rows), floor)
        fitted[kind] = make_norm(names, median(table, 0), scale, table, params.min_samples)
    return fitted


def shape_scores(candidate: Candidate, params: ClassShape, fitted: Mapping[str, Norm]) -> dict[str, dict[str, float]]:
    """The z-scores of each class's elongation and fill."""
    return {kind: deviations(_log_values(candidate, kind, params), fitted[kind]) for kind in ("elongation", "fill")}


def _log_values(candidate: Candidate, kind: str, params: ClassShape) -> dict[str, float]:
    values, pixels = _judged_values(candidate, kind, params.at_border), candidate.features["pixels"]
    return {name: math.log(value) for name, value in values.items() if value and pixels[name] >= params.min_pixels}


def moments(sample: Sample, c: int, box: NDArray[np.int32]) -> dict[str, float]:
    """`cv2.moments` of a class that is present, with the origin at the corner of its box."""
    x0, y0, x1, y1 = (int(edge) for edge in box)
    found: dict[str, float] = cv2.moments(bitmask.class_mask(sample.masks[y0:y1, x0:x1], c), binaryImage=True)
    return found


def _ellipse_shape(found: Mapping[str, float]) -> tuple[float, float]:
    """Elongation and fill. A pixel is a square, which adds 1/12 to the variances, so that none is 0."""
    area = found["m00"]
    xx, yy, xy = found["mu20"] / area + 1 / 12, found["mu02"] / area + 1 / 12, found["mu11"] / area
    middle, radius = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    long, short = middle + radius, max(middle - radius, 1 / 12)
    return rounded(math.sqrt(long / short)), rounded(area / (4 * math.pi * math.sqrt(long * short)))


def by_class(sample: Sample, ctx: Context, values: Sequence[Any]) -> dict[str, Any]:
    """Values by class name, None if the class is not known."""
    known = bitmask.bits_to_flags(sample.known, len(ctx.classes))
    return {name: value if held else None for name, value, held in zip(ctx.classes, values, known, strict=True)}


def boxes_by_class(sample: Sample, ctx: Context, boxes: NDArray[np.int32]) -> dict[str, list[int] | None]:
    """x0, y0, x1, y1 by class name, None if a class has no pixel or is not known."""
    return by_class(sample, ctx, [box if box[2] else None for box in boxes.tolist()])


def _judged_values(candidate: Candidate, kind: str, at_border: str) -> dict[str, Any]:
    """A feature by class, without the classes that touch the border if these are skipped."""
    values, boxes = candidate.features[kind], candidate.features["box"]
    return {
        name: value
        for name, value in values.items()
        if at_border == "judge" or not _touches_border(boxes[name], candidate)
    }


def _touches_border(box: Sequence[int] | None, candidate: Candidate) -> bool:
    return box is not None and (0 in box[:2] or box[2] == candidate.width or box[3] == candidate.height)
