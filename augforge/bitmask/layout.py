"""Where the bits are: planes, one class in and out of them, bit vectors, memory layouts and the stored form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from typing import Any, TypeAlias

import cv2
import numpy as np
import zstandard
from numpy.typing import NDArray

Planes: TypeAlias = NDArray[np.uint8]
"""Bit-planes, uint8 (H, W, P)."""

MAX_BYTES = 1 << 31
"""Of the bit-planes of an image; a frame of some kilobytes may claim any number."""
_BYTES = np.arange(256, dtype=np.uint8)
BYTE_FLAGS = (_BYTES[:, None] >> np.arange(8, dtype=np.uint8) & 1).astype(bool)
"""The bits of every byte, lowest first: bool (256, 8)."""


def plane_count(classes: int) -> int:
    """Number of planes P for C classes; ValueError outside 1..256."""
    if not 1 <= classes <= 256:
        raise ValueError(f"{classes} classes; bit-planes hold 1 to 256")
    return (classes + 7) // 8


def plane_and_bit(c: int, total: int) -> tuple[int, int]:
    """Plane and bit of class ``c``, as plain ints (a numpy scalar would widen uint8 arithmetic).

    ValueError for a class outside 0..total-1.
    """
    if not 0 <= c < total:
        raise ValueError(f"class {c} of {total}; expected 0 to {total - 1}")
    return divmod(int(c), 8)


def empty(height: int, width: int, classes: int) -> Planes:
    """Planes (H, W, P) with no bit set, C-contiguous."""
    return np.zeros((height, width, plane_count(classes)), np.uint8)


# ---- memory layouts ----


def planar(planes: Planes) -> NDArray[np.uint8]:
    """(H, W, P) of any memory layout as contiguous (P, H, W); not copied if the memory is planar already."""
    view = _check_planes(planes, -1, "(H, W, P)").transpose(2, 0, 1)
    if view.strides[-1] == 1 or len(view) == 1:
        return np.ascontiguousarray(view)
    layers = np.empty(view.shape, np.uint8)
    cv2.split(planes, list(layers))  # fills the views in place; 4 times as fast as ascontiguousarray
    return layers


def planar_of(planes: Planes, classes: int) -> NDArray[np.uint8]:
    """`planar`, but ValueError if the number of planes does not fit the number of classes."""
    if planes.shape[-1] != plane_count(classes):
        raise ValueError(f"{planes.shape[-1]} planes; expected {plane_count(classes)} for {classes} classes")
    return planar(planes)


def interleave(layers: NDArray[np.uint8]) -> Planes:
    """(P, H, W) of any memory layout as C-contiguous (H, W, P); not copied if the memory is interleaved already."""
    view = _check_planes(layers, 0, "(P, H, W)").transpose(1, 2, 0)
    if view.strides[-1] == 1 or len(layers) == 1:
        return np.ascontiguousarray(view)
    return np.asarray(cv2.merge(list(layers)), np.uint8)


def contiguous(planes: Planes) -> Planes:
    """(H, W, P) of any memory layout, such as ``decode`` returns, as C-contiguous (H, W, P); copied only if needed."""
    return planes if planes.flags.c_contiguous else interleave(planar(planes))


def _check_planes(array: NDArray[np.uint8], axis: int, layout: str) -> NDArray[np.uint8]:
    if array.ndim != 3 or array.dtype != np.uint8 or not 1 <= array.shape[axis] <= 32:
        raise ValueError(f"array is {array.dtype} {array.shape}; expected uint8 {layout} with 1 to 32 planes")
    return array


def per_plane(function: Callable[[NDArray[Any]], NDArray[Any]], planes: Planes) -> Planes:
    """Apply a per-pixel selection such as cv2.flip or a nearest warp to planes (H, W, P), up to four at a time.

    ``function`` gets C-contiguous uint8 (H, W, 1..4) and returns as many channels; a single channel may lose its axis,
    as it does in cv2. Returns C-contiguous (H', W', P).
    """
    if planes.shape[-1] <= 4:
        return _restore_axis(function(contiguous(planes)))
    layers = planar(planes)
    groups = (interleave(layers[start : start + 4]) for start in range(0, len(layers), 4))
    return interleave(np.concatenate([planar(_restore_axis(function(group))) for group in groups]))


def _restore_axis(result: NDArray[Any]) -> Planes:
    return np.ascontiguousarray(result if result.ndim == 3 else result[..., None])


def look_up(layer: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``table[layer]`` for uint8 (H, W) and (256,); the layer itself, uncopied, if the table changes nothing."""
    return layer if np.array_equal(table, _BYTES) else np.asarray(cv2.LUT(layer, table), np.uint8)


# ---- one mask per class, in and out ----


def from_masks(masks: Iterable[NDArray[Any]], classes: int | None = None) -> Planes:
    """Pack one mask (H, W) per class, in class order, non-zero where the class is; takes them one at a time.

    ``classes`` is needed if ``masks`` has no length. ValueError if the masks differ in size, or in number from it.
    """
    if classes is None:
        if not isinstance(masks, Sized):
            raise ValueError("masks have no length; pass the number of classes")
        classes = len(masks)
    count, planes = 0, empty(0, 0, classes)
    for count, mask in enumerate(masks, start=1):
        if count == 1:
            planes = np.zeros((*mask.shape, planes.shape[-1]), np.uint8)
        plane_and_bit(count - 1, classes)  # refuses a mask too many
        merge_class(planes, count - 1, mask)
    if count != classes:
        raise ValueError(f"{count} masks; expected one for each of {classes} classes")
    return planes


