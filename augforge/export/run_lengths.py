"""Run lengths of a class, computed in its box alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augforge.export.core import Region

Runs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Start of each run, from 0 in the flattened image, and its length; sorted, with gaps between them."""


def row_runs(region: Region, width: int) -> Runs:
    """Runs of a class in an image of ``width`` pixels, flattened row by row."""
    x0, y0 = region.origin
    return _runs(region.mask, y0, x0, width)


def column_runs(region: Region, height: int) -> Runs:
    """Runs of a class in an image of ``height`` pixels, flattened column by column, as in COCO."""
    x0, y0 = region.origin
    return _runs(region.mask.T, x0, y0, height)


def coco_counts(runs: Runs, total: int) -> list[int]:
    """COCO's uncompressed counts, the numbers of zeros, ones, zeros, ..., of an image of ``total`` pixels."""
    starts, lengths = runs
    edges = np.stack([starts, starts + lengths], axis=1).reshape(-1)
    found: list[int] = np.diff(edges, prepend=0, append=total).tolist()
    return found if found[-1] else found[:-1]


def _runs(mask: NDArray[np.uint8], first: int, offset: int, length: int) -> Runs:
    """Runs of ``mask`` (lines, n) that begins at ``offset`` in line ``first`` of an image with lines of ``length``."""
    lines, n = mask.shape
    flat = np.zeros(lines * (n + 1) + 1, np.uint8)
    flat[:-1].reshape(lines, n + 1)[:, 1:] = mask  # a zero before each line separates it from the previous one
    edges = np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2) + 1
    line, position = np.divmod(edges[:, 0], n + 1)
    starts = (first + line) * length + offset + position - 1
    return _join_touching(starts, edges[:, 1] - edges[:, 0])


def _join_touching(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Runs:
    """Runs, with a run that ends a line and one that begins the next joined into one."""
    ends = starts + lengths
    apart = starts[1:] != ends[:-1]
    starts, ends = starts[np.r_[True, apart]], ends[np.r_[apart, True]]
    return starts, ends - starts
