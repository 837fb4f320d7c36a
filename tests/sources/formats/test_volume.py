"""The volume adapter: planes and axes, labels on images, 2.5D, intensities, and every kind of bad input."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from makedata import broken, known_of, load, masks_of, put_json, put_text, rejected, scan, spy
from makemedical import (
    LPS,
    put_dicom,
    put_nifti,
    put_series,
    put_tiff,
    uninstall,
)
from pydantic import ValidationError

from augforge.cache.filecache import FileCache
from augforge.errors import MissingExtra, SourceError
from augforge.sources.formats.volume import file as volume_file
from augforge.sources.formats.volume import labels as volume_labels
from augforge.sources.formats.volume import listing as volume_listing
from augforge.sources.formats.volume.file import read_volume
from augforge.sources.formats.volume.source import VolumeSlices
from augforge.sources.scan.recent_files import RECENT_FILES, RecentFiles

KIND = "volume"
SHAPE = (7, 6, 5)  # to the left, to the back, to the head
VALUES = np.random.default_rng(1).integers(-1000, 1000, SHAPE).astype(np.int16)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1:4, 2:5, 1:3] = 1
LABELS[5:, :2, 3:] = 2
NAMES = {"1": "liver", "2": "spleen"}


def as_bits(values: Any, low: float, high: float, bits: int = 8) -> np.ndarray:
    share = np.clip((np.asarray(values, float) - low) / (high - low), 0, 1)
    return np.asarray(np.rint(share * (2**bits - 1)))


def gray(values: Any) -> np.ndarray:
    return as_bits(values, VALUES.min(), VALUES.max())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two volumes of one patient, one of another; the last has no spleen."""
    for name in ("P1/a", "P1/b", "c"):
        put_nifti(tmp_path / f"images/{name}.nii.gz", VALUES)
        put_nifti(tmp_path / f"labels/{name}.nii.gz", LABELS % 2 if name == "c" else LABELS)
    return tmp_path


def test_listing(root: Path) -> None:
    listing = scan(KIND, root, values=NAMES)
    assert listing.classes == ("liver", "spleen")
    assert [(r.name, r.group, r.split) for r in listing.records] == [
        (f"{name}/{k:04d}", group, None)
        for name, group in (("P1/a", "P1"), ("P1/b", "P1"), ("c", "c"))
        for k in range(5)
    ]
    first = listing.records[0]
    assert (first.width, first.height, dict(first.metadata)) == (7, 6, {"slice": 0})
    assert first.bytes == (root / "images/P1/a.nii.gz").stat().st_size // 5
    assert (listing.refused, listing.warnings) == ((), ())


# ---- planes and axes -------------------------------------------------------------------------------------------------


def pictures(root: Path, **options: Any) -> np.ndarray:
    samples = load(KIND, root, **{"labels": None, **options})
    return np.stack([samples[name].image for name in sorted(samples)])


PLANES = {
    "axial": (2, 1, 0),  # slices to the head; rows to the back, columns to the left
    "coronal": (1, 2, 0),
    "sagittal": (0, 2, 1),
}


@pytest.mark.parametrize("axis", PLANES)
@pytest.mark.parametrize("codes", ["LPS", "RAS", "SAR", "IPR", "ALI"])
def test_planes_are_seen_as_radiologists_do(tmp_path: Path, axis: str, codes: str) -> None:
    """However the axes are stored: the patient's right and front at the left and above, the head above."""
    lps = nibabel.Nifti1Image(VALUES, LPS)
    ends = nibabel.orientations.axcodes2ornt(codes)
    turn = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("LPS"), ends)
    stored = lps.as_reoriented(turn)
    assert "".join(nibabel.aff2axcodes(stored.affine)) == codes
    put_nifti(tmp_path / "images/a.nii", np.asarray(stored.dataobj), stored.affine)
    expected = VALUES.transpose(PLANES[axis])
    if axis != "axial":
        expected = expected[:, ::-1]  # rows go from the head to the feet
    np.testing.assert_array_equal(pictures(tmp_path, axis=axis), gray(expected))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_stored_axes_are_not_turned(tmp_path: Path, axis: int) -> None:
    put_nifti(tmp_path / "images/a.nii", VALUES, np.diag([3.0, 2, 1, 1]))
    np.testing.assert_array_equal(pictures(tmp_path, axis=axis), gray(np.moveaxis(VALUES, axis, 0)))


def test_axial_is_the_usual_for_nifti(root: Path) -> None:
    np.testing.assert_array_equal(pictures(root)[:5], pictures(root, axis="axial")[:5])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_stacks(tmp_path: Path, compression: str | None) -> None:
    put_tiff(tmp_path / "images/a.tif", VALUES, compression=compression)
    put_tiff(tmp_path / "labels/a.tiff", LABELS)
    np.testing.assert_array_equal(pictures(tmp_path), gray(VALUES))
    np.testing.assert_array_equal(pictures(tmp_path, axis=2), gray(VALUES.transpose(2, 0, 1)))
    samples = load(KIND, tmp_path, values=NAMES, axis=1)
    assert all(
        (masks_of(samples[f"a/{k:04d}"], ("liver", "spleen"))["liver"] == (LABELS[:, k] == 1)).all() for k in range(6)
    )
    broken(KIND, tmp_path, str(tmp_path / "images/a.tif"), "axis to be 0, 1 or 2", axis="axial", labels=None)


