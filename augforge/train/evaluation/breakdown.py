"""Which errors a model makes: classes confused with each other, missed, or predicted where they are not.

Classes overlap, so a pixel may belong to several. An error is described by the classes that are wrong at a pixel, not
by all classes that are there. At each pixel, a class is *missed* if it is true and not predicted, *false* if predicted
and not true; a correctly predicted class takes no part in an error there. Then

- a pixel of class a is **confused** with b where a is missed and b is false;
- it is **under-predicted** where a is missed and nothing is false: predicted as nothing, or as another class that is
  true there too;
- a pixel predicted as b is **over-predicted** where b is false: on **background** where no class is true, else on other
  classes (confused, where one of them is missed).

So the true pixels of a class are its hits, its confused and its under-predicted ones, and recall is 1 minus the two
shares; precision is 1 minus the over-predicted share. Where two classes are false, a pixel is confused with both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.train.evaluation.scores import clear_pixels, share_of

_CHUNK = 1 << 18  # pixels that are unpacked at a time; float32 counts exactly up to 2**24
_MAX_PAIRS = 10


class Breakdown:
    """Counts errors image by image. All are numbers of pixels, so counts of several processes may be added."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self.outputs = tuple(outputs)
        count = len(self.outputs)
        self.confusion = np.zeros((count, count), np.int64)
        """Pixels (true class, class predicted in its place)."""
        self.table = np.zeros((6, count), np.int64)
        """Pixels by class: true, predicted, missed, false, false on background, confused."""

    def add(self, predicted: Planes, truth: Planes) -> None:
        """Add an image: bit-planes (H, W, P) without uncounted pixels and classes (see `Truth.clear_uncounted`)."""
        positive, true = bitmask.planar(predicted), bitmask.planar(truth)
        missed, false = (np.moveaxis(layers, 0, -1) for layers in (true & ~positive, positive & ~true))
        pairs, confused = _count_pairs(missed, false, len(self.outputs))
        on_background = clear_pixels(false, bitmask.union(truth))
        counts = [self._areas(planes) for planes in (truth, predicted, missed, false, on_background)]
        self.confusion += pairs
        self.table += [*counts, confused]

    def _areas(self, planes: Planes) -> NDArray[np.int64]:
        return bitmask.areas_and_boxes(planes, len(self.outputs))[0]

    def to_json(self) -> dict[str, Any]:
        """Shares for every class in order, and the most confused pairs.

        For each class, None if it has no pixel to take a share of:
            confused: share of its true pixels that are confused with another class.
            confused_with: that share for each other class, largest first.
            under_predicted: share of its true pixels that are missed with no false class instead.
            over_predicted: share of its predicted pixels that are not the class.
            over_on_background: share of its predicted pixels where there is no class at all.
        """
        classes = [self._shares(c, *self.table[:, c].tolist()) for c in range(len(self.outputs))]
        return {"classes": classes, "pairs": self._most_confused()}

    def _shares(
        self, c: int, true: int, predicted: int, missed: int, false: int, on_background: int, confused: int
    ) -> dict[str, Any]:
        partners = sorted(np.flatnonzero(self.confusion[c]).tolist(), key=lambda d: -self.confusion[c, d])
        return {
            "confused": share_of(confused, true),
            "confused_with": {self.outputs[d]: share_of(int(self.confusion[c, d]), true) for d in partners},
            "under_predicted": share_of(missed - confused, true),
            "over_predicted": share_of(false, predicted),
            "over_on_background": share_of(on_background, predicted),
        }

    def _most_confused(self) -> list[dict[str, Any]]:
        true = self.table[0]
        shares = self.confusion / np.maximum(true, 1)[:, None]
        order = np.argsort(-shares, axis=None, kind="stable")[:_MAX_PAIRS]
        pairs = [divmod(index, len(true)) for index in order.tolist() if shares.flat[index]]
        return [
            {
                "true": self.outputs[c],
                "predicted": self.outputs[d],
                "pixels": int(self.confusion[c, d]),
                "share": float(shares[c, d]),
            }
            for c, d in pairs
        ]


def _count_pairs(missed: Planes, false: Planes, classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels where class c is missed and class d is false, (C, C), and where c is missed and any is false, (C,)."""
    at = bitmask.union(missed) & bitmask.union(false)
    pairs, confused = np.zeros((classes, classes)), np.zeros(classes)
    for one, other in unpack_in_chunks((missed, false), at, classes):
        pairs += one @ other.T
        confused += one.sum(axis=1)
    return pairs.astype(np.int64), confused.astype(np.int64)


def unpack_in_chunks(
    several: Sequence[Planes], at: NDArray[np.bool_], classes: int
) -> Iterator[list[NDArray[np.float32]]]:
    """The pixels `at` (H, W) of each of several planes as 0 or 1 for each class, (C, n), a bounded n at a time."""
    rows = [bitmask.planar(planes)[:, at] for planes in several]
    for start in range(0, rows[0].shape[1], _CHUNK):
        yield [_flags(part[:, start : start + _CHUNK], classes) for part in rows]


def _flags(pixels: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    """Unpack the planes of n pixels (P, n) to 0 or 1 for each class: (C, n)."""
    planes = np.moveaxis(pixels[:, None], 0, -1)
    return np.concatenate(list(bitmask.to_masks(planes, classes))).astype(np.float32)
