"""COCO: what pycocotools and augforge's own source read is what the dataset holds."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from samplebox import CLASSES, assert_same, box_fixture, box_sample, dataset_of, export_to, read  # noqa: F401

from augforge import bitmask
from augforge.store.dataset import Dataset

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools

SPLITS = ("train", "val", "test")


def opened(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.mark.parametrize("masks", ["rle", "polygons"])
def test_pycocotools_gives_the_same_planes(box: Dataset, tmp_path: Path, masks: str) -> None:
    export_to(box, tmp_path / "out", "coco", masks=masks)
    seen = 0
    for split in SPLITS:
        coco = opened(tmp_path / f"out/annotations/{split}.json")
        names = {entry["id"]: entry["name"] for entry in coco.dataset["categories"]}
        assert list(names.items()) == list(enumerate(CLASSES, start=1))
        for key, image in coco.imgs.items():
            sample = box.by_name(image["file_name"].removesuffix(".png"))
            assert (image["width"], image["height"], sample.split) == (sample.width, sample.height, split)
            planes = bitmask.empty(sample.height, sample.width, len(CLASSES))
            for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[key])):
                mask = coco.annToMask(annotation)
                bitmask.merge_class(planes, annotation["category_id"] - 1, mask)
                assert annotation["area"] == mask.sum()
                rows, columns = np.nonzero(mask)
                x, y, width, height = annotation["bbox"]
                assert (x, y, x + width, y + height) == (
                    *(v.min() for v in (columns, rows)),
                    columns.max() + 1,
                    rows.max() + 1,
                )
                assert annotation["iscrowd"] == (names[annotation["category_id"]] == "ignore")
                seen += 1
            np.testing.assert_array_equal(planes, bitmask.contiguous(sample.masks))
    assert seen == 12


def test_unlabelled_classes_are_named(tmp_path: Path) -> None:
    dataset = dataset_of(
        tmp_path / "data", [box_sample("P/a", 1, known=(0, 2, 3)), box_sample("P/b", 2, known=(0, 1, 3))]
    )
    done = export_to(dataset, tmp_path / "out", "coco")
    document = json.loads((tmp_path / "out/annotations/train.json").read_text())
    assert [category["name"] for category in document["categories"]] == ["lung", "heart", "rib 1", "ignore"]
    assert [image["not_exhaustive_category_ids"] for image in document["images"]] == [[2, 5], [3, 5]]
    assert sum(done.notes.values()) == 2
    assert document["info"] == {"description": "box, train", "version": dataset.version}
    found = read("coco", tmp_path / "out", classes=CLASSES, images="images/train")
    for name, sample in found.items():
        assert_same(sample, dataset.by_name(name))


@pytest.mark.parametrize("split", ["train", "val"])
def test_source_gives_the_same_samples(box: Dataset, tmp_path: Path, split: str) -> None:
    export_to(box, tmp_path / "out", "coco")
    found = read(
        "coco", tmp_path / "out", classes=CLASSES, annotations=f"annotations/{split}.json", images=f"images/{split}"
    )
    assert set(found) == set(box.split(split).index["name"])
    for name, sample in found.items():
        assert_same(sample, box.by_name(name))


def test_source_draws_polygons_at_most_a_pixel_wider(box: Dataset, tmp_path: Path) -> None:
    """The source puts pixel centres at integers, COCO the edges: on the right and below there is a pixel between."""
    export_to(box, tmp_path / "out", "coco", masks="polygons")
    found = read("coco", tmp_path / "out", classes=CLASSES, annotations="annotations/train.json", images="images/train")
    for name, sample in found.items():
        for one, other in zip(*(bitmask.to_masks(s.masks, 3) for s in (sample, box.by_name(name))), strict=True):
            wider = np.pad(other, ((1, 0), (1, 0)))
            wider = wider[1:, 1:] | wider[1:, :-1] | wider[:-1, 1:] | wider[:-1, :-1]
            assert not (other & ~one & 1).any()
            assert not (one & ~wider & 1).any()
