"""COCO's run lengths: column-major, starting with zeros, as a list of counts or compressed to text.

They are compressed by pycocotools but decoded here, because the decoder of pycocotools reads past the end of counts
that do not fill the mask, and warns under numpy 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.sources.raster.values import whole_size
from augforge.sources.scan.images import MAX_PIXELS

_MOST_DIGITS = 7
"""Digits of 5 bits per number: more than any run length within `MAX_PIXELS` needs."""


def read_counts(segmentation: dict[str, Any], where: str) -> tuple[str, tuple[int, int]]:
    """Compressed counts of a COCO run-length mask, with its height and width. Raises SourceError."""
    height, width = _read_size(segmentation.get("size"), where)
    counts = segmentation.get("counts")
    runs = _parse_text(counts) if isinstance(counts, str) else _listed_counts(counts)
    if runs is None:
        raise SourceError(
            f"{where}: counts are no run lengths; expected a list of whole numbers or COCO's text. {_REMEDY}"
        )
    if runs.sum() != height * width:
        raise SourceError(f"{where}: run lengths sum to {runs.sum()}; expected {height}x{width} pixels. {_REMEDY}")
    return (counts if isinstance(counts, str) else compress(runs.tolist(), height, width)), (height, width)


def compress(counts: list[int], height: int, width: int) -> str:
    """Compressed text of counts of zeros, ones, zeros, ... along the columns of a mask."""
    from pycocotools import mask  # imported late: only run lengths need it

    packed = mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return str(packed["counts"], "ascii")


def encode(mask: NDArray[Any]) -> str:
    """Compressed counts of a mask (H, W), of which all values but 0 are inside."""
    from pycocotools import mask as coco  # imported late: only run lengths need it

    return str(coco.encode(np.asfortranarray(mask != 0, np.uint8))["counts"], "ascii")


def decode(counts: str, height: int, width: int) -> NDArray[np.uint8]:
    """The mask that compressed counts, as `read_counts` gives them, describe: uint8 (H, W) of 0 and 1."""
    runs = _parse_text(counts)
    if runs is None or runs.sum() != height * width:
        raise ValueError(f"counts do not fill {height}x{width} pixels")
    values = np.arange(len(runs), dtype=np.uint8) & 1
    return np.asarray(np.repeat(values, runs).reshape(width, height).T)


def fills(counts: str, width: int, height: int) -> bool:
    """Whether compressed counts cover every pixel: then they are short, so that few are decoded."""
    runs = _parse_text(counts) if len(counts) <= _SHORT else None
    return runs is not None and bool(runs[1::2].sum() == width * height)


_SHORT = 4 * _MOST_DIGITS
"""Characters of counts that begin with a run of no zeros and go on with one of all ones, however it is divided."""


_REMEDY = "Export the annotation again."


def _read_size(size: Any, where: str) -> tuple[int, int]:
    whole = whole_size(size)
    if whole is None:
        raise SourceError(f"{where}: size is not [height, width] in pixels. {_REMEDY}")
    if whole[0] * whole[1] > MAX_PIXELS:
        raise SourceError(f"{where}: size is {whole[0]}x{whole[1]}; at most {MAX_PIXELS} pixels are read. {_REMEDY}")
    return whole


def _listed_counts(counts: Any) -> NDArray[np.int64] | None:
    sound = isinstance(counts, list) and counts and all(type(n) is int and 0 <= n <= MAX_PIXELS for n in counts)
    return np.array(counts, np.int64) if sound else None


def _parse_text(text: str) -> NDArray[np.int64] | None:
    """The run lengths in compressed counts, or None if the text is invalid.

    A number is little-endian digits of 5 bits, each a character from "0" with bit 5 set on all but the last, in two's
    complement; from the fourth number on it is the difference to the one two before.
    """
    codes = np.frombuffer(text.encode("ascii") if text.isascii() else b"", np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return None
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MOST_DIGITS:
        return None
    digit = np.arange(len(codes)) - np.repeat(starts, lengths)
    runs: NDArray[np.int64] = np.add.reduceat((codes & 31) << 5 * digit, starts)
    runs -= np.where(codes[ends] & 16, np.int64(1) << 5 * lengths, 0)
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs if runs.min() >= 0 and runs.max() <= MAX_PIXELS else None
