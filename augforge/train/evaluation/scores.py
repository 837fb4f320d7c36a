"""Overlap of predicted and true classes: Dice and IoU of a sample, from bit-planes.

A sample's planes are never unpacked: the pixels of ``predicted & true``, ``predicted`` and ``true`` are counted in the
planes. Pixels of the class ``ignore`` are cleared from both, and scores of a class that is not known are NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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


def truth_of(sample: Sample, classes: Sequence[str], outputs: Sequence[str], regions: Sequence[str] = ()) -> Truth:
    """The labels of a sample, from a dataset with those classes, in the order of a model's outputs.

    Classes that only weighed pixels in training (`regions`) are left out.

    Raises:
        TrainError: classes and outputs are not the same names, apart from ``ignore`` and regions.
    """
    check_classes(classes, outputs, regions=regions)
    labelled = dict(zip(classes, bitmask.bits_to_flags(sample.known, len(classes)).tolist(), strict=True))
    order = [outputs.index(name) if name in outputs else None for name in classes]
    planes = sample.masks if order == [*range(len(outputs))] else bitmask.remap(sample.masks, order, len(outputs))
    ignore = bitmask.class_mask(sample.masks, classes.index(IGNORE)).astype(bool) if IGNORE in classes else None
    return Truth(planes, np.array([labelled[name] for name in outputs]), ignore)


def check_classes(
    classes: Sequence[str], outputs: Sequence[str], where: str = "the dataset", regions: Sequence[str] = ()
) -> None:
    """Raise TrainError unless the classes, apart from ``ignore`` and regions, are a model's outputs, in any order.

    Args:
        classes: of a dataset.
        outputs: of the model.
        where: how the error message calls the dataset.
        regions: classes that only weighed pixels in training; the dataset may have them or not.
    """
    labelled = set(classes) - {IGNORE, *regions}
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


def mean_known(values: NDArray[Any]) -> float | None:
    """The mean of all values that are not NaN; None if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def mean_of(entries: Iterable[Mapping[str, Any]], key: str) -> float | None:
    """The mean of a figure over all entries that have it, and not None or NaN; None if there are none."""
    return mean_known(np.array([each[key] for each in entries], float))


def share_of(part: int, whole: int) -> float | None:
    """The share of a part in the whole; None if there is nothing to take a share of."""
    return part / whole if whole else None


def none_if_nan(value: float) -> float | None:
    """The value, or None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)
