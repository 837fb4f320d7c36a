"""DICOM segmentations (SEG, PS3.3 A.51) as labels of a DICOM volume: frames are laid on the slices by position."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sources.formats.dicom.facts import SEGMENTATIONS, clean_text, frame_geometry
from augforge.sources.formats.dicom.file import DicomFile, frame_count, open_dicom
from augforge.sources.formats.volume.grid import LPS, TOLERANCE, Turn
from augforge.sources.raster.values import distinct
from augforge.sources.scan.headers import damaged_error
from augforge.sources.scan.parsing import parsing
from augforge.sources.scan.recent_files import RECENT_FILES

SEGMENT_FACTS = "segments@1"
"""The kind of `segment_facts` in a file cache; renamed when `segment_facts` changes."""


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of a file, laid on the slices of a volume. Segments may overlap: a voxel has a set of labels.

    Attributes:
        codes: uint8 or uint16, of the volume's shape: for each voxel the number of its set.
        sets: the labels in each set, sorted; the first set is empty.
    """

    codes: NDArray[Any]
    sets: Sequence[tuple[str, ...]]

    def mask(self, cut: NDArray[Any], label: str) -> NDArray[np.bool_]:
        """Where a label is, in a slice of ``codes``."""
        within: NDArray[np.bool_] = np.array([label in labels for labels in self.sets])[cut]
        return within

    def digest(self, cut: NDArray[Any]) -> str:
        """A digest of the segments in a slice of ``codes``; it does not depend on how the sets are numbered."""
        present = sorted(distinct(cut), key=lambda code: self.sets[code])
        numbers = np.zeros(len(self.sets), "<u2")
        numbers[present] = np.arange(len(present))
        pixels = hashlib.sha256(numbers[cut].tobytes()).hexdigest()
        return digest([self.sets[code] for code in present], pixels)


def segment_facts(path: Path, image: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    """Facts of a segmentation for the listing, JSON-like; it is decoded for that.

    These are the ``labels`` of its segments, for each of its ``frames`` the number of the slice that it lies on, and a
    digest of each of the ``slices``.

    Args:
        path: of the segmentation.
        image: facts of its DICOM volume (`stack_slices`).
        turn: how the volume is cut.

    Raises:
        SourceError: it is no binary segmentation, or does not lie on the slices.
    """
    file = open_dicom(path)
    with parsing(path, "DICOM"):
        _check_kind(file)
        labels = sorted(set(_segment_labels(file).values()))
        frames = _slice_numbers(file, image)
    segments = read_segments(file, frames, image["shape"])
    slices = [segments.digest(cut) for cut in turn(segments.codes)]
    return {"labels": labels, "frames": frames, "slices": slices}


def recent_segments(path: Path, image: Mapping[str, Any], lie: str) -> Segments:
    """`read_segments` on the slices of an image, from the recently read files if possible.

    Raises SourceError unless the frames lie on the same slices as when they were listed: ``lie`` is the
    `placement_digest` of then.
    """

    def read() -> Segments:
        file = open_dicom(path)
        with parsing(path, "DICOM"):
            frames = _slice_numbers(file, image)
        if placement_digest(frames, image["shape"]) != lie:
            raise SourceError(f"{path} lies on other slices now than when it was listed. Start again.")
        return read_segments(file, frames, image["shape"])

    return RECENT_FILES.get(path, f"segments {lie}", read, lambda segments: segments.codes.nbytes)


def placement_digest(frames: Sequence[int], shape: Sequence[int]) -> str:
    """A digest of the slices that frames lie on, in a volume of that shape."""
    return digest([*frames], [*shape])


def read_segments(file: DicomFile, frames: Sequence[int], shape: Sequence[int]) -> Segments:
    """The segments of a file, each frame on the slice of that number, in a volume of that shape."""
    with parsing(file.path, "DICOM"):
        labels, codes = _segment_labels(file), np.zeros(shape, np.uint16)
        sets: dict[tuple[str, ...], int] = {(): 0}
        for frame, number in enumerate(frames):
            _add_segment(codes[number], file.stored(frame) > 0, labels[_segment_number(file, frame)], sets)
    return Segments(codes.astype(np.uint8) if len(sets) <= 256 else codes, list(sets))


def _add_segment(
    cut: NDArray[np.uint16], mask: NDArray[np.bool_], label: str, sets: dict[tuple[str, ...], int]
) -> None:
    """Add a label to the sets of the voxels in a mask; new sets get the next numbers."""
    found, known = cut[mask], list(sets)
    following = np.zeros(len(known), np.uint16)
    for code in distinct(found):
        following[code] = sets.setdefault(tuple(sorted({*known[code], label})), len(sets))
    cut[mask] = following[found]


# ---- headers ---------------------------------------------------------------------------------------------------------


def _check_kind(file: DicomFile) -> None:
    dataset = file.dataset
    kind = dataset.get("SegmentationType") if dataset.get("SOPClassUID") in SEGMENTATIONS else "no segmentation"
    if kind != "BINARY":
        raise SourceError(
            f"{file.path} is {kind}; expected a DICOM SEG of type BINARY. Save it as that, or as a label volume "
            "(NIfTI, with labels_by: value)."
        )


def _segment_labels(file: DicomFile) -> dict[int, str]:
    """The label of each segment by its number; the number itself if the label is empty."""
    segments = {int(one.SegmentNumber): clean_text(one.get("SegmentLabel")) for one in file.dataset.SegmentSequence}
    return {number: label or str(number) for number, label in segments.items()}


def _segment_number(file: DicomFile, frame: int) -> int:
    return int(file.described(frame, "SegmentIdentificationSequence").ReferencedSegmentNumber)


def _slice_numbers(file: DicomFile, image: Mapping[str, Any]) -> list[int]:
    """The number of the slice that each frame lies on, by their positions."""
    to_voxels = np.linalg.inv(LPS @ np.array(image["affine"])[:3, :3])
    size = int(file.dataset.Rows), int(file.dataset.Columns)
    if size != tuple(image["shape"][1:]):
        raise _misplaced_error(file, f"has {size[1]}x{size[0]} pixels")
    return [
        _slice_number(file, frame, to_voxels, np.array(image["positions"]))
        for frame in range(frame_count(file.dataset))
    ]


def _slice_number(file: DicomFile, frame: int, to_voxels: NDArray[np.float64], positions: NDArray[np.float64]) -> int:
    lie = frame_geometry(file, frame)
    position, orientation, spacing = (lie[key] for key in ("position", "orientation", "spacing"))
    if position is None or orientation is None or spacing is None:
        raise damaged_error(file.path, f"frame {frame} does not tell where it lies")
    off = np.abs((np.array(position) - positions) @ to_voxels.T).max(axis=1)
    across, down = np.array(orientation[:3]) * spacing[1], np.array(orientation[3:]) * spacing[0]
    steps = to_voxels @ np.stack(
        [down, across], axis=1
    )  # one row down and one column across, in units of slices, rows and columns
    turned = np.abs((steps - np.eye(3)[:, 1:]) * (file.dataset.Rows, file.dataset.Columns)).max()
    if max(off.min(), turned) > TOLERANCE:
        raise _misplaced_error(
            file, f"has frame {frame} at {position}, in the direction {orientation}, {spacing} mm a pixel"
        )
    return int(off.argmin())


def _misplaced_error(file: DicomFile, fact: str) -> SourceError:
    return SourceError(
        f"{file.path} {fact}; expected it on a slice of its image, pixel by pixel. Restore the series that was "
        "segmented, or resample the segmentation to this one."
    )
