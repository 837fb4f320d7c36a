"""Bit-planes moved by a matrix: by the nearest pixel, or by the area that a class covers of each new pixel.

The nearest pixel is unbiased where places of new pixels lie evenly between old ones, as in any turn by a drawn angle.
Where they all lie alike, as after shrinking by exactly 2, or half a pixel beside, all masks move by up to half an old
pixel beside the image. The area does not move them, whatever the matrix is.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.ops.core import Size

Matrix2x3 = NDArray[np.float64]

_PARTS = (8, 16)
"""Fewest and most sub-pixels along a side: even, so that what lies between two pixels counts half of each."""
_ROW = 512
"""New pixels side by side in the picture of sub-pixels that is read at a time."""
_ROWS = 64


def move_planes(planes: Planes, matrix: Matrix2x3, size: Size) -> Planes:
    """Planes (H, W, P) moved by a matrix, old pixel to new, onto (height, width): each new pixel takes the nearest."""
    return bitmask.per_plane(lambda part: cv2.warpAffine(part, matrix, size, flags=cv2.INTER_NEAREST), planes)


def cover_planes(planes: Planes, matrix: Matrix2x3, size: Size) -> Planes:
    """As `move_planes`, but a new pixel has each class that covers half of its area or more.

    The area is counted in 64 to 256 sub-pixels. Only new pixels that see an edge are looked at: all others see one set
    of classes alone, that of their nearest pixel.
    """
    made = move_planes(planes, matrix, size)
    (a, b, c), (d, e, f) = _inverse(matrix)
    reach = (math.ceil((abs(a) + abs(b)) / 2) + 1, math.ceil((abs(d) + abs(e)) / 2) + 1)
    y, x = np.nonzero(_near_edges(planes, matrix, size, reach))
    parts = min(_PARTS[1], max(_PARTS[0], 2 * math.ceil(np.linalg.norm([[a, b], [d, e]], 2))))
    step = (np.arange(parts) - (parts - 1) / 2) / parts
    across, down = (m * step + n * step[:, None] for m, n in ((a, b), (d, e)))
    for start in range(0, len(x), _ROW * _ROWS):
        at = (y[start : start + _ROW * _ROWS], x[start : start + _ROW * _ROWS])
        places = (a * at[1] + b * at[0] + c, d * at[1] + e * at[0] + f)
        u, v = (_spread(place, offset) for place, offset in zip(places, (across, down), strict=True))
        seen = _take_pixels(planes, u, v)
        found = bitmask.shrink(seen, seen.shape[1] // parts, seen.shape[0] // parts)
        made[at] = found.reshape(-1, planes.shape[2])[: len(at[0])]
    return made


def _take_pixels(planes: Planes, x: NDArray[np.float32], y: NDArray[np.float32]) -> Planes:
    return bitmask.per_plane(lambda part: cv2.remap(part, x, y, cv2.INTER_NEAREST), planes)


def _inverse(matrix: Matrix2x3) -> Matrix2x3:
    return np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def _near_edges(planes: Planes, matrix: Matrix2x3, size: Size, reach: tuple[int, int]) -> NDArray[np.uint8]:
    """Which new pixels, uint8 (height, width), lie within reach of an old pixel that differs from one beside it."""
    height, width = planes.shape[:2]
    edges = np.zeros((height + 2 * reach[1], width + 2 * reach[0]), np.uint8)
    inner = edges[reach[1] : reach[1] + height + 1, reach[0] : reach[0] + width + 1]
    for layer in bitmask.planar(planes):
        framed = cv2.copyMakeBorder(layer, 1, 1, 1, 1, cv2.BORDER_CONSTANT)  # nothing is beyond the borders
        inner |= (framed[1:, 1:] ^ framed[1:, :-1]) | (framed[1:, 1:] ^ framed[:-1, 1:])
    np.minimum(edges, 1, out=edges)
    wide = cv2.dilate(edges, np.ones((2 * reach[1] + 1, 2 * reach[0] + 1), np.uint8))
    onto = matrix - np.column_stack([np.zeros((2, 2)), matrix[:, :2] @ reach])
    return np.asarray(cv2.warpAffine(wide, onto, size, flags=cv2.INTER_NEAREST), np.uint8)


def _spread(place: NDArray[np.float64], offset: NDArray[np.float64]) -> NDArray[np.float32]:
    """Places (N,) of pixels, each as a block of sub-pixels, side by side in rows; the last row is filled up."""
    rows = -(-len(place) // _ROW)
    grid = np.resize(place, rows * _ROW).reshape(rows, 1, _ROW, 1)
    parts = len(offset)
    return np.asarray((grid + offset[:, None, :]).reshape(rows * parts, _ROW * parts), np.float32)