def test_dicom_series_are_ordered_by_place(tmp_path: Path) -> None:
    slices = VALUES.transpose(2, 1, 0)
    put_series(tmp_path / "images/P1/ct", slices, RescaleSlope="2", RescaleIntercept="-5", PatientID="X7")
    np.testing.assert_array_equal(pictures(tmp_path), gray(slices))
    np.testing.assert_array_equal(pictures(tmp_path, axis="coronal"), gray(slices.transpose(1, 0, 2)[:, ::-1]))
    np.testing.assert_array_equal(pictures(tmp_path, window=[-1005, 995]), as_bits(slices * 2.0 - 5, -1005, 995))
    records = scan(KIND, tmp_path, labels=None).records
    assert {r.group for r in records} == {"X7"} and records[0].name == "P1/ct/0000"


def test_series_whose_slices_are_scaled_apart(tmp_path: Path) -> None:
    slices = VALUES.transpose(2, 1, 0)
    put_series(tmp_path / "images/pet", slices)
    put_dicom(
        tmp_path / "images/pet/003.dcm",
        slices[0],
        ImagePositionPatient=[-10, -20, 5],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        PixelSpacing=[1.5, 1],
        SeriesInstanceUID="1.2.3",
        RescaleSlope="0.5",
        RescaleIntercept="0",
    )
    expected = slices.astype(float)
    expected[0] /= 2
    np.testing.assert_array_equal(pictures(tmp_path, window=[-1000, 1000]), as_bits(expected, -1000, 1000))


# ---- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [*PLANES, 0, 1, 2])
def test_labels_lie_on_images(tmp_path: Path, axis: Any) -> None:
    """Labels are the image's values here, stored along other axes: each picture must fit its masks."""
    image = (LABELS * 100).astype(np.int16)
    put_nifti(tmp_path / "images/a.nii", image)
    turned = nibabel.Nifti1Image(LABELS, LPS).as_reoriented([[2, -1], [0, 1], [1, -1]])
    put_nifti(tmp_path / "labels/a.nii.gz", np.asarray(turned.dataobj), turned.affine)
    for sample in load(KIND, tmp_path, values=NAMES, axis=axis, window=[0, 255]).values():
        masks = masks_of(sample, ("liver", "spleen"))
        np.testing.assert_array_equal(masks["liver"], sample.image == 100)
        np.testing.assert_array_equal(masks["spleen"], sample.image == 200)


def test_labels_of_a_series(tmp_path: Path) -> None:
    """A NIfTI label volume with the series' affine, stored as other programs do: left, back, head."""
    put_series(tmp_path / "images/ct", (LABELS * 100).astype(np.int16).transpose(2, 1, 0))
    affine = LPS @ np.array([[1, 0, 0, -10], [0, 1.5, 0, -20], [0, 0, 2, 5], [0, 0, 0, 1.0]])
    put_nifti(tmp_path / "labels/ct.nii.gz", LABELS, affine)
    for sample in load(KIND, tmp_path, values=NAMES, window=[0, 255]).values():
        np.testing.assert_array_equal(masks_of(sample, ("liver", "spleen"))["spleen"], sample.image == 200)
    path = tmp_path / "images/ct/010.dcm"
    path.write_bytes(path.read_bytes()[:-9])
    assert rejected(KIND, tmp_path, values=NAMES) == [("ct", "broken DICOM")]  # and nothing of labels that do not fit


