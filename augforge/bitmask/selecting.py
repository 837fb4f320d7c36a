"""Bit-planes with classes left out, united or exchanged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from augforge.bitmask.layout import (
    BYTE_FLAGS,
    Planes,
    contiguous,
    interleave,
    look_up,
    planar,
    plane_and_bit,
    plane_count,
)


def keep(planes: Planes, bits: NDArray[np.uint8]) -> Planes:
    """Planes with only the classes of the bit vector ``bits`` (P,) left; a new array."""
    rows = contiguous(planes).reshape(len(planes), -1)
    return np.asarray(rows & np.tile(bits, planes.shape[1]), np.uint8).reshape(planes.shape)


def remap(planes: Planes, mapping: Sequence[int | None], classes_out: int) -> Planes:
    """Planes in which class c becomes class ``mapping[c]``, as a new array (H, W, ceil(classes_out / 8)).

    Classes with the same target are united; None drops a class. ValueError for a class or target that does not exist.
    """
    layers = planar(planes)
    moved = np.zeros((plane_count(classes_out), *layers.shape[1:]), np.uint8)
    for (source, target), table in _byte_tables(mapping, len(layers) * 8, classes_out).items():
        moved[target] |= look_up(layers[source], table)
    return interleave(moved)


def _byte_tables(
    mapping: Sequence[int | None], classes_in: int, classes_out: int
) -> dict[tuple[int, int], NDArray[np.uint8]]:
    """For each (source plane, target plane) between which classes move: what every byte becomes, uint8 (256,)."""
    tables: dict[tuple[int, int], NDArray[np.uint8]] = {}
    for c, target in enumerate(mapping):
        if target is not None:
            (source, bit), (plane, to) = plane_and_bit(c, classes_in), plane_and_bit(target, classes_out)
            table = tables.setdefault((source, plane), np.zeros(256, np.uint8))
            table |= BYTE_FLAGS[:, bit].astype(np.uint8) << to
    return tables


def swap_classes(planes: Planes, pairs: Iterable[tuple[int, int]]) -> Planes:
    """Planes with the bits of each pair of classes exchanged, as a mirrored body needs; a new array.

    ValueError for a class that does not exist or is in two pairs.
    """
    mapping = list(range(planes.shape[-1] * 8))
    for pair in pairs:
        for c, other in (pair, pair[::-1]):
            plane_and_bit(c, len(mapping))  # refuses a class that does not exist
            if mapping[c] != c:
                raise ValueError(f"class {c} is in two pairs; expected each class in one pair at most")
            mapping[c] = other
    return remap(planes, mapping, len(mapping))


def swap_bits(bits: NDArray[np.uint8], pairs: Iterable[tuple[int, int]]) -> NDArray[np.uint8]:
    """``swap_classes`` for a bit vector (P,)."""
    return swap_classes(bits[None, None], pairs).reshape(-1)
