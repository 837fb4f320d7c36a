"""How much each pixel of a training sample counts, from its masks: borders between objects, and marked regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.sample import IGNORE

if TYPE_CHECKING:
    from augforge.train.weighting import WeightsConfig

Weights = NDArray[np.float32]
"""float32 (H, W), 0 or more; 1 is an ordinary pixel."""

_REACH = 5  # sigmas beyond which a border adds less than 4 millionths of its weight


def pixel_weights(planes: Planes, classes: Sequence[str], config: WeightsConfig) -> Weights:
    """The weight of each pixel of a sample: 1, more between objects that nearly touch, times those of its regions.

    Args:
        planes: bit-planes (H, W, P) over the class table.
        classes: the class table.
        config: which weights there are.
    """
    weights = np.ones(planes.shape[:2], np.float32)
    if config.border is not None:
        learnt = [c for c, name in enumerate(classes) if name != IGNORE and name not in config.regions]
        weights += config.border * border_nearness(planes, learnt, config.border_sigma)
    for name, weight in config.regions.items():
        weights[bitmask.class_mask(planes, classes.index(name)) > 0] *= weight
    return weights


def border_nearness(planes: Planes, classes: Sequence[int], sigma: float) -> Weights:
    """exp(-(d1 + d2)^2 / (2 sigma^2)): float32 (H, W), near 1 where two objects nearly touch, 0 far from any two.

    d1 and d2 are the distances, in pixels, to the nearest object and to the second nearest; within an object d1 is 0
    (Ronneberger et al., U-Net, 2015, arXiv 1505.04597, equation 2). Objects are the connected parts of each class.
    """
    size = planes.shape[:2]
    nearest = np.full((2, *size), np.inf, np.float32)
    for roi, mask in _objects(planes, classes, int(np.ceil(_REACH * sigma))):
        distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        first, second = nearest[0][roi], nearest[1][roi]
        np.minimum(second, np.maximum(first, distance), out=second)
        np.minimum(first, distance, out=first)
    return np.asarray(np.exp(-(nearest.sum(axis=0) ** 2) / (2 * sigma**2)), np.float32)


def _objects(
    planes: Planes, classes: Sequence[int], margin: int
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.uint8]]]:
    """Each connected part of each class: rows and columns of its box, widened by a margin, and its mask there."""
    for c in classes:
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(bitmask.class_mask(planes, c), connectivity=8)
        for label in range(1, count):
            x, y, width, height = boxes[label][:4].tolist()
            roi = slice(max(0, y - margin), y + height + margin), slice(max(0, x - margin), x + width + margin)
            yield roi, (labels[roi] == label).astype(np.uint8)
