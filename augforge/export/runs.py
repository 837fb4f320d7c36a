"""Run lengths of a class, from its box alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augforge.export.core import Region

Runs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Where runs begin, from 0 in the flattened image, and how long they are; sorted, apart from each other."""


def row_runs(region: Region, width: int) -> Runs:
    """Runs in an image flattened row by row."""
    x0, y0 = region.origin
    return _runs(region.mask, y0, x0, width)


def column_runs(region: Region, height: int) -> Runs:
    """Runs in an image flattened column by column, as COCO does."""
    x0, y0 = region.origin
    return _runs(region.mask.T, x0, y0, height)


def counts(runs: Runs, total: int) -> list[int]:
    """COCO's uncompressed counts: zeros, ones, zeros, ... of an image of ``total`` pixels."""
    starts, lengths = runs
    edges = np.stack([starts, starts + lengths], axis=1).reshape(-1)
    found: list[int] = np.diff(edges, prepend=0, append=total).tolist()
    return found if found[-1] else found[:-1]


def _runs(mask: NDArray[np.uint8], first: int, offset: int, length: int) -> Runs:
    """Runs of ``mask`` (lines, n), which lies at line ``first`` and ``offset`` in it; lines are ``length`` long."""
    lines, n = mask.shape
    flat = np.zeros(lines * (n + 1) + 1, np.uint8)
    flat[:-1].reshape(lines, n + 1)[:, 1:] = mask  # a zero before each line parts it from the last
    edges = np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2) + 1
    line, place = np.divmod(edges[:, 0], n + 1)
    starts = (first + line) * length + offset + place - 1
    return _joined(starts, edges[:, 1] - edges[:, 0])


def _joined(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Runs:
    """Runs in which one that ends a line and one that begins the next are one."""
    ends = starts + lengths
    apart = starts[1:] != ends[:-1]
    starts, ends = starts[np.r_[True, apart]], ends[np.r_[apart, True]]
    return starts, ends - starts
