"""A sample of one class table as a sample of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.sample import Sample

Mapping = Sequence[int | None]
"""For each class of the old table its index in the new one; None leaves it out."""


def remap_sample(sample: Sample, mapping: Mapping, classes: int) -> Sample:
    """The sample with planes and ``known`` of the new table, which has ``classes`` classes."""
    if list(mapping) == list(range(classes)):
        return sample
    masks = bitmask.remap(sample.masks, mapping, classes)
    return replace(sample, masks=masks, known=remap_known(sample.known, mapping, classes))


def remap_known(known: NDArray[np.uint8], mapping: Mapping, classes: int) -> NDArray[np.uint8]:
    """``known`` in the new table: a class that comes of several is known where all of them are, one of none is not."""
    flags = bitmask.bits_to_flags(known, len(mapping))
    found = np.zeros(classes, bool)
    found[[target for target in mapping if target is not None]] = True
    for flag, target in zip(flags, mapping, strict=True):
        if target is not None:
            found[target] &= flag
    return bitmask.flags_to_bits(found)
