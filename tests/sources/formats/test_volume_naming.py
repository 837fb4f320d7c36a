"""Volumes under the names that data sets give them: which files are images, labels, and of which sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from makedata import broken, load, masks_of, put_text, rejected, scan, spy
from makemedical import frame, put_enhanced, put_nifti, put_segments, put_series, put_tiff
from pydantic import ValidationError

from augforge.report.pages import source_page
from augforge.sources.formats.volume import listing as volume_listing
from augforge.sources.formats.volume.labels import label_facts
from augforge.sources.formats.volume.source import VolumeSlices

KIND = "volume"
SHAPE = (7, 6, 5)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1:4, 2:5, 1:3] = 1
LABELS[5:, :2, 3:] = 2

LAYOUTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "nnU-Net": (
        ("imagesTr/case_00{}_0000.nii.gz", "labelsTr/case_00{}.nii.gz"),
        ("imagesTr/case_00{}_0001.nii.gz",),
        ("case_000", "case_001"),
    ),
    "LiTS": (("batch {}/volume-{}.nii", "batch {}/segmentation-{}.nii"), (), ("0", "1")),
    "KiTS": (
        ("case_0000{}/imaging.nii.gz", "case_0000{}/segmentation.nii.gz"),
        ("case_0000{}/instances/tumor.nii.gz",),
        ("case_00000", "case_00001"),
    ),
    "BraTS": (
        ("BraTS_{}/BraTS_{}_flair.nii.gz", "BraTS_{}/BraTS_{}_seg.nii.gz"),
        ("BraTS_{}/BraTS_{}_t1.nii.gz", "BraTS_{}/BraTS_{}_t1ce.nii.gz"),
        ("BraTS_0/BraTS_0", "BraTS_1/BraTS_1"),
    ),
    "TotalSegmentator": (
        ("s000{}/ct.nii.gz", "s000{}/segmentations/1.nii.gz", "s000{}/segmentations/2.nii.gz"),
        (),
        ("s0000", "s0001"),
    ),
}
"""Of each data set: files of a case, image first; others beside them; names of the samples."""


def on_the_page(name: str) -> dict[str, Any]:
    """The options that the format's page gives for a data set."""
    (line,) = (part for part in source_page(KIND)["description"].split("\n- ") if part.startswith(f"{name}: "))
    options = line.split("\n\n")[0].removeprefix(f"{name}: ").strip("`")
    return dict(yaml.safe_load(f"{{{options}}}"))


def put_case(root: Path, name: str, case: int) -> None:
    """A case whose image shows its labels, 100 times as bright and turned as the case says."""
    (image, *labels), others, _ = LAYOUTS[name]
    held = np.roll(LABELS, case, axis=2)
    put_nifti(root / image.format(case, case), (held * 100).astype(np.int16))
    for value, place in enumerate(labels, 1):
        put_nifti(root / place.format(case, case), held if len(labels) == 1 else (held == value).astype(np.uint8))
    for place in others:
        put_nifti(root / place.format(case, case), 1 + held)


@pytest.mark.parametrize("name", LAYOUTS)
def test_data_sets_are_read_where_they_lie(tmp_path: Path, name: str) -> None:
    for case in (0, 1):
        put_case(tmp_path, name, case)
    (options, (_, others, names)) = on_the_page(name), LAYOUTS[name]
    samples = load(KIND, tmp_path, window=[0, 255], **options)
    assert sorted(samples) == [f"{sample}/{k:04d}" for sample in names for k in range(5)]
    for sample in samples.values():
        assert sample.group == sample.name.partition("/")[0]
        masks = masks_of(sample, ("1", "2"))
        np.testing.assert_array_equal(masks["1"], sample.image == 100)
        np.testing.assert_array_equal(masks["2"], sample.image == 200)
    assert samples[f"{names[0]}/0003"].masks.any() and samples[f"{names[1]}/0000"].masks.any()
    left = sorted(place.format(case, case) for place in others for case in (0, 1))
    assert rejected(KIND, tmp_path, **options) == [(place, "name does not fit image_name") for place in left]


def test_one_image_without_labels_is_told(tmp_path: Path) -> None:
    for case in (0, 1):
        put_case(tmp_path, "KiTS", case)
    (tmp_path / "case_00001/segmentation.nii.gz").unlink()
    put_text(tmp_path / "case_00000/notes.txt", "x")
    options = on_the_page("KiTS")
    said = "case_00001/imaging.nii.gz has no label volume case_00001 (label_name: (.*)/segmentation)"
    broken(KIND, tmp_path, said, **options)
    (tmp_path / "case_00000/imaging.nii.gz").unlink()
    put_nifti(tmp_path / "case_00002/segmentation.nii.gz", LABELS)
    broken(KIND, tmp_path, "holds no labels of an image", "such as case_00000, of images case_00001", **options)


