"""Loading a volume of DICOM slices.

The order of the slices is worked out again when a volume is loaded. It is as long as the volume, so if each slice's
record kept it, the listing would grow with the square of the number of slices.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.files import file_sha256
from augforge.sources.formats.dicom.facts import DICOM_SUFFIXES, dicom_facts
from augforge.sources.formats.dicom.file import DicomFile, is_padding, open_dicom
from augforge.sources.formats.volume.file import Volume
from augforge.sources.formats.volume.grid import Grid
from augforge.sources.formats.volume.series import Name, frames_facts, series_facts
from augforge.sources.scan.walking import walk


def slice_places(root: Path, place: str) -> list[str]:
    """Places of the files in a folder that may be slices of its series; none if ``place`` is a file."""
    found = walk(root, place, deep=False) if (root / place).is_dir() else ()
    files = (file.place for file in found if file.readable and not file.folder and file.fault is None)
    return [file for file in files if os.path.splitext(file)[1].lower() in DICOM_SUFFIXES]  # noqa: PTH122


def read_stack(root: Path, place: str, slices: Iterable[str], sha256: str) -> Volume:
    """The volume of the slices in a folder, or of the frames in a file, decoded as a whole.

    Args:
        root: of the source.
        place: of the folder or file.
        slices: places of the files in the folder that may be slices.
        sha256: digest of the volume when it was listed.

    Raises:
        SourceError: the slices are not those that were listed, or cannot be decoded.
    """
    path = root / place
    facts = _facts_of_series(path, {file.rpartition("/")[2]: dicom_facts(root / file) for file in slices})
    if path.is_file():
        facts = {**frames_facts(path), "sha256": file_sha256(path)}
    if facts.get("sha256") != sha256:
        raise SourceError(f"{path} holds other slices now than were listed. Start again.")
    return read_series(path, facts)


def _facts_of_series(path: Path, files: Mapping[str, Any]) -> dict[str, Any]:
    """`series_facts` of those files that are slices; empty if there are none."""
    slices = {name: fact for name, fact in files.items() if fact.get("frames") == 1}
    return series_facts(path, slices) if slices else {}


def read_series(path: Path, stack: Mapping[str, Any]) -> Volume:
    """The volume of DICOM slices in the order that `stack_slices` gives, decoded as a whole.

    If slices differ in their rescaling or padding, real values are computed, in which padding is NaN.
    """
    grid, opened = Grid.of(stack), _open_slices(path, stack["slices"])
    stored = [file.stored(frame) for file, frame in opened]
    for (file, _), pixels in zip(opened, stored, strict=True):
        if pixels.shape != grid.shape[1:]:
            raise SourceError(f"{file.path} has {pixels.shape} pixels now; expected {grid.shape[1:]}. Start again.")
    ways = {(*file.rescale(frame), file.padding) for file, frame in opened}
    if len(ways) == 1 and not any(file.dataset.get("ModalityLUTSequence") for file, _ in opened):
        slope, inter, padding = ways.pop()
        return Volume(np.stack(stored), slope, inter, grid, padding, stack)
    values = [_real_values(file, frame, pixels) for (file, frame), pixels in zip(opened, stored, strict=True)]
    return Volume(np.stack(values), 1.0, 0.0, grid, stack=stack)


def _open_slices(path: Path, slices: Sequence[Name]) -> list[tuple[DicomFile, int]]:
    """The opened file of each slice, and the number of its frame in that file."""
    whole = open_dicom(path) if any(isinstance(one, int) for one in slices) else None
    return [(whole, one) if whole and isinstance(one, int) else (open_dicom(path / str(one)), 0) for one in slices]


def _real_values(file: DicomFile, frame: int, stored: NDArray[Any]) -> NDArray[np.float32]:
    values = file.modality(frame, stored).astype(np.float32)
    values[is_padding(stored, file.padding)] = np.nan
    return values
