"""What the values of index masks without names tell: grey levels, and numbers of objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.keys import hash64
from augforge.sources.raster.mask_values import MaskReader, is_grey
from augforge.sources.scan.scanning import Scan

PIECES = "pieces@1"
"""The kind of `_pieces` in a file cache."""
_MOST_CLASSES = 256
_SOME_NUMBERS, _MEAN_NUMBERS = 4, 3
"""Masks with numbers of objects: one has more than the first, and all have the second on average."""
_DIFFERING, _WHOLE = 0.75, 0.9
"""Shares of masks whose largest values differ, and of values of one piece, from which on values number objects."""
_LOOKED_AT = 8


def report_implausible_values(scan: Scan, masks: Mapping[str, Mapping[str, Any]]) -> None:
    """Report findings about index masks without names for their values: grey levels, and numbers of objects.

    Raises SourceError with the finding if there are more values than classes can be.

    Args:
        scan: gets the findings.
        masks: `MaskReader.facts` of each mask by its place.
    """
    _report_kind(scan, masks)
    if scan.findings and len({value for fact in masks.values() for value in fact["values"]}) > _MOST_CLASSES:
        told = scan.findings[-1]
        remedy = f"{told.remedy[:1].upper()}{told.remedy[1:]}."
        raise SourceError(f"{scan.root}: {told.message}; expected at most {_MOST_CLASSES} classes. {remedy}")


def _report_kind(scan: Scan, masks: Mapping[str, Mapping[str, Any]]) -> None:
    """Report that masks hold grey levels, or else that they number objects."""
    grey = [place for place, fact in masks.items() if is_grey(fact)]
    if grey:
        worst = max(grey, key=lambda place: len(masks[place]["values"]))
        shown = ", ".join(map(str, masks[worst]["values"][:5]))
        scan.find(
            "grey levels in masks",
            f"{len(grey)} of {len(masks)} masks hold grey levels along edges, such as {worst} with "
            f"{len(masks[worst]['values'])} values ({shown}, ...), and each value became a class",
            "if they were resized or once JPEG and have one class, set 'classes: [NAME]' and 'threshold: 127'; with "
            "several classes, take the masks before that",
            grey,
        )
    elif told := _numbers_objects(scan, masks):
        scan.find(
            "masks that number objects",
            f"{told}: they seem to number objects, and each number became a class",
            "set 'instances: true' and 'classes: [NAME]' if they are objects of one class, or name the classes in "
            "source.values",
            masks,
        )


def _numbers_objects(scan: Scan, masks: Mapping[str, Mapping[str, Any]]) -> str:
    """Why the values seem to be numbers of objects; empty if they do not."""
    inner = {place: [value for value in fact["values"] if value] for place, fact in masks.items()}
    most = max(masks, key=lambda place: len(inner[place]), default="")
    if not most or len(inner[most]) <= _SOME_NUMBERS:
        return ""
    largest = inner[most][-1]
    consecutive = all(values == list(range(1, len(values) + 1)) for values in inner.values())
    if consecutive and len({len(values) for values in inner.values() if values}) > 1:
        return f"each of {len(masks)} masks holds the values 1 to n, and n differs, up to {largest} in {most}"
    if consecutive or not _are_whole(scan, {place: values for place, values in inner.items() if values}):
        return ""
    return (
        f"the values of {len(masks)} masks differ, {most} has {len(inner[most])} of them, up to {largest}, and nearly "
        "each is one piece"
    )


def _are_whole(scan: Scan, inner: Mapping[str, list[int]]) -> bool:
    """Whether values with gaps differ between masks as numbers do, and nearly each is one piece of its mask.

    Classes recur from mask to mask, and are often there in several pieces. A few masks are decoded again, if their
    values suggest it.
    """
    maxima = {values[-1] for values in inner.values()}
    if len(maxima) < max(2, _DIFFERING * len(inner)) or sum(map(len, inner.values())) < _MEAN_NUMBERS * len(inner):
        return False
    chosen = sorted(inner, key=hash64)[:_LOOKED_AT]
    found = scan.facts([(place, place) for place in chosen], PIECES, _pieces, "broken mask")
    whole, every = (sum(found[place][i] for place in chosen if place in found) for i in range(2))
    return bool(whole >= _WHOLE * every > 0)


def _pieces(path: Path) -> list[int]:
    """How many values of a mask, without 0, are of one piece at most, and how many there are."""
    values = MaskReader().read(path).astype(np.int64)
    inside = _without_seams(values)
    count, pieces = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
    owners = np.zeros(count, np.int64)
    owners[pieces[inside]] = values[inside]
    found = np.unique(values[values > 0])
    parts = np.bincount(owners[1:], minlength=int(found[-1]) + 1 if len(found) else 1)
    return [int((parts[found] <= 1).sum()), len(found)]


def _without_seams(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a mask is not 0, without pixels that touch another value on their right or below them."""
    inside = values > 0
    for axis in (0, 1):
        here, there = (np.delete(values, edge, axis) for edge in (-1, 0))
        seam = (here > 0) & (there > 0) & (here != there)
        inside &= ~np.insert(seam, seam.shape[axis], False, axis)
    return inside
