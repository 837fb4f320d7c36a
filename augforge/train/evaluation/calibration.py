"""Whether a probability of 0.7 comes true 7 times in 10: reliability, ECE and Brier score of every class.

Most pixels are background that no model doubts, and would drown the rest. So a class is judged inside the box around
its true and predicted pixels, widened by a tenth, much as in Mehrtash et al. 2020 (IEEE TMI 39, 3868). Only histograms
are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.train.evaluation.scores import Truth, mean_known, none_if_nan

BINS = 10
_MARGIN = 0.1


class Calibration:
    """Collects how probabilities came true, class by class, over any number of images."""

    def __init__(self, classes: int, bins: int = BINS) -> None:
        self.table = np.zeros((4, classes, bins))
        """Sums by class and bin of probability: pixels, true ones, probability, squared error."""

    def add(self, layers: Iterable[NDArray[np.float32]], predicted: Planes, truth: Truth) -> None:
        """Take in an image.

        Args:
            layers: probabilities (H, W), 0 to 1, of each class in order, one at a time.
            predicted: bit-planes (H, W, P) of the same prediction.
            truth: of the same size.
        """
        either = np.moveaxis(bitmask.planar(predicted) | bitmask.planar(truth.planes), 0, -1)
        areas, boxes = bitmask.areas_and_boxes(either, self.table.shape[1])
        for c, layer in enumerate(layers):
            if areas[c] and truth.known[c]:
                roi = _widened(boxes[c], layer.shape)
                counted = slice(None) if truth.ignore is None else ~truth.ignore[roi]
                self._count(c, layer[roi][counted].ravel(), bitmask.class_mask(truth.planes[roi], c)[counted].ravel())

    def _count(self, c: int, probabilities: NDArray[np.float32], true: NDArray[np.uint8]) -> None:
        bins = self.table.shape[2]
        places = np.minimum((probabilities * bins).astype(np.intp), bins - 1)
        weights = (None, true, probabilities, (probabilities - true) ** 2)
        self.table[:, c] += [np.bincount(places, weight, bins) for weight in weights]

    def to_json(self) -> dict[str, Any]:
        """Figures of the whole, the means over classes, and of each class in order.

        Per class, None where it never came up:
            ece: expected calibration error, 0 to 1: the mean distance between the probability said and the share that
                came true, over bins of equal width, weighted by their pixels (Guo et al. 2017).
            brier: mean squared error of the probability, 0 to 1 (Brier 1950).
            reliability: by bin ``pixels``, ``probability`` (mean) and ``frequency`` (share that is the class).
        """
        classes = [_figures(*self.table[:, c]) for c in range(self.table.shape[1])]
        means = {key: mean_known(np.array([each[key] for each in classes], float)) for key in ("ece", "brier")}
        return {**means, "classes": classes}


def _widened(box: NDArray[np.int32], shape: tuple[int, ...]) -> tuple[slice, slice]:
    x0, y0, x1, y1 = (int(edge) for edge in box)
    margin = int(np.ceil(_MARGIN * max(x1 - x0, y1 - y0)))
    return slice(max(0, y0 - margin), min(shape[0], y1 + margin)), slice(
        max(0, x0 - margin), min(shape[1], x1 + margin)
    )


def _figures(pixels: Any, true: Any, probability: Any, error: Any) -> dict[str, Any]:
    """What a class's sums by bin (B,) say."""
    total = pixels.sum()
    with np.errstate(invalid="ignore"):
        said, came = probability / pixels, true / pixels
    return {
        "ece": float(np.abs(probability - true).sum() / total) if total else None,
        "brier": float(error.sum() / total) if total else None,
        "reliability": {
            "pixels": pixels.astype(int).tolist(),
            "probability": [none_if_nan(value) for value in said],
            "frequency": [none_if_nan(value) for value in came],
        },
    }
