"""YOLO and LabelMe: polygons that give the planes back, exactly or within the stated tolerance."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML
from samplebox import CLASSES, assert_same, box_fixture, box_sample, dataset_of, export_to, read  # noqa: F401
from samplenames import name_at

from augforge import bitmask
from augforge.engine.builder import build
from augforge.phantom import write_phantom
from augforge.sample import Sample
from augforge.sources.class_lists import HAND_BONES
from augforge.store.dataset import Dataset, open_dataset


def worst(found: Sample, expected: Sample, classes: int) -> float:
    """The lowest intersection over union of the classes."""
    pairs = zip(bitmask.to_masks(found.masks, classes), bitmask.to_masks(expected.masks, classes), strict=True)
    there = ((one, other) for one, other in pairs if other.any() or one.any())
    return float(min((one & other).sum() / max((one | other).sum(), 1) for one, other in there))


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two phantom hands of 512x512."""
    folder = tmp_path_factory.mktemp("hands")
    write_phantom(folder / "data", persons=1, size=512, seed=4)
    (folder / "r.yaml").write_text("name: hands\nsource: {format: hand-bone, path: data}\n")
    build(folder / "r.yaml", folder / "hands")
    return open_dataset(folder / "hands")


# ---- YOLO ------------------------------------------------------------------------------------------------------------


def test_yolo_source_gives_the_same_samples(box: Dataset, tmp_path: Path) -> None:
    export_to(box, tmp_path / "out", "yolo")
    found = read("yolo", tmp_path / "out", missing_label="unlabelled")
    assert {name.partition("/")[2] for name in found} == set(box.index["name"])
    for name, sample in found.items():
        split, _, original = name.partition("/")
        assert box.by_name(original).split == split
        assert_same(sample, box.by_name(original))


def test_yolo_as_ultralytics_reads_it(box: Dataset, tmp_path: Path) -> None:
    """Shares times size, cut to int32, cv2.fillPoly; the label file lies where images is labels."""
    export_to(box, tmp_path / "out", "yolo")
    names = YAML(typ="safe").load((tmp_path / "out/data.yaml").read_text())["names"]
    assert names == dict(enumerate(CLASSES))
    for image in (tmp_path / "out/images").rglob("*.png"):
        label = Path("/labels/".join(str(image).rsplit("/images/", 1))).with_suffix(".txt")
        sample = box.by_name(
            image.relative_to(tmp_path / "out/images").as_posix().partition("/")[2].removesuffix(".png")
        )
        assert label.exists() == (sample.split != "test")
        masks = [np.zeros((sample.height, sample.width), np.uint8) for _ in CLASSES]
        for line in label.read_text().splitlines() if label.exists() else ():
            c, *shares = line.split()
            points = np.array(shares, np.float64).reshape(-1, 2) * (sample.width, sample.height)
            cv2.fillPoly(masks[int(c)], [points.astype(np.int32)], (1,))
        np.testing.assert_array_equal(bitmask.from_masks(masks), bitmask.contiguous(sample.masks))


@pytest.mark.parametrize(("tolerance", "least"), [(0, 1.0), (1, 0.98), (4, 0.98)])
def test_yolo_keeps_the_bones_of_hands(hands: Dataset, tmp_path: Path, tolerance: float, least: float) -> None:
    export_to(hands, tmp_path / "out", "yolo", tolerance=tolerance)
    for name, sample in read("yolo", tmp_path / "out").items():
        assert worst(sample, hands.by_name(name.removeprefix("train/")), 29) >= least


def test_yolo_escapes_folders_named_images_and_labels(tmp_path: Path) -> None:
    """Labels lie where the last folder named images is named labels: no other may be named so."""
    dataset = dataset_of(tmp_path / "data", [box_sample("P/images/labels", 1)])
    export_to(dataset, tmp_path / "out", "yolo")
    assert (tmp_path / "out/labels/train/P/%69mages/labels.txt").exists()
    ((name, sample),) = read("yolo", tmp_path / "out").items()
    assert name_at(name) == "train/P/images/labels"
    assert_same(sample, dataset[0])


