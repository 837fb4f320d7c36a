"""Robust statistics of tables with gaps: medians, median absolute deviations, and z-scores that rest on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from augforge.ops.core import Candidate

Table: TypeAlias = NDArray[np.float64]
"""One row a sample, one column a quantity; NaN where it cannot be said."""

NORMAL = 1.4826
"""Standard deviations of a normal distribution in one median absolute deviation (MAD)."""
DIGITS = 5
"""Of fitted values: finer differences than that decide nothing."""


def training(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates that thresholds are taken from."""
    return [candidate for candidate in candidates if candidate.split == "train"]


def gathered(rows: Sequence[Mapping[str, float | None]], names: Sequence[str]) -> Table:
    """(rows, names): the values by name, NaN for None and for what a row does not hold."""
    found = [[np.nan if (value := row.get(name)) is None else value for name in names] for row in rows]
    return np.array(found, np.float64).reshape(len(rows), len(names))


def median(values: Table, axis: int) -> Table:
    """`np.nanmedian`, but NaN without a warning where there is no value."""
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)  # NaN come last
    if not ordered.shape[-1]:
        return np.full(ordered.shape[:-1], np.nan)
    held = np.count_nonzero(~np.isnan(ordered), axis=-1, keepdims=True)
    low, high = (np.take_along_axis(ordered, np.maximum(at, 0), axis=-1) for at in ((held - 1) // 2, held // 2))
    return np.asarray(((low + high) / 2)[..., 0])


def centred(values: Table) -> tuple[Table, Table]:
    """Rows and columns freed of their medians by Tukey's median polish (Exploratory Data Analysis, 1977, chapter 11).

    Returns the columns' effects and what is left; each row's effect is its own scale, which nobody asks for.
    """
    left, effect = values.copy(), np.zeros(values.shape[1])
    for _ in range(4):
        step = median(left, 0)
        effect, left = effect + step, left - step
        left = left - median(left, 1)[:, None]
    return effect, left


def spread(values: Table, floor: float) -> Table:
    """Standard deviation of each column by its MAD about its median, at least `floor`; NaN without a value."""
    return np.maximum(NORMAL * median(np.abs(values - median(values, 0)), 0), floor)


def named(names: Sequence[str], values: Table) -> dict[str, float]:
    """The columns' values by name, rounded; columns without a value are left out."""
    return {name: round(float(value), DIGITS) for name, value in zip(names, values, strict=True) if np.isfinite(value)}


def strongest(scores: Mapping[str, float], count: int = 3) -> list[tuple[str, float]]:
    """The names of the largest absolute scores, largest first, at most `count`."""
    return sorted(scores.items(), key=lambda item: (-abs(item[1]), item[0]))[:count]


def told(scores: Iterable[tuple[str, float]]) -> str:
    """Scores for people: ``finger-16 z=7.2, finger-15 z=-5.1``."""
    return ", ".join(f"{name} z={score:.1f}" for name, score in scores)


def plain(value: Any) -> Any:
    """A numpy number as JSON takes it, None for NaN."""
    return None if value is None or not np.isfinite(value) else round(float(value), DIGITS)
