"""Bit-planes with classes left out, united or exchanged; and classes by themselves, as one mask each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.bitmask.layout import (
    BYTE_FLAGS,
    Planes,
    contiguous,
    interleave,
    look_up,
    planar,
    planar_of,
    plane_and_bit,
    plane_count,
)
from augforge.bitmask.measuring import bit_boxes


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


# ---- one mask per class: zeros, which the system gives without writing them, and in them the box of each class ----


def to_masks(planes: Planes, classes: int) -> Iterator[NDArray[np.uint8]]:
    """One mask per class in order, uint8 (H, W) of 0 and 1, made one at a time; `to_stack` gives all at once."""
    layers = planar_of(planes, classes)
    boxes = [bit_boxes(layer) for layer in layers]
    empty_masks = (np.zeros(layers.shape[1:], np.uint8) for _ in range(classes))
    return (_unpack(layers[c // 8], c % 8, boxes[c // 8], mask) for c, mask in enumerate(empty_masks))


def to_stack(planes: Planes, classes: int) -> NDArray[np.uint8]:
    """The masks of all classes at once: uint8 (C, H, W) of 0 and 1, C-contiguous."""
    stack: NDArray[np.bool_] = class_layers(planar_of(planes, classes), range(classes))
    return stack.view(np.uint8)


def class_layers(layers: Any, classes: Sequence[int]) -> Any:
    """Some classes of planar bit-planes, bool (..., C, H, W) in the order of ``classes``, on the device of the planes.

    ``layers`` is uint8 (..., P, H, W), a numpy array or a torch tensor: batches travel as bits and are unpacked where
    they are used. ValueError for a class past the last plane.
    """
    places = [plane_and_bit(c, layers.shape[-3] * 8) for c in classes]
    if isinstance(layers, np.ndarray):
        return _unpack_places(layers, places)
    bits = layers.new_tensor([1 << bit for _, bit in places]).reshape(-1, 1, 1)
    chosen = layers[..., [plane for plane, _ in places], :, :]  # a copy
    chosen &= bits
    return chosen != 0


def _unpack_places(layers: NDArray[np.uint8], places: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """The classes at these planes and bits of an array (..., P, H, W), as `class_layers` gives them."""
    made = np.zeros((*layers.shape[:-3], len(places), *layers.shape[-2:]), np.uint8)
    for picture in np.ndindex(layers.shape[:-3]):
        boxes = {plane: bit_boxes(layers[picture][plane]) for plane in {plane for plane, _ in places}}
        for (plane, bit), mask in zip(places, made[picture], strict=True):
            _unpack(layers[picture][plane], bit, boxes[plane], mask)
    return made.view(bool)


def _unpack(layer: NDArray[np.uint8], bit: int, boxes: NDArray[np.int32], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write a bit of a plane (H, W) into zeros of its size, and return them; `boxes` are those of the plane's bits."""
    x0, y0, x1, y1 = boxes[bit].tolist()
    box = slice(y0, y1), slice(x0, x1)
    np.not_equal(layer[box] & np.uint8(1 << bit), 0, out=mask[box].view(bool))
    return mask