@pytest.mark.parametrize("stored", ["float64", "float32", "int32", "scaled"])
def test_labels_may_be_stored_as_they_like(root: Path, stored: str) -> None:
    path = root / "labels/P1/a.nii.gz"
    if stored == "scaled":
        put_nifti(path, (LABELS * 3).astype(np.int16), slope=1 / 3)
    else:
        put_nifti(path, LABELS.astype(stored))
    samples = load(KIND, root, values=NAMES)
    for k in range(5):
        np.testing.assert_array_equal(samples[f"P1/a/{k:04d}"].masks, samples[f"P1/b/{k:04d}"].masks)


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "spleen": 2, "liver": 1, "ignore": 3},
        {"0": "background", "1": "liver", "2": "spleen", "3": "ignore"},
        {"background": "0", "liver": "1", "spleen": "2", "ignore": "3"},
    ],
    ids=["nnU-Net", "Decathlon", "text"],
)
def test_values_are_named_by_dataset_json(root: Path, labels: dict[str, Any]) -> None:
    path = put_json(root / "dataset.json", {"labels": labels})
    put_nifti(root / "labels/c.nii.gz", LABELS * 3 // 2)
    assert scan(KIND, root).classes == ("liver", "spleen", "ignore")
    assert scan(KIND, root, class_map={"spleen": "liver"}).classes == ("liver", "ignore")
    classes = ("spleen", "liver", "ignore")
    masks = masks_of(load(KIND, root, classes=classes)["P1/a/0001"], classes)
    for name, mask in masks_of(load(KIND, root)["P1/a/0001"], ("liver", "spleen", "ignore")).items():
        np.testing.assert_array_equal(masks[name], mask)
    assert masks["liver"].any() and not masks["spleen"].any()
    assert masks_of(load(KIND, root)["c/0003"], ("liver", "spleen", "ignore"))["ignore"].any()
    others = ["x", "y", "z"]  # other words: they count from 1
    assert scan(KIND, root, classes=others).classes == tuple(others)
    assert scan(KIND, root, values={1: "a", 2: "b", 3: "c"}).classes == ("a", "b", "c")
    put_text(path, "{")
    broken(KIND, root, str(path), "is no JSON")
    assert scan(KIND, root, values={1: "a", 2: "b", 3: "c"}).classes == ("a", "b", "c")


def test_a_dataset_json_that_names_no_values(root: Path) -> None:
    contents: list[Any] = [[], {}, {"labels": {}}, {"labels": "x"}]
    for content in contents:
        put_json(root / "dataset.json", content)
        assert scan(KIND, root).classes == ("1", "2") and not scan(KIND, root).warnings
    put_json(root / "dataset.json", {"labels": {"background": 0, "whole": [1, 2], "core": 2}})
    listing = scan(KIND, root)
    assert listing.classes == ("1", "2")
    assert listing.warnings == (
        "dataset.json gives labels several values, so it names none; name them in source.values",
    )


def test_values_without_names(root: Path) -> None:
    assert scan(KIND, root).classes == ("1", "2")
    assert scan(KIND, root, classes=["x", "y"]).classes == ("x", "y")
    assert scan(KIND, root, values=NAMES, class_map={"spleen": "liver"}).classes == ("liver",)
    assert scan(KIND, root, void=2).classes == ("1", "ignore")
    broken(KIND, root, str(root / "labels/P1/a.nii.gz"), "value 2 names no class", values={"1": "liver"})
    assert rejected(KIND, root, values={"1": "liver"}) == [("P1/a", "unknown value"), ("P1/b", "unknown value")]


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put_nifti(tmp_path / f"images/{name}.nii", VALUES)
        put_nifti(tmp_path / f"labels/liver/{name}.nii", LABELS * 5)
    put_nifti(tmp_path / "labels/spleen/a.nii", LABELS // 2)
    options: dict[str, Any] = {"labels_by": "folder", "missing_labels": "empty"}
    masks = masks_of(load(KIND, tmp_path, **options)["a/0003"], ("liver", "spleen"))
    np.testing.assert_array_equal(masks["liver"], LABELS[..., 3].T > 0)
    np.testing.assert_array_equal(masks["spleen"], LABELS[..., 3].T == 2)
    assert known_of(load(KIND, tmp_path, **options)["b/0000"], ("liver", "spleen")) == ["liver", "spleen"]
    options["missing_labels"] = "unlabelled"
    assert known_of(load(KIND, tmp_path, **options)["b/0000"], ("liver", "spleen")) == ["liver"]
    broken(KIND, tmp_path, str(tmp_path / "images/b.nii"), "labels/spleen/b", labels_by="folder")


def test_volumes_that_mark_nothing_in_a_slice_are_not_read_for_it(tmp_path: Path) -> None:
    """Of a hundred organs a few are in a slice."""
    put_nifti(tmp_path / "images/a.nii", VALUES)
    for label, value in (("liver", 1), ("spleen", 2), ("nose", 3)):
        put_nifti(tmp_path / f"labels/{label}/a.nii", np.where(value == LABELS, 200, 0).astype(np.uint8))
    source = VolumeSlices(path=str(tmp_path), labels_by="folder")
    listing = source.scan(FileCache())
    assert all(record.data["known"] == ["liver", "nose", "spleen"] for record in listing.records)
    RECENT_FILES._things.clear()
    for label in ("nose", "spleen"):  # the spleen begins in slice 3
        (tmp_path / f"labels/{label}/a.nii").unlink()
    masks = masks_of(source.load(listing.records.by_name("a/0002"), listing.classes), listing.classes)
    np.testing.assert_array_equal(masks["liver"], LABELS[..., 2].T == 1)
    assert not masks["spleen"].any() and not masks["nose"].any()
    with pytest.raises((SourceError, OSError)):
        source.load(listing.records.by_name("a/0003"), listing.classes)


def test_ignore_is_known_where_any_class_is(tmp_path: Path) -> None:
    """A volume whose labels mark no such voxel has none; one without labels tells nothing."""
    for name in ("a", "b", "c"):
        put_nifti(tmp_path / f"images/{name}.nii", VALUES)
    put_nifti(tmp_path / "labels/liver/a.nii", LABELS)
    put_nifti(tmp_path / "labels/liver/b.nii", LABELS)
    options: dict[str, Any] = {"labels_by": "folder", "missing_labels": "unlabelled", "classes": ["ignore", "liver"]}

    def known() -> list[list[str]]:
        samples = load(KIND, tmp_path, **options)
        return [known_of(samples[f"{name}/0000"], ("ignore", "liver")) for name in ("a", "b", "c")]

    assert known() == [["ignore", "liver"], ["ignore", "liver"], []]
    put_nifti(tmp_path / "labels/ignore/a.nii", LABELS)
    assert known() == [["ignore", "liver"], ["ignore", "liver"], []]
    lists = [record.data["known"] for record in scan(KIND, tmp_path, **options).records[::5]]
    assert lists == [["ignore", "liver"], ["ignore", "liver"], []]


def test_missing_labels(root: Path) -> None:
    put_nifti(root / "images/d.nii", VALUES)
    broken(KIND, root, f"{root / 'images/d.nii'} has no label volume labels/d", "missing_labels")
    assert rejected(KIND, root) == [("d", "no labels")]
    empty = load(KIND, root, missing_labels="empty")["d/0000"]
    assert known_of(empty, ("1", "2")) == ["1", "2"] and not empty.masks.any()
    assert known_of(load(KIND, root, missing_labels="unlabelled")["d/0000"], ("1", "2")) == []
    assert known_of(load(KIND, root, missing_labels="unlabelled")["c/0000"], ("1", "2")) == ["1", "2"]


def test_nothing_is_known_without_labels(root: Path) -> None:
    assert scan(KIND, root, labels=None).classes == ("ignore",)
    assert known_of(load(KIND, root, labels=None, classes=["liver"])["c/0000"], ("liver",)) == []


# ---- neighbours and intensities --------------------------------------------------------------------------------------


def test_neighbours_become_channels(root: Path) -> None:
    samples = load(KIND, root, channels=[-1, 0, 1])
    axial = gray(VALUES.transpose(2, 1, 0))
    for k in range(5):
        image = samples[f"c/{k:04d}"].image
        assert image.flags.c_contiguous
        np.testing.assert_array_equal(image, np.stack([axial[max(k - 1, 0)], axial[k], axial[min(k + 1, 4)]], axis=-1))
        np.testing.assert_array_equal(samples[f"c/{k:04d}"].masks[..., 0], (LABELS % 2)[..., k].T)
    names = [r.name for r in scan(KIND, root, channels=[-1, 0, 2], edge="drop").records if r.group == "c"]
    assert names == ["c/0001", "c/0002"]
    assert scan(KIND, root, channels=[1, 2, 3], edge="drop").records[0].name == "P1/a/0000"
    assert load(KIND, root, channels=[-2, -1, 0, 1])["c/0000"].image.shape == (6, 7, 4)


def test_one_range_for_the_whole_volume(root: Path) -> None:
    axial = VALUES.transpose(2, 1, 0)
    np.testing.assert_array_equal(pictures(root, bits=16)[:5], as_bits(axial, VALUES.min(), VALUES.max(), 16))
    np.testing.assert_array_equal(pictures(root, window=[-160, 240])[:5], as_bits(axial, -160, 240))
    low, high = np.percentile(VALUES, [5, 90])
    np.testing.assert_array_equal(pictures(root, percentiles=[5, 90])[:5], as_bits(axial, low, high))


def test_modalities_are_chosen(tmp_path: Path) -> None:
    """One is gray, several are channels; each has a range of its own."""
    held = np.stack([VALUES, VALUES[::-1] * 3.0, VALUES**2], axis=-1)
    put_nifti(tmp_path / "images/a.nii.gz", held)
    put_nifti(tmp_path / "images/b.nii", held[..., None, :].astype(np.float32))  # as vectors are stored
    shown = [as_bits(held[..., k], held[..., k].min(), held[..., k].max()).transpose(2, 1, 0) for k in range(3)]
    for k in range(3):
        np.testing.assert_array_equal(pictures(tmp_path, modalities=k), np.concatenate([shown[k]] * 2))
    colours = pictures(tmp_path, modalities=[2, 0, 1, 0])
    np.testing.assert_array_equal(colours[:5], np.stack([shown[k] for k in (2, 0, 1, 0)], axis=-1))
    windowed = pictures(tmp_path, modalities=[2, 0, 1], window=[0, 500])[5:]
    np.testing.assert_array_equal(windowed[..., 1], as_bits(VALUES.transpose(2, 1, 0), 0, 500))
    put_nifti(tmp_path / "labels/a.nii", LABELS)
    put_nifti(tmp_path / "labels/b.nii", LABELS)
    masks = masks_of(load(KIND, tmp_path, values=NAMES, modalities=1)["a/0002"], ("liver", "spleen"))
    np.testing.assert_array_equal(masks["liver"], LABELS[..., 2].T == 1)
    broken(KIND, tmp_path, "images/a.nii.gz holds 3 volumes", "asks for number 3", "from 0 to 2", modalities=3)
    put_nifti(tmp_path / "labels/b.nii", np.stack([LABELS, LABELS], axis=-1))
    broken(KIND, tmp_path, "labels/b.nii holds 2 volumes; expected one of labels", modalities=0)


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_further_dimensions_of_one(tmp_path: Path, shape: tuple[int, ...]) -> None:
    put_nifti(tmp_path / "images/a.nii", VALUES.reshape(*SHAPE, *shape))
    put_nifti(tmp_path / "labels/a.nii", LABELS.reshape(*SHAPE, *shape))
    np.testing.assert_array_equal(pictures(tmp_path), gray(VALUES.transpose(2, 1, 0)))
    masks = masks_of(load(KIND, tmp_path, values=NAMES, modalities=0)["a/0003"], ("liver", "spleen"))
    np.testing.assert_array_equal(masks["spleen"], LABELS[..., 3].T == 2)


@pytest.mark.parametrize("limit", [None, -1990])
@pytest.mark.parametrize("apart", [False, True])
def test_padding_is_no_value(tmp_path: Path, limit: int | None, apart: bool) -> None:
    """It has no part in the range, and is black; whether all slices are scaled and padded alike or not."""
    inside = np.ones(VALUES.shape, np.bool_)
    inside[:, :2] = inside[3] = False
    padded = np.where(inside, VALUES, -2000).astype(np.int16)
    padded[:, 0] = -2000 if limit is None else -1995
    tags: dict[str, Any] = {"PixelPaddingValue": -2000, "RescaleIntercept": "-5", "RescaleSlope": "2"}
    tags |= {} if limit is None else {"PixelPaddingRangeLimit": limit}
    folder = put_series(tmp_path / "images/ct", padded, **tags)
    if apart:
        tags |= {"ImagePositionPatient": [-10, -20, 9], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        tags |= {"PixelSpacing": [1.5, 1], "SeriesInstanceUID": "1.2.3"}
        tags |= {"PixelPaddingValue": 3000, "PixelPaddingRangeLimit": 3000, "RescaleIntercept": "-1005"}
        put_dicom(folder / "017.dcm", np.where(inside[2], VALUES[2] + 500, 3000).astype(np.int16), **tags)
    counted = VALUES[inside] * 2.0 - 5
    middle = np.percentile(counted, [5, 90])
    for options, (low, high) in (({}, (counted.min(), counted.max())), ({"percentiles": [5, 90]}, middle)):
        expected = np.where(inside, as_bits(VALUES * 2.0 - 5, low, high), 0)
        np.testing.assert_array_equal(pictures(tmp_path, **options), expected)


def test_bright_padding_is_black_too(tmp_path: Path) -> None:
    inside = np.arange(7)[:, None, None] < 4
    put_series(tmp_path / "images/ct", np.where(inside, VALUES, 5000).astype(np.int16), PixelPaddingValue=5000)
    expected = np.where(inside, as_bits(VALUES, VALUES[:4].min(), VALUES[:4].max()), 0)
    np.testing.assert_array_equal(pictures(tmp_path), expected)
    np.testing.assert_array_equal(pictures(tmp_path, window=[-5000, 5000])[4:], 0)


def test_nothing_but_padding_is_black(tmp_path: Path) -> None:
    put_series(tmp_path / "images/ct", np.full((3, 4, 5), 7, np.uint16), PixelPaddingValue=7)
    assert not pictures(tmp_path).any() and not pictures(tmp_path, percentiles=[1, 99], bits=16).any()


def test_scaled_and_odd_values(tmp_path: Path) -> None:
    put_nifti(tmp_path / "images/a.nii.gz", VALUES, slope=-0.5, inter=7)
    meant = VALUES.transpose(2, 1, 0) * -0.5 + 7
    np.testing.assert_array_equal(pictures(tmp_path), as_bits(meant, meant.min(), meant.max()))
    odd = VALUES.astype(np.float32)
    odd[0, 0, 0], odd[1, 0, 0], odd[2, 0, 0] = np.nan, np.inf, -np.inf
    put_nifti(tmp_path / "images/a.nii.gz", odd)
    finite = odd[np.isfinite(odd)]
    odd[0, 0, 0] = -np.inf
    expected = as_bits(odd.transpose(2, 1, 0), finite.min(), finite.max())
    np.testing.assert_array_equal(pictures(tmp_path), expected)
    put_nifti(tmp_path / "images/a.nii.gz", np.full(SHAPE, 3.5))
    assert not pictures(tmp_path).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": [0, 1]}, "expected 3 or 4"),
        ({"window": [5, 5]}, "lower number first"),
        ({"percentiles": [99, 1]}, "lower number first"),
        ({"window": [0, 1], "percentiles": [1, 99]}, "give one of the two"),
        ({"axis": 3}, "axis"),
        ({"modalities": [0, 1]}, "expected a number, or 3 or 4"),
        ({"modalities": -1}, "greater than or equal to 0"),
        ({"modalities": [0, 1, 2], "channels": [-1, 0, 1]}, "give one of the two"),
    ],
)
def test_odd_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        VolumeSlices(path=".", **options)


# ---- identity and cost -----------------------------------------------------------------------------------------------


def test_content_is_that_of_the_volume_and_its_own_labels(root: Path) -> None:
    def contents(**options: Any) -> list[str]:
        return [record.content for record in scan(KIND, root, values=NAMES, **options).records]

    before = contents()
    for options in ({"bits": 16}, {"axis": 2}, {"window": [0, 1]}, {"percentiles": [1, 99]}, {"channels": [-1, 0, 1]}):
        assert not set(contents(**options)) & set(before)
    assert contents(axis="axial") == before
    changed = LABELS.copy()
    changed[0, 0, 3] = 1
    put_nifti(root / "labels/P1/b.nii.gz", changed)
    assert [number for number, (one, two) in enumerate(zip(before, contents(), strict=True)) if one != two] == [8]
    put_nifti(root / "images/c.nii.gz", VALUES + 1)
    assert not set(contents()[10:]) & set(before)


def test_a_volume_is_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = VolumeSlices(path=str(root), values=NAMES)
    listing = source.scan(FileCache())
    RECENT_FILES._things.clear()
    times: list[str] = []
    read = spy(volume_file._nifti_values, times, lambda path: path.name)
    monkeypatch.setitem(volume_file._VALUES, "NIfTI", read)
    for record in listing.records:
        source.load(record, listing.classes)
    assert sorted(times) == sorted(2 * ["a.nii.gz", "b.nii.gz", "c.nii.gz"])  # image and labels


def test_images_are_not_decoded_and_labels_once(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    times: list[Path] = []
    monkeypatch.setattr(volume_labels, "read_volume", spy(read_volume, times, lambda path: path.parent))
    cache = FileCache(tmp_path / "facts.db")
    first = scan(KIND, root, cache)
    cache.save()
    assert len(times) == 3 and all("labels" in str(folder) for folder in times)
    monkeypatch.setattr(volume_listing, "volume_facts", lambda *_: pytest.fail("read"))
    monkeypatch.setattr(volume_listing, "label_facts", lambda *_, **__: pytest.fail("read"))
    assert scan(KIND, root, FileCache(tmp_path / "facts.db")) == first


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    kept, path = RecentFiles(limit=100), put_text(tmp_path / "x", "x")
    read: list[str] = []

    def get(kind: str, size: int) -> str:
        found: str = kept.get(path, kind, spy(lambda: kind, read, lambda: kind), lambda _: size)
        return found

    for kind in ("a", "b", "a", "c", "a", "b"):  # c takes the room of b, which was used before a
        assert get(kind, 50) == kind
    assert read == ["a", "b", "c", "b"]
    assert get("large", 1000) == "large" == get("large", 1000)
    assert read[-1] == "large" and get("a", 50) and read[-2:] == ["large", "a"]
    put_text(path, "changed")
    get("a", 50)
    assert read[-2:] == ["a", "a"]


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["images/P1/a.nii.gz", "labels/P1/a.nii.gz"])
@pytest.mark.parametrize("keep", [0, 3, 100, -20])
def test_cut_files(root: Path, place: str, keep: int) -> None:
    path = root / place
    path.write_bytes(path.read_bytes()[:keep])
    broken(KIND, root, str(path))
    reason = "broken volume" if place.startswith("images") else "broken labels"
    assert ("P1/a", reason) in rejected(KIND, root)
    assert {r.group for r in scan(KIND, root, on_error="reject").records} == {"P1", "c"}


@pytest.mark.parametrize("keep", [0, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("kind", ["nii", "tif", "pages.tif", "zlib.tif"])
def test_cut_plain_files(tmp_path: Path, kind: str, keep: float) -> None:
    path = tmp_path / f"images/a.{kind}"
    big = np.random.default_rng(0).integers(0, 99, (20, 30, 40), dtype=np.uint16)
    if kind == "nii":
        put_nifti(path, big)
    elif kind == "pages.tif":
        put_tiff(path, big, metadata=None, rowsperstrip=8)
    else:
        put_tiff(path, big, compression="zlib" if "zlib" in kind else None)
    assert len(scan(KIND, tmp_path, labels=None).records) in (20, 40)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    broken(KIND, tmp_path, str(path), labels=None)


def test_several_gzip_members_are_one_file(root: Path) -> None:
    path = root / "images/c.nii.gz"
    plain = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(plain[:400]) + gzip.compress(plain[400:]))
    assert len(pictures(root)) == 15


def test_a_volume_too_thin_for_its_neighbours_is_refused(tmp_path: Path) -> None:
    put_nifti(tmp_path / "images/thin.nii", VALUES[..., :2])
    put_nifti(tmp_path / "images/thick.nii", VALUES[..., :3])
    listing = scan(KIND, tmp_path, labels=None, channels=[-1, 0, 1], edge="drop")
    assert [r.name for r in listing.records] == ["thick/0001"]
    assert [(row.name, row.reason) for row in listing.refused] == [("thin", "too few slices")]
    assert "images/thin.nii has 2 slices" in listing.refused[0].detail


def test_labels_take_little_more_memory_than_their_file(tmp_path: Path) -> None:
    values = np.zeros((96, 128, 64))
    values[5, 6, 7] = 300
    path = put_nifti(tmp_path / "a.nii", values)
    tracemalloc.start()
    labels = volume_labels.read_labels(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(labels.values, values)
    assert labels.values.dtype == np.uint16 and peak < 2.5 * values.nbytes


def test_a_damaged_gzip_is_seen_when_listed(tmp_path: Path) -> None:
    """A flipped bit leaves the length that the last four bytes tell; only the checksum before them knows."""
    path = put_nifti(tmp_path / "images/a.nii.gz", np.zeros((200, 200, 20), np.int16))
    data = gzip.compress(gzip.decompress(path.read_bytes()), 0)  # stored, so that the bit is one of a voxel
    path.write_bytes(data[:-90_000] + b"\1" + data[-89_999:])
    broken(KIND, tmp_path, str(path), "is damaged", "CRC", labels=None)
    assert rejected(KIND, tmp_path, labels=None) == [("a", "broken volume")]


def test_a_gzip_that_unpacks_to_far_more(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_file, "_SPARE", 1 << 10)
    path = root / "images/c.nii.gz"
    plain = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(plain + bytes(1 << 10)))
    assert len(pictures(root)) == 15
    path.write_bytes(gzip.compress(plain + bytes(1 << 22)))
    broken(KIND, root, str(path), "unpacks to more than")


@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 8}, {"tile": (32, 32)}, {"metadata": None}])
def test_a_stack_that_unpacks_to_far_more(tmp_path: Path, options: dict[str, Any]) -> None:
    """A strip of a page, as the labels are decoded when they are listed; tiles may reach over the edge."""
    values = np.random.default_rng(0).integers(0, 3, (3, 20, 30), np.uint8)
    put_tiff(tmp_path / "images/a.tif", values)
    path = put_tiff(tmp_path / "labels/a.tif", values, compression="zlib", **options)
    assert len(load(KIND, tmp_path, values={1: "liver", 2: "spleen"})) == 3
    bomb = zlib.compress(bytes(1 << 22))
    with tifffile.TiffFile(path) as file:
        tags = file.pages[1].tags
        starts, counts = (tags.get(f"Tile{key}") or tags[f"Strip{key}"] for key in ("Offsets", "ByteCounts"))
        data = bytearray(path.read_bytes())
        for tag, value in ((starts, len(data)), (counts, len(bomb))):
            struct.pack_into("<" + {3: "H", 4: "I"}[int(tag.dtype)], data, tag.valueoffset, value)
    path.write_bytes(data + bomb)
    broken(KIND, tmp_path, str(path), "unpack to more than the", values={1: "liver", 2: "spleen"})


