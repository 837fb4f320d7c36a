"""Robust statistics of tables with gaps: medians, median absolute deviations, and z-scores that rest on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from augforge.ops.core import Candidate, Flag
from augforge.sample import Box

Table: TypeAlias = NDArray[np.float64]
"""One row a sample, one column a quantity; NaN where it cannot be said."""
Norm: TypeAlias = dict[str, dict[str, float]]
"""What is usual: ``center`` and ``scale`` by quantity; quantities that cannot be judged are left out."""

NORMAL = 1.4826
"""Standard deviations of a normal distribution in one median absolute deviation (MAD)."""
FARTHEST, FARTHEST_Z = 0.9, 1.645
"""The share of the samples that are not the farthest tenth, and where that begins in a normal distribution."""
PRIOR = 20
"""How many groups the table's common spread weighs against a column's own."""
DIGITS = 5
"""Of fitted values."""


def training_rows(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates that thresholds are taken from."""
    return [candidate for candidate in candidates if candidate.split == "train"]


def to_table(rows: Sequence[Mapping[str, float | None]], names: Sequence[str]) -> Table:
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


def median_polish(values: Table) -> tuple[Table, Table]:
    """Columns' effects, and what is left without them and without the rows' own, by Tukey's median polish (1977)."""
    left, effect = values.copy(), np.zeros(values.shape[1])
    for _ in range(4):
        step = median(left, 0)
        effect, left = effect + step, left - step
        left = left - median(left, 1)[:, None]
    return effect, left


def spread(values: Table, groups: int, floor: float) -> Table:
    """Standard deviation of each column about its median, as if it were normal; NaN without a value.

    The MAD's, but no less than where the farthest tenth begins: what a tenth of the samples do is another kind (such as
    children among adults), no outlier. A column's own spread says little where few groups speak, so it leans towards
    the columns' common one, as moderated variances do (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3). At least
    `floor`: of equal values the MAD is 0.
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
    """How many independent witnesses there are: a group's samples are one, a sample without a group is its own."""
    return len({row.group or row.name for row in rows})


def make_norm(names: Sequence[str], center: Table, scale: Table, left: Table, least: int) -> Norm:
    """What is usual of the quantities of which at least `least` values are left, rounded."""
    judged = np.flatnonzero(np.count_nonzero(~np.isnan(left), axis=0) >= least).tolist()
    return {
        "center": {names[i]: round(float(center[i]), DIGITS) for i in judged},
        "scale": {names[i]: round(float(scale[i]), DIGITS) for i in judged},
    }


def deviations(row: Mapping[str, float], usual: Norm) -> dict[str, float]:
    """z-scores of the quantities that have a norm and a value."""
    center, scale = usual["center"], usual["scale"]
    return {name: (row[name] - center[name]) / scale[name] for name in center if name in row and np.isfinite(row[name])}


def strongest(scores: Mapping[str, float], threshold: float, count: int = 3) -> list[tuple[str, float]]:
    """The scores beyond the threshold, largest first, at most `count`."""
    beyond = [item for item in scores.items() if abs(item[1]) > threshold]
    return sorted(beyond, key=lambda item: (-abs(item[1]), item[0]))[:count]


def format_scores(scores: Iterable[tuple[str, float]]) -> str:
    """Scores for people: ``finger-16 z=7.2, finger-15 z=-5.1``."""
    return ", ".join(f"{name} z={score:.1f}" for name, score in scores)


def flag_beyond(
    reason: str, scores: Mapping[str, float], threshold: float, boxes: Mapping[str, Sequence[int] | None] | None = None
) -> Flag | None:
    """A finding if a score lies beyond the threshold; it rests on the boxes of the same name."""
    beyond = strongest(scores, threshold)
    if not beyond:
        return None
    regions = unique_boxes((boxes or {}).get(name) for name, _ in beyond)
    return Flag(reason, rounded(abs(beyond[0][1])), detail=format_scores(beyond), boxes=regions)


def unique_boxes(boxes: Iterable[Sequence[int] | None]) -> tuple[Box, ...]:
    """Boxes as a finding has them, each once."""
    held = [(box[0], box[1], box[2], box[3]) for box in boxes if box is not None]
    return tuple(dict.fromkeys(held))


def rounded(value: Any) -> float:
    """A feature as JSON takes it, rounded."""
    return round(float(value), DIGITS)
