"""Class masks as bit-planes: the only module that knows the bit layout.

Classes overlap, so a mask is one bit per class. ``Planes`` are uint8 ``(H, W, P)``, ``P = ceil(C / 8)``: class ``c`` in
bit ``c % 8`` of plane ``c // 8``, 1 <= C <= 256, bits past class C - 1 zero. A bit vector, such as a sample's
``known``, is uint8 ``(P,)`` laid out alike. Memory is interleaved (C-contiguous, what cv2 wants) or planar (``(P, H,
W)`` seen through ``np.moveaxis``, what is stored and decoded): every function takes both, and crops of them.

Trap: ``np.unpackbits`` or ``np.packbits`` on a whole stack, or numpy arithmetic along the short last axis, costs many
times what the work itself does. Here all goes plane by plane, and class by class only inside a class's own box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, TypeAlias

import cv2
import numpy as np
import zstandard
from numpy.typing import ArrayLike, NDArray

Planes: TypeAlias = NDArray[np.uint8]

_BYTES = np.arange(256, dtype=np.uint8)
_FLAGS = (_BYTES[:, None] >> np.arange(8, dtype=np.uint8) & 1).astype(bool)  # (256, 8): the bits of a byte
_ONES = _FLAGS.sum(axis=1).astype(np.uint8)  # (256,): how many they are


def plane_count(classes: int) -> int:
    """Number of planes P for C classes; ValueError outside 1..256."""
    if not 1 <= classes <= 256:
        raise ValueError(f"{classes} classes; bit-planes hold 1 to 256")
    return (classes + 7) // 8


def empty(height: int, width: int, classes: int) -> Planes:
    """Planes (H, W, P) with no bit set, C-contiguous."""
    return np.zeros((height, width, plane_count(classes)), np.uint8)


def planar(planes: Planes) -> NDArray[np.uint8]:
    """(H, W, P) of any memory layout as contiguous (P, H, W); not copied where the memory is planar already."""
    view = np.moveaxis(_checked(planes, -1, "(H, W, P)"), -1, 0)
    if view.strides[-1] == 1 or len(view) == 1:
        return np.ascontiguousarray(view)
    layers = np.empty(view.shape, np.uint8)
    cv2.split(planes, list(layers))  # fills the views in place; 4 times as fast as ascontiguousarray
    return layers


def interleave(layers: NDArray[np.uint8]) -> Planes:
    """(P, H, W) of any memory layout as C-contiguous (H, W, P); not copied where the memory is interleaved already."""
    view = np.moveaxis(_checked(layers, 0, "(P, H, W)"), 0, -1)
    if view.strides[-1] == 1 or len(layers) == 1:
        return np.ascontiguousarray(view)
    return np.asarray(cv2.merge(list(layers)), np.uint8)


def contiguous(planes: Planes) -> Planes:
    """(H, W, P) of any memory layout, such as ``decode`` gives, as C-contiguous (H, W, P); copied only where needed."""
    return planes if planes.flags.c_contiguous else interleave(planar(planes))


def _checked(array: NDArray[np.uint8], axis: int, layout: str) -> NDArray[np.uint8]:
    if array.ndim != 3 or array.dtype != np.uint8 or not 1 <= array.shape[axis] <= 32:
        raise ValueError(f"array is {array.dtype} {array.shape}; expected uint8 {layout} with 1 to 32 planes")
    return array


def per_plane(function: Callable[[NDArray[Any]], NDArray[Any]], planes: Planes) -> Planes:
    """Apply a per-pixel selection such as cv2.flip or a nearest warp to planes (H, W, P), up to four at a time.

    ``function`` gets C-contiguous uint8 (H, W, 1..4) and gives as many channels, where one may have lost its axis, as
    cv2 does. Returns C-contiguous (H', W', P).
    """
    if planes.shape[-1] <= 4:
        return _with_axis(function(contiguous(planes)))
    layers = planar(planes)
    groups = (interleave(layers[start : start + 4]) for start in range(0, len(layers), 4))
    return interleave(np.concatenate([planar(_with_axis(function(group))) for group in groups]))


def _with_axis(result: NDArray[Any]) -> Planes:
    return np.ascontiguousarray(result if result.ndim == 3 else result[..., None])


def from_masks(masks: Iterable[NDArray[Any]], classes: int | None = None) -> Planes:
    """Pack masks (H, W), non-zero where the class is, one per class in class order; takes them one at a time.

    ``classes`` is needed where ``masks`` has no length. ValueError where masks differ in size, or in number from it.
    """
    if classes is None:
        if not isinstance(masks, Sized):
            raise ValueError("masks have no length; pass the number of classes")
        classes = len(masks)
    count, planes = 0, empty(0, 0, classes)
    for count, mask in enumerate(masks, start=1):
        if count == 1:
            planes = np.zeros((*mask.shape, planes.shape[-1]), np.uint8)
        _place(count - 1, classes)
        merge_class(planes, count - 1, mask)
    if count != classes:
        raise ValueError(f"{count} masks; expected one for each of {classes} classes")
    return planes


def rasterise(polygons: Iterable[tuple[int, Sequence[ArrayLike]]], height: int, width: int, classes: int) -> Planes:
    """Draw polygons, each (class index, rings), into planes (H, W, P).

    A ring is (N, 2) xy in pixels, pixel centres at integers; ``rings[0]`` is the exterior, the others are holes in this
    polygon alone (inside it, apart from each other). A class given twice is the union. The pixels are those that
    ``cv2.fillPoly`` gives for one polygon's rings, rounded to int32 by ``np.rint`` (half to even), boundary included,
    on a canvas that holds it whole, then cut to the image: fillPoly's own clipping moves edges. What lies outside the
    image by more than its width or height is cut off first, and the edges that are cut may move by a pixel.

    ValueError for a class outside 0..C-1, and a ring of fewer than 3 points, with NaN, or with values beyond int32.
    """
    planes = empty(height, width, classes)
    for c, rings in polygons:
        plane, bit = _place(c, classes)
        _draw(planes[..., plane], [_ring(ring, c) for ring in rings], 1 << bit)
    return planes


def _ring(ring: ArrayLike, c: int) -> NDArray[np.float64]:
    points = np.rint(np.asarray(ring, np.float64))
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise ValueError(f"ring of class {c} has shape {points.shape}; expected (N, 2) points, N >= 3")
    if not (np.abs(points) < 2**31).all():
        raise ValueError(f"ring of class {c} has points that are NaN, infinite or beyond int32; expected pixels")
    return points


def _draw(layer: NDArray[np.uint8], rings: list[NDArray[np.float64]], value: int) -> None:
    """OR ``value`` into the pixels of ``layer`` (H, W) that one polygon's rings cover."""
    size = np.array(layer.shape[::-1])
    parts = [part.astype(np.int32) for ring in rings if len(part := _clip(ring, -size, 2 * size))]
    if not parts:
        return
    points = np.concatenate(parts)
    low, high = points.min(axis=0), points.max(axis=0) + 1
    (x0, y0), (x1, y1) = np.maximum(low, 0), np.minimum(high, size)
    if x0 < x1 and y0 < y1:
        canvas = np.zeros((high - low)[::-1], np.uint8)
        cv2.fillPoly(canvas, parts, (value,), offset=(-int(low[0]), -int(low[1])))
        layer[y0:y1, x0:x1] |= canvas[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]]


