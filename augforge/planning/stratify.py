"""Assigns whole groups to splits so that every split gets its share of each class, after iterative stratification.

The method is that of Sechidis, Tsoumakas and Vlahavas (2011), On the Stratification of Multi-Label Data, applied to
groups: the rarest class first, its largest groups first, each to the split that lacks most of it. Single moves then
mend what is further off than the tolerance. Ties are decided by hashes, so the result depends on no order; but, unlike
with plain shares, a group that is added may move others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from augforge.keys import unit_hash

EVERY = ""
"""Stands for all samples of a group, beside its classes: the sizes of the splits are matched, too."""
_MOST_MOVES = 500

Members = Mapping[str, Mapping[str, int]]
"""For each group, the number of its samples that show each class, and in all (`EVERY`)."""


def stratify(members: Members, shares: Mapping[str, float], seed: int, tolerance: float) -> dict[str, str]:
    """The split of each group.

    Args:
        members: the groups.
        shares: of each split; they sum to 1.
        seed: of the hashes.
        tolerance: how far the share of a class in a split may be off before groups are moved once more.
    """
    names = sorted(members, key=lambda name: unit_hash("split", seed, name))
    classes = sorted({label for counts in members.values() for label in counts})
    splits = list(shares)
    counts = np.array([[members[name].get(label, 0) for label in classes] for name in names], float)
    wanted = np.outer([shares[split] for split in splits], counts.sum(axis=0))
    places = np.full(len(names), -1)
    _deal(counts, wanted, places, _hashed_order(splits, seed), classes.index(EVERY))
    _mend(counts, wanted, places, tolerance)
    return {name: splits[place] for name, place in zip(names, places.tolist(), strict=True)}


def _hashed_order(splits: Sequence[str], seed: int) -> NDArray[np.float64]:
    """A number below one for each split, which decides where two lack the same."""
    return np.array([unit_hash("stratify", seed, split) for split in splits])


def _deal(
    counts: NDArray[np.float64],
    wanted: NDArray[np.float64],
    places: NDArray[np.int64],
    order: NDArray[np.float64],
    every: int,
) -> None:
    """Fill ``places``: the rarest class first, its largest groups first, each to the split that lacks most of it."""
    lacking = wanted.copy()
    while (places < 0).any():
        left = counts[places < 0].sum(axis=0)
        left[every] = np.inf if np.delete(left, every).any() else left[every]  # groups without a class come last
        label = int(np.argmin(np.where(left > 0, left, np.inf)))
        open_groups = np.nonzero((places < 0) & (counts[:, label] > 0))[0]
        if not open_groups.size:
            open_groups = np.nonzero(places < 0)[0]
        for group in open_groups[np.argsort(-counts[open_groups, label], kind="stable")]:
            need = np.round(lacking[:, label], 9)
            best = np.lexsort((order, -np.round(lacking[:, every], 9), -need))[0]
            places[group] = best
            lacking[best] -= counts[group]


def _mend(
    counts: NDArray[np.float64],
    wanted: NDArray[np.float64],
    places: NDArray[np.int64],
    tolerance: float,
) -> None:
    """Move single groups while a share is off by more than the tolerance and a move brings all nearer together."""
    totals = np.maximum(counts.sum(axis=0), 1)
    have = np.array([counts[places == split].sum(axis=0) for split in range(len(wanted))])
    for _ in range(_MOST_MOVES):
        off = (have - wanted) / totals
        if np.abs(off).max() <= tolerance:
            return
        gain, group, target = _best_move(counts / totals, off, places)
        if gain < 1e-9:
            return
        have[places[group]] -= counts[group]
        have[target] += counts[group]
        places[group] = target


def _best_move(
    parts: NDArray[np.float64], off: NDArray[np.float64], places: NDArray[np.int64]
) -> tuple[float, int, int]:
    """How much the sum of squares of ``off`` shrinks by the best move, its group, and the split it goes to."""
    best = (0.0, 0, 0)
    sizes = np.bincount(places, minlength=len(off))
    movable = np.nonzero(sizes[places] > 1)[0]
    if not movable.size:
        return best
    moved, own = parts[movable], off[places[movable]]
    leaving = (own**2 - (own - moved) ** 2).sum(axis=1)
    for target in range(len(off)):
        gains = leaving + (off[target] ** 2 - (off[target] + moved) ** 2).sum(axis=1)
        gains[places[movable] == target] = 0
        at = int(np.argmax(gains))
        if gains[at] > best[0]:
            best = (float(gains[at]), int(movable[at]), target)
    return best
