"""DICOM volumes are found again as they were listed: records that do not grow with them, and changes that are told."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makedata import load, masks_of, put_text, rejected, scan
from makemedical import frame, put_dicom, put_enhanced, put_segments, put_series, put_tiff

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.sources.formats.volume.source import VolumeSlices
from augforge.sources.scan.recent_files import RECENT_FILES

KIND = "volume"
SHAPE = (7, 6, 5)  # slices, rows, columns
VALUES = np.random.default_rng(1).integers(-1000, 1000, SHAPE).astype(np.int16)


def test_records_do_not_grow_with_the_volume(tmp_path: Path) -> None:
    for count in (3, 60):
        values = np.zeros((count, 4, 4), np.int16)
        put_series(tmp_path / f"{count}/images/ct", values)
        put_enhanced(tmp_path / f"{count}/images/mr.dcm", values, [frame(5 + 2.0 * z) for z in range(count)])
        for name in ("ct", "mr"):
            put_segments(tmp_path / f"{count}/labels/{name}.dcm", {1: values == 0}, {1: "liver"})
    for name in ("ct", "mr"):
        records = [scan(KIND, tmp_path / count, labels_by="segment").records for count in ("3", "60")]
        small, large = (len(pickle.dumps(found.by_name(f"{name}/0002"))) for found in records)
        assert abs(small - large) < 4


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: next(folder.iterdir()).unlink(),
        lambda folder: [path.unlink() for path in folder.iterdir()],
        lambda folder: put_series(folder, VALUES + 1),
        lambda folder: put_series(folder, np.concatenate([VALUES, VALUES[:1]])),
    ],
    ids=["less", "none", "others", "more"],
)
def test_a_series_changed_since_the_listing(tmp_path: Path, change: Callable[[Path], object]) -> None:
    folder = put_series(tmp_path / "images/ct", VALUES)
    source = VolumeSlices(path=str(tmp_path), labels=None)
    listing = source.scan(FileCache())
    RECENT_FILES._things.clear()
    change(folder)
    with pytest.raises(SourceError, match=r"images/ct holds other slices now than were listed\. Start again"):
        source.load(listing.records[0], listing.classes)


def test_an_enhanced_file_changed_since_the_listing(tmp_path: Path) -> None:
    frames = [frame(5 + 2.0 * z) for z in range(7)]
    path = put_enhanced(tmp_path / "images/mr.dcm", VALUES, frames)
    source = VolumeSlices(path=str(tmp_path), labels=None)
    listing = source.scan(FileCache())
    put_enhanced(path, VALUES, frames[::-1])
    with pytest.raises(SourceError, match=r"mr\.dcm holds other slices now"):
        source.load(listing.records[0], listing.classes)


def test_only_slices_are_of_the_series(tmp_path: Path) -> None:
    """Not what is no picture, has frames of its own or lies below; in which files the slices are does not count."""
    folder = put_series(tmp_path / "images/ct", VALUES)
    put_text(folder / "LICENSE", "x" * 200)
    put_segments(folder / "seg.dcm", {1: VALUES > 0}, {1: "liver"})
    put_enhanced(folder / "mr.dcm", VALUES, [frame(z) for z in range(7)])
    put_series(folder / "inner", VALUES)
    source = VolumeSlices(path=str(tmp_path), labels=None, window=(-1000, 1000))
    listing = source.scan(FileCache())
    RECENT_FILES._things.clear()
    (folder / "003.dcm").rename(folder / "990.dcm")
    expected = np.rint((VALUES + 1000.0) / 2000 * 255)
    for k in range(7):
        image = source.load(listing.records.by_name(f"ct/{k:04d}"), listing.classes).image
        np.testing.assert_array_equal(image, expected[k])


def test_labels_beside_slices_are_none(tmp_path: Path) -> None:
    """A file that is named as labels are, in the folder of a series."""
    folder = put_series(tmp_path / "P1/ct", VALUES)
    put_dicom(folder / "mask.dcm", VALUES[0])
    put_tiff(tmp_path / "P1/seg.tif", (VALUES > 0).astype(np.uint8))
    options: dict[str, Any] = {
        "images": ".",
        "labels": ".",
        "label_name": "(.*)/(?:seg|ct/mask)",
        "image_name": "(.*)/ct",
    }
    options |= {"labels_by": "value", "check_affine": False}
    assert rejected(KIND, tmp_path, **options) == [("P1/ct/mask.dcm", "not a label volume")]
    samples = load(KIND, tmp_path, **options)
    for k in range(7):
        np.testing.assert_array_equal(masks_of(samples[f"P1/{k:04d}"], ("1",))["1"], VALUES[k] > 0)
