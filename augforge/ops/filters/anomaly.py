"""anomaly: samples that are unusual as a whole, found by a detector of PyOD in what the other filters measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augforge.errors import MissingExtra
from augforge.ops.core import Candidate, Context, Examples, FilterParams, Flag, table_filter
from augforge.ops.filters.levels import Intensity, fit_levels, level_scores, measure_levels
from augforge.ops.filters.pose import Pose, fit_pose, measure_centers, pose_scores
from augforge.ops.filters.robust import NORMAL, Table, median, rounded, training_rows
from augforge.ops.filters.statistics import (
    ClassArea,
    ClassShape,
    area_scores,
    fit_area,
    fit_shape,
    measure_area,
    measure_shape,
    shape_scores,
)
from augforge.sample import Sample

SEED = 0
AREA, SHAPE, POSE, LEVELS = ClassArea(), ClassShape(), Pose(), Intensity()
FAMILIES = ("area", "elongation", "fill", "position", "intensity")
COLUMNS = tuple(f"{family} {kind}" for family in FAMILIES for kind in ("largest", "overall"))


class Anomaly(FilterParams):
    """Samples that are unusual as a whole: a little in many ways, so that no single statistic would flag them.

    The features are those of `class_area`, `class_shape`, `pose` and `intensity` with their default parameters. Of the
    z-scores of area, elongation, fill, position and gray values, the largest and the root mean square over the classes
    (or gray values) are used: 10 numbers, whatever the class table. If one of them cannot be computed, the training
    median takes its place. A detector of PyOD (Zhao, Nasrullah and Li 2019, JMLR 20:96), fitted on the training split,
    gives each sample a score: `iforest` by how few random cuts isolate it (Liu, Ting and Zhou 2008, ICDM; fixed seed),
    `ecod` by how far out in the tails its numbers lie together (Li et al. 2022, arXiv:2201.00382; it finds less here,
    and takes long if many samples are outside `train`, since each of these is scored on its own). A sample is flagged
    if its score lies `threshold` robust standard deviations (1.4826 median absolute deviations) above the training
    median.

    Needs the extra `outliers`. Other versions of PyOD and scikit-learn may give slightly different scores.
    """

    detector: Literal["iforest", "ecod"] = Field("iforest", description="isolation forest, or empirical distributions")
    threshold: float = Field(4.0, gt=0, description="robust z of the score that flags a sample; 3 suits ecod")
    min_samples: int = Field(20, ge=8, description="number of training samples below which nothing is flagged")
    trees: int = Field(200, ge=1, le=2000, description="number of trees in the isolation forest")

    def check(self, ctx: Context) -> None:
        """Raise MissingExtra if PyOD is not installed."""
        if find_spec("pyod") is None:
            raise _missing_extra()


@table_filter(
    "anomaly", Anomaly, version=1, examples=Examples([{"min_samples": 8, "detector": "ecod"}], extra="outliers")
)
def anomaly(candidates: Sequence[Candidate], params: Anomaly, ctx: Context) -> list[Flag | None]:
    """Flag the samples whose anomaly score lies beyond the threshold."""
    if ctx.fitted is None:
        return [None] * len(candidates)
    rows = sorted(candidates, key=lambda row: row.name)
    z = _scores(rows, params, ctx.fitted)
    flags = {
        row.name: _make_flag(row, score, ctx.fitted)
        for row, score in zip(rows, z, strict=True)
        if score > params.threshold
    }
    return [flags.get(candidate.name) for candidate in candidates]


_MEASURES: dict[str, Callable[..., Any]] = {
    "area": measure_area,
    "shape": measure_shape,
    "position": measure_centers,
    "intensity": measure_levels,
}


@anomaly.measures(reads=())
def measure_statistics(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    """Measure what the four statistics measure."""
    return {name: measure(sample, params, ctx) for name, measure in _MEASURES.items()}


@anomaly.fits
def fit_statistics(candidates: Sequence[Candidate], params: Anomaly, ctx: Context) -> dict[str, Any] | None:
    """Fit the four statistics; None if there are too few training samples."""
    rows = training_rows(candidates)
    if len(rows) < params.min_samples:
        return None
    area, shape = (
        fit_area(_with_features_of(rows, "area"), AREA, ctx),
        fit_shape(_with_features_of(rows, "shape"), SHAPE, ctx),
    )
    position, levels = (
        fit_pose(_with_features_of(rows, "position"), POSE, ctx),
        fit_levels(_with_features_of(rows, "intensity"), LEVELS, ctx),
    )
    return {"area": area, "shape": shape, "position": position, "intensity": levels}


def _with_features_of(rows: Iterable[Candidate], name: str) -> list[Candidate]:
    """The candidates with only the features of one statistic."""
    return [replace(row, features=row.features[name]) for row in rows]


def _scores(rows: Sequence[Candidate], params: Anomaly, fitted: Mapping[str, Any]) -> list[float]:
    """Robust z of each row's anomaly score; 0 for all if there is too little to learn from."""
    table = np.array([_feature_row(row, fitted) for row in rows], np.float64).reshape(len(rows), len(COLUMNS))
    learn = np.array([row.split == "train" for row in rows], bool)
    if np.count_nonzero(learn) < params.min_samples:
        return [0.0] * len(rows)
    table = np.where(np.isnan(table), np.nan_to_num(median(table[learn], 0)), table)
    table = table[:, np.ptp(table[learn], axis=0) > 0]
    raw = _detector_scores(table, learn, params) if table.shape[1] else np.zeros(len(rows))
    center = np.median(raw[learn])
    scale = NORMAL * np.median(np.abs(raw[learn] - center))
    return [float(z) for z in (raw - center) / scale] if scale > 0 else [0.0] * len(rows)


