"""Run lengths as contests write them: ``start length start length ...`` along rows or columns."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError

Order = Literal["row", "column"]


COLUMNS = ("image_name", "class", "rle")
"""The usual columns of a table of run lengths."""


def format_runs(starts: NDArray[np.int64], lengths: NDArray[np.int64], first: int = 1) -> str:
    """Runs as the text that `parse_runs` reads: starts are counted from 0 here, and from ``first`` in the text."""
    return " ".join(map(str, np.stack([starts + first, lengths], axis=1).reshape(-1).tolist()))


def parse_runs(text: str, pixels: int, first: int, where: str) -> NDArray[np.int64]:
    """Runs (N, 2) of start, counted from 0, and length, sorted. Raises SourceError if they do not fit the image.

    Args:
        text: whole numbers separated by blanks; empty for an empty mask.
        pixels: number of pixels in the image.
        first: number of the first pixel, 0 or 1.
        where: the file and line, for messages.
    """
    words = text.split()
    if len(words) % 2 or not all(word.isdecimal() and len(word) < 16 for word in words):
        raise SourceError(f"{where}: run lengths are not pairs of whole numbers 'start length'. Correct the cell.")
    pairs = np.array(words, np.int64).reshape(-1, 2)
    pairs[:, 0] -= first
    runs: NDArray[np.int64] = pairs[np.argsort(pairs[:, 0], kind="stable")]
    ends = runs.sum(axis=1)
    if len(runs) and (runs[0, 0] < 0 or not runs[:, 1].all() or ends.max() > pixels):
        raise SourceError(
            f"{where}: run lengths lie outside the image; expected lengths of 1 or more in pixels {first} to "
            f"{pixels - 1 + first}. Correct the cell, or source.start."
        )
    if (ends[:-1] > runs[1:, 0]).any():
        raise SourceError(f"{where}: run lengths overlap; expected each pixel once. Correct the cell.")
    return runs


def runs_digest(runs: NDArray[np.int64]) -> str:
    """Digest of parsed runs; it does not depend on how they were written."""
    return hashlib.sha256(np.ascontiguousarray(runs, "<i8").tobytes()).hexdigest()[:32]


def runs_mask(runs: NDArray[np.int64], height: int, width: int, order: Order) -> NDArray[np.uint8]:
    """The mask (H, W) of 0 and 1 that runs, counted from 0, cover."""
    flat = np.zeros(height * width, np.uint8)
    for start, length in runs:
        flat[start : start + length] = 1
    return flat.reshape(height, width) if order == "row" else flat.reshape(width, height).T
