"""How well areas are predicted in which two classes are both true, such as two bones over each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.train.evaluation.breakdown import unpack_in_chunks


class Overlaps:
    """Counts, for each pair of classes, the pixels that belong to both, over all images of a set.

    `table` is a sum, so tables of several processes may be added.
    """

    def __init__(self, outputs: Sequence[str]) -> None:
        self.outputs = tuple(outputs)
        self.table = np.zeros((3, len(self.outputs), len(self.outputs)), np.int64)
        """Pixels by pair, (3, C, C), symmetric: both predicted and both true, both predicted, both true."""

    def add(self, predicted: Planes, truth: Planes) -> None:
        """Add an image: bit-planes (H, W, P) without uncounted pixels and classes (see `Truth.clear_uncounted`)."""
        at = (bitmask.overlap_count(predicted) > 1) | (bitmask.overlap_count(truth) > 1)
        if not at.any():
            return
        for one, other in unpack_in_chunks((predicted, truth), at, len(self.outputs)):
            self.table += np.stack([flags @ flags.T for flags in (one * other, one, other)]).astype(np.int64)

    def pairs(self) -> list[dict[str, Any]]:
        """The pairs that are both true somewhere, the largest area first.

        Each has ``classes``, the pixels ``true`` and ``predicted`` of both, and ``dice`` and ``iou`` of the area that
        they share, over all pixels of the set.
        """
        found = [(c, d) for c, d in zip(*np.nonzero(np.triu(self.table[2], 1)), strict=True)]
        found.sort(key=lambda pair: -int(self.table[2][pair]))
        return [self._pair(int(c), int(d), *self.table[:, c, d].tolist()) for c, d in found]

    def _pair(self, c: int, d: int, both: int, predicted: int, true: int) -> dict[str, Any]:
        return {
            "classes": [self.outputs[c], self.outputs[d]],
            "true": true,
            "predicted": predicted,
            "dice": 2 * both / (predicted + true),
            "iou": both / (predicted + true - both),
        }
