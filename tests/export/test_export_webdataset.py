"""WebDataset: the webdataset library iterates it, and what it gives is what the dataset holds."""

from __future__ import annotations

import gc
import io
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from samplebox import CLASSES, box_fixture, box_sample, dataset_of, export_to  # noqa: F401
from samplenames import name_at

from augforge import bitmask
from augforge.export.webdataset import WebDataset
from augforge.store.dataset import Dataset


def iterate(*tars: Path) -> list[dict[str, Any]]:
    import webdataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset leaves closing to the garbage collector
        pipeline = webdataset.WebDataset([str(tar) for tar in tars], shardshuffle=False, empty_check=False).decode()
        found = list(pipeline)
        del pipeline
        gc.collect()
    return found


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


def members(tar: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(tar) as opened:
        return opened.getmembers()


def test_webdataset_iterates(box: Dataset, tmp_path: Path) -> None:
    export_to(box, tmp_path / "out", "webdataset")
    tars = sorted((tmp_path / "out").iterdir())
    assert [tar.name for tar in tars] == ["test-000000.tar", "train-000000.tar", "val-000000.tar"]
    found = iterate(*tars)
    assert len(found) == 4
    for item in found:
        facts = item["json"]
        sample = box.by_name(facts["name"])
        assert name_at(item["__key__"]) == sample.name
        assert (facts["split"], facts["group"], facts["metadata"]) == (sample.split, sample.group, sample.metadata)
        np.testing.assert_array_equal(pixels(item["png"]), sample.image)
        assert facts["classes"] == list(CLASSES)
        assert facts["planes"] == [1, sample.height, sample.width]
        planes = bitmask.decode(item["masks.zst"], sample.height, sample.width, len(CLASSES))
        np.testing.assert_array_equal(planes, sample.masks)
        flags = bitmask.bits_to_flags(sample.known, len(CLASSES))
        assert facts["known"] == [name for name, flag in zip(CLASSES, flags, strict=True) if flag]


def test_the_page_s_python_reads_it(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", [box_sample("P01/one", 1)])
    export_to(dataset, tmp_path / "out", "webdataset")
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        exec(WebDataset.read_back.replace("OUT", str(tmp_path / "out")), found)
        gc.collect()
    np.testing.assert_array_equal(pixels(found["image"]), dataset[0].image)
    assert list(found["masks"]) == list(CLASSES)
    for c, mask in enumerate(found["masks"].values()):
        np.testing.assert_array_equal(mask, bitmask.class_mask(dataset[0].masks, c))


def test_masks_as_png(box: Dataset, tmp_path: Path) -> None:
    export_to(box, tmp_path / "out", "webdataset", masks="png", splits=("train",))
    for item in iterate(tmp_path / "out/train-000000.tar"):
        sample = box.by_name(item["json"]["name"])
        assert {key for key in item if key.startswith("mask.")} == {f"mask.{c}.png" for c in range(4)}
        for c in range(4):
            expected = bitmask.class_mask(sample.masks, c) * 255
            np.testing.assert_array_equal(pixels(item[f"mask.{c}.png"]), expected)


def test_samples_are_in_the_order_of_ids(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", [box_sample(f"P/{i}", i) for i in range(9)])
    export_to(dataset, tmp_path / "out", "webdataset")
    names = [item["json"]["name"] for item in iterate(tmp_path / "out/train-000000.tar")]
    assert names == dataset.index.sort("id")["name"].to_list()
    assert names != sorted(names)


def test_tars_are_cut_by_count_and_bytes(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", [box_sample(f"P/{i}", i) for i in range(5)])
    export_to(dataset, tmp_path / "count", "webdataset", max_count=2)
    by_count = sorted((tmp_path / "count").iterdir())
    assert [len(iterate(tar)) for tar in by_count] == [2, 2, 1]
    export_to(dataset, tmp_path / "bytes", "webdataset", max_bytes=30_000)
    by_bytes = sorted((tmp_path / "bytes").iterdir())
    assert 1 < len(by_bytes) < 5
    assert all(tar.stat().st_size <= 30_000 for tar in by_bytes)
    export_to(dataset, tmp_path / "tiny", "webdataset", max_bytes=1)
    assert [len(iterate(tar)) for tar in sorted((tmp_path / "tiny").iterdir())] == [1] * 5


def test_tar_headers_hold_no_time_or_owner(box: Dataset, tmp_path: Path) -> None:
    export_to(box, tmp_path / "out", "webdataset")
    for tar in (tmp_path / "out").iterdir():
        for member in members(tar):
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
            assert member.mode == 0o644


def test_long_names(tmp_path: Path) -> None:
    name = "P/" + "/".join(["x" * 90] * 4) + "~hflip.2"
    dataset = dataset_of(tmp_path / "data", [box_sample(name, 1)])
    export_to(dataset, tmp_path / "out", "webdataset")
    (item,) = iterate(tmp_path / "out/train-000000.tar")
    assert item["json"]["name"] == name_at(item["__key__"]) == name
    assert item["__key__"].endswith("~hflip%2E2")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_decode(tmp_path: Path, channels: int) -> None:
    dataset = dataset_of(tmp_path / "data", [box_sample("P/a", 1, channels=channels)])
    export_to(dataset, tmp_path / "out", "webdataset")
    with tarfile.open(tmp_path / "out/train-000000.tar") as tar:
        data = tar.extractfile("P/a.png")
        assert data is not None
        np.testing.assert_array_equal(pixels(data.read()), dataset[0].image)