def test_names_that_fit_nothing(tmp_path: Path) -> None:
    put_case(tmp_path, "KiTS", 0)
    options = on_the_page("KiTS")
    broken(
        KIND,
        tmp_path,
        "no name fits (.*)/image",
        "Correct source.image_name",
        **{**options, "image_name": "(.*)/image"},
    )
    broken(
        KIND,
        tmp_path,
        "no name fits (.*)/label",
        "Correct source.label_name",
        **{**options, "label_name": "(.*)/label"},
    )
    put_case(tmp_path, "nnU-Net", 0)
    said = "labelsTr holds no labels of an image: names there are such as case_000, of images case_000_0000"
    broken(KIND, tmp_path, said, "source.image_name", images="imagesTr", labels="labelsTr")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_name": "case_"}, "captures nothing"),
        ({"label_name": "(case_"}, "no regular expression"),
        ({"images": ".", "labels": "./"}, "both lie in '.'; tell them apart by label_name"),
        ({"images": "x", "labels": "x", "labels_by": "folder", "label_name": "(.*)_seg"}, "second group is the class"),
    ],
)
def test_odd_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        VolumeSlices(path=".", **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(("images", "labels"), [(".", "labels"), ("images", ".")])
def test_folders_within_each_other(tmp_path: Path, images: str, labels: str) -> None:
    """What lies in the folder of the labels is no image, nor the other way round."""
    put_nifti(tmp_path / images / "a.nii", LABELS)
    put_nifti(tmp_path / labels / "a.nii", LABELS)
    assert {record.name[:-5] for record in scan(KIND, tmp_path, images=images, labels=labels).records} == {"a"}
    (tmp_path / labels / "a.nii").unlink()
    put_nifti(tmp_path / labels / "liver/a.nii", LABELS)
    listing = scan(KIND, tmp_path, images=images, labels=labels, labels_by="folder")
    assert listing.classes == ("liver",) and len(listing.records) == 5


def test_labels_of_no_class_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_case(tmp_path, "TotalSegmentator", 0)
    put_text(tmp_path / "s0000/segmentations/vein.nii.gz", "no volume")
    read: list[str] = []
    monkeypatch.setattr(volume_listing, "label_facts", spy(label_facts, read, lambda path, turn: path.name))
    options = {**on_the_page("TotalSegmentator"), "classes": ["liver"], "class_map": {"1": "liver", "*": None}}
    assert len(scan(KIND, tmp_path, **options).records) == 5
    assert read == ["1.nii.gz"]


def test_dicom_is_named_by_its_folder_too(tmp_path: Path) -> None:
    """As TCIA hands it out: a folder for each series of a study, one of them a segmentation."""
    values = np.random.default_rng(1).integers(-1000, 1000, SHAPE).astype(np.int16)
    mask = values > 0
    for patient in ("P1", "P2"):
        put_series(tmp_path / f"{patient}/study/ct", values, PatientID=patient)
        put_segments(tmp_path / f"{patient}/study/seg/1-1.dcm", {1: mask}, {1: "liver"})
        put_series(tmp_path / f"{patient}/study/scout", values[:1])
    put_enhanced(tmp_path / "P3/study/ct/1-1.dcm", values, [frame(5 + 2.0 * z) for z in range(7)])
    put_segments(tmp_path / "P3/study/seg/1-1.dcm", {1: mask}, {1: "liver"})
    options = {"images": ".", "labels": ".", "image_name": "(.*)/ct", "label_name": "(.*)/seg", "labels_by": "segment"}
    samples = load(KIND, tmp_path, **options)
    assert sorted(samples) == [f"{patient}/study/{k:04d}" for patient in ("P1", "P2", "P3") for k in range(7)]
    for sample in samples.values():
        np.testing.assert_array_equal(masks_of(sample, ("liver",))["liver"], mask[int(sample.name[-4:])])
    assert rejected(KIND, tmp_path, **options) == [
        (f"{patient}/study/scout", "name does not fit image_name") for patient in ("P1", "P2")
    ]
    (tmp_path / "P2/study/seg/1-1.dcm").unlink()
    said = "P2/study/ct has no segment 'liver' in P2/study (label_name: (.*)/seg)"
    broken(KIND, tmp_path, said, **options)


@pytest.mark.parametrize("spelled", ["./{}", "{}/", "{}/."])
@pytest.mark.parametrize("by", ["value", "folder", "segment"])
def test_a_folder_may_be_spelled_otherwise(tmp_path: Path, spelled: str, by: str) -> None:
    for patient in ("P1", "P2"):
        folder = put_series(tmp_path / f"images/{patient}/ct", LABELS.transpose(2, 1, 0).astype(np.int16))
        if by == "segment":
            put_segments(tmp_path / f"labels/{patient}/ct.dcm", {1: LABELS.transpose(2, 1, 0) == 1}, {1: "liver"})
        else:
            inner = "liver/" if by == "folder" else ""
            put_tiff(tmp_path / f"labels/{inner}{patient}/ct.tif", LABELS.transpose(2, 1, 0))
    put_text(folder / "notes.txt", "x")
    options: dict[str, Any] = {"labels_by": by, "check_affine": False}
    usual = scan(KIND, tmp_path, **options)
    other = scan(KIND, tmp_path, images=spelled.format("images"), labels=spelled.format("labels"), **options)
    assert other == usual and {record.group for record in other.records} == {"P1", "P2"}
    (tmp_path / "labels").rename(tmp_path / "images/labels")
    options |= {"images": spelled.format("images"), "labels": spelled.format("images/labels")}
    assert [record.content for record in scan(KIND, tmp_path, **options).records] == [r.content for r in usual.records]