def test_a_stack_is_its_own_file_alone(tmp_path: Path) -> None:
    """OME-TIFF may name other files that hold a part of the pages; they could lie anywhere."""
    first, other = tmp_path / "data/images/a.ome.tif", tmp_path / "elsewhere/b.ome.tif"
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="{z % 2}" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{z // 2}</UUID></TiffData>'
        for z, name in enumerate(["a.ome.tif"] * 2 + ["../../elsewhere/b.ome.tif"] * 2)
    )
    for number, path in enumerate((first, other)):
        said = (
            f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{number}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
            f'SizeX="6" SizeY="7" SizeZ="4" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}'
            "</Pixels></Image></OME>"
        )
        put_tiff(path, np.full((2, 7, 6), 100 + number, np.uint8), metadata=None, description=said)
    samples = load(KIND, tmp_path / "data", labels=None, window=[0, 255])
    assert [sample.image[0, 0] for sample in samples.values()] == [100, 100]


def test_the_first_folder_is_the_patient(tmp_path: Path) -> None:
    for place in ("sub-0/ses-1/anat/t1", "sub-0/ses-2/anat/t1", "sub-1/t1"):
        put_nifti(tmp_path / f"images/{place}.nii", VALUES)
    listing = scan(KIND, tmp_path, labels=None)
    assert {r.name: r.group for r in listing.records if r.name.endswith("0000")} == {
        "sub-0/ses-1/anat/t1/0000": "sub-0",
        "sub-0/ses-2/anat/t1/0000": "sub-0",
        "sub-1/t1/0000": "sub-1",
    }
    assert not listing.warnings
    put_series(tmp_path / "images/sub-0/ct", VALUES, PatientID="X7")
    (warning,) = scan(KIND, tmp_path, labels=None).warnings
    assert "such as sub-0" in warning and "source.group" in warning


