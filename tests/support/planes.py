"""What tests do with bit-planes and the library does not need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes


def has_extra_bits(planes: Planes, classes: int) -> bool:
    """Whether any bit past class C - 1 is set, in planes (H, W, P)."""
    return bool((planes & ~bitmask.all_bits(classes)).any())


def replace_class(planes: Planes, c: int, mask: NDArray[np.generic]) -> Planes:
    """Planes in which the non-zero pixels of ``mask`` (H, W) are the whole of class ``c``; a new array."""
    replaced = bitmask.keep(planes, ~bitmask.select_bits([c], planes.shape[-1] * 8))
    bitmask.merge_class(replaced, c, mask)
    return replaced
