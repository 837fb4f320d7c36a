"""Enhanced DICOM files as volumes: what the frames are that files of one slice are, and what they may not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makedata import broken, load, masks_of, rejected, scan
from makemedical import LPS, frame, item, put_dicom, put_enhanced, put_nifti, put_series

KIND = "volume"
SHAPE = (7, 6, 5)  # slices, rows, columns
VALUES = np.random.default_rng(1).integers(-1000, 1000, SHAPE).astype(np.int16)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1:4, 2:5, 1:3] = 1
LABELS[5:, :2, 3:] = 2
NAMES = {"1": "liver", "2": "spleen"}


def as_bits(values: Any, low: float, high: float) -> np.ndarray:
    return np.rint(np.clip((np.asarray(values, float) - low) / (high - low), 0, 1) * 255)


SCRAMBLED = [3, 0, 6, 2, 5, 1, 4]


def scaled(slope: str, inter: str = "0") -> Any:
    return item(RescaleSlope=slope, RescaleIntercept=inter)


def test_an_enhanced_file_is_the_series_of_its_frames(tmp_path: Path) -> None:
    """Frames in no order, each scaled in its own way, are what files of one slice are, in pictures and masks."""
    frames = [frame(5 + 2.0 * z, PixelValueTransformationSequence=scaled("2", str(z))) for z in SCRAMBLED]
    put_enhanced(tmp_path / "images/P1/ct.dcm", VALUES[SCRAMBLED], frames, PatientID="X7")
    for z in range(7):
        tags: dict[str, Any] = {
            "ImagePositionPatient": [-10, -20, 5 + 2.0 * z],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        }
        tags |= {"PixelSpacing": [1.5, 1], "RescaleSlope": "2", "RescaleIntercept": str(z), "PatientID": "X7"}
        put_dicom(tmp_path / f"images/P1/single/{-z}.dcm", VALUES[z], **tags)
    affine = LPS @ np.array([[1, 0, 0, -10], [0, 1.5, 0, -20], [0, 0, 2, 5], [0, 0, 0, 1.0]])
    for name in ("ct", "single"):
        put_nifti(tmp_path / f"labels/P1/{name}.nii.gz", LABELS.transpose(2, 1, 0), affine)
    for options in ({}, {"axis": "sagittal"}, {"window": [-1000, 900]}, {"channels": [-1, 0, 1]}):
        samples = load(KIND, tmp_path, values=NAMES, **options)
        names = [name for name in samples if name.startswith("P1/ct/")]
        assert 2 * len(names) == len(samples) and {sample.group for sample in samples.values()} == {"X7"}
        for name in names:
            other = samples[name.replace("ct", "single")]
            np.testing.assert_array_equal(samples[name].image, other.image)
            np.testing.assert_array_equal(samples[name].masks, other.masks)
    meant = VALUES * 2.0 + np.arange(7)[:, None, None]
    samples = load(KIND, tmp_path, values=NAMES, window=[-2000, 2010])
    images = [samples[f"P1/ct/{k:04d}"].image for k in range(7)]
    np.testing.assert_array_equal(np.stack(images), as_bits(meant, -2000, 2010))
    masks = masks_of(samples["P1/ct/0003"], ("liver", "spleen"))
    np.testing.assert_array_equal(masks["liver"], LABELS[3] == 1)


def test_enhanced_files_lie_together_and_beside_a_series(tmp_path: Path) -> None:
    folder = put_series(tmp_path / "images/ct", VALUES)
    for name in ("a", "b"):
        put_enhanced(folder / f"{name}.dcm", VALUES, [frame(z) for z in range(7)])
    put_enhanced(tmp_path / "images/top", VALUES[:2], [frame(z) for z in range(2)])
    counts: dict[str, int] = {}
    for record in scan(KIND, tmp_path, labels=None).records:
        counts[record.name[:-5]] = counts.get(record.name[:-5], 0) + 1
    assert counts == {"ct": 7, "ct/a": 7, "ct/b": 7, "top": 2}
    (folder / "b.dcm").write_bytes((folder / "b.dcm").read_bytes()[:-9])
    left = scan(KIND, tmp_path, labels=None, on_error="reject").records
    assert {record.name[:-5] for record in left} == {"ct/a", "top"}  # a broken file may be a slice of the series


def test_a_series_of_enhanced_files_of_one_frame(tmp_path: Path) -> None:
    for z in SCRAMBLED:
        put_enhanced(tmp_path / f"images/ct/{z}.dcm", VALUES[z : z + 1], [frame(30.0 - z)])
    samples = load(KIND, tmp_path, labels=None, window=[-1000, 1000])
    images = [samples[f"ct/{k:04d}"].image for k in range(7)]
    np.testing.assert_array_equal(np.stack(images), as_bits(VALUES[::-1], -1000, 1000))


@pytest.mark.parametrize("pointers", [("TemporalPositionIndex", "InStackPositionNumber"), ("EffectiveEchoTime",)])
def test_several_volumes_in_an_enhanced_file(tmp_path: Path, pointers: Any) -> None:
    """Two times, or echoes, of three slices."""
    frames = [frame(z, [t, z + 1][: len(pointers)]) for t in (1, 2) for z in range(3)]
    path = put_enhanced(tmp_path / "images/a.dcm", VALUES[:6], frames, pointers)
    said = f"{path}: frame 0 and frame 3 lie at the same place: {pointers[0]} 1 and 2; expected the slices of one"
    broken(KIND, tmp_path, said, "file of its own", labels=None)
    assert rejected(KIND, tmp_path, labels=None) == [("a", "broken volume")]


def test_stacks_and_other_directions_in_an_enhanced_file(tmp_path: Path) -> None:
    stacks = [frame(z, FrameContentSequence=item(StackID=str(1 + z // 4))) for z in range(7)]
    path = put_enhanced(tmp_path / "images/a.dcm", VALUES, stacks)
    broken(KIND, tmp_path, f"{path}: frame 0 and frame 4 are of two series or stacks", "StackID 1 and 2", labels=None)
    coronal = item(ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    put_enhanced(path, VALUES[:3], [frame(0), frame(1), frame(2, PlaneOrientationSequence=coronal)])
    broken(KIND, tmp_path, "frame 0 and frame 2", "differ in size or direction", labels=None)
    put_enhanced(path, VALUES[:2], [frame(0), frame(2, PlanePositionSequence=item())])
    broken(KIND, tmp_path, f"{path}: frame 1 does not tell its position", labels=None)
    put_enhanced(path, VALUES[:3], [frame(0), frame(2), frame(9)])
    assert scan(KIND, tmp_path, labels=None).warnings == (
        "images/a.dcm: slices lie 2 to 7 mm apart; some may be missing",
    )


def test_frames_without_places_are_no_volume(tmp_path: Path) -> None:
    path = put_dicom(tmp_path / "images/ct/cine.dcm", VALUES)
    broken(KIND, tmp_path, f"{path} has 7 frames and does not tell where each lies", "format: dicom", labels=None)
    assert rejected(KIND, tmp_path, labels=None) == [("ct/cine", "broken volume")]