def test_broken_labels_are_told_before_missing_classes(tmp_path: Path) -> None:
    put_nifti(tmp_path / "images/a.nii", VALUES)
    path = put_nifti(tmp_path / "labels/a.nii", LABELS)
    path.write_bytes(path.read_bytes()[:-9])
    assert "classes" not in broken(KIND, tmp_path, str(path), "is damaged")
    broken(KIND, tmp_path, "names 0 classes", "labels/a.nii is damaged", on_error="reject")


def test_labels_of_another_shape_or_place(root: Path) -> None:
    path = root / "labels/P1/a.nii.gz"
    put_nifti(path, LABELS[:-1])
    broken(KIND, root, str(path), "6x6x5 voxels", str(root / "images/P1/a.nii.gz"), "7x6x5")
    moved = LPS.copy()
    moved[0, 3] = 4.5
    put_nifti(path, LABELS, moved)
    broken(KIND, root, str(path), "lies elsewhere", "4.5", "check_affine")
    assert rejected(KIND, root) == [("P1/a", "labels do not fit")]
    assert len(scan(KIND, root, check_affine=False).records) == 15
    moved[0, 3] = 0.05  # a twentieth of a voxel: rounding
    put_nifti(path, LABELS, moved)
    assert len(scan(KIND, root).records) == 15
    path.unlink()
    put_tiff(root / "labels/P1/a.tif", LABELS)
    broken(KIND, root, "labels/P1/a.tif lies elsewhere", "missing")


