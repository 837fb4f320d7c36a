"""Draws partners for an op of several inputs, so that an added sample changes few of the draws."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from augforge.errors import PlanError
from augforge.keys import hash64
from augforge.ops.bound import BoundOp


class Partners:
    """Draws partners: each slot takes the candidate with the best hash of anchor, copy, slot and candidate.

    A sample that is added or removed changes only the draws that it wins (rendezvous hashing, Thaler and Ravishankar
    1998; with weights as in Efraimidis and Spirakis 2006).

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
            rank = self._rank(hash64("slot", *self._salt, anchor, copy, slot))
            best = _best(rank, taken)
            if best is None and self._when_fewer == "repeat":
                taken.clear()
                best = _best(rank, taken)
            if best is None:
                return None
            taken.add(best)
            names.append(self._names[best])
        return tuple(names)

    def _rank(self, salt: int) -> NDArray[np.float64]:
        rank = _mix(self._hashes ^ np.uint64(salt)).astype(np.float64)
        if self._weights is None:
            return rank
        with np.errstate(divide="ignore"):  # weight 0 gives -inf: the sample is never drawn
            return np.asarray(np.log((rank + 0.5) / 2.0**64) / self._weights)


def _best(rank: NDArray[np.float64], taken: Collection[int]) -> int | None:
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