def _clip(ring: NDArray[np.float64], low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.float64]:
    """The part of a ring inside low..high (x and y), after Sutherland and Hodgman; (0, 2) where there is none."""
    for axis, sign, limit in ((0, 1, low[0]), (0, -1, high[0]), (1, 1, low[1]), (1, -1, high[1])):
        depth = sign * (ring[:, axis] - limit)
        inside = depth >= 0
        if not inside.all():
            crossing = inside != np.roll(inside, -1)
            share = np.divide(depth, depth - np.roll(depth, -1), out=np.zeros_like(depth), where=crossing)
            cut = np.rint(ring + share[:, None] * (np.roll(ring, -1, axis=0) - ring))
            ring = np.stack([ring, cut], axis=1)[np.stack([inside, crossing], axis=1)]
    return ring


def class_mask(planes: Planes, c: int) -> NDArray[np.uint8]:
    """Class ``c`` as uint8 (H, W) of 0 and 1."""
    plane, bit = _place(c, planes.shape[-1] * 8)
    return np.asarray(planes[..., plane] >> bit & 1, np.uint8)


def to_masks(planes: Planes, classes: int) -> Iterator[NDArray[np.uint8]]:
    """Every class's mask in order, uint8 (H, W) of 0 and 1, one at a time."""
    layers = _layers(planes, classes)
    return (class_mask(layers[c // 8, ..., None], c % 8) for c in range(classes))


def class_layers(layers: Any, classes: Sequence[int]) -> Any:
    """Classes of planar bit-planes, bool (..., C, H, W) in the order of ``classes``, on the device the planes are on.

    ``layers`` is uint8 (..., P, H, W), a numpy array or a torch tensor: batches travel as bits and are unpacked where
    they are used. ValueError for a class that does not exist.
    """
    places = [_place(c, layers.shape[-3] * 8) for c in classes]
    made_alike = getattr(layers, "new_tensor", np.array)  # torch's, or numpy's
    bits = made_alike([1 << bit for _, bit in places], dtype=layers.dtype).reshape(-1, 1, 1)
    chosen = layers[..., [plane for plane, _ in places], :, :]  # a copy
    chosen &= bits
    return chosen != 0


def merge_class(planes: Planes, c: int, mask: NDArray[Any]) -> None:
    """Add the non-zero pixels of ``mask`` (H, W) to class ``c``, in place."""
    plane, bit = _place(c, planes.shape[-1] * 8)
    if mask.ndim != 2 or mask.shape != planes.shape[:2]:
        raise ValueError(f"mask of class {c} has shape {mask.shape}; expected (H, W), here {planes.shape[:2]}")
    rows = _extent(mask, 1)
    columns = _extent(mask[rows], 0)
    planes[rows, columns, plane] |= (mask[rows, columns] != 0).view(np.uint8) << bit


def _extent(mask: NDArray[Any], axis: int) -> slice:
    held = np.flatnonzero(mask.any(axis=axis))
    return slice(held[0], held[-1] + 1) if len(held) else slice(0)


def set_class(planes: Planes, c: int, mask: NDArray[Any]) -> None:
    """Make the non-zero pixels of ``mask`` (H, W) the whole of class ``c``, in place."""
    plane, bit = _place(c, planes.shape[-1] * 8)
    planes[..., plane] &= 255 - (1 << bit)
    merge_class(planes, c, mask)


def _place(c: int, total: int) -> tuple[int, int]:
    """Plane and bit of class ``c``, as plain ints (a numpy scalar would widen uint8 arithmetic)."""
    if not 0 <= c < total:
        raise ValueError(f"class {c} of {total}; expected 0 to {total - 1}")
    return divmod(int(c), 8)


def areas_and_boxes(planes: Planes, classes: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Pixels per class, int64 (C,), and boxes x0, y0, x1, y1, int32 (C, 4), half-open; zeros where a class is empty."""
    layers = _layers(planes, classes)
    areas = np.zeros((len(layers), 8), np.int64)
    boxes = np.zeros((len(layers), 8, 4), np.int32)
    for layer, area, box in zip(layers, areas, boxes, strict=True):
        box[:, 0::2] = _spans(np.bitwise_or.reduce(layer, axis=0))
        box[:, 1::2] = _spans(np.bitwise_or.reduce(layer, axis=1))
        held = box[box[:, 2] > 0]
        if len(held):
            (x0, y0), (x1, y1) = held[:, :2].min(axis=0), held[:, 2:].max(axis=0)
            area[:] = _histogram(layer[y0:y1, x0:x1]) @ _FLAGS
    return areas.reshape(-1)[:classes], boxes.reshape(-1, 4)[:classes]


def regions(planes: Planes, classes: int) -> Iterator[tuple[int, tuple[slice, slice], NDArray[np.uint8]]]:
    """Each class that has pixels: its index, rows and columns of its box, and its 0/1 mask in the box."""
    areas, boxes = areas_and_boxes(planes, classes)
    for c in np.flatnonzero(areas).tolist():
        x0, y0, x1, y1 = boxes[c].tolist()
        roi = (slice(y0, y1), slice(x0, x1))
        yield c, roi, class_mask(planes[roi], c)


def _spans(line: NDArray[np.uint8]) -> NDArray[np.int64]:
    """First index and end of each of the 8 bits along ``line`` (N,): (8, 2), zeros where a bit is never set."""
    flags = _FLAGS[line]
    spans = np.stack([flags.argmax(axis=0), len(line) - flags[::-1].argmax(axis=0)], axis=1)
    spans[~np.logical_or.reduce(flags)] = 0
    return spans


def _histogram(layer: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each byte occurs, int64 (256,): in strips, for calcHist counts in float32, exact up to 2**24."""
    strips = np.array_split(layer, layer.size // 2**23 + 1)
    counts = [cv2.calcHist([strip], [0], None, [256], [0, 256]) for strip in strips]
    return np.asarray(np.sum(counts, axis=0, dtype=np.int64)).reshape(256)


def union(planes: Planes, classes: Iterable[int] | None = None) -> NDArray[np.bool_]:
    """Where any class, or any of ``classes``, is: bool (H, W)."""
    layers = planar(planes)
    bits = select_bits(range(len(layers) * 8) if classes is None else classes, len(layers) * 8)
    found = np.zeros(layers.shape[1:], np.uint8)
    for index in np.flatnonzero(bits):
        found |= layers[index] & bits[index]
    return found.astype(bool)


def overlap_count(planes: Planes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """How many classes share each pixel: uint8 (H, W); uint16 with 32 planes, where up to 256 may."""
    layers = planar(planes)
    total = np.zeros(layers.shape[1:], np.uint16 if len(layers) == 32 else np.uint8)
    for layer in layers:
        total += _lookup(layer, _ONES)
    return total


def invented_bits(planes: Planes, classes: int) -> bool:
    """Whether any bit past class C - 1 is set."""
    found = np.bitwise_or.reduce(_layers(planes, classes)[-1], axis=0)
    return bool(np.any(found & ~all_bits(classes)[-1]))


def _layers(planes: Planes, classes: int) -> NDArray[np.uint8]:
    if planes.shape[-1] != plane_count(classes):
        raise ValueError(f"{planes.shape[-1]} planes; expected {plane_count(classes)} for {classes} classes")
    return planar(planes)


def flags_to_bits(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """bool (C,) as a bit vector (P,)."""
    return np.packbits(flags, bitorder="little")


def bits_to_flags(bits: NDArray[np.uint8], classes: int) -> NDArray[np.bool_]:
    """A bit vector (P,) as bool (C,)."""
    return np.asarray(_FLAGS[bits].reshape(-1)[:classes], bool)


def select_bits(classes: Iterable[int], total: int) -> NDArray[np.uint8]:
    """The bit vector (P,) of ``classes`` among ``total``; ValueError for a class outside 0..total-1."""
    bits = np.zeros(plane_count(total), np.uint8)
    for c in classes:
        plane, bit = _place(c, total)
        bits[plane] |= 1 << bit
    return bits


def all_bits(classes: int) -> NDArray[np.uint8]:
    """The bit vector (P,) of all C classes: a fully labelled image's ``known``."""
    return select_bits(range(classes), classes)


def keep(planes: Planes, bits: NDArray[np.uint8]) -> Planes:
    """Planes with only the classes of ``bits`` (P,) left; a new array."""
    rows = contiguous(planes).reshape(len(planes), -1)
    return np.asarray(rows & np.tile(bits, planes.shape[1]), np.uint8).reshape(planes.shape)


def remap(planes: Planes, mapping: Sequence[int | None], classes_out: int) -> Planes:
    """Planes in which class c is class ``mapping[c]``: several to one are its union, None drops one; a new array."""
    layers = planar(planes)
    moved = np.zeros((plane_count(classes_out), *layers.shape[1:]), np.uint8)
    for (source, target), table in _tables(mapping, len(layers) * 8, classes_out).items():
        moved[target] |= _lookup(layers[source], table)
    return interleave(moved)


def _tables(
    mapping: Sequence[int | None], classes_in: int, classes_out: int
) -> dict[tuple[int, int], NDArray[np.uint8]]:
    """For each (plane from, plane to) between which a class moves, what a byte becomes: (256,)."""
    tables: dict[tuple[int, int], NDArray[np.uint8]] = {}
    for c, target in enumerate(mapping):
        if target is not None:
            (source, bit), (plane, to) = _place(c, classes_in), _place(target, classes_out)
            table = tables.setdefault((source, plane), np.zeros(256, np.uint8))
            table |= _FLAGS[:, bit].astype(np.uint8) << to
    return tables


def _lookup(layer: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return layer if np.array_equal(table, _BYTES) else np.asarray(cv2.LUT(layer, table), np.uint8)


def swap_classes(planes: Planes, pairs: Iterable[tuple[int, int]]) -> Planes:
    """Planes with the bits of each pair of classes exchanged, as a mirrored body needs; a new array.

    ValueError for a class that does not exist or is in two pairs.
    """
    mapping = list(range(planes.shape[-1] * 8))
    for pair in pairs:
        for c, other in (pair, pair[::-1]):
            _place(c, len(mapping))
            if mapping[c] != c:
                raise ValueError(f"class {c} is in two pairs; expected each class in one pair at most")
            mapping[c] = other
    return remap(planes, mapping, len(mapping))


def swap_bits(bits: NDArray[np.uint8], pairs: Iterable[tuple[int, int]]) -> NDArray[np.uint8]:
    """``swap_classes`` for a bit vector (P,)."""
    return swap_classes(bits[None, None], pairs).reshape(-1)


def encode(planes: Planes) -> bytes:
    """Planes of any memory layout as a zstd frame of planar bytes (P, H, W), level 1, with size and checksum."""
    return zstandard.ZstdCompressor(level=1, write_checksum=True, write_content_size=True).compress(planar(planes).data)


def decode(data: bytes | memoryview, height: int, width: int, classes: int) -> Planes:
    """``encode`` undone: a read-only (H, W, P) view of planar memory, without a copy.

    ValueError for a damaged frame, and, before anything is allocated, for one of another size.
    """
    shape = (plane_count(classes), height, width)
    expected = shape[0] * height * width
    try:
        size = zstandard.frame_content_size(data)
        if size != expected:
            raise ValueError(f"mask frame holds {size} bytes; expected {expected}: bit-planes (P, H, W) = {shape}")
        content = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"mask frame of {len(data)} bytes is damaged: {error}; expected {expected} inside") from error
    return np.moveaxis(np.frombuffer(content, np.uint8).reshape(shape), 0, -1)