def test_labels_that_are_none(root: Path) -> None:
    path = root / "labels/P1/a.nii.gz"
    for values, said in (
        (LABELS * 0.5, "holds 0.5;"),
        (LABELS * np.nan, "holds nan"),
        (-LABELS.astype(int), "holds values from -1 to 0"),
    ):
        put_nifti(path, values.astype(np.float32))
        broken(KIND, root, str(path), said)
    put_nifti(path, np.arange(7 * 600 * 5, dtype=np.int32).reshape(7, 600, 5))
    put_nifti(root / "images/P1/a.nii.gz", np.zeros((7, 600, 5), np.int16))
    broken(KIND, root, str(path), "holds 21000 values")


def test_a_picture_is_no_volume(tmp_path: Path) -> None:
    path = put_tiff(tmp_path / "images/a.tif", np.zeros((8, 9), np.uint8))
    broken(KIND, tmp_path, str(path), "is a TIFF of one page; expected a stack", labels=None)


def test_what_nibabel_says_is_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = put_nifti(tmp_path / "images/a.nii", VALUES)
    data = bytearray(path.read_bytes())
    data[80:84] = struct.pack("<f", -1)  # pixdim
    path.write_bytes(data)
    assert scan(KIND, tmp_path, labels=None).records
    assert not caplog.records


