"""Whether a probability of 0.7 is right 7 times in 10: reliability, ECE and Brier score of every class.

Most pixels are background that no model doubts, and would outweigh the rest. So a class is evaluated inside the box
around its true and predicted pixels, widened by a tenth, much as in Mehrtash et al. 2020 (IEEE TMI 39, 3868). Only
histograms are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.train.evaluation.scores import Truth, mean_of, none_if_nan

BINS = 10
_MARGIN = 0.1


class Calibration:
    """Compares probabilities with the truth, class by class, over any number of images."""

    def __init__(self, classes: int, bins: int = BINS) -> None:
        self.table = np.zeros((4, classes, bins))
        """Sums by class and bin of probability: pixels, true pixels, probability, squared error."""

    def add(self, layers: Iterable[NDArray[np.float32]], predicted: Planes, truth: Truth) -> None:
        """Add an image.

        Args:
            layers: probabilities (H, W), 0 to 1, of each class in order, one at a time.
            predicted: bit-planes (H, W, P) of the same prediction.
            truth: of the same size.
        """
        either = np.moveaxis(bitmask.planar(predicted) | bitmask.planar(truth.planes), 0, -1)
        areas, boxes = bitmask.areas_and_boxes(either, self.table.shape[1])
        for c, layer in enumerate(layers):
            if areas[c] and truth.known[c]:
                roi = _widen(boxes[c], layer.shape)
                counted = slice(None) if truth.ignore is None else ~truth.ignore[roi]
                self._count(c, layer[roi][counted].ravel(), bitmask.class_mask(truth.planes[roi], c)[counted].ravel())

    def _count(self, c: int, probabilities: NDArray[np.float32], true: NDArray[np.uint8]) -> None:
        bins = self.table.shape[2]
        bin_indices = np.minimum((probabilities * bins).astype(np.intp), bins - 1)
        weights = (None, true, probabilities, (probabilities - true) ** 2)
        self.table[:, c] += [np.bincount(bin_indices, weight, bins) for weight in weights]

    def to_json(self) -> dict[str, Any]:
        """ECE and Brier score as means over classes, and in ``classes`` for each class in order.

        For each class, None if it was neither true nor predicted anywhere:
            ece: expected calibration error, 0 to 1: the mean distance between predicted probability and true share,
                over bins of equal width, weighted by their pixels (Guo et al. 2017).
            brier: mean squared error of the probability, 0 to 1 (Brier 1950).
            reliability: by bin ``pixels``, ``probability`` (mean) and ``frequency`` (share that is the class).
        """
        classes = [_class_calibration(*self.table[:, c]) for c in range(self.table.shape[1])]
        means = {key: mean_of(classes, key) for key in ("ece", "brier")}
        return {**means, "classes": classes}


def _widen(box: NDArray[np.int32], shape: tuple[int, ...]) -> tuple[slice, slice]:
    x0, y0, x1, y1 = (int(edge) for edge in box)
    margin = int(np.ceil(_MARGIN * max(x1 - x0, y1 - y0)))
    return slice(max(0, y0 - margin), min(shape[0], y1 + margin)), slice(
        max(0, x0 - margin), min(shape[1], x1 + margin)
    )


def _class_calibration(pixels: Any, true: Any, probability: Any, error: Any) -> dict[str, Any]:
    """ECE, Brier score and reliability from a class's sums by bin (B,)."""
    total = pixels.sum()
    with np.errstate(invalid="ignore"):
        mean_probability, frequency = probability / pixels, true / pixels
    return {
        "ece": float(np.abs(probability - true).sum() / total) if total else None,
        "brier": float(error.sum() / total) if total else None,
        "reliability": {
            "pixels": pixels.astype(int).tolist(),
            "probability": [none_if_nan(value) for value in mean_probability],
            "frequency": [none_if_nan(value) for value in frequency],
        },
    }
