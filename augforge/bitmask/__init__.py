"""Class masks as bit-planes: the only package that knows the bit layout.

Classes overlap, so a mask is one bit per class. ``Planes`` are uint8 ``(H, W, P)`` with ``P = ceil(C / 8)``: class
``c`` is bit ``c % 8`` of plane ``c // 8``, for 1 <= C <= 256; bits past class C - 1 are zero. A bit vector, such as a
sample's ``known``, is uint8 ``(P,)`` with the same layout. Memory is either interleaved (C-contiguous, as cv2 wants
it) or planar (``(P, H, W)`` seen through ``np.moveaxis``, as masks are stored and decoded). Every function takes both,
and crops of them.

Trap: ``np.unpackbits`` or ``np.packbits`` on a whole stack, or numpy arithmetic along the short last axis, takes many
times as long as the work itself. The functions here go plane by plane, and class by class only inside a class's box.
"""

from __future__ import annotations

from augforge.bitmask.drawing import rasterise
from augforge.bitmask.layout import (
    Planes,
    all_bits,
    bits_to_flags,
    class_mask,
    contiguous,
    decode,
    empty,
    encode,
    flags_to_bits,
    from_masks,
    interleave,
    merge_class,
    per_plane,
    planar,
    plane_count,
    select_bits,
)
from augforge.bitmask.measuring import areas_and_boxes, overlap_count, regions, union
from augforge.bitmask.selecting import class_layers, keep, remap, swap_bits, swap_classes, to_masks, to_stack
from augforge.bitmask.shrinking import shrink

__all__ = [
    "Planes",
    "all_bits",
    "areas_and_boxes",
    "bits_to_flags",
    "class_layers",
    "class_mask",
    "contiguous",
    "decode",
    "empty",
    "encode",
    "flags_to_bits",
    "from_masks",
    "interleave",
    "keep",
    "merge_class",
    "overlap_count",
    "per_plane",
    "planar",
    "plane_count",
    "rasterise",
    "regions",
    "remap",
    "select_bits",
    "shrink",
    "swap_bits",
    "swap_classes",
    "to_masks",
    "to_stack",
    "union",
]
