"""Robust statistics of tables with gaps: medians, median absolute deviations, and z-scores based on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from augforge.ops.core import Candidate, Flag
from augforge.sample import Box

Table: TypeAlias = NDArray[np.float64]
"""One row per sample, one column per quantity; NaN if it is not known."""
Norm: TypeAlias = dict[str, dict[str, float]]
"""What is usual: ``center`` and ``scale`` by quantity, without those that cannot be judged."""

NORMAL = 1.4826
"""Standard deviations of a normal distribution in one median absolute deviation (MAD)."""
FARTHEST, FARTHEST_Z = 0.9, 1.645
"""The quantile of distances at which the farthest tenth begins, and its z in a normal distribution."""
PRIOR = 20
"""The table's common spread counts as much as this many groups beside a column's own."""
DIGITS = 5
"""Decimal digits of fitted values and features."""


def training_rows(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates that thresholds are fitted on."""
    return [candidate for candidate in candidates if candidate.split == "train"]


def to_table(rows: Sequence[Mapping[str, float | None]], names: Sequence[str]) -> Table:
    """The values by name, (rows, names); NaN if a row has None or nothing of that name."""
    found = [[np.nan if (value := row.get(name)) is None else value for name in names] for row in rows]
    return np.array(found, np.float64).reshape(len(rows), len(names))


def median(values: Table, axis: int) -> Table:
    """`np.nanmedian`, but NaN without a warning if there is no value."""
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)  # NaN come last
    if not ordered.shape[-1]:
        return np.full(ordered.shape[:-1], np.nan)
    held = np.count_nonzero(~np.isnan(ordered), axis=-1, keepdims=True)
    low, high = (np.take_along_axis(ordered, np.maximum(at, 0), axis=-1) for at in ((held - 1) // 2, held // 2))
    return np.asarray(((low + high) / 2)[..., 0])


def median_polish(values: Table) -> tuple[Table, Table]:
    """Effects of the columns, and what is left without them and the rows' effects: Tukey's median polish (1977)."""
    left, effect = values.copy(), np.zeros(values.shape[1])
    for _ in range(4):
        step = median(left, 0)
        effect, left = effect + step, left - step
        left = left - median(left, 1)[:, None]
    return effect, left


def spread(values: Table, groups: int, floor: float) -> Table:
    """Standard deviation of each column about its median, as if it were normal; NaN without a value.

    It is that of the MAD, but at least wide enough for the farthest tenth: what a tenth of the samples show is another
    kind (such as children among adults), not an outlier. With few groups a column's own spread is uncertain, so it is
    drawn towards the columns' common one, as in moderated variances (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3). It
    is at least `floor`, since the MAD of equal values is 0.
    """
    off = np.sort(np.abs(values - median(values, 0)), axis=0)  # NaN come last
    if not len(off):
        return np.full(off.shape[1:], np.nan)
    held = np.count_nonzero(~np.isnan(off), axis=0, keepdims=True)
    reach = np.take_along_axis(off, (FARTHEST * np.maximum(held - 1, 0)).astype(np.intp), axis=0)[0]
    own = np.maximum(NORMAL * median(off, 0), reach / FARTHEST_Z)
    moderated = np.sqrt((groups * own**2 + PRIOR * median(own, 0) ** 2) / (groups + PRIOR))
    return np.asarray(np.maximum(moderated, floor))


def count_groups(rows: Iterable[Candidate]) -> int:
    """The number of independent observations: a group's samples count as one, a sample without a group as its own."""
    return len({row.group or row.name for row in rows})


def make_norm(names: Sequence[str], center: Table, scale: Table, left: Table, least: int) -> Norm:
    """The norm of the quantities that have at least `least` values, rounded."""
    judged = np.flatnonzero(np.count_nonzero(~np.isnan(left), axis=0) >= least).tolist()
    return {
        "center": {names[i]: round(float(center[i]), DIGITS) for i in judged},
        "scale": {names[i]: round(float(scale[i]), DIGITS) for i in judged},
    }


def deviations(row: Mapping[str, float], usual: Norm) -> dict[str, float]:
    """z-scores of the quantities that have a norm and a value."""
    center, scale = usual["center"], usual["scale"]
    return {name: (row[name] - center[name]) / scale[name] for name in center if name in row and np.isfinite(row[name])}


def strongest(scores: Mapping[str, float], threshold: float) -> list[tuple[str, float]]:
    """At most three of the scores beyond the threshold, largest first."""
    beyond = [item for item in scores.items() if abs(item[1]) > threshold]
    return sorted(beyond, key=lambda item: (-abs(item[1]), item[0]))[:3]


def format_scores(scores: Iterable[tuple[str, float]]) -> str:
    """Scores in words: ``finger-16 z=7.2, finger-15 z=-5.1``."""
    return ", ".join(f"{name} z={score:.1f}" for name, score in scores)


def flag_beyond(
    reason: str, scores: Mapping[str, float], threshold: float, boxes: Mapping[str, Sequence[int] | None] | None = None
) -> Flag | None:
    """A Flag if a score lies beyond the threshold, with the boxes of the same names; else None."""
    beyond = strongest(scores, threshold)
    if not beyond:
        return None
    regions = unique_boxes((boxes or {}).get(name) for name, _ in beyond)
    return Flag(reason, rounded(abs(beyond[0][1])), detail=format_scores(beyond), boxes=regions)


def unique_boxes(boxes: Iterable[Sequence[int] | None]) -> tuple[Box, ...]:
    """The boxes that there are, each once."""
    held = [(box[0], box[1], box[2], box[3]) for box in boxes if box is not None]
    return tuple(dict.fromkeys(held))


def rounded(value: Any) -> float:
    """A number rounded to DIGITS, as JSON takes it."""
    return round(float(value), DIGITS)
