"""A volume as a folder of DICOM slices: put in order by where they lie, not by their names or numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sources.dicom_file import open_dicom
from augforge.sources.volume_file import Volume, check_shape
from augforge.sources.volume_grid import Grid

_PARALLEL = 1e-3
"""How much a part of two slices' directions may differ."""
_UNEVEN = 0.1
"""How much a distance of two slices may differ from the usual one, as a share, before it is told."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series of slices.

    Attributes:
        facts: as `volume_facts` gives, with the ``patient`` and the ``files`` in the order of the slices.
        warning: what is odd about their distances, or nothing.
    """

    facts: dict[str, Any]
    warning: str = ""


def series_of(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> Series:
    """The series that the DICOM files of a folder make up, by their `dicom_facts`.

    SourceError where they are not the slices of one volume: parallel, of one size, each at a place of its own.
    """
    slices = list(files.values())
    first = slices[0]
    _check_alike(folder, files)
    across, down = np.array(first["orientation"][:3]), np.array(first["orientation"][3:])
    normal = np.cross(across, down)
    positions = np.array([fact["position"] for fact in slices])
    depths = positions @ normal
    order = np.argsort(depths, kind="stable")
    steps = np.diff(depths[order])
    if len(steps) and steps.min() <= 1e-6:
        one, two = order[int(steps.argmin())], order[int(steps.argmin()) + 1]
        places = list(files)
        raise SourceError(
            f"{folder}: {places[one]} and {places[two]} lie at the same place; expected one file a slice. Put each "
            "series in a folder of its own."
        )
    affine = _affine(positions[order], normal, across, down, first["spacing"])
    shape = (len(slices), first["height"], first["width"])
    check_shape(folder, shape, np.dtype(np.int32))
    places = list(files)
    facts = {
        "shape": list(shape),
        "affine": affine.tolist(),
        "bytes": sum(fact["bytes"] for fact in slices),
        "sha256": digest([slices[at]["sha256"] for at in order]),
        "patient": first["patient"],
        "files": [places[at] for at in order],
    }
    return Series(facts, _uneven(steps))


def _check_alike(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    first_place, first = next(iter(files.items()))
    for place, fact in files.items():
        if fact["frames"] != 1 or fact["photometric"] != "MONOCHROME2":
            raise SourceError(
                f"{folder}: {place} has {fact['frames']} frames, {fact['photometric']}; expected one gray slice, "
                "MONOCHROME2. Read such files as pictures (format: dicom)."
            )
        missing = [key for key in ("position", "orientation", "spacing") if fact[key] is None]
        if missing:
            raise SourceError(
                f"{folder}: {place} does not tell its {' and '.join(missing)} in the patient; expected slices of a "
                "volume. Read pictures as format: dicom."
            )
        alike = all(fact[key] == first[key] for key in ("series", "width", "height", "spacing"))
        turn = np.abs(np.subtract(fact["orientation"], first["orientation"])).max()
        if not alike or turn > _PARALLEL:
            raise SourceError(
                f"{folder}: {first_place} and {place} are of two series, or differ in size or direction; expected the "
                "slices of one volume. Put each series in a folder of its own."
            )


def _affine(
    positions: NDArray[Any], normal: NDArray[Any], across: NDArray[Any], down: NDArray[Any], spacing: Sequence[float]
) -> NDArray[np.float64]:
    """From (slice, row, column) to millimetres right, front and head; DICOM goes left, back and head (C.7.6.2)."""
    step = (positions[-1] - positions[0]) / (len(positions) - 1) if len(positions) > 1 else normal
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = (
        step,
        down * spacing[0],
        across * spacing[1],
        positions[0],
    )
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _uneven(steps: NDArray[Any]) -> str:
    if not len(steps) or np.abs(steps / np.median(steps) - 1).max() <= _UNEVEN:
        return ""
    return f"slices lie {steps.min():.3g} to {steps.max():.3g} mm apart; some may be missing"


def read_series(root: Path, files: Sequence[str], grid: Grid) -> Volume:
    """The volume of some DICOM files in the order of their slices, decoded whole."""
    opened = [open_dicom(root / place) for place in files]
    stored = [file.stored(0) for file in opened]
    for place, pixels in zip(files, stored, strict=True):
        if pixels.shape != grid.shape[1:]:
            raise SourceError(f"{root / place} has {pixels.shape} pixels now; expected {grid.shape[1:]}. Start again.")
    rescales = {file.rescale(0) for file in opened}
    if len(rescales) == 1 and not any(file.dataset.get("ModalityLUTSequence") for file in opened):
        return Volume(np.stack(stored), *rescales.pop(), grid)
    values = [file.modality(0, pixels).astype(np.float32) for file, pixels in zip(opened, stored, strict=True)]
    return Volume(np.stack(values), 1.0, 0.0, grid)
