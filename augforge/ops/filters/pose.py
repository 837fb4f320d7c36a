"""pose: samples in which a class does not lie among its neighbours as in the training split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augforge import bitmask
from augforge.ops.core import Candidate, Context, Examples, Flag, filter_op
from augforge.ops.filters.robust import (
    DIGITS,
    Table,
    count_groups,
    format_scores,
    median,
    rounded,
    spread,
    strongest,
    training_rows,
    unique_boxes,
)
from augforge.ops.filters.select import ClassFilter
from augforge.ops.filters.statistics import boxes_by_class, by_class, moments
from augforge.sample import Sample

FLOOR = 0.02
"""Least spread of a distance, in units of the body's scale: the median distance of its classes from their median."""
NAMED = 0.5
"""A class is named beside the worst one if its mean |z| is more than this share of the worst one's."""

Pairs: TypeAlias = NDArray[np.intp]
"""(N, 2): indices of two classes."""


class Pose(ClassFilter):
    """Samples in which a class is out of place among its neighbours: bent fingers, swapped labels, shifted polygons.

    For each class, the distances from its centroid to those of its `neighbours`, the classes that are usually nearest,
    are measured in units of the sample's own scale (the median ratio of all these distances to the usual ones). So
    place, size, rotation and mirroring (left and right hands) do not matter, and one class out of place affects no
    other. The score is the largest robust z of a distance, as in `class_area`; the spread is at least 2 % of the median
    distance of the classes from their middle. Bent fingers are found if fewer than a tenth of the hands have them. The
    finding names the classes whose distances are most unusual, with their mean |z|. Absent and unknown classes are not
    judged.
    """

    threshold: float = Field(5.0, gt=0, description="|z| of a distance above which a sample is flagged")
    neighbours: int = Field(6, ge=2, le=32, description="number of nearest classes with which a class is compared")
    min_samples: int = Field(
        8, ge=3, description="a pair that fewer training samples show is not judged, nor is anything in a smaller set"
    )


@filter_op("pose", Pose, version=1, examples=Examples([{}, {"neighbours": 3, "threshold": 2}]))
def pose(candidate: Candidate, params: Pose, ctx: Context) -> Flag | None:
    """Flag a sample with a distance beyond the threshold, and name the classes that are out of place."""
    if ctx.fitted is None:
        return None
    worst, classes = pose_scores(candidate, ctx.fitted)
    if worst <= params.threshold:
        return None
    ranked = strongest(classes, NAMED * max(classes.values()))
    regions = unique_boxes(candidate.features["box"][name] for name, _ in ranked)
    return Flag("position", rounded(worst), detail=format_scores(ranked), boxes=regions)


@pose.measures(reads=())
def measure_centers(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    """Measure centroid and box of each class."""
    areas, boxes = bitmask.areas_and_boxes(sample.masks, len(ctx.classes))
    found = [_center(sample, c, boxes[c]) if areas[c] else None for c in range(len(areas))]
    return {"center": by_class(sample, ctx, found), "box": boxes_by_class(sample, ctx, boxes)}


def _center(sample: Sample, c: int, box: NDArray[np.int32]) -> list[float]:
    found = moments(sample, c, box)
    return [round(found["m10"] / found["m00"] + int(box[0]), 2), round(found["m01"] / found["m00"] + int(box[1]), 2)]


@pose.fits
def fit_pose(candidates: Sequence[Candidate], params: Pose, ctx: Context) -> dict[str, Any] | None:
    """Fit the usual distances between neighbours; None if there are too few training samples."""
    rows, names = training_rows(candidates), params.classes or ctx.content
    if len(rows) < params.min_samples:
        return None
    centers = _centers(rows, names)
    pairs, usual = _neighbours(centers, params)
    lengths = _distances(centers, pairs)
    lengths = lengths / _nan_for_zero(median(lengths / usual, 1))[:, None]
    middle, scale = median(lengths, 0), spread(lengths, count_groups(rows), FLOOR)
    return {
        "pairs": [[names[a], names[b]] for a, b in pairs],
        "distance": [round(float(value), DIGITS) for value in middle],
        "scale": [round(float(value), DIGITS) for value in scale],
    }


def _centers(rows: Sequence[Candidate], names: Sequence[str]) -> NDArray[np.float64]:
    """x and y of each class, (rows, classes, 2); NaN if it is absent or unknown."""
    found = [[row.features["center"][name] or (np.nan, np.nan) for name in names] for row in rows]
    return np.array(found, np.float64).reshape(len(rows), len(names), 2)


def _distances(centers: NDArray[np.float64], pairs: Pairs) -> Table:
    """The distance of each pair in pixels, (rows, pairs)."""
    apart = centers[:, pairs[:, 0]] - centers[:, pairs[:, 1]]
    return np.asarray(np.hypot(apart[..., 0], apart[..., 1]))


def _neighbours(centers: NDArray[np.float64], params: Pose) -> tuple[Pairs, Table]:
    """Pairs of each class with its usual neighbours, and their usual distances in units of the body's scale."""
    radii = centers - median(centers, 1)[:, None]
    body = _nan_for_zero(median(np.hypot(radii[..., 0], radii[..., 1]), 1))[:, None]
    chosen: dict[tuple[int, int], float] = {}
    for c in range(centers.shape[1]):
        others = np.array([(c, other) for other in range(centers.shape[1]) if other != c]).reshape(-1, 2)
        lengths = _distances(centers, others) / body
        shown = np.count_nonzero(~np.isnan(lengths), axis=0) >= params.min_samples
        usual = np.where(shown, median(lengths, 0), np.nan)
        for at in np.argsort(usual, kind="stable")[: min(params.neighbours, np.count_nonzero(shown))]:
            other = int(others[at, 1])
            chosen[min(c, other), max(c, other)] = float(usual[at])
    pairs = sorted(chosen)
    return np.array(pairs, np.intp).reshape(-1, 2), np.maximum([chosen[pair] for pair in pairs], FLOOR)


def _nan_for_zero(scale: Table) -> Table:
    """Replace 0 by NaN: a body whose classes all lie on one point has no scale."""
    return np.where(scale > 0, scale, np.nan)


def pose_scores(candidate: Candidate, fitted: Mapping[str, Any]) -> tuple[float, dict[str, float]]:
    """The largest |z| of a distance, and for each class the mean |z| of its distances."""
    names = sorted({name for pair in fitted["pairs"] for name in pair})
    pairs = np.array([[names.index(name) for name in pair] for pair in fitted["pairs"]], np.intp).reshape(-1, 2)
    lengths = _distances(_centers([candidate], names), pairs)[0]
    usual = np.array(fitted["distance"])
    own = _nan_for_zero(median(lengths / np.maximum(usual, FLOOR), 0))
    z = np.abs(lengths / own - usual) / np.array(fitted["scale"])
    held = ~np.isnan(z)
    means = {name: z[held & (pairs == i).any(axis=1)] for i, name in enumerate(names)}
    return float(z[held].max(initial=0)), {name: float(of.mean()) for name, of in means.items() if len(of)}