def test_dimensions_and_types(tmp_path: Path) -> None:
    path = put_nifti(tmp_path / "images/a.nii.gz", np.zeros((3, 4, 5, 6), np.int16))
    broken(KIND, tmp_path, str(path), "6 volumes in its fourth dimension", "Choose by modalities", labels=None)
    put_nifti(path, np.zeros((3, 4, 5, 2, 2), np.int16))
    broken(KIND, tmp_path, str(path), "dimensions [3, 4, 5, 2, 2]; expected three", labels=None)
    put_nifti(path, np.zeros((3, 4, 5, 0), np.int16))
    broken(KIND, tmp_path, str(path), "dimensions [3, 4, 5]", labels=None)
    put_nifti(path, np.zeros((3, 4, 5), np.complex64))
    broken(KIND, tmp_path, str(path), "complex64", labels=None)
    path.unlink()
    path = put_tiff(tmp_path / "images/a.tif", np.zeros((4, 20, 3), np.uint8), photometric="rgb")
    broken(KIND, tmp_path, str(path), "YXS", labels=None)
    put_tiff(path, np.zeros((4, 20), np.uint8))
    broken(KIND, tmp_path, str(path), "is a TIFF of one page", labels=None)


def test_too_many_voxels(tmp_path: Path) -> None:
    path = put_nifti(tmp_path / "images/a.nii", np.zeros((3, 4, 5), np.uint8))
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([30_000, 30_000, 30_000], "<i2").tobytes()
    path.write_bytes(data)
    broken(KIND, tmp_path, str(path), "30000, 30000, 30000] voxels; at most", labels=None)


