"""A colour for every class index: always the same, far from gray, and far from those of neighbouring indices."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""

MAX_CLASSES = 256
_LEVELS = np.array([0, 24, 48, 72, 96, 120, 144, 168, 192, 216, 240, 255])
_CHROMA, _LIGHTNESS = (0.10, 0.25), (0.58, 0.90)
_NEAR = 0.3  # Oklab distance below which the last colour counts as close
# Linear sRGB to cone responses, and their cube roots to Oklab: B. Ottosson, 2020.
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def colour_of(c: int) -> Colour:
    """The colour of class ``c``, 0 to 255."""
    red, green, blue = palette()[c].tolist()
    return red, green, blue


@cache
def palette() -> NDArray[np.uint8]:
    """RGB of the classes, uint8 (256, 3).

    Each colour is the candidate farthest from all before it, and not close to the last one. So for every N, the first N
    are about as easy to tell apart as N colours that stand out on gray can be.
    """
    candidates = _candidates()
    lab = oklab(candidates)
    chosen = [int(np.argmax(lab[:, 1] + lab[:, 2]))]  # the most orange
    nearest = np.full(len(lab), np.inf)
    while len(chosen) < MAX_CLASSES:
        last = np.linalg.norm(lab - lab[chosen[-1]], axis=1)
        nearest = np.minimum(nearest, last)
        chosen.append(int(np.argmax(np.round(nearest + 0.05 * np.minimum(last, _NEAR), 6))))
    return candidates[chosen]


def oklab(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """RGB, uint8 (N, 3), as Oklab (N, 3): lightness 0 to 1 and two colour axes. Distances match perception."""
    share = colours / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    lab: NDArray[np.float64] = np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T
    return lab


def _candidates() -> NDArray[np.uint8]:
    """The colours of a coarse grid that are neither grayish nor garish, neither dark nor nearly white."""
    grid = np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.uint8)
    lab = oklab(grid)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    return grid[_within(chroma, _CHROMA) & _within(lab[:, 0], _LIGHTNESS)]


def _within(values: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.bool_]:
    return (values >= bounds[0]) & (values <= bounds[1])
