"""Reading label volumes, whose whole numbers name classes: facts for the listing, values for loading."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sources.core import Record
from augforge.sources.formats.volume.file import Volume, read_volume
from augforge.sources.formats.volume.grid import Turn
from augforge.sources.loading import check_size
from augforge.sources.scan.recent_files import RECENT_FILES

LABEL_FACTS = "labels@3"
"""The kind of `label_facts` in a file cache; renamed when `label_facts` changes."""


def label_kind(turn: Turn) -> str:
    """The kind in a file cache of `label_facts` for slices cut like that."""
    return f"{LABEL_FACTS} {digest(turn.order, turn.flips)}"


def label_facts(path: Path, turn: Turn) -> dict[str, Any]:
    """Facts of a label volume for the listing, JSON-like: the ``values`` that occur, and a digest of each slice.

    ``shown`` has the values that occur in each slice. The volume is decoded for that. Raises SourceError if it is
    broken, or holds values that are no labels.
    """
    values = turn(read_labels(path).values)
    counts = np.zeros(1 << 16, np.int64)
    slices, shown = [], []
    for cut in values:
        occurs = np.bincount(cut.reshape(-1), minlength=1 << 16)
        counts += occurs
        shown.append(np.flatnonzero(occurs).tolist())
        slices.append(slice_digest(cut))
    found = np.flatnonzero(counts).tolist()
    if len(found) > 1000:
        raise SourceError(f"{path} holds {len(found)} values; expected one for each class. Is it an image?")
    return {"values": found, "slices": slices, "shown": shown}


def slice_digest(cut: NDArray[Any]) -> str:
    """A digest of the values in a slice."""
    return hashlib.sha256(np.ascontiguousarray(cut, "<u2").tobytes()).hexdigest()[:32]


def recent_labels(path: Path) -> Volume:
    """A label volume, from the recently read files if possible."""
    return RECENT_FILES.get(path, "labels", lambda: read_labels(path), lambda volume: volume.nbytes)


def read_labels(path: Path) -> Volume:
    """A label volume of uint8 or uint16. Raises SourceError unless it holds whole numbers from 0 to 65535."""
    volume = read_volume(path)
    labels = np.empty_like(volume.values, np.uint16)
    axis = int(np.argmax(volume.values.strides))  # the axis whose slices are contiguous in memory
    for found, cut in zip(np.moveaxis(labels, axis, 0), np.moveaxis(volume.values, axis, 0), strict=True):
        found[...] = _whole_numbers(
            cut if (volume.slope, volume.inter) == (1, 0) else cut * volume.slope + volume.inter, path
        )
    return Volume(labels.astype(np.uint8) if labels.max() < 256 else labels, 1.0, 0.0, volume.grid)


def _whole_numbers(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """Real values as whole numbers. Raises SourceError if they are no labels."""
    if values.dtype.kind == "f":
        whole = np.rint(values)
        odd = ~(np.abs(values - whole) <= 1e-3)  # negated, so that NaN counts; scaling may turn 3 into 2.9999998
        if odd.any():
            raise SourceError(
                f"{path} holds {values[odd][0]:g}; expected labels that are whole numbers. Was it resampled without "
                "'nearest'? Export the labels again."
            )
        values = whole
    low, high = values.min(), values.max()
    if low < 0 or high >= 1 << 16:
        raise SourceError(f"{path} holds values from {low:g} to {high:g}; expected labels from 0 to 65535.")
    return values


def check_slices(path: Path, cuts: NDArray[Any], record: Record) -> None:
    """Raise SourceError unless a volume still has the slice that was listed."""
    check_size(path, cuts[0], record)
    if record.data["slice"] >= len(cuts):
        raise SourceError(f"{path} has {len(cuts)} slices now, fewer than were listed. Start again.")
