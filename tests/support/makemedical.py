"""Small DICOM files and volumes on disk, for the tests of the medical sources."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def dicom(pixels: Any, photometric: str = "MONOCHROME2", bits: int = 0, **tags: Any) -> Dataset:
    """A DICOM data set of gray (H, W), frames (N, H, W), or RGB (H, W, 3) with ``photometric`` RGB."""
    pixels = np.asarray(pixels)
    colours = 3 if photometric == "RGB" or photometric.startswith("YBR") else 1
    *frames, height, width = pixels.shape[:-1] if colours == 3 else pixels.shape
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["a"])
    ds.PhotometricInterpretation, ds.SamplesPerPixel = photometric, colours
    if colours == 3:
        ds.PlanarConfiguration = 0
    if frames:
        ds.NumberOfFrames = frames[0]
    ds.Rows, ds.Columns = height, width
    ds.BitsAllocated = 8 * pixels.dtype.itemsize
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    ds["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds


def put_dicom(path: Path, pixels: Any, photometric: str = "MONOCHROME2", bits: int = 0, **tags: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dicom(pixels, photometric, bits, **tags).save_as(path, enforce_file_format=True)
    return path


def put_series(folder: Path, volume: Any, spacing: float = 2.0, **tags: Any) -> Path:
    """Axial slices (N, H, W) from feet to head, in files whose names tell nothing of that."""
    for z, pixels in enumerate(np.asarray(volume)):
        put_dicom(
            folder / f"{(7 * z + 3) % 101:03d}.dcm",
            pixels,
            **{
                "ImagePositionPatient": [-10.0, -20.0, 5.0 + spacing * z],
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "PixelSpacing": [1.5, 1.0],
                "SeriesInstanceUID": "1.2.3",
                **tags,
            },
        )
    return folder


def item(**values: Any) -> Dataset:
    """An item of a DICOM sequence; what is an item itself is one of a sequence by its name."""
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, Sequence([value]) if isinstance(value, Dataset) else value)
    return made


def frame(z: float, dimensions: Any = None, **groups: Any) -> Dataset:
    """Functional groups of an axial frame at that height, where `put_series` lays its slices."""
    place = {"PlanePositionSequence": item(ImagePositionPatient=[-10.0, -20.0, z])}
    content = {} if dimensions is None else {"FrameContentSequence": item(DimensionIndexValues=dimensions)}
    return item(**{**place, **content, **groups})


def put_enhanced(path: Path, volume: Any, frames: Any, dimensions: Any = (), **tags: Any) -> Path:
    """One file of axial slices (N, H, W), as enhanced CT and MR, and their functional groups in that order."""
    pointers = [item(DimensionIndexPointer=Tag(keyword)) for keyword in dimensions]
    shared = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=item(PixelSpacing=[1.5, 1.0], SliceThickness="2"),
    )
    usual = {
        "SOPClassUID": EnhancedCTImageStorage,
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": list(frames),
        "DimensionIndexSequence": pointers,
    }
    return put_dicom(path, volume, **{**usual, **tags})


def put_segments(path: Path, masks: Any, labels: Any, spacing: float = 2.0, **tags: Any) -> Path:
    """A binary DICOM SEG of masks {number: (N, H, W)} on the slices of `put_series`, only of those that hold some."""
    numbers = [(number, z) for number, mask in masks.items() for z in range(len(mask)) if mask[z].any()]
    planes = np.array([masks[number][z] for number, z in numbers], np.uint8)
    groups = [item(SegmentIdentificationSequence=item(ReferencedSegmentNumber=number)) for number, _ in numbers]
    for group, (_, z) in zip(groups, numbers, strict=True):
        group.update(frame(5.0 + spacing * z))
    usual = {
        "SOPClassUID": SegmentationStorage,
        "SegmentationType": "BINARY",
        "SegmentSequence": [item(SegmentNumber=number, SegmentLabel=label) for number, label in labels.items()],
        "BitsAllocated": 1,
        "BitsStored": 1,
        "HighBit": 0,
        "PixelData": _packed(planes),
    }
    return put_enhanced(path, planes, groups, **{**usual, **tags})


def _packed(planes: Any) -> bytes:
    packed = np.packbits(planes.reshape(-1), bitorder="little").tobytes()
    return packed + b"\0" * (len(packed) % 2)


def put_nifti(path: Path, volume: Any, affine: Any = LPS, slope: float | None = None, inter: float = 0) -> Path:
    """A NIfTI volume; by default its axes are those of pictures: to the left, to the back, to the head."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.asarray(volume), affine)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    nibabel.save(image, path)
    return path


def put_tiff(path: Path, volume: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.asarray(volume), **{"photometric": "minisblack", **options})
    return path


def uninstall(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let imports of a package fail."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == package:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
