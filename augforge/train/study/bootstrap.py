"""How sure a mean score is: a bootstrap over seeds and images at once, paired across what is compared.

A score varies with the run (its seed) and with the images it is judged on, and both are samples: of the runs there
might have been, and of the patients. So each draw takes seeds and groups of images anew, independently of each other,
and the same ones for every dataset: what is hard in an image is hard for all and cancels in a difference.

That is the pigeonhole bootstrap (A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007); for
crossed factors no bootstrap is exact, and this one errs on the wide side. Of n units, n - 1 are drawn with replacement,
which makes the variance of a mean unbiased where n is as small as a number of seeds (P. J. McCarthy and C. B. Snowden,
"The bootstrap and finite population sampling", 1985).
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
    """A number and how sure it is; None where nothing is known.

    Attributes:
        value: from all seeds and images.
        low, high: percentile interval that holds the true value in LEVEL of all cases, about.
        above_zero: share of draws above 0, those at 0 counted half: near 1 or 0 the sign is sure.
    """

    value: float | None
    low: float | None
    high: float | None
    above_zero: float | None

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)


def means(values: Values) -> Values:
    """Mean over seeds and images by class, without NaN; NaN of nothing: (D, S, I, C) to (D, C)."""
    total = np.isfinite(values).sum(axis=(1, 2))
    return _ratio(np.nansum(values, axis=(1, 2)), total)


def resampled(values: Values, groups: Sequence[str], rng: np.random.Generator, draws: int = DRAWS) -> Values:
    """What `means` gives in each draw of the bootstrap.

    Args:
        values: float64 (D, S, I, C), a score by dataset, seed, image and class; NaN where a class is not known.
        groups: of the I images; those of one group are drawn together.
        rng: what chance decides.
        draws: B.

    Returns:
        float64 (B, D, C); NaN where no image of the draw knows the class.
    """
    names, places = np.unique(np.asarray(groups), return_inverse=True)
    seeds = _weights(values.shape[1], draws, rng)
    images = _weights(len(names), draws, rng)[:, places]
    known = np.isfinite(values)
    return _ratio(_weighted(np.where(known, values, 0), seeds, images), _weighted(known, seeds, images))


def _weights(units: int, draws: int, rng: np.random.Generator) -> Values:
    """How often each unit is drawn: (B, units)."""
    taken = max(units - 1, 1)
    return rng.multinomial(taken, np.full(units, 1 / units), draws).astype(np.float64)


def _weighted(values: NDArray[np.float64] | NDArray[np.bool_], seeds: Values, images: Values) -> Values:
    """Sums over seeds and images by their weights: (D, S, I, C), (B, S) and (B, I) to (B, D, C)."""
    by_seed = np.tensordot(images, values.astype(np.float64), axes=(1, 2))  # (B, D, S, C)
    total: Values = np.einsum("bs,bdsc->bdc", seeds, by_seed)
    return total


def _ratio(part: NDArray[np.float64], whole: NDArray[np.generic]) -> Values:
    ratio: Values = np.divide(part, whole, out=np.full(part.shape, np.nan), where=np.asarray(whole) > 0)
    return ratio


def estimate(value: float, drawn: Values) -> Estimate:
    """A value with the interval of its draws (B,); NaN among them is left out."""
    known = drawn[np.isfinite(drawn)]
    if not len(known) or not np.isfinite(value):
        return Estimate(None, None, None, None)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    above = np.mean(known > 0) + np.mean(known == 0) / 2
    return Estimate(float(value), float(low), float(high), float(above))


def over_classes(values: Values) -> Values:
    """The mean over the last axis without NaN, NaN of nothing: the mean Dice of all classes."""
    return _ratio(np.nansum(values, axis=-1), np.isfinite(values).sum(axis=-1))