def test_an_affine_that_places_nothing(tmp_path: Path) -> None:
    path = put_nifti(tmp_path / "images/a.nii", VALUES)
    data = bytearray(path.read_bytes())
    data[280:296] = np.zeros(4, "<f4").tobytes()
    path.write_bytes(data)
    broken(KIND, tmp_path, str(path), "places no volume", labels=None)


def test_two_files_of_one_name(root: Path) -> None:
    other = put_nifti(root / "images/P1/a.nii", VALUES)
    broken(KIND, root, str(other), "share the name P1/a")
    assert ("P1/a", "name stands twice") in rejected(KIND, root)
    put_nifti(root / "labels/P1/b.nii", LABELS)
    broken(KIND, root, "share the name P1/b")


def test_labels_without_an_image(root: Path) -> None:
    path = put_nifti(root / "labels/x.nii.gz", LABELS)
    broken(KIND, root, str(path), "no image named x")


def test_odd_files_are_refused_rows(root: Path) -> None:
    put_text(root / "images/P1/notes.txt", "x")
    put_text(root / "images/P1/b.csv.gz", "x")
    put_text(root / "labels/b.tar.gz", "x")
    assert rejected(KIND, root) == [
        ("P1/notes.txt", "not a volume"),
        ("images/P1/b.csv.gz", "not a volume"),
        ("labels/b.tar.gz", "not a label volume"),
    ]


def test_odd_series(tmp_path: Path) -> None:
    folder = put_series(tmp_path / "images/ct", VALUES)
    put_text(folder / "README", "x" * 200)
    assert len(scan(KIND, tmp_path, labels=None).records) == 7
    assert rejected(KIND, tmp_path, labels=None) == [("images/ct/README", "not a DICOM file")]
    (folder / "010.dcm").unlink()
    (warning,) = scan(KIND, tmp_path, labels=None).warnings
    assert warning == "images/ct: slices lie 2 to 4 mm apart; some may be missing"
    tags: dict[str, Any] = {
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1.5, 1.0],
        "SeriesInstanceUID": "1.2.3",
    }
    other = folder / "x.dcm"
    put_dicom(other, VALUES[0], ImagePositionPatient=[-10, -20, 5], **tags)
    broken(KIND, tmp_path, str(folder), "x.dcm lie at the same place; expected", labels=None)
    echo: dict[str, Any] = {"AcquisitionNumber": 2, "EchoTime": 4.6}
    put_dicom(other, VALUES[0], ImagePositionPatient=[-10, -20, 5], **tags | echo)
    put_dicom(folder / "003.dcm", VALUES[0], ImagePositionPatient=[-10, -20, 5], **tags | echo | {"EchoTime": 2.3})
    broken(KIND, tmp_path, "003.dcm and x.dcm lie at the same place: EchoTime 2.3 and 4.6; expected", labels=None)
    put_dicom(other, VALUES[0], ImagePositionPatient=[-10, -20, 500], **tags | {"SeriesInstanceUID": "1.9"})
    broken(KIND, tmp_path, str(folder), "x.dcm are of two series", labels=None)
    put_dicom(other, VALUES[0])
    broken(KIND, tmp_path, "x.dcm does not tell its position and orientation and spacing", labels=None)
    put_dicom(other, VALUES[0], "MONOCHROME1", ImagePositionPatient=[-10, -20, 500], **tags)
    broken(KIND, tmp_path, "x.dcm is MONOCHROME1; expected gray slices", labels=None)
    other.write_bytes(other.read_bytes()[:-20])
    broken(KIND, tmp_path, str(other), "is damaged", labels=None)
    assert rejected(KIND, tmp_path, labels=None)[0] == ("ct", "broken DICOM")


def test_slices_without_a_folder(tmp_path: Path) -> None:
    put_series(tmp_path / "images", VALUES)
    broken(KIND, tmp_path, "expected a folder for each series", labels=None)


def test_missing_folders_show_the_layout(root: Path) -> None:
    (root / "labels").rename(root / "elsewhere")
    broken(KIND, root, str(root / "labels"), "labels: null")
    broken(KIND, root / "x", "images is no folder")
    (root / "labels").mkdir()
    broken(KIND, root, "holds no folders", labels_by="folder")


def test_volume_changed_since_the_listing(root: Path) -> None:
    source = VolumeSlices(path=str(root), labels=None)
    listing = source.scan(FileCache())
    path = put_nifti(root / "images/P1/a.nii.gz", VALUES[..., :2])
    with pytest.raises(SourceError, match="2 slices now") as caught:
        source.load(listing.records[4], listing.classes)
    assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(SourceError, match=rf"{path} cannot be read: No such file"):
        source.load(listing.records[4], listing.classes)


def test_only_what_is_read_must_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_tiff(tmp_path / "stacks/images/a.tif", VALUES)
    put_text(tmp_path / "stacks/images/README", "x" * 200)
    put_nifti(tmp_path / "nifti/images/a.nii", VALUES)
    put_series(tmp_path / "series/images/ct", VALUES)
    uninstall("nibabel", monkeypatch)
    with pytest.raises(MissingExtra, match=r"nibabel.*augforge\[medical\]"):
        scan(KIND, tmp_path / "nifti", labels=None)
    uninstall("pydicom", monkeypatch)
    with pytest.raises(MissingExtra, match=r"pydicom.*augforge\[medical\]"):
        scan(KIND, tmp_path / "series", labels=None)
    assert len(load(KIND, tmp_path / "stacks", labels=None)) == 7
