"""Facts of DICOM files for the listing, from their checked headers; no pixel is decoded."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from augforge.errors import SourceError, nearest
from augforge.keys import digest
from augforge.sources.formats.dicom.file import ENDINGS, DicomFile, check_header, frame_count, read_dataset
from augforge.sources.scan.headers import damaged_error
from augforge.sources.scan.images import read_bytes
from augforge.sources.scan.parsing import parsing

DICOM_FACTS = "dicom@4"
"""The kind of `dicom_facts` in a file cache; renamed when `dicom_facts` changes."""

SEGMENTATIONS = frozenset(f"1.2.840.10008.5.1.4.1.1.66.{kind}" for kind in (4, 7, 8))
"""SOP classes of segmentations that have pixels: SEG, label map and height map; pydicom does not name all of them."""

_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"

_ONE = frozenset({"1", "0-1"})
"""Value multiplicities in the DICOM dictionary of tags with a single value."""


class DicomSuffixes(frozenset[str]):
    """Suffixes of files that may be DICOM: the usual ones, none, and numbers, as in names that are UIDs."""

    def __contains__(self, suffix: object) -> bool:
        return super().__contains__(suffix) or str(suffix)[1:].isdecimal()


DICOM_SUFFIXES = DicomSuffixes({*ENDINGS, ""})


def dicom_name(place: str, folder: str) -> str:
    """The name of a DICOM file: its place below a folder, without .dcm or the like; a UID keeps all its numbers."""
    inner = place.removeprefix(f"{folder.strip('/')}/") if folder.strip("/.") else place
    path = PurePosixPath(inner)
    return str(path.with_suffix("")) if path.suffix.lower() in ENDINGS else inner


def check_tags(tags: Sequence[str]) -> None:
    """Raise SourceError for a tag that the DICOM dictionary does not know."""
    from pydicom.datadict import keyword_dict

    for tag in tags:
        if tag not in keyword_dict:
            hint = nearest(tag, keyword_dict)
            hint = hint if "Did you mean" in hint else ""
            raise SourceError(f"source.tags: DICOM has no tag '{tag}'; expected a keyword such as PatientSex.{hint}")


def tags_kind(tags: Sequence[str]) -> str:
    """The kind in a file cache of `dicom_facts` with these tags."""
    return f"{DICOM_FACTS} {digest(sorted(tags))}" if tags else DICOM_FACTS


def dicom_facts(path: Path, tags: Sequence[str] = ()) -> dict[str, Any]:
    """Facts of a DICOM file for the listing, JSON-like; no pixel is decoded.

    These are ``width``, ``height``, ``frames``, ``bytes``, ``sha256``, ``patient``, the values of ``tags``, and the
    `frame_geometry`. For a file without an image, such as a segmentation or a radiation dose, there is only
    ``foreign``: the reason and detail of the refusal.
    """
    data = read_bytes(path)
    if data[128:132] != b"DICM":
        if path.suffix.lower() not in ENDINGS:
            return {"foreign": ["not a DICOM file", ""]}
        raise SourceError(
            f"{path} lacks the mark DICM at byte 128; expected a DICOM file with its preamble. Save it again in that "
            "form (dcmconv), or remove it if it is no DICOM or damaged."
        )
    dataset = read_dataset(data, path, tags)
    with parsing(path, "DICOM"):
        if "PixelData" not in dataset:
            return {"foreign": ["no pixels", _kind_without_pixels(dataset, path)]}
        if dataset.get("SOPClassUID") in SEGMENTATIONS:
            return {"foreign": ["a segmentation, not a picture", "is for labels of volumes (labels_by: segment)"]}
        if dataset.get("SOPClassUID") == _DOSE:
            return {"foreign": ["a radiation dose, not a picture", ""]}
        check_header(dataset, path)
        return {
            "width": int(dataset.Columns),
            "height": int(dataset.Rows),
            "frames": frame_count(dataset),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "patient": clean_text(dataset.get("PatientID")),
            "tags": {tag: value for tag in tags if (value := _tag_value(dataset, tag, path)) is not None},
            "series": clean_text(dataset.get("SeriesInstanceUID")),
            "photometric": str(dataset.PhotometricInterpretation),
            **frame_geometry(DicomFile(path, dataset), 0),
        }


def frame_geometry(file: DicomFile, frame: int) -> dict[str, list[float] | None]:
    """Where a frame lies in the patient: ``position``, ``orientation`` and ``spacing``, each None if it is missing.

    In enhanced files these stand with each frame, or once for all frames (PS3.3 C.7.6.16); in others only once.
    """
    place, plane, measures = (
        file.described(frame, f"{kind}Sequence") for kind in ("PlanePosition", "PlaneOrientation", "PixelMeasures")
    )
    return {
        "position": _read_numbers(place.get("ImagePositionPatient"), 3),
        "orientation": _read_numbers(plane.get("ImageOrientationPatient"), 6),
        "spacing": _read_numbers(measures.get("PixelSpacing"), 2),
    }


def _kind_without_pixels(dataset: Any, path: Path) -> str:
    """What kind of file one without pixels is. Raises SourceError if it claims to be an image, or says nothing."""
    uid = dataset.file_meta.get("MediaStorageSOPClassUID") or dataset.get("SOPClassUID")
    kind = "file of no stated kind" if uid is None else str(uid.name)
    if uid is None or "Image Storage" in kind:
        raise damaged_error(path, f"it is a DICOM {kind} without pixels")
    return kind


def clean_text(value: Any) -> str:
    """A value as text that can be written as UTF-8; "" if it is missing."""
    return "" if value is None else str(value).replace("\0", "").strip().encode("utf-8", "replace").decode()


def _read_numbers(value: Any, count: int) -> list[float] | None:
    """A list of exactly ``count`` finite numbers, or None."""
    if value is None or isinstance(value, str) or not hasattr(value, "__len__") or len(value) != count:
        return None
    numbers = [float(part) for part in value]
    return numbers if all(map(math.isfinite, numbers)) else None


def _tag_value(dataset: Any, tag: str, path: Path) -> Any:
    """A tag's value as JSON, a list if the standard allows several values; None if it is missing or empty."""
    from pydicom.datadict import dictionary_VM

    if tag not in dataset or dataset[tag].is_empty:
        return None
    element = dataset[tag]
    if element.VR == "SQ" or isinstance(element.value, bytes):
        raise SourceError(f"{path}: tag {tag} is no plain value ({element.VR}). Leave it out of source.tags.")
    values = list(element.value) if element.VM > 1 else [element.value]
    plain = [_plain_value(value) for value in values]
    return plain if element.VM > 1 or dictionary_VM(element.tag) not in _ONE else plain[0]


def _plain_value(value: Any) -> Any:
    if isinstance(value, float) or not isinstance(value, int):
        number = float(value) if isinstance(value, float) else None
        return number if number is not None and math.isfinite(number) else clean_text(value)
    return int(value)