def test_yolo_empty_and_unlabelled(tmp_path: Path) -> None:
    empty = box_sample("P/empty", 1)
    empty.masks[:] = 0
    dataset = dataset_of(tmp_path / "data", [empty, box_sample("P/unlabelled", 2, known=())])
    done = export_to(dataset, tmp_path / "out", "yolo")
    assert (tmp_path / "out/labels/train/P/empty.txt").read_text() == ""
    assert not (tmp_path / "out/labels/train/P/unlabelled.txt").exists()
    assert done.notes["unlabelled images, without a label file"] == 1


def test_yolo_without_val_notes_what_ultralytics_requires(box: Dataset, tmp_path: Path) -> None:
    assert not any("Ultralytics" in note for note in export_to(box, tmp_path / "all", "yolo").notes)
    notes = export_to(box, tmp_path / "train", "yolo", splits=("train",)).notes
    ((note, count),) = notes.items()
    assert "none of them in split val" in note and "split: {val: 0.2}" in note and count == 2
    notes = export_to(box, tmp_path / "val", "yolo", splits=("val",)).notes
    ((note, count),) = notes.items()
    assert "none of them in split train" in note and "'train:'" in note and count == 1


# ---- LabelMe ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"tolerance": 0}, {"masks": "masks"}])
def test_labelme_source_gives_the_same_samples(box: Dataset, tmp_path: Path, options: dict[str, object]) -> None:
    export_to(box, tmp_path / "out", "labelme", splits=("train", "val"), **options)
    for split in ("train", "val"):
        found = read("labelme", tmp_path / f"out/{split}", classes=CLASSES)
        assert set(found) == set(box.split(split).index["name"])
        for name, sample in found.items():
            expected = box.by_name(name)
            np.testing.assert_array_equal(bitmask.contiguous(sample.masks), bitmask.contiguous(expected.masks))
            assert bitmask.bits_to_flags(sample.known, 5).tolist() == [True] * 4 + [False]  # no shape says `never`


def test_labelme_keeps_the_bones_of_hands(hands: Dataset, tmp_path: Path) -> None:
    export_to(hands, tmp_path / "out", "labelme")
    points = []
    for name, sample in read("labelme", tmp_path / "out/train", classes=HAND_BONES).items():
        assert worst(sample, hands.by_name(name), 29) >= 0.98
        shapes = json.loads((tmp_path / f"out/train/{name}.json").read_text())["shapes"]
        points += [len(shape["points"]) for shape in shapes]
    assert np.mean(points) < 40  # exact ones have 63


def test_labelme_file(box: Dataset, tmp_path: Path) -> None:
    done = export_to(box, tmp_path / "out", "labelme", masks="masks")
    document = json.loads((tmp_path / "out/train/P01/one.json").read_text())
    assert {key: document[key] for key in ("imagePath", "imageData", "imageWidth", "imageHeight")} == {
        "imagePath": "one.png",
        "imageData": None,
        "imageWidth": 61,
        "imageHeight": 44,
    }
    sample = box.by_name("P01/one")
    for shape in document["shapes"]:
        (x0, y0), (x1, y1) = shape["points"]
        picture = np.frombuffer(base64.b64decode(shape["mask"]), np.uint8)
        expected = bitmask.class_mask(sample.masks, CLASSES.index(shape["label"]))
        np.testing.assert_array_equal(cv2.imdecode(picture, cv2.IMREAD_UNCHANGED), expected[y0 : y1 + 1, x0 : x1 + 1])
    assert not (tmp_path / "out/test/P03/later.json").exists()
    assert done.notes == {"unlabelled images, without a file": 1}


def test_labelme_pieces_share_a_group(box: Dataset, tmp_path: Path) -> None:
    export_to(box.where(pl.col("name") == "P01/one"), tmp_path / "out", "labelme")
    shapes = json.loads((tmp_path / "out/train/P01/one.json").read_text())["shapes"]
    for label in CLASSES[:4]:
        groups = [shape["group_id"] for shape in shapes if shape["label"] == label]
        assert len(groups) > 1 and len(set(groups)) == 1
    assert len({shape["group_id"] for shape in shapes}) == 4
