"""intensity: samples whose brightness or contrast is not as in the training split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augforge import bitmask
from augforge.ops.core import Candidate, Context, FilterParams, Flag, filter_op
from augforge.ops.filters.robust import flag_beyond, rounded, training_rows
from augforge.sample import Image, Sample

FLOOR = 0.01
"""Least spread, as a share of the gray scale."""
PERCENTILES = {"low": 0.05, "middle": 0.5, "high": 0.95}
TAIL, TAIL_Z = 0.95, 1.6449
"""A quantile of the training set, and its distance from the median of a normal distribution in standard deviations."""

Tails: TypeAlias = dict[str, dict[str, float]]
"""By quantity: ``center``, and the spreads ``below`` and ``above`` it."""


class Intensity(FilterParams):
    """Samples whose gray values are unusual: under- or overexposed, flat, inverted, or from another film.

    The quantities, as shares of the gray scale (255 or 65535), are `mean`, the percentiles `low` (5), `middle` (50) and
    `high` (95), `contrast` (high - low), and `object`, the mean inside the masks if there are any, which does not
    depend on the amount of background. The score is the largest distance from the training median, in units of what
    would be a standard deviation if the distribution were normal: the distance from the median to the 95th or the 5th
    percentile, whichever lies on that side, over 1.645, and at least 0.01. So sets that are skewed or have two peaks
    (dark and gray films) are judged by their own tails, and up to one sample in twenty on each side may be an outlier.
    Colour is converted to gray; transparency does not count.
    """

    threshold: float = Field(3.5, gt=0, description="score above which a sample is flagged")
    min_samples: int = Field(8, ge=3, description="number of training samples below which a quantity is not used")


@filter_op("intensity", Intensity, version=1)
def intensity(candidate: Candidate, params: Intensity, ctx: Context) -> Flag | None:
    """Flag a sample whose gray values lie beyond the threshold."""
    return (
        None if ctx.fitted is None else flag_beyond("exposure", level_scores(candidate, ctx.fitted), params.threshold)
    )


@intensity.measures(reads=())
def measure_levels(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    """Measure mean, percentiles and contrast, as shares of the gray scale."""
    gray = to_gray(sample.image)
    inside = np.ascontiguousarray(bitmask.union(sample.masks)).view(np.uint8)
    whole, top = _histogram(gray, None), float(np.iinfo(gray.dtype).max)
    at = np.cumsum(whole) / gray.size
    levels = {name: rounded(np.searchsorted(at, share) / top) for name, share in PERCENTILES.items()}
    held = _histogram(gray, inside) if inside.any() else None
    return {
        "mean": rounded(_histogram_mean(whole) / top),
        **levels,
        "contrast": rounded(levels["high"] - levels["low"]),
        "object": None if held is None else rounded(_histogram_mean(held) / top),
    }


@intensity.fits
def fit_levels(candidates: Sequence[Candidate], params: Intensity, ctx: Context) -> Tails | None:
    """Fit centre and tails of each quantity; None if there are too few training samples."""
    rows = training_rows(candidates)
    if len(rows) < params.min_samples:
        return None
    held = {name: [value for row in rows if (value := row.features[name]) is not None] for name in rows[0].features}
    return {name: _tails(values) for name, values in held.items() if len(values) >= params.min_samples}


def _tails(values: Sequence[float]) -> dict[str, float]:
    low, center, high = np.quantile(values, (1 - TAIL, 0.5, TAIL)).tolist()
    below, above = (max(reach / TAIL_Z, FLOOR) for reach in (center - low, high - center))
    return {"center": rounded(center), "below": rounded(below), "above": rounded(above)}


def level_scores(candidate: Candidate, fitted: Tails) -> dict[str, float]:
    """Signed distance of each quantity from the median, in standard deviations of that side."""
    values = candidate.features
    off = {name: values[name] - usual["center"] for name, usual in fitted.items() if values[name] is not None}
    return {name: gap / fitted[name]["below" if gap < 0 else "above"] for name, gap in off.items()}


def to_gray(image: Image) -> Image:
    """The image as gray values (H, W) of the same dtype."""
    if image.ndim == 2:
        return image
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY))


def _histogram(gray: Image, mask: NDArray[np.uint8] | None) -> NDArray[np.float64]:
    values = np.iinfo(gray.dtype).max + 1
    return np.asarray(cv2.calcHist([gray], [0], mask, [values], [0, values]), np.float64)[:, 0]


def _histogram_mean(histogram: NDArray[np.float64]) -> float:
    return float(histogram @ np.arange(len(histogram)) / histogram.sum())
