"""Composing a volume of DICOM slices, in the order of their positions, not of their names or numbers.

Slices are the files in a folder, or the frames of one enhanced file (CT, MR, PET), which has the position of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sources.formats.dicom.facts import clean_text, frame_geometry
from augforge.sources.formats.dicom.file import DicomFile, frame_count, open_dicom, read_dataset
from augforge.sources.formats.volume.file import check_shape
from augforge.sources.formats.volume.grid import LPS
from augforge.sources.scan.images import read_bytes
from augforge.sources.scan.parsing import parsing

Name = str | int
"""The name of a slice's file, or the number of its frame."""

Slice = Mapping[str, Any]
"""``series``, ``photometric``, ``width`` and ``height`` of a slice, and its `frame_geometry`."""

_DIMENSIONS = ("AcquisitionNumber", "EchoTime", "TemporalPositionIdentifier", "TriggerTime", "DiffusionBValue")
"""Tags in which slices differ that are of several volumes in one series, and so lie at the same positions."""

FRAMES_FACTS = "frames@1"
"""The kind of `frames_facts` in a file cache; renamed when `frames_facts` changes."""

_PARALLEL = 1e-3
"""How much the components of two slices' directions may differ."""
_UNEVEN = 0.1
"""How much a distance between slices may differ from the median, as a share, without a warning."""


def series_facts(folder: Path, files: Mapping[str, Slice]) -> dict[str, Any]:
    """Facts for the listing of the series that DICOM files of a folder form; ``files`` are their `dicom_facts` by name.

    They are those of `volume_facts`, with the ``patient``, the names of the files as ``slices`` in their order, and a
    ``warning`` if their distances are uneven, or "". Raises SourceError if they are not one volume.
    """
    facts = stack_slices(folder, files, "Put each series in a folder of its own.")
    ordered = [files[name] for name in facts["slices"]]
    return {
        **facts,
        "bytes": sum(file["bytes"] for file in ordered),
        "sha256": digest([file["sha256"] for file in ordered]),
        "patient": ordered[0]["patient"],
    }


def stack_slices(path: Path, slices: Mapping[Any, Slice], remedy: str) -> dict[str, Any]:
    """Put slices in order along their normal, and give facts of the volume.

    These are the names in that order as ``slices``, their ``positions``, ``shape``, ``affine`` and ``warning``.

    Args:
        path: of the file or folder that holds the slices, for errors.
        slices: by their names or numbers; ``dimensions`` of a slice, if any, tells what it is of besides its position.
        remedy: for the error that they are of several volumes.

    Raises:
        SourceError: they are not slices of one volume: parallel, of one size, each at a position of its own.
    """
    names, first = list(slices), next(iter(slices.values()))
    _check_alike(path, slices, remedy)
    across, down = np.array(first["orientation"][:3]), np.array(first["orientation"][3:])
    normal = np.cross(across, down)
    positions = np.array([one["position"] for one in slices.values()])
    depths = positions @ normal
    order = np.argsort(depths, kind="stable")
    steps = np.diff(depths[order])
    if len(steps) and steps.min() <= 1e-6:
        at = int(steps.argmin())
        raise _several_volumes_error(
            path, slices, (names[order[at]], names[order[at + 1]]), "lie at the same place", remedy
        )
    shape = (len(slices), first["height"], first["width"])
    check_shape(path, shape, np.dtype(np.int32))
    return {
        "slices": [names[at] for at in order],
        "positions": positions[order].tolist(),
        "shape": list(shape),
        "affine": _affine(positions[order], normal, across, down, first["spacing"]).tolist(),
        "warning": _uneven_warning(steps),
    }


def _check_alike(path: Path, slices: Mapping[Any, Slice], remedy: str) -> None:
    first_name, first = next(iter(slices.items()))
    for name, one in slices.items():
        if one["photometric"] != "MONOCHROME2":
            raise SourceError(
                f"{path}: {_slice_text(name)} is {one['photometric']}; expected gray slices, MONOCHROME2. Read such "
                "files as pictures (format: dicom)."
            )
        missing = [key for key in ("position", "orientation", "spacing") if one[key] is None]
        if missing:
            raise SourceError(
                f"{path}: {_slice_text(name)} does not tell its {' and '.join(missing)} in the patient; expected "
                "slices of a volume. Read pictures as format: dicom."
            )
        alike = all(one[key] == first[key] for key in ("series", "width", "height", "spacing"))
        turn = np.abs(np.subtract(one["orientation"], first["orientation"])).max()
        if not alike or turn > _PARALLEL:
            fact = "are of two series or stacks, or differ in size or direction"
            raise _several_volumes_error(path, slices, (first_name, name), fact, remedy)


