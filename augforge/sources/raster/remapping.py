"""Moving a sample from one class table to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.sample import Sample

Mapping = Sequence[int | None]
"""For each class of the old table its index in the new one, or None to leave it out."""


def remap_sample(sample: Sample, mapping: Mapping, classes: int) -> Sample:
    """The sample with planes and ``known`` for the new table, which has ``classes`` classes."""
    if list(mapping) == list(range(classes)):
        return sample
    masks = bitmask.remap(sample.masks, mapping, classes)
    return replace(sample, masks=masks, known=remap_known(sample.known, mapping, classes))


def remap_known(known: NDArray[np.uint8], mapping: Mapping, classes: int) -> NDArray[np.uint8]:
    """``known`` for the new table: a class made of several is known if all of them are; one made of none is unknown."""
    flags = bitmask.bits_to_flags(known, len(mapping))
    found = np.zeros(classes, bool)
    found[[target for target in mapping if target is not None]] = True
    for flag, target in zip(flags, mapping, strict=True):
        if target is not None:
            found[target] &= flag
    return bitmask.flags_to_bits(found)
