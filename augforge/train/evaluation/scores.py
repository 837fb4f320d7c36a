"""Overlap of predicted and true classes: Dice and IoU from bit-planes, for each sample and as means.

A sample's planes are never unpacked: the pixels of ``predicted & true``, ``predicted`` and ``true`` are counted in the
planes. Pixels of the class ``ignore`` are cleared from both, and scores of a class that is not known are NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.errors import TrainError
from augforge.sample import IGNORE, Sample

Flags = NDArray[np.bool_]
PerClass = NDArray[np.float64]
"""float64 (C,), NaN for a class that is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The labels of a sample for a model's outputs.

    Attributes:
        planes: bit-planes (H, W, P) over the outputs.
        known: bool (C,), the outputs that somebody labelled.
        ignore: bool (H, W), pixels that do not count; None if all do.
    """

    planes: Planes
    known: Flags
    ignore: NDArray[np.bool_] | None = None

    def clear_uncounted(self, planes: Planes) -> Planes:
        """Clear pixels that do not count and classes that are not known from planes (H, W, P) over the outputs."""
        if not self.known.all():
            planes = bitmask.keep(planes, bitmask.flags_to_bits(self.known))
        return planes if self.ignore is None else clear_pixels(planes, self.ignore)


def truth_of(sample: Sample, classes: Sequence[str], outputs: Sequence[str]) -> Truth:
    """The labels of a sample, from a dataset with those classes, in the order of a model's outputs.

    Raises:
        TrainError: classes and outputs are not the same names, apart from ``ignore``.
    """
    check_classes(classes, outputs)
    labelled = dict(zip(classes, bitmask.bits_to_flags(sample.known, len(classes)).tolist(), strict=True))
    order = [None if name == IGNORE else outputs.index(name) for name in classes]
    planes = sample.masks if order == [*range(len(outputs))] else bitmask.remap(sample.masks, order, len(outputs))
    ignore = bitmask.class_mask(sample.masks, classes.index(IGNORE)).astype(bool) if IGNORE in classes else None
    return Truth(planes, np.array([labelled[name] for name in outputs]), ignore)


def check_classes(classes: Sequence[str], outputs: Sequence[str], where: str = "the dataset") -> None:
    """Raise TrainError unless the classes, apart from ``ignore``, are a model's outputs, in any order.

    Args:
        classes: of a dataset.
        outputs: of the model.
        where: how the error message calls the dataset.
    """
    labelled = set(classes) - {IGNORE}
    if labelled != set(outputs):
        differences = {"lacks": set(outputs) - labelled, "also has": labelled - set(outputs)}
        facts = " and ".join(f"{verb} {', '.join(sorted(names))}" for verb, names in differences.items() if names)
        raise TrainError(
            f"{where} has other classes than the model was trained for: it {facts}. Expected: {', '.join(outputs)}. "
            "Choose another dataset, or build this one with the same `source.classes`"
        )


def overlap(
    predicted: Planes, truth: Planes, classes: int, ignore: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Pixels per class: int64 (3, C), with rows intersection, predicted, true.

    Args:
        predicted: bit-planes (H, W, P).
        truth: bit-planes (H, W, P).
        classes: C.
        ignore: bool (H, W), pixels that do not count.
    """
    if ignore is not None:
        predicted, truth = clear_pixels(predicted, ignore), clear_pixels(truth, ignore)
    layers = bitmask.planar(predicted), bitmask.planar(truth)
    both = np.moveaxis(layers[0] & layers[1], 0, -1)
    return np.stack([bitmask.areas_and_boxes(planes, classes)[0] for planes in (both, predicted, truth)])


def clear_pixels(planes: Planes, pixels: NDArray[np.bool_]) -> Planes:
    """Clear every class of planes (H, W, P) at `pixels`, bool (H, W); returns a new array."""
    return np.moveaxis(bitmask.planar(planes) & np.where(pixels, np.uint8(0), np.uint8(255)), 0, -1)


def dice(overlaps: NDArray[Any]) -> PerClass:
    """2 I / (P + T) of (3, C) pixel counts; 1 if neither has a pixel.

    The limit of the contest's (2 I + eps) / (P + T + eps): its eps of 1e-4 changes the fifth digit.
    """
    intersection, predicted, true = overlaps
    return _ratio(2 * intersection, predicted + true)


def iou(overlaps: NDArray[Any]) -> PerClass:
    """I / (P + T - I) of (3, C) pixel counts; 1 if neither has a pixel."""
    intersection, predicted, true = overlaps
    return _ratio(intersection, predicted + true - intersection)


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> PerClass:
    ratio: PerClass = np.divide(part, whole, out=np.ones(len(whole)), where=whole > 0)
    return ratio


@dataclass(frozen=True, slots=True)
class Score:
    """How well predictions overlap with the truth; scores are None if no class was known.

    Attributes:
        mean_dice: as the hand-bone contest computes it: Dice by image and class, 1 if neither has a pixel; averaged
            over images by class, then over classes.
        mean_iou: likewise.
        pooled_dice: Dice of the pixels of all images together, by class, then averaged over classes: images without a
            class add nothing to it.
        images: number of images.
        classes: by name ``dice``, ``iou``, ``pooled_dice``, and ``images``, the number in which the class is known.
    """

    mean_dice: float | None
    mean_iou: float | None
    pooled_dice: float | None
    images: int
    classes: dict[str, dict[str, float | int | None]]

    def to_json(self) -> dict[str, Any]:
        """JSON-like."""
        return asdict(self)


class Scores:
    """Adds up overlaps image by image. `table` is a sum, so tables of several processes may be added."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self.outputs = tuple(outputs)
        self.images = 0
        self.table = np.zeros((6, len(self.outputs)))
        """Sums over images, (6, C): images with the class known, Dice, IoU, intersection, predicted and true pixels."""

    def add(self, predicted: Planes, truth: Truth) -> PerClass:
        """Add an image's prediction, bit-planes (H, W, P) over the outputs, and return its Dice per class."""
        overlaps = overlap(predicted, truth.planes, len(self.outputs), truth.ignore)
        dices = dice(overlaps)
        self.table += np.where(truth.known, [np.ones(len(dices)), dices, iou(overlaps), *overlaps], 0)
        self.images += 1
        return np.where(truth.known, dices, np.nan)

    def score(self) -> Score:
        """The score of all images added so far."""
        known, dices, ious = self.table[:3]
        per_image = np.where(known > 0, 1 / np.maximum(known, 1), np.nan)
        values = [dices * per_image, ious * per_image, np.where(known > 0, dice(self.table[3:]), np.nan)]
        classes = {
            name: {"dice": none_if_nan(d), "iou": none_if_nan(i), "pooled_dice": none_if_nan(p), "images": int(n)}
            for name, d, i, p, n in zip(self.outputs, *values, known, strict=True)
        }
        mean_dice, mean_iou, pooled_dice = map(mean_known, values)
        return Score(mean_dice, mean_iou, pooled_dice, self.images, classes)


def mean_known(values: NDArray[Any]) -> float | None:
    """The mean of all values that are not NaN; None if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def none_if_nan(value: float) -> float | None:
    """The value, or None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)