def _several_volumes_error(
    path: Path, slices: Mapping[Any, Slice], names: tuple[Name, Name], fact: str, remedy: str
) -> SourceError:
    """The error for two slices that are not of one volume; it names what else they differ in."""
    one, two = (slices[name].get("dimensions") or _dimensions(path / str(name)) for name in names)
    differ = [f"{key} {one[key]} and {two[key]}" for key in one.keys() & two.keys() if one[key] != two[key]]
    differences = f": {', '.join(sorted(differ))}" if differ else ""
    return SourceError(
        f"{path}: {_slice_text(names[0])} and {_slice_text(names[1])} {fact}{differences}; expected the slices of one "
        f"volume, each at a place of its own. {remedy}"
    )


def _dimensions(path: Path) -> dict[str, str]:
    """What a slice in a file of its own is of besides its position, such as its acquisition and echo time."""
    dataset = read_dataset(read_bytes(path), path, _DIMENSIONS) if path.is_file() else {}
    with parsing(path, "DICOM"):
        return {key: clean_text(dataset.get(key)) for key in _DIMENSIONS if key in dataset}


def _slice_text(name: Name) -> str:
    return f"frame {name}" if isinstance(name, int) else name


def _affine(
    positions: NDArray[Any], normal: NDArray[Any], across: NDArray[Any], down: NDArray[Any], spacing: Sequence[float]
) -> NDArray[np.float64]:
    """The matrix from (slice, row, column) to millimetres right, front and head (in DICOM left, back and head)."""
    step = (positions[-1] - positions[0]) / (len(positions) - 1) if len(positions) > 1 else normal
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = (
        step,
        down * spacing[0],
        across * spacing[1],
        positions[0],
    )
    affine[:3] = LPS @ affine[:3]
    return affine


def _uneven_warning(steps: NDArray[Any]) -> str:
    if not len(steps) or np.abs(steps / np.median(steps) - 1).max() <= _UNEVEN:
        return ""
    return f"slices lie {steps.min():.3g} to {steps.max():.3g} mm apart; some may be missing"


# ---- frames of one file ----


def frames_facts(path: Path) -> dict[str, Any]:
    """Facts of the volume that the frames of a DICOM file form, as `stack_slices` gives them; no pixel is decoded.

    Raises SourceError if the file lacks the positions of its frames, or if these are of several stacks or times.
    """
    file = open_dicom(path)
    with parsing(path, "DICOM"):
        if not file.dataset.get("PerFrameFunctionalGroupsSequence"):
            raise SourceError(
                f"{path} has {frame_count(file.dataset)} frames and does not tell where each lies; expected slices of "
                "a volume, in an enhanced file or a file each. Read moving pictures as format: dicom."
            )
        frames = {frame: _frame_facts(file, frame) for frame in range(frame_count(file.dataset))}
        remedy = "Save each volume as a file of its own, or read the frames as pictures (format: dicom)."
        return stack_slices(path, frames, remedy)


def _frame_facts(file: DicomFile, frame: int) -> dict[str, Any]:
    """What `stack_slices` needs of a frame."""
    dataset, dimensions = file.dataset, _frame_dimensions(file, frame)
    return {
        "series": dimensions.get("StackID"),
        "photometric": file.photometric,
        "width": int(dataset.Columns),
        "height": int(dataset.Rows),
        "dimensions": dimensions,
        **frame_geometry(file, frame),
    }


def _frame_dimensions(file: DicomFile, frame: int) -> dict[str, str]:
    """The stack and time of a frame, and its number in each dimension of the file (PS3.3 C.7.6.17)."""
    from pydicom.datadict import keyword_for_tag

    content = file.described(frame, "FrameContentSequence")
    found = {key: content.get(key) for key in ("StackID", "TemporalPositionIndex")}
    named = {key: str(value) for key, value in found.items() if value is not None}
    for dimension, number in zip(
        file.dataset.get("DimensionIndexSequence") or (), _dimension_numbers(content), strict=False
    ):
        pointer = dimension.DimensionIndexPointer
        key = keyword_for_tag(pointer) or dimension.get("DimensionDescriptionLabel") or str(pointer)
        named.setdefault(key, str(number))
    return named


def _dimension_numbers(content: Any) -> list[int]:
    """Dimension index values; pydicom gives a single one as a number, not as a list."""
    values = content.get("DimensionIndexValues")
    return [] if values is None else [values] if isinstance(values, int) else list(values)
