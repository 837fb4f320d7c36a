"""The part of the contract test of ops that is about sides: a mirrored output exchanges them, no other one does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.ops.contract_samples import Call, Case, require
from augforge.ops.sides import Exchange, mirror_order
from augforge.sample import Drop, Sample

SIDES = Exchange((("class-2", "class-3"),), (("left", "right"),))
COPIES = 12
"""How often an op that draws is called: chance may decide whether it mirrors."""


def check_sides_are_exchanged(case: Case) -> None:
    """What shows its inputs mirrored has its sides exchanged, what shows them otherwise has not."""
    vectors = np.eye(3, dtype=np.float32)
    for copy in range(COPIES if case.op.draw else 1):
        samples = [replace(s, known=s.known & _ALL_BUT_ONE, masks=s.masks & _ALL_BUT_ONE) for s in case.inputs()]
        call = Call(case, [replace(s, label=vectors[i % 3]) for i, s in enumerate(samples)], copy=copy)
        drawn = call.drawn()
        plain = _results(call, Exchange(), drawn)
        mirrored = any(p.is_mirrored for made in plain if isinstance(made, Sample) for p in made.placements)
        declared = case.bound.may_mirror or not mirrored
        require(declared, "it mirrors; say so by `exchanges_sides`, and exchange nothing yourself")
        for made, other in zip(plain, _results(call, SIDES, drawn), strict=True):
            if isinstance(made, Sample) and isinstance(other, Sample):
                _check_exchanged(made, other, call.context.classes, call.context.labels)


def _results(call: Call, exchange: Exchange, drawn: Any) -> list[Sample | Drop]:
    return list(replace(call.case.bound, exchange=exchange).call(call.inputs, call.context, drawn=drawn).results)


_ALL_BUT_ONE = ~bitmask.select_bits([2], 9)
"""Nobody knows the class at one side, so that `known` shows an exchange too."""


def _check_exchanged(made: Sample, other: Sample, classes: tuple[str, ...], labels: tuple[str, ...]) -> None:
    mirrored = any(placement.is_mirrored for placement in made.placements)
    pairs = SIDES if mirrored else Exchange()
    what = "a mirrored output does not exchange" if mirrored else "an output that is not mirrored exchanges"
    order = mirror_order(classes, pairs.classes)
    require((_masks(other) == _masks(made)[order]).all(), f"{what} the masks of two sides")
    known = bitmask.bits_to_flags(made.known, len(classes))[order]
    require((bitmask.bits_to_flags(other.known, len(classes)) == known).all(), f"{what} which side is known")
    if made.label is not None and other.label is not None:
        expected = made.label[mirror_order(labels, pairs.labels)]
        require((other.label == expected).all(), f"{what} the labels of two sides")


def _masks(sample: Sample) -> NDArray[np.uint8]:
    """One mask for each of nine classes, (9, H, W)."""
    return np.stack(list(bitmask.to_masks(sample.masks, 9)))
