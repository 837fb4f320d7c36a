"""The confusion of classes that exclude each other, over all pixels of a set, and VOC's mean IoU from it.

Each counted pixel has one true label and one predicted label: a class, or the background, which is a class here too
(Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 111, 2015). Where a network predicts several
classes at a pixel, the most probable of them is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes

if TYPE_CHECKING:
    from augforge.train.evaluation.scores import Truth

Layers = Callable[[], Iterable[NDArray[np.float32]]]
"""Gives the probabilities (H, W) of each class in order, one at a time."""
Labels = NDArray[np.int64]
"""int64 (H, W): 0 is the background, c + 1 is class c."""


class Confusion:
    """Counts pixels by true and predicted label; a sum, so tables of several processes may be added.

    Attributes:
        table: int64 (C + 1, C + 1), pixels by true label (row) and predicted label (column); background first.
        exclusive: False once two classes are true at one pixel, or a prediction of several classes came without
            probabilities: then no pixel has one label, and there is no such confusion.
    """

    def __init__(self, classes: int) -> None:
        self.table = np.zeros((classes + 1, classes + 1), np.int64)
        self.exclusive = True

    def add(self, predicted: Planes, truth: Truth, layers: Layers | None = None) -> None:
        """Add an image.

        Pixels to ignore do not count, nor do pixels of no class in an image in which some class is not known: whether
        they are background is not known either.

        Args:
            predicted: bit-planes (H, W, P).
            truth: of the same size.
            layers: the probabilities, needed where several classes are predicted at one pixel.
        """
        true = truth.clear_uncounted(truth.planes)
        if not self.exclusive or bool((bitmask.overlap_count(true) > 1).any()):
            self.exclusive = False
            return
        several = bitmask.overlap_count(predicted) > 1
        if layers is None and several.any():
            self.exclusive = False
            return
        classes = len(self.table) - 1
        true_labels, labels = label_map(true, classes), label_map(predicted, classes)
        if layers is not None and several.any():
            labels[several] = _most_probable(predicted, several, layers)
        counted = np.ones(labels.shape, bool) if truth.ignore is None else ~truth.ignore
        counted &= bool(truth.known.all()) | (true_labels > 0)
        pairs = true_labels[counted] * (classes + 1) + labels[counted]
        self.table += np.bincount(pairs, minlength=self.table.size).reshape(self.table.shape)

    def miou(self) -> float | None:
        """Mean IoU over the background and all classes that are true or predicted anywhere; None if there is none."""
        if not self.exclusive or not self.table.any():
            return None
        right = self.table.diagonal()
        union = self.table.sum(0) + self.table.sum(1) - right
        return float((right[union > 0] / union[union > 0]).mean())


def label_map(planes: Planes, classes: int) -> Labels:
    """The label of each pixel; of several classes at a pixel, the last."""
    labels = np.zeros(planes.shape[:2], np.int64)
    for c, roi, mask in bitmask.regions(planes, classes):
        labels[roi][mask > 0] = c + 1
    return labels


def _most_probable(predicted: Planes, where: NDArray[np.bool_], layers: Layers) -> Labels:
    """The most probable of the classes predicted at each of n pixels, as labels (n,)."""
    best, labels = np.full(np.count_nonzero(where), -1.0, np.float32), np.zeros(np.count_nonzero(where), np.int64)
    for c, layer in enumerate(layers()):
        value = np.where(bitmask.class_mask(predicted, c)[where] > 0, layer[where], -1)
        labels[value > best] = c + 1
        best = np.maximum(best, value)
    return labels
