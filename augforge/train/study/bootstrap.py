"""How certain a mean score is: a bootstrap over seeds and images at once, paired across the compared datasets.

A score varies with the run (its seed) and with the images it is computed on, and both are samples: of all possible
runs, and of the patients. So each draw resamples seeds and groups of images, independently of each other, and takes the
same ones for every dataset: what is hard in an image is hard for all and cancels in a difference.

That is the pigeonhole bootstrap (A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007); for
crossed factors no bootstrap is exact, and this one errs on the wide side. Of n units, n - 1 are drawn with replacement,
which makes the variance of a mean unbiased even if n is as small as a number of seeds (P. J. McCarthy and C. B.
Snowden, "The bootstrap and finite population sampling", 1985).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

DRAWS = 5000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its confidence interval; all None if nothing is known.

    Attributes:
        value: from all seeds and images.
        low, high: percentile interval, which contains the true value in about LEVEL of all cases.
        above_zero: share of draws above 0, with draws at 0 counted half: near 1 or 0 the sign is certain.
    """

    value: float | None
    low: float | None
    high: float | None
    above_zero: float | None

    def to_json(self) -> dict[str, float | None]:
        """JSON-like."""
        return asdict(self)


def mean_scores(values: Values) -> Values:
    """Mean over seeds and images, ignoring NaN: (D, S, I, C) to (D, C). NaN if there is nothing else."""
    total = np.isfinite(values).sum(axis=(1, 2))
    return _ratio(np.nansum(values, axis=(1, 2)), total)


def resample_means(values: Values, groups: Sequence[str], rng: np.random.Generator, draws: int = DRAWS) -> Values:
    """The result of `mean_scores` in each draw of the bootstrap.

    Args:
        values: float64 (D, S, I, C), a score by dataset, seed, image and class; NaN where a class is not known.
        groups: of the I images; those of one group are drawn together.
        rng: generator of the draws.
        draws: B.

    Returns:
        float64 (B, D, C); NaN if no image of the draw knows the class.
    """
    names, group_indices = np.unique(np.asarray(groups), return_inverse=True)
    seeds = _draw_counts(values.shape[1], draws, rng)
    images = _draw_counts(len(names), draws, rng)[:, group_indices]
    known = np.isfinite(values)
    return _ratio(_weighted_sum(np.where(known, values, 0), seeds, images), _weighted_sum(known, seeds, images))


def _draw_counts(units: int, draws: int, rng: np.random.Generator) -> Values:
    """How often each unit is drawn: (B, units)."""
    taken = max(units - 1, 1)
    return rng.multinomial(taken, np.full(units, 1 / units), draws).astype(np.float64)


def _weighted_sum(values: NDArray[np.float64] | NDArray[np.bool_], seeds: Values, images: Values) -> Values:
    """Sums over seeds and images by their weights: (D, S, I, C), (B, S) and (B, I) to (B, D, C)."""
    by_seed = np.tensordot(images, values.astype(np.float64), axes=(1, 2))  # (B, D, S, C)
    total: Values = np.einsum("bs,bdsc->bdc", seeds, by_seed)
    return total


def _ratio(part: NDArray[np.float64], whole: NDArray[np.generic]) -> Values:
    ratio: Values = np.divide(part, whole, out=np.full(part.shape, np.nan), where=np.asarray(whole) > 0)
    return ratio


def estimate(value: float, drawn: Values) -> Estimate:
    """A value with the interval of its draws (B,), of which NaN are left out."""
    known = drawn[np.isfinite(drawn)]
    if not len(known) or not np.isfinite(value):
        return Estimate(None, None, None, None)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    above = np.mean(known > 0) + np.mean(known == 0) / 2
    return Estimate(float(value), float(low), float(high), float(above))


def mean_of_classes(values: Values) -> Values:
    """Mean over the last axis, ignoring NaN, such as the mean Dice of all classes; NaN if there is nothing else."""
    return _ratio(np.nansum(values, axis=-1), np.isfinite(values).sum(axis=-1))
