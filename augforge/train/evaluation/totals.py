"""Scores of a set of images: the contest's means, and figures that say how good a network is where classes are rare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.train.evaluation.confusion import Confusion, Layers
from augforge.train.evaluation.overlaps import Overlaps
from augforge.train.evaluation.scores import PerClass, Truth, dice, iou, mean_known, mean_of, none_if_nan, overlap

FIGURES = {
    "mean_dice": "mean Dice",
    "mean_iou": "mean IoU",
    "present_dice": "present Dice",
    "present_iou": "present IoU",
    "pooled_dice": "pooled Dice",
    "pooled_iou": "pooled IoU",
    "pooled_dice_background": "pooled Dice with background",
    "pooled_iou_background": "pooled IoU with background",
    "miou": "mIoU",
    "overlap_dice": "overlap Dice",
    "overlap_iou": "overlap IoU",
}
"""Figures of a set by key, and what people call them; `Score` says what each means."""
LABEL_FIGURES = {"accuracy": "accuracy", "mean_average_precision": "mAP"}
"""The same of labels, those that choose the best network; see `labels.scores.group_scores`."""


def figure_name(key: str) -> str:
    """What people call a figure."""
    return {**FIGURES, **LABEL_FIGURES}.get(key, key)


@dataclass(frozen=True, slots=True)
class Score:
    """How well predictions overlap with the truth; figures are None if there is nothing to take them of.

    Attributes:
        mean_dice: as the hand-bone contest computes it: Dice by image and class, 1 if neither has a pixel; averaged
            over images by class, then over classes. Where most classes are absent from most images, it says little.
        mean_iou: likewise.
        present_dice, present_iou: the same over the images that show the class: predictions in others count nothing.
        pooled_dice, pooled_iou: of the pixels of all images together, by class, then averaged over the classes that
            are true or predicted anywhere: images without a class add nothing, predictions in them count against it.
        pooled_dice_background, pooled_iou_background: likewise, with the background as one class more: pixels of no
            class, in images in which every class is known.
        miou: VOC's, of classes that exclude each other; see `Confusion`. None if two classes are true at one pixel.
        overlap_dice, overlap_iou: of the areas in which two classes are both true, as the mean over such pairs of
            classes; see `Overlaps`.
        overlaps: those pairs.
        images: number of images.
        classes: by name ``dice``, ``iou`` and ``images``, the number in which the class is known; ``present_dice``,
            ``present_iou`` and ``present``, the number that show it; ``pooled_dice`` and ``pooled_iou``.
    """

    mean_dice: float | None
    mean_iou: float | None
    present_dice: float | None
    present_iou: float | None
    pooled_dice: float | None
    pooled_iou: float | None
    pooled_dice_background: float | None
    pooled_iou_background: float | None
    miou: float | None
    overlap_dice: float | None
    overlap_iou: float | None
    overlaps: list[dict[str, Any]]
    images: int
    classes: dict[str, dict[str, float | int | None]]

    def to_json(self) -> dict[str, Any]:
        """JSON-like."""
        return asdict(self)

    def figures(self) -> dict[str, float | None]:
        """The figures of the set by key, see `FIGURES`."""
        return {
            "mean_dice": self.mean_dice,
            "mean_iou": self.mean_iou,
            "present_dice": self.present_dice,
            "present_iou": self.present_iou,
            "pooled_dice": self.pooled_dice,
            "pooled_iou": self.pooled_iou,
            "pooled_dice_background": self.pooled_dice_background,
            "pooled_iou_background": self.pooled_iou_background,
            "miou": self.miou,
            "overlap_dice": self.overlap_dice,
            "overlap_iou": self.overlap_iou,
        }


class Scores:
    """Adds up overlaps image by image. All that it keeps are sums, so several processes may be joined by `merge`."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self.outputs = tuple(outputs)
        self.images = 0
        self.table = np.zeros((6, len(self.outputs)))
        """Sums over images, (6, C): images with the class known, Dice, IoU, intersection, predicted and true pixels."""
        self.present = np.zeros((3, len(self.outputs)))
        """Sums over the images that show the class, (3, C): images, Dice, IoU."""
        self.background = np.zeros((3, 1), np.int64)
        """Pixels of no class, (3, 1), in images in which all classes are known: intersection, predicted, true."""
        self.confusion = Confusion(len(self.outputs))
        self.overlaps = Overlaps(self.outputs)

    def add(self, predicted: Planes, truth: Truth, layers: Layers | None = None) -> PerClass:
        """Add an image's prediction and return its Dice per class.

        Args:
            predicted: bit-planes (H, W, P) over the outputs.
            truth: of the image.
            layers: the probabilities of the prediction, which `miou` needs where several classes are predicted.
        """
        overlaps = overlap(predicted, truth.planes, len(self.outputs), truth.ignore)
        values = np.stack([np.ones(len(self.outputs)), dice(overlaps), iou(overlaps)])
        self.table += np.where(truth.known, [*values, *overlaps], 0)
        self.present += np.where(truth.known & (overlaps[2] > 0), values, 0)
        self.confusion.add(predicted, truth, layers)
        counted, counted_truth = truth.clear_uncounted(predicted), truth.clear_uncounted(truth.planes)
        self.overlaps.add(counted, counted_truth)
        if truth.known.all():
            self.background[:, 0] += _count_background(counted, counted_truth, truth.ignore)
        self.images += 1
        return np.where(truth.known, values[1], np.nan)

    def merge(self, others: Iterable[Scores]) -> None:
        """Add what others, such as those of other processes, have added up."""
        for other in others:
            self.images += other.images
            self.table += other.table
            self.present += other.present
            self.background += other.background
            self.confusion.table += other.confusion.table
            self.confusion.exclusive &= other.confusion.exclusive
            self.overlaps.table += other.overlaps.table

    def score(self) -> Score:
        """The score of all images added so far."""
        by_class = self._by_class()
        means = {f"mean_{key}": mean_known(by_class[key]) for key in ("dice", "iou")}
        means |= {key: mean_known(by_class[key]) for key in by_class if "_" in key}
        for key, ratio in (("pooled_dice", dice), ("pooled_iou", iou)):
            of_background = _of_any(ratio, self.background)
            means[f"{key}_background"] = mean_known(np.append(by_class[key], of_background))
        pairs, counts = self.overlaps.pairs(), {"images": self.table[0], "present": self.present[0]}
        classes = {
            name: {
                **{key: none_if_nan(values[c]) for key, values in by_class.items()},
                **{key: int(values[c]) for key, values in counts.items()},
            }
            for c, name in enumerate(self.outputs)
        }
        return Score(
            **means,
            miou=self.confusion.miou(),
            overlap_dice=mean_of(pairs, "dice"),
            overlap_iou=mean_of(pairs, "iou"),
            overlaps=pairs,
            images=self.images,
            classes=classes,
        )

    def _by_class(self) -> dict[str, PerClass]:
        return {
            **dict(zip(("dice", "iou"), _per_image(self.table[:3]), strict=True)),
            **dict(zip(("present_dice", "present_iou"), _per_image(self.present), strict=True)),
            "pooled_dice": _of_any(dice, self.table[3:]),
            "pooled_iou": _of_any(iou, self.table[3:]),
        }


def _per_image(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of Dice and of IoU over images as means, (2, C), from (3, C) with the number of images in front."""
    images, totals = sums[0], sums[1:]
    means: NDArray[np.float64] = np.divide(totals, images, out=np.full(totals.shape, np.nan), where=images > 0)
    return means


def _of_any(ratio: Callable[[NDArray[Any]], PerClass], overlaps: NDArray[Any]) -> PerClass:
    """Dice or IoU of (3, C) pixel counts, NaN for what is neither true nor predicted anywhere."""
    return np.where(overlaps[1] + overlaps[2] > 0, ratio(overlaps), np.nan)


def _count_background(predicted: Planes, truth: Planes, ignore: NDArray[np.bool_] | None) -> tuple[int, int, int]:
    """Pixels without a class: in both, in the prediction, in the truth; of those that count."""
    none_predicted, none_true = ~bitmask.union(predicted), ~bitmask.union(truth)
    if ignore is not None:
        none_predicted, none_true = none_predicted & ~ignore, none_true & ~ignore
    both, one, other = map(np.count_nonzero, (none_predicted & none_true, none_predicted, none_true))
    return int(both), int(one), int(other)
