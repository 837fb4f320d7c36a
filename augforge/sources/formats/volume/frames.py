"""A volume as the frames of one enhanced DICOM file (CT, MR, PET), which says of each where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from augforge.errors import SourceError
from augforge.sources.formats.dicom.facts import lie_of
from augforge.sources.formats.dicom.file import DicomFile, frame_count, open_dicom
from augforge.sources.formats.volume.series import stacked
from augforge.sources.scan.parsing import parsing

FRAMES_FACTS = "frames@1"
"""The kind of `frames_facts` in a file cache; renamed when this module looks at files in another way."""


def frames_facts(path: Path) -> dict[str, Any]:
    """How the frames of a DICOM file make up a volume, as `stacked` gives it, JSON-like; no pixel is decoded.

    SourceError where the file does not tell where each frame lies, or they are of several stacks, times or the like.
    """
    file = open_dicom(path)
    with parsing(path, "DICOM"):
        if not file.dataset.get("PerFrameFunctionalGroupsSequence"):
            raise SourceError(
                f"{path} has {frame_count(file.dataset)} frames and does not tell where each lies; expected slices of "
                "a volume, in an enhanced file or a file each. Read moving pictures as format: dicom."
            )
        frames = {frame: _slice(file, frame) for frame in range(frame_count(file.dataset))}
        remedy = "Save each volume as a file of its own, or read the frames as pictures (format: dicom)."
        return stacked(path, frames, remedy)


def _slice(file: DicomFile, frame: int) -> dict[str, Any]:
    """What `stacked` needs of a frame."""
    dataset, dimensions = file.dataset, _dimensions(file, frame)
    return {
        "series": dimensions.get("StackID"),
        "photometric": file.photometric,
        "width": int(dataset.Columns),
        "height": int(dataset.Rows),
        "dimensions": dimensions,
        **lie_of(file, frame),
    }


def _dimensions(file: DicomFile, frame: int) -> dict[str, str]:
    """What a frame is of: its stack and time, and its number in each dimension of the file (PS3.3 C.7.6.17)."""
    from pydicom.datadict import keyword_for_tag

    content = file.described(frame, "FrameContentSequence")
    found = {key: content.get(key) for key in ("StackID", "TemporalPositionIndex")}
    named = {key: str(value) for key, value in found.items() if value is not None}
    for dimension, number in zip(file.dataset.get("DimensionIndexSequence") or (), _numbers(content), strict=False):
        pointer = dimension.DimensionIndexPointer
        key = keyword_for_tag(pointer) or dimension.get("DimensionDescriptionLabel") or str(pointer)
        named.setdefault(key, str(number))
    return named


def _numbers(content: Any) -> list[int]:
    """Dimension index values; pydicom gives one alone as a number."""
    values = content.get("DimensionIndexValues")
    return [] if values is None else [values] if isinstance(values, int) else list(values)
