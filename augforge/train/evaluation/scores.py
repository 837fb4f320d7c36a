"""Overlap of predicted and true classes: Dice and IoU from bit-planes, by sample and in the mean.

A sample's planes are never unpacked: the pixels of ``predicted & true``, ``predicted`` and ``true`` are counted in the
planes. Pixels of the class ``ignore`` are cleared from both, and a class that a sample does not know is NaN there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.errors import TrainError
from augforge.sample import IGNORE, Sample

if TYPE_CHECKING:
    from augforge.store.dataset import Dataset

Flags = NDArray[np.bool_]
PerClass = NDArray[np.float64]
"""float64 (C,), NaN where a class is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a sample says of a model's outputs.

    Attributes:
        planes: bit-planes (H, W, P) over the outputs.
        known: bool (C,), the outputs that somebody labelled.
        ignore: bool (H, W), pixels that do not count; None where all do.
    """

    planes: Planes
    known: Flags
    ignore: NDArray[np.bool_] | None = None

    def clear_uncounted(self, planes: Planes) -> Planes:
        """Planes (H, W, P) over the outputs without the pixels that do not count and the classes that are not known."""
        if not self.known.all():
            planes = bitmask.keep(planes, bitmask.flags_to_bits(self.known))
        return planes if self.ignore is None else clear_pixels(planes, self.ignore)


def truth_of(sample: Sample, classes: Sequence[str], outputs: Sequence[str]) -> Truth:
    """What a sample of a dataset with those classes says of a model's outputs, in their order.

    Raises:
        TrainError: classes and outputs are not the same names, apart from ``ignore``.
    """
    check_classes(classes, outputs)
    labelled = dict(zip(classes, bitmask.bits_to_flags(sample.known, len(classes)).tolist(), strict=True))
    places = [None if name == IGNORE else outputs.index(name) for name in classes]
    planes = sample.masks if places == [*range(len(outputs))] else bitmask.remap(sample.masks, places, len(outputs))
    ignore = bitmask.class_mask(sample.masks, classes.index(IGNORE)).astype(bool) if IGNORE in classes else None
    return Truth(planes, np.array([labelled[name] for name in outputs]), ignore)


def check_classes(classes: Sequence[str], outputs: Sequence[str], where: str = "the dataset") -> None:
    """Raise TrainError unless the classes `where`, apart from ``ignore``, are a model's outputs, in any order."""
    named = set(classes) - {IGNORE}
    if named != set(outputs):
        said = {"lacks": set(outputs) - named, "also has": named - set(outputs)}
        facts = " and ".join(f"{verb} {', '.join(sorted(names))}" for verb, names in said.items() if names)
        raise TrainError(
            f"{where} has other classes than the model was trained for: it {facts}. Expected: {', '.join(outputs)}. "
            "Choose another dataset, or build this one with the same `source.classes`"
        )


def check_has_masks(dataset: Dataset) -> None:
    """Raise TrainError if a dataset has labels and no masks: there is no Dice to compare models by."""
    if set(dataset.classes) <= {IGNORE}:
        raise TrainError(
            f"{dataset.folder} has no classes with masks, and here models are judged by the Dice of masks. For "
            "labels there are augforge train and augforge evaluate"
        )


def overlap(
    predicted: Planes, truth: Planes, classes: int, ignore: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Pixels per class: int64 (3, C), rows intersection, predicted, true.

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
    """Planes (H, W, P) with every class cleared at `pixels`, bool (H, W); a new array."""
    return np.moveaxis(bitmask.planar(planes) & np.where(pixels, np.uint8(0), np.uint8(255)), 0, -1)


def dice(overlaps: NDArray[Any]) -> PerClass:
    """2 I / (P + T) of (3, C) pixel counts; 1 where neither has a pixel.

    The limit of the contest's (2 I + eps) / (P + T + eps), whose eps of 1e-4 shows from the fifth digit on.
    """
    intersection, predicted, true = overlaps
    return _ratio(2 * intersection, predicted + true)


def iou(overlaps: NDArray[Any]) -> PerClass:
    """I / (P + T - I) of (3, C) pixel counts; 1 where neither has a pixel."""
    intersection, predicted, true = overlaps
    return _ratio(intersection, predicted + true - intersection)


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> PerClass:
    ratio: PerClass = np.divide(part, whole, out=np.ones(len(whole)), where=whole > 0)
    return ratio


@dataclass(frozen=True, slots=True)
class Score:
    """How well predictions overlap with the truth; None where nothing was known.

    Attributes:
        mean_dice: as the hand-bone contest counts it: Dice by image and class, 1 where neither has a pixel; the mean
            over images by class, then over classes.
        mean_iou: likewise.
        pooled_dice: of the pixels of all images together, by class, then the mean over classes: nothing is gained by
            images in which a class is absent.
        images: that were judged.
        classes: by name ``dice``, ``iou``, ``pooled_dice``, and ``images``: those that know the class.
    """

    mean_dice: float | None
    mean_iou: float | None
    pooled_dice: float | None
    images: int
    classes: dict[str, dict[str, float | int | None]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Scores:
    """Collects overlaps image by image; `table` is a sum, so those of several processes may be added."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self.outputs = tuple(outputs)
        self.images = 0
        self.table = np.zeros((6, len(self.outputs)))
        """Sums over images, (6, C): images that know the class, Dice, IoU, intersection, predicted and true pixels."""

    def add(self, predicted: Planes, truth: Truth) -> PerClass:
        """Take in an image's prediction, bit-planes (H, W, P) over the outputs, and return its Dice per class."""
        overlaps = overlap(predicted, truth.planes, len(self.outputs), truth.ignore)
        found = dice(overlaps)
        self.table += np.where(truth.known, [np.ones(len(found)), found, iou(overlaps), *overlaps], 0)
        self.images += 1
        return np.where(truth.known, found, np.nan)

    def score(self) -> Score:
        known, dices, ious = self.table[:3]
        shares = np.where(known > 0, 1 / np.maximum(known, 1), np.nan)
        values = [dices * shares, ious * shares, np.where(known > 0, dice(self.table[3:]), np.nan)]
        classes = {
            name: {"dice": none_if_nan(d), "iou": none_if_nan(i), "pooled_dice": none_if_nan(p), "images": int(n)}
            for name, d, i, p, n in zip(self.outputs, *values, known, strict=True)
        }
        mean_dice, mean_iou, pooled_dice = map(mean_known, values)
        return Score(mean_dice, mean_iou, pooled_dice, self.images, classes)


def mean_known(values: NDArray[Any]) -> float | None:
    """The mean of what is not NaN; None of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def none_if_nan(value: float) -> float | None:
    """None for NaN, which JSON lacks."""
    return None if np.isnan(value) else float(value)