def _detector_scores(table: Table, learn: NDArray[np.bool_], params: Anomaly) -> Table:
    """The detector's scores, larger for more unusual rows."""
    detector = _make_detector(params)
    detector.fit(table[learn])
    scores = np.zeros(len(table))
    scores[learn] = detector.decision_scores_
    step = 1 if params.detector == "ecod" else max(1, len(table))  # ECOD counts the rows it scores into the tails
    others = np.flatnonzero(~learn)
    for start in range(0, len(others), step):
        at = others[start : start + step]
        scores[at] = detector.decision_function(table[at])
    return scores


def _make_detector(params: Anomaly) -> Any:
    try:
        if params.detector == "ecod":
            return import_module("pyod.models.ecod").ECOD()
        return import_module("pyod.models.iforest").IForest(n_estimators=params.trees, random_state=SEED)
    except ImportError:
        raise _missing_extra() from None


def _missing_extra() -> MissingExtra:
    return MissingExtra("pyod", "outliers", "the filter `anomaly`")


def _feature_row(row: Candidate, fitted: Mapping[str, Any]) -> list[float]:
    """The numbers of one sample, as COLUMNS names them."""
    area, shape, position, levels = (
        _with_features_of([row], name)[0] for name in ("area", "shape", "position", "intensity")
    )
    shapes = shape_scores(shape, SHAPE, fitted["shape"])
    farthest, apart = pose_scores(position, fitted["position"])
    found = [
        _largest_and_overall(area_scores(area, AREA, fitted["area"])),
        _largest_and_overall(shapes["elongation"]),
        _largest_and_overall(shapes["fill"]),
        (farthest if apart else np.nan, _largest_and_overall(apart)[1]),
        _largest_and_overall(level_scores(levels, fitted["intensity"])),
    ]
    return [value for pair in found for value in pair]


def _largest_and_overall(scores: Mapping[str, float]) -> tuple[float, float]:
    """Largest absolute value and root mean square; NaN if there are no scores."""
    z = np.abs([*scores.values()])
    return (float(z.max()), float(np.sqrt(np.mean(z**2)))) if len(z) else (np.nan, np.nan)


def _make_flag(row: Candidate, score: float, fitted: Mapping[str, Any]) -> Flag:
    found = dict(zip(COLUMNS, _feature_row(row, fitted), strict=True))
    largest = sorted(
        ((found[f"{family} largest"], family) for family in FAMILIES), key=lambda item: -np.nan_to_num(item[0])
    )
    return Flag(
        "anomaly",
        rounded(score),
        detail=", ".join(f"{family} z={z:.1f}" for z, family in largest[:3] if not math.isnan(z)),
    )
