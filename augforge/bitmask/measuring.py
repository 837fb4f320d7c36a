"""What bit-planes show: areas and boxes of the classes, their union, and how many share a pixel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.bitmask.layout import BYTE_FLAGS, Planes, class_mask, look_up, planar, planar_of, select_bits

_BIT_COUNTS = BYTE_FLAGS.sum(axis=1).astype(np.uint8)  # (256,): how many bits of a byte are set


def areas_and_boxes(planes: Planes, classes: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Pixels per class, int64 (C,), and boxes x0, y0, x1, y1, int32 (C, 4), half-open; zeros if a class is empty."""
    layers = planar_of(planes, classes)
    areas = np.zeros((len(layers), 8), np.int64)
    boxes = np.stack([bit_boxes(layer) for layer in layers])
    for layer, area, box in zip(layers, areas, boxes, strict=True):
        present = box[box[:, 2] > 0]
        if len(present):
            (x0, y0), (x1, y1) = present[:, :2].min(axis=0), present[:, 2:].max(axis=0)
            area[:] = _byte_counts(layer[y0:y1, x0:x1]) @ BYTE_FLAGS
    return areas.reshape(-1)[:classes], boxes.reshape(-1, 4)[:classes]


def bit_boxes(layer: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Boxes x0, y0, x1, y1 of the bits of a plane (H, W), half-open: int32 (8, 4), zeros if a bit is never set."""
    boxes = np.empty((8, 4), np.int32)
    boxes[:, 0::2] = _bit_spans(np.bitwise_or.reduce(layer, axis=0))
    boxes[:, 1::2] = _bit_spans(np.bitwise_or.reduce(layer, axis=1))
    return boxes


def regions(planes: Planes, classes: int) -> Iterator[tuple[int, tuple[slice, slice], NDArray[np.uint8]]]:
    """Each class that has pixels: its index, rows and columns of its box, and its 0/1 mask in the box."""
    areas, boxes = areas_and_boxes(planes, classes)
    for c in np.flatnonzero(areas).tolist():
        x0, y0, x1, y1 = boxes[c].tolist()
        roi = (slice(y0, y1), slice(x0, x1))
        yield c, roi, class_mask(planes[roi], c)


def union(planes: Planes, classes: Iterable[int] | None = None) -> NDArray[np.bool_]:
    """Pixels that any class has, or any of ``classes``: bool (H, W)."""
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
        total += look_up(layer, _BIT_COUNTS)
    return total


def _bit_spans(line: NDArray[np.uint8]) -> NDArray[np.int64]:
    """First index and end of each of the 8 bits along ``line`` (N,): (8, 2), zeros if a bit is never set."""
    flags = BYTE_FLAGS[line]
    spans = np.stack([flags.argmax(axis=0), len(line) - flags[::-1].argmax(axis=0)], axis=1)
    spans[~np.logical_or.reduce(flags)] = 0
    return spans


def _byte_counts(layer: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each byte occurs, int64 (256,): in strips, since calcHist counts in float32, exact up to 2**24."""
    strips = np.array_split(layer, layer.size // 2**23 + 1)
    counts = [cv2.calcHist([strip], [0], None, [256], [0, 256]) for strip in strips]
    return np.asarray(np.sum(counts, axis=0, dtype=np.int64)).reshape(256)
