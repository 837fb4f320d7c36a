"""Turning predictions of several samples, such as windows, back to the source image that they show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from augforge.lineage import Root, compose

if TYPE_CHECKING:
    from augforge.train.prediction.inference import Prediction

Rectangle = tuple[slice, slice]
"""Rows and columns."""


def blend(predictions: Sequence[Prediction], roots: Sequence[Root]) -> Iterator[NDArray[np.float32]]:
    """Blend the predictions of samples that show the same source image, at its pixels, class by class.

    If several samples show a pixel, as overlapping windows do, it gets their mean; if none does, 0: absent.

    Args:
        predictions: one of each sample.
        roots: where the source image lies in each sample.

    Returns:
        float32 (H, W) for each class, of the source image's size.
    """
    samples = np.maximum(count_samples(roots), 1).astype(np.float32)
    visible = [visible_part(root) for root in roots]
    covered = [(roi, covered_pixels(part)) for part, roi in visible]
    streams = [prediction.in_source(part).layers() for prediction, (part, _) in zip(predictions, visible, strict=True)]
    for layers in zip(*streams, strict=True):
        total = np.zeros_like(samples)
        for (roi, mask), layer in zip(covered, layers, strict=True):
            total[roi] += layer * mask
        yield total / samples


def count_samples(roots: Sequence[Root]) -> NDArray[np.uint16]:
    """How many samples show each pixel of a source image: (H, W)."""
    width, height = roots[0].size
    counts = np.zeros((height, width), np.uint16)
    for root in roots:
        part, roi = visible_part(root)
        counts[roi] += covered_pixels(part)
    return counts


def visible_part(root: Root) -> tuple[Root, Rectangle]:
    """The part of a source image that a sample can show: as a root of its own, and as rows and columns of the source.

    Working in that part alone saves memory and time where a window shows little of a large image.
    """
    (a, b, c), (d, e, f) = root.matrix
    corners = np.array([(x - 0.5, y - 0.5) for x in root.clip[0::2] for y in root.clip[1::2]])
    in_source = np.linalg.solve(np.array([[a, b], [d, e]]), (corners - (c, f)).T).T + 0.5
    x0, y0 = np.clip(np.floor(in_source.min(axis=0) + 1e-6), 0, root.size).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(in_source.max(axis=0) - 1e-6), 0, root.size).astype(int).tolist()
    moved = compose(root.matrix, ((1.0, 0.0, x0), (0.0, 1.0, y0)))
    return replace(root, matrix=moved, size=(x1 - x0, y1 - y0)), (slice(y0, y1), slice(x0, x1))


def covered_pixels(root: Root) -> NDArray[np.bool_]:
    """Which pixels of a source image a sample shows: bool (H, W). Pixel x covers x - 0.5 to x + 0.5."""
    (a, b, c), (d, e, f) = root.matrix
    x, y = np.arange(root.size[0])[None, :], np.arange(root.size[1])[:, None]
    x0, y0, x1, y1 = np.array(root.clip) - 0.5
    across, down = a * x + (b * y + c), d * x + (e * y + f)
    return np.asarray((across >= x0) & (across < x1) & (down >= y0) & (down < y1))
