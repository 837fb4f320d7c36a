"""Draws partners for an op of several inputs, so that an added sample changes few of the draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from augforge.errors import PlanError
from augforge.keys import hash64
from augforge.ops.bound import BoundOp

MOST_RANKED = 8192
"""Candidates that are all ranked for each draw, which takes 0.1 ms; beyond that they lie on rings."""
RINGS = 8
"""Powers of two. A candidate's share of the draws varies by 1 / sqrt(RINGS), less than chance itself varies it."""


class Partners:
    """Draws partners: each slot takes the candidate with the best hash of anchor, copy, slot and candidate.

    A sample that is added or removed changes only the draws that it wins (rendezvous hashing, Thaler and Ravishankar
    1998; with weights as in Efraimidis and Spirakis 2006). For more than `MOST_RANKED` candidates that would be
    quadratic: then the best is the next one on a ring; see `_Rings` and docs/adr/0030.

    Args:
        bound: the op.
        names: the candidates, one split's samples.
        seed: the recipe's.
        weights: of each candidate, not normalised, so that a new sample changes no other's; rounded to 1/1024, so that
            tiny differences of floats change no draw; 0 or NaN for never. None weighs all alike.

    Raises:
        PlanError: there is none to draw, or fewer than a call takes and the op's parameters do not say what to do then.
    """

    def __init__(
        self, bound: BoundOp, names: Sequence[str], seed: int, weights: Mapping[str, float] | None = None
    ) -> None:
        self._salt = (seed, bound.name, bound.occurrence)
        self._slots = range(1, bound.op.inputs(bound.params))
        self._names = sorted(names)
        self._index_of = {name: i for i, name in enumerate(self._names)}
        self._hashes = np.array([hash64("partner", name) for name in self._names], np.uint64)
        self._weights: NDArray[np.float64] | None = None
        if weights is not None:
            given = np.array([weights[name] for name in self._names], np.float64)
            self._weights = np.where(given > 0, np.round(given * 1024) / 1024, 0.0)
        self._when_fewer = bound.params.when_fewer()
        self._check_enough(bound)
        self._rings = _Rings(self._hashes, self._weights) if len(self._names) > MOST_RANKED else None

    def _check_enough(self, bound: BoundOp) -> None:
        usable = int((self._weights > 0).sum()) if self._weights is not None else len(self._names)
        if usable == 0 and self._when_fewer != "refuse":
            raise PlanError(
                f"{bound.name} draws partners from {len(self._names)} samples, and none of them has a weight above 0. "
                "Add samples, or change what chooses or weighs them"
            )
        # One more than the slots is needed, since the anchor may be one of the usable samples.
        if usable <= len(self._slots) and self._when_fewer == "refuse":
            raise PlanError(
                f"{bound.name} draws {len(self._slots)} partners for each sample, so it needs "
                f"{len(self._slots) + 1} samples of a weight above 0, but there are {usable}. "
                "Add samples, or change what weighs them"
            )

    def of(self, anchor: str, copy: int) -> tuple[str, ...] | None:
        """The anchor and its partners, one for each further input, no sample twice while others are left.

        None if there are fewer than a call takes, and the op skips such an anchor.
        """
        names, taken = [anchor], {self._index_of[anchor]} if anchor in self._index_of else set()
        for slot in self._slots:
            find_best = self._ranking(hash64("slot", *self._salt, anchor, copy, slot))
            best = find_best(taken)
            if best is None and self._when_fewer == "repeat":
                taken.clear()
                best = find_best(taken)
            if best is None:
                return None
            taken.add(best)
            names.append(self._names[best])
        return tuple(names)

    def _ranking(self, salt: int) -> Callable[[Collection[int]], int | None]:
        """What finds the best candidate of a slot that is not taken; None if there is none that may be drawn."""
        if self._rings is not None:
            return partial(self._rings.find_next, salt)
        return partial(_find_best, self._rank(salt))

    def _rank(self, salt: int) -> NDArray[np.float64]:
        rank = _mix(self._hashes ^ np.uint64(salt)).astype(np.float64)
        if self._weights is None:
            return rank
        with np.errstate(divide="ignore"):  # weight 0 gives -inf: the sample is never drawn
            return np.asarray(np.log((rank + 0.5) / 2.0**64) / self._weights)


class _Rings:
    """Candidates on rings of 2**64 points: a draw is a point of one ring, and takes the nearest candidate behind it.

    The distance is the candidate's rank, so that an added candidate changes only the draws that it wins, as in
    consistent hashing (Karger et al. 1997); with weights the distance is divided by them. A candidate is drawn in
    proportion to the gaps before it, which several rings even out.

    Args:
        hashes: of the candidates, uint64 (N,).
        weights: of the candidates, or None.
    """

    def __init__(self, hashes: NDArray[np.uint64], weights: NDArray[np.float64] | None) -> None:
        usable = np.arange(len(hashes)) if weights is None else np.flatnonzero(weights > 0)
        places = [_mix(hashes[usable] ^ np.uint64(hash64("ring", ring))) for ring in range(RINGS)]
        orders = [place.argsort(kind="stable") for place in places]
        self._places = [place[order] for place, order in zip(places, orders, strict=True)]
        self._orders = [usable[order].astype(np.uint32) for order in orders]
        self._weights = weights
        self._largest = 1.0 if weights is None else float(weights[usable].max(initial=0.0))

    def find_next(self, point: int, taken: Collection[int]) -> int | None:
        """The candidate of the smallest distance over weight that is not taken; None if none is left."""
        places, order = self._places[point % RINGS], self._orders[point % RINGS]
        start = int(places.searchsorted(np.uint64(point)))
        best, least = None, math.inf
        for step in range(len(places)):
            at = (start + step) % len(places)
            distance = (int(places[at]) - point) % 2**64
            if distance >= least * self._largest:  # whoever follows is farther away than any weight makes up for
                break
            candidate = int(order[at])
            rank = distance / self._weight(candidate)
            if rank < least and candidate not in taken:
                best, least = candidate, rank
        return best

    def _weight(self, candidate: int) -> float:
        return 1.0 if self._weights is None else float(self._weights[candidate])


def _find_best(rank: NDArray[np.float64], taken: Collection[int]) -> int | None:
    """The candidate of the highest rank that is not taken; None if there is none that may be drawn."""
    left = rank.copy()
    left[list(taken)] = -np.inf
    best = int(left.argmax()) if len(left) else 0
    return best if len(left) and left[best] > -np.inf else None


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: spreads every input bit over the word (Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
