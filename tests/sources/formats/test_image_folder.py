"""The image-folder adapter: the folder is the label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from makedata import broken, label_of, load, put_image, put_text, rejected, scan

KIND = "image-folder"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("dog/P1/one", "cat/two", "dog/three"):
        put_image(tmp_path / f"{name}.jpg")
    return tmp_path


def test_listing(root: Path) -> None:
    listing = scan(KIND, root)
    assert (listing.classes, listing.labels) == (("ignore",), ("cat", "dog"))
    assert [(r.name, r.group, r.split) for r in listing.records] == [
        ("cat/two", "cat/two", None),
        ("dog/P1/one", "P1", None),
        ("dog/three", "dog/three", None),
    ]
    assert len({record.content for record in listing.records}) == 3


def test_labels(root: Path) -> None:
    samples = load(KIND, root)
    label = samples["dog/P1/one"].label
    assert label is not None and label.dtype == np.float32 and label.tolist() == [0, 1]
    assert not samples["cat/two"].known.any() and not samples["cat/two"].masks.any()


def test_fixed_and_mapped_labels(root: Path) -> None:
    classes = ["dog", "cow", "cat"]
    assert scan(KIND, root, classes=classes).labels == ("dog", "cow", "cat")
    assert label_of(load(KIND, root, classes=classes)["cat/two"]) == [0, 0, 1]
    assert scan(KIND, root, class_map={"cat": "pet", "dog": "pet"}).labels == ("pet",)
    listing = scan(KIND, root, class_map={"cat": None})
    assert listing.labels == ("dog",)
    assert [(row.name, row.reason) for row in listing.refused] == [("cat/two", "class left out")]
    broken(KIND, root, "cat/two.jpg: folder 'cat' is not in classes", "class_map", classes=["dog"])
    assert rejected(KIND, root, classes=["dog"]) == [("cat/two", "unknown class")]


def test_the_label_decides_the_content(root: Path) -> None:
    before = scan(KIND, root).records[0].content
    assert scan(KIND, root, class_map={"cat": "lion"}).records[0].content != before


def test_the_folder_above_is_no_class(tmp_path: Path) -> None:
    for name in ("images/train/dog/a", "images/val/cat/b"):
        put_image(tmp_path / f"{name}.png")
    broken(KIND, tmp_path, "holds images/ alone, and splits in it. Set source.path to images")


def test_split_folders(tmp_path: Path) -> None:
    for name in ("train/dog/a", "valid/cat/b", "test/dog/c"):
        put_image(tmp_path / f"{name}.png")
    listing = scan(KIND, tmp_path)
    assert listing.labels == ("cat", "dog")
    assert {r.name: r.split for r in listing.records} == {
        "test/dog/c": "test",
        "train/dog/a": None,
        "valid/cat/b": "val",
    }
    assert {r.split for r in scan(KIND, tmp_path, own_splits=False).records} == {None}
    put_image(tmp_path / "test/d.png")
    broken(KIND, tmp_path, "test/d lies in no folder of a class; expected its split, then its class")
    put_image(tmp_path / "more/dog/d.png")
    broken(KIND, tmp_path, "test, train, valid are named as splits are, more are not", "own_splits: false")
    assert scan(KIND, tmp_path, own_splits=False).labels == ("more", "test", "train", "valid")


def test_a_patient_stays_together_whatever_the_class(tmp_path: Path) -> None:
    for name in ("train/dog/P1/a", "train/cat/P1/b", "val/cat/P2/x/c"):
        put_image(tmp_path / f"{name}.png")
    assert [record.group for record in scan(KIND, tmp_path).records] == ["P1", "P1", "P2/x"]


def test_bad_input(root: Path) -> None:
    put_image(root / "stray.png")
    put_text(root / "dog/notes.txt", "x")
    (root / "cat/two.jpg").write_bytes(b"")
    put_image(root / "dog/three.png")
    broken(
        KIND, root, "3 problems", "stray lies in no folder of a class", "two.jpg is empty", "share the name dog/three"
    )
    assert rejected(KIND, root) == [
        ("cat/two", "broken image"),
        ("dog/notes.txt", "not an image"),
        ("dog/three", "name stands twice"),
        ("stray", "no class folder"),
    ]
    broken(KIND, root / "missing", "missing", "cat/one.jpg")
    (root / "empty").mkdir()
    broken(KIND, root / "empty", "holds no image")


# ---- folders above the classes ---------------------------------------------------------------------------------------


@pytest.fixture
def domains(tmp_path: Path) -> Path:
    for domain in ("Art", "Clipart"):
        for class_ in ("Bike", "Flag", "Sink"):
            put_image(tmp_path / f"{domain}/{class_}/{domain}-1.png")
    return tmp_path


def test_the_folder_of_the_label_may_be_chosen(domains: Path) -> None:
    listing = scan(KIND, domains, label={"folder": 1})
    assert listing.labels == ("Bike", "Flag", "Sink") and not listing.findings
    assert label_of(load(KIND, domains, label={"folder": 1})["Clipart/Flag/Clipart-1"]) == [0, 1, 0]
    assert [record.group for record in listing.records] == [record.name for record in listing.records]
    assert {r.group for r in scan(KIND, domains, label={"folder": 1}, group={"folder": 1}).records} == {
        "Art",
        "Clipart",
    }
    assert scan(KIND, domains, label={"folder": 2}).labels == ("Art", "Clipart")
    broken(KIND, domains, "lies in no folder of a class", label={"folder": 3})


def test_splits_stay_above_domains(domains: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for domain in ("Art", "Clipart"):
            put_image(tmp_path / f"new/{split}/{domain}/Bike/{split}.png")
    listing = scan(KIND, tmp_path / "new", label={"folder": 1})
    assert listing.labels == ("Bike",) and {record.split for record in listing.records} == {None, "test"}
    broken(KIND, tmp_path / "new", "lies in no folder of a class", label={"folder": 3})


def test_folders_that_repeat_in_every_class_are_told(domains: Path) -> None:
    (found,) = scan(KIND, domains).findings
    assert found.names == ("Bike", "Flag", "Sink") and "label: {folder: 1}" in found.remedy
    assert found.message.startswith("every class (Art, Clipart) holds the same folders (Bike, Flag, Sink)")


def test_patients_of_classes_are_not_told(tmp_path: Path) -> None:
    for name in ("dog/P1/a", "dog/P2/b", "dog/P4/b", "cat/P1/c", "cat/P3/d", "cat/P5/d"):
        put_image(tmp_path / f"{name}.png")
    assert not scan(KIND, tmp_path).findings