def merge_class(planes: Planes, c: int, mask: NDArray[Any]) -> None:
    """Add the non-zero pixels of ``mask`` (H, W) to class ``c``, in place; ValueError for another size or class."""
    plane, bit = plane_and_bit(c, planes.shape[-1] * 8)
    if mask.ndim != 2 or mask.shape != planes.shape[:2]:
        raise ValueError(f"mask of class {c} has shape {mask.shape}; expected (H, W), here {planes.shape[:2]}")
    rows = _nonzero_span(mask, 1)
    columns = _nonzero_span(mask[rows], 0)
    planes[rows, columns, plane] |= (mask[rows, columns] != 0).view(np.uint8) << bit


def _nonzero_span(mask: NDArray[Any], axis: int) -> slice:
    """From the first to the last line with a non-zero pixel, after reducing ``axis``; an empty slice if none has."""
    lines = np.flatnonzero(mask.any(axis=axis))
    return slice(lines[0], lines[-1] + 1) if len(lines) else slice(0)


def class_mask(planes: Planes, c: int) -> NDArray[np.uint8]:
    """Class ``c`` as uint8 (H, W) of 0 and 1; ValueError for a class past the last plane."""
    plane, bit = plane_and_bit(c, planes.shape[-1] * 8)
    return np.asarray(planes[..., plane] >> bit & 1, np.uint8)


# ---- bit vectors ----


def flags_to_bits(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """bool (C,) as a bit vector (P,); bool (N, C) as N of them, (N, P)."""
    return np.packbits(flags, axis=-1, bitorder="little")


def bits_to_flags(bits: NDArray[np.uint8], classes: int) -> NDArray[np.bool_]:
    """A bit vector (P,) as bool (C,)."""
    return np.asarray(BYTE_FLAGS[bits].reshape(-1)[:classes], bool)


def select_bits(classes: Iterable[int], total: int) -> NDArray[np.uint8]:
    """The bit vector (P,) of ``classes`` among ``total``; ValueError for a class outside 0..total-1."""
    bits = np.zeros(plane_count(total), np.uint8)
    for c in classes:
        plane, bit = plane_and_bit(c, total)
        bits[plane] |= 1 << bit
    return bits


def all_bits(classes: int) -> NDArray[np.uint8]:
    """The bit vector (P,) of all C classes: ``known`` of a fully labelled image."""
    return select_bits(range(classes), classes)


# ---- the stored form ----


def encode(planes: Planes) -> bytes:
    """Planes of any memory layout as a zstd frame of planar bytes (P, H, W), level 1, with size and checksum."""
    return zstandard.ZstdCompressor(level=1, write_checksum=True, write_content_size=True).compress(planar(planes).data)


def decode(data: bytes | memoryview, height: int, width: int, classes: int, verified: bool = False) -> Planes:
    """``encode`` undone: an (H, W, P) view of planar memory, without a copy.

    Args:
        data: the frame.
        height, width, classes: that are expected.
        verified: the bytes were compared with a digest of them. Then the frame's own checksum, which takes longer than
            all other decoding, is not computed once more. The planes are writable then, and read-only otherwise.

    Raises:
        ValueError: a damaged frame, or, before anything is allocated, a frame of another size.
    """
    shape = (plane_count(classes), height, width)
    expected = shape[0] * height * width
    if expected > MAX_BYTES:
        raise ValueError(f"bit-planes (P, H, W) = {shape} take {expected} bytes; at most {MAX_BYTES} are decoded")
    try:
        size = zstandard.frame_content_size(data)
        if size != expected:
            raise ValueError(f"mask frame holds {size} bytes; expected {expected}: bit-planes (P, H, W) = {shape}")
        content = _decompress_verified(data, size) if verified else _decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(f"mask frame of {len(data)} bytes is damaged: {error}; expected {expected} inside") from error
    return np.asarray(content.reshape(shape).transpose(1, 2, 0), np.uint8)


def _decompress(data: bytes | memoryview) -> NDArray[np.uint8]:
    return np.frombuffer(zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False), np.uint8)


def _decompress_verified(data: bytes | memoryview, size: int) -> NDArray[np.uint8]:
    """A frame's content, without its checksum, in memory of numpy's, which comes in large pages (bytes objects do not).

    A bit of the byte behind the magic number announces the checksum, which is the frame's last four bytes (RFC 8878).
    """
    content, frame = np.empty(size, np.uint8), bytearray(data)
    if frame[4] & _HAS_CHECKSUM:
        frame[4] ^= _HAS_CHECKSUM
        del frame[-4:]
    with zstandard.ZstdDecompressor().stream_reader(frame) as stream:
        found = stream.readinto(content.data)
    if found != size:
        raise zstandard.ZstdError(f"it ends after {found} bytes")
    return content


_HAS_CHECKSUM = 4
