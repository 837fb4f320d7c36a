"""The YOLO adapter: layouts, splits, polygons and boxes, and every kind of bad input."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from makedata import broken, known_of, load, masks_of, put_image, put_text, rejected, scan

from augforge.sources.formats.yolo.files import read_data_yaml

KIND = "yolo"
NAMES = "names: [cat, dog]\n"
SQUARE = "0 0.1 0.125 0.3 0.125 0.3 0.3125 0.1 0.3125\n"  # 2..6, 2..5 of 20x16
TRIANGLE = "1 0.5 0.5 0.9 0.5 0.9 0.9\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put_text(tmp_path / "data.yaml", NAMES)
    for name, labels in {"train/a": SQUARE + TRIANGLE, "train/b": "", "val/c": SQUARE}.items():
        put_image(tmp_path / f"images/{name}.jpg")
        put_text(tmp_path / f"labels/{name}.txt", labels)
    return tmp_path


def splits(root: Path, **options: Any) -> dict[str, str | None]:
    return {record.name: record.split for record in scan(KIND, root, **options).records}


def test_listing(root: Path) -> None:
    listing = scan(KIND, root)
    assert listing.classes == ("cat", "dog")
    assert [(r.name, r.group, r.split) for r in listing.records] == [
        ("train/a", "train/a", None),
        ("train/b", "train/b", None),
        ("val/c", "val/c", "val"),
    ]
    assert set(splits(root, own_splits=False).values()) == {None}


def test_polygons(root: Path) -> None:
    samples = load(KIND, root)
    masks = masks_of(samples["train/a"], ("cat", "dog"))
    expected = cv2.fillPoly(np.zeros((16, 20), np.uint8), [np.array([[2, 2], [6, 2], [6, 5], [2, 5]], np.int32)], 1)
    np.testing.assert_array_equal(masks["cat"], expected)
    assert masks["dog"][8, 18] and masks["dog"].sum() > 10
    empty = samples["train/b"]
    assert not empty.masks.any()
    assert known_of(empty, ("cat", "dog")) == ["cat", "dog"]
    assert samples["val/c"].split == "val"


def test_the_whole_image(root: Path) -> None:
    put_text(root / "labels/train/a.txt", "0 0 0 1 0 1 1 0 1")
    assert masks_of(load(KIND, root)["train/a"], ("cat", "dog"))["cat"].all()


def test_boxes(root: Path) -> None:
    path = put_text(root / "labels/train/a.txt", f"{SQUARE}1 0.5 0.5 0.4 0.25\n")
    broken(KIND, root, f"{path}:2: 4 numbers behind the class, a box", "boxes: rectangle")
    dog = masks_of(load(KIND, root, boxes="rectangle")["train/a"], ("cat", "dog"))["dog"]
    assert dog.sum() == 8 * 4 and dog[6:10, 6:14].all()


@pytest.mark.parametrize(
    "names", ["names: {0: cat, 1: dog}", "names: {1: dog, 0: cat}\nnc: 2", "names:\n  0: cat\n  1: dog"]
)
def test_names_as_a_map(root: Path, names: str) -> None:
    put_text(root / "data.yaml", names)
    assert sorted(scan(KIND, root).classes) == ["cat", "dog"]
    assert masks_of(load(KIND, root, classes=["cat", "dog"])["train/a"], ("cat", "dog"))["cat"].sum() == 20


def test_names_that_are_none(root: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 7))
    for names in (f"{bomb}names: *a6\n", f"{bomb}{NAMES}nc: *a6\n", "names: [cat, {dog: 1}]\n", "names: [cat, ~]\n"):
        put_text(root / "data.yaml", names)
        assert len(broken(KIND, root, str(root / "data.yaml"), "Correct")) < 300


# ---- what names the classes ------------------------------------------------------------------------------------------


def cats(root: Path, **options: Any) -> int:
    """Pixels of class cat in the first image: 20, where 0 is cat."""
    options = {"classes": ["dog", "cat"], **options}
    return int(masks_of(load(KIND, root, **options)["train/a"], ("dog", "cat"))["cat"].sum())


def test_without_data_yaml(root: Path) -> None:
    (root / "data.yaml").unlink()
    broken(KIND, root, "data.yaml does not exist, and no other", "classes.txt", "source.classes")
    assert splits(root, classes=["x", "y"])["val/c"] == "val"
    assert cats(root) != 20  # the recipe's order is all there is
    put_text(root / "dataset.yml", "nc: 2\n")
    broken(KIND, root, "Did you mean 'dataset.yml'?", data="dataset.yaml")
    broken(KIND, root / "missing", "missing is no folder", "images/train/one.jpg")
    put_text(root / "data.yaml", "nc: 2\n")
    broken(KIND, root, "data.yaml has no names of classes. Add names there")


@pytest.mark.parametrize("file", ["dataset.yaml", "data.yml", "coco8-seg.YAML"])
def test_names_of_another_yaml(root: Path, file: str) -> None:
    (root / "data.yaml").rename(root / file)
    put_text(root / "environment.yaml", "name: x\n")
    put_text(root / "list.yml", "- names\n")
    put_text(root / "._other.yaml", b"\xff")
    assert cats(root) == 20
    assert scan(KIND, root).classes == ("cat", "dog")
    put_text(root / file, NAMES + "train: images/train\n")
    assert set(splits(root)) == {"train/a", "train/b"}
    broken(KIND, root, f"{root / file}: label 'dog' is not in classes", classes=["cat"])


def test_names_of_several_yamls(root: Path) -> None:
    (root / "data.yaml").rename(root / "b.yaml")
    put_text(root / "a.yml", "names: [dog, cat]\n")
    broken(
        KIND, root, "data.yaml does not exist, and 2 other files have names of classes: a.yml, b.yaml", "source.data"
    )
    assert cats(root, data="b.yaml") == 20
    put_text(root / "data.yaml", NAMES)
    assert cats(root) == 20


@pytest.mark.parametrize("file", ["classes.txt", "labels/classes.txt"])
@pytest.mark.parametrize("data", [None, "images: 3\n"])
def test_names_of_classes_txt(root: Path, file: str, data: str | None) -> None:
    (root / "data.yaml").unlink()
    if data is not None:
        put_text(root / "data.yaml", data)
    path = put_text(root / file, "cat\r\ndog \n\n")
    assert cats(root) == 20
    assert scan(KIND, root).classes == ("cat", "dog")
    put_text(path, "cat\n\ndog\n")
    broken(KIND, root, f"{path}: names holds None")


def test_classes_rename_and_drop(root: Path) -> None:
    merged = {"cat": "pet", "dog": "pet"}
    assert masks_of(load(KIND, root, class_map=merged)["train/a"], ("pet",))["pet"].sum() > 20
    assert scan(KIND, root, class_map={"dog": None}).classes == ("cat",)
    wide = ("dog", "cat", "cow")
    assert known_of(load(KIND, root, classes=wide)["train/b"], wide) == ["dog", "cat"]
    broken(KIND, root, "data.yaml: label 'dog' is not in classes", classes=["cat"])


# ---- images without a label file -------------------------------------------------------------------------------------


def test_missing_label_files(root: Path) -> None:
    (root / "labels/train/b.txt").unlink()
    assert known_of(load(KIND, root)["train/b"], ("cat", "dog")) == ["cat", "dog"]
    assert known_of(load(KIND, root, missing_label="unlabelled")["train/b"], ("cat", "dog")) == []
    broken(KIND, root, str(root / "images/train/b.jpg"), "labels/train/b.txt", missing_label="error")
    assert rejected(KIND, root, missing_label="error") == [("train/b", "no label file")]
    one, two = (scan(KIND, root, missing_label=how).records[1].content for how in ("empty", "unlabelled"))
    assert one != two


@pytest.mark.parametrize("folder", ["label", "labels_seg"])
def test_no_label_file_at_all(root: Path, folder: str) -> None:
    (root / "labels").rename(root / folder)
    broken(KIND, root, "none of 3 images has a label file; expected labels/train/a.txt for images/train/a.jpg")
    broken(KIND, root, "none of 3 images", on_error="reject")
    for how, known in {"empty": ["cat", "dog"], "unlabelled": []}.items():
        assert known_of(load(KIND, root, missing_label=how)["train/a"], ("cat", "dog")) == known


@pytest.mark.parametrize("data", ["", "train: images/train\nval: images/val\ntest: images/test\n", "train: images\n"])
def test_a_split_without_label_files_is_unlabelled(root: Path, data: str) -> None:
    put_text(root / "data.yaml", NAMES + data)
    put_image(root / "images/test/d.jpg")
    (root / "labels/train/b.txt").unlink()
    assert scan(KIND, root).warnings == ("test: none of 1 images has a label file, so they are taken for unlabelled",)
    samples = load(KIND, root)
    assert known_of(samples["test/d"], ("cat", "dog")) == []
    assert known_of(samples["train/b"], ("cat", "dog")) == ["cat", "dog"]
    one, two = ({r.name: r.content for r in scan(KIND, root, missing_label=how).records} for how in (None, "empty"))
    assert [name for name in one if one[name] != two[name]] == ["test/d"]


def test_a_folder_of_background_belongs_to_its_split(root: Path) -> None:
    put_image(root / "images/background/d.jpg")
    assert known_of(load(KIND, root)["background/d"], ("cat", "dog")) == ["cat", "dog"]
    put_text(root / "data.yaml", NAMES + "train: [images/train, images/background]\n")
    assert known_of(load(KIND, root)["background/d"], ("cat", "dog")) == ["cat", "dog"]
    put_text(root / "data.yaml", NAMES + "train: images/train\ntest: images/background\n")
    assert known_of(load(KIND, root)["background/d"], ("cat", "dog")) == []


@pytest.mark.parametrize("data", ["", "train: list.txt\n"])
def test_suffixes_of_label_files(root: Path, data: str) -> None:
    """.TXT is one, too; and where another kind lies in place of a label file, it is not that nothing is there."""
    put_text(root / "data.yaml", NAMES + data)
    put_text(root / "list.txt", "images/train/a.jpg\nimages/train/b.jpg\n")
    path = root / "labels/train/a.txt"
    path.rename(path.with_suffix(".TXT"))
    assert masks_of(load(KIND, root)["train/a"], ("cat", "dog"))["cat"].sum() == 20


def test_label_files_of_another_kind(root: Path) -> None:
    (root / "labels/train/a.txt").rename(root / "labels/train/a.json")
    put_text(root / "labels/train/b.json", "{}")
    broken(KIND, root, f"{root / 'labels/train/a.json'} is no label file of YOLO; expected labels/train/a.txt")
    assert ("train/a", "broken label file") in rejected(KIND, root)
    assert [record.name for record in scan(KIND, root, on_error="reject").records] == ["train/b", "val/c"]
    assert known_of(load(KIND, root, missing_label="empty")["train/a"], ("cat", "dog")) == ["cat", "dog"]


def test_two_label_files_of_an_image(root: Path) -> None:
    put_text(root / "labels/train/a.TXT", "")
    broken(KIND, root, "labels/train/a.TXT", "share the name train/a")


def test_a_label_file_out_of_the_root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = root / "labels/train/a.txt"
    path.unlink()
    path.symlink_to(put_text(tmp_path_factory.mktemp("other") / "a.txt", SQUARE))
    put_text(root / "data.yaml", NAMES + "train: list.txt\n")
    put_text(root / "list.txt", "images/train/a.jpg\nimages/train/b.jpg\n")
    broken(KIND, root, "'labels/train/a.txt' leaves")
    assert rejected(KIND, root) == [("train/a", "broken label file")]


def test_content_is_canonical(root: Path) -> None:
    before = [record.content for record in scan(KIND, root).records]
    put_text(root / "labels/train/a.txt", f"\n{TRIANGLE.replace(' ', '   ')}\n\n{SQUARE.replace('0.3 ', '0.30 ')}")
    assert [record.content for record in scan(KIND, root).records] == before
    put_text(root / "labels/train/a.txt", SQUARE)
    assert [a == b for a, b in zip(before, (r.content for r in scan(KIND, root).records), strict=True)] == [
        False,
        True,
        True,
    ]


# ---- splits ----------------------------------------------------------------------------------------------------------


def test_splits_of_data_yaml(root: Path) -> None:
    put_text(root / "data.yaml", NAMES + "train: [images/train]\nval: images/val/\ntest:\n")
    assert splits(root) == {"train/a": None, "train/b": None, "val/c": "val"}
    put_text(root / "data.yaml", NAMES + "path: images\ntrain: train\ntest: val\n")
    assert splits(root) == {"train/a": None, "train/b": None, "val/c": "test"}


def test_splits_of_other_spellings(root: Path) -> None:
    put_text(root / "data.yaml", NAMES + "Train: images/train\nvalidation: images/val\n3: x\nnotes: y\n")
    assert splits(root) == {"train/a": None, "train/b": None, "val/c": "val"}
    put_text(root / "data.yaml", NAMES + "training: images/train\nTesting: images/val\n")
    assert splits(root) == {"train/a": None, "train/b": None, "val/c": "test"}


@pytest.mark.parametrize("names", [("Train", "Val", "Test"), ("train2017", "valid", "testing")])
def test_splits_of_folders(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        put_image(tmp_path / f"images/{name}/x.jpg")
        put_text(tmp_path / f"labels/{name}/x.txt", SQUARE)
    found = splits(tmp_path, classes=["cat"])
    assert [found[f"{name}/x"] for name in names] == [None, "val", "test"]


def test_data_yaml_counts_more_than_the_names_of_folders(root: Path) -> None:
    """As in the VOC of Ultralytics, which trains on train and val, and validates on test."""
    put_image(root / "images/test/d.jpg")
    put_text(root / "labels/test/d.txt", SQUARE)
    put_text(root / "data.yaml", NAMES + "train: [images/train, images/val]\nval: images/test\n")
    assert splits(root) == {"test/d": "val", "train/a": None, "train/b": None, "val/c": "train"}
    assert set(splits(root, own_splits=False).values()) == {None}


def test_roboflow(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        put_image(tmp_path / f"{part}/images/{part}.jpg")
        put_text(tmp_path / f"{part}/labels/{part}.txt", SQUARE)
    put_text(tmp_path / "data.yaml", NAMES + "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n")
    assert scan(KIND, tmp_path).warnings == ("test of data.yaml names test/images, which does not exist",)
    assert splits(tmp_path) == {"train/train": None, "valid/valid": "val"}
    assert all(sample.masks.any() for sample in load(KIND, tmp_path).values())
    put_text(tmp_path / "data.yaml", NAMES + "train: ../train/images\nval: ../val/images\n")
    broken(KIND, tmp_path, "data.yaml: val", "val/images does not exist")


def test_splits_that_name_the_same_images(root: Path) -> None:
    put_text(root / "data.yaml", NAMES + "train: images/train\nval: images/train/\n")
    listing = scan(KIND, root)
    assert {record.split for record in listing.records} == {None}
    assert listing.warnings == ("train and val name the same images, so neither counts as a split",)
    put_text(root / "data.yaml", NAMES + "val: images/val\nvalid: images/val\n")
    assert (splits(root), scan(KIND, root).warnings) == ({"val/c": "val"}, ())


@pytest.mark.parametrize("val", ["val", "Valid"])
def test_held_out_images_that_val_and_test_share_are_val(root: Path, val: str) -> None:
    put_image(root / "images/held/d.jpg")
    put_text(root / "labels/held/d.txt", SQUARE)
    put_text(root / "data.yaml", NAMES + f"train: images/train\ntest: images/held\n{val}: images/held\n")
    assert splits(root) == {"train/a": None, "train/b": None, "held/d": "val"}
    assert scan(KIND, root).warnings[0] == f"test and {val} name the same images, which are taken for val"
    assert splits(root, own_splits=False)["held/d"] is None
    put_text(root / "data.yaml", NAMES + "train: images/held\ntest: images/held\nval: images/held\n")
    assert splits(root) == {"held/d": None}


def test_a_folder_is_walked_once_and_its_labels_are_not_refused(root: Path) -> None:
    put_text(root / "data.yaml", NAMES + "train: .\nval: .\n")
    put_text(root / "README.md", "x")
    listing = scan(KIND, root)
    assert [row.detail for row in listing.refused] == ["README.md", "data.yaml"]
    assert len(listing.records) == 3


def test_an_image_in_two_splits(root: Path) -> None:
    put_text(root / "data.yaml", NAMES + "train: images\nval: images/val\n")
    broken(KIND, root, "images/val/c.jpg stands in val and in another split")
    assert rejected(KIND, root) == [("val/c", "in two splits")]


def test_lists_of_images(root: Path) -> None:
    put_text(root / "data.yaml", NAMES + "train: train.txt\nval: lists/val.txt\n")
    put_text(root / "train.txt", "images/train/a.jpg\n\n")
    for text in ("./../images/val/c.jpg\n", "./images/val/c.jpg\n"):  # from the list's folder, or from the root
        put_text(root / "lists/val.txt", text)
        assert (splits(root), scan(KIND, root).warnings) == ({"train/a": None, "val/c": "val"}, ())
    path = put_text(root / "train.txt", "images/train/a.jpg\n../x.jpg\nimages/train/z.jpg\n/etc/x.jpg\n")
    broken(KIND, root, "3 problems", f"{path}:2: '../x.jpg' leaves", f"{path}:3", "is no image", f"{path}:4")
    assert [reason for _, reason in rejected(KIND, root)] == ["no image"] * 3


@pytest.mark.parametrize("data", ["", "nc: 2\n", NAMES])
def test_roboflow_without_parts(tmp_path: Path, data: str) -> None:
    for part in ("train", "valid", "test", "other"):
        put_image(tmp_path / f"{part}/images/{part}.jpg")
        put_text(tmp_path / f"{part}/labels/{part}.txt", SQUARE)
    if data:
        put_text(tmp_path / "data.yaml", data)
    assert splits(tmp_path, classes=["cat", "dog"]) == {"train/train": None, "valid/valid": "val", "test/test": "test"}
    assert all(sample.masks.any() for sample in load(KIND, tmp_path, classes=["cat", "dog"]).values())


# ---- groups ----------------------------------------------------------------------------------------------------------


def groups(root: Path, folder: str, data: str) -> set[str]:
    """Groups of two images in a folder."""
    for name in "xy":
        put_image(root / folder / f"{name}.jpg")
        put_text(root / folder.replace("images", "labels") / f"{name}.txt", SQUARE)
    put_text(root / "data.yaml", NAMES + data)
    return {record.group for record in scan(KIND, root).records if record.name[-1] in "xy"}


@pytest.mark.parametrize(
    ("folder", "data", "expected"),
    [
        ("images/P1", "", {"P1"}),
        ("images/train/P1", "", {"P1"}),
        ("images/train/P1", "train: images/train\n", {"P1"}),
        ("images/P1", "train: images\n", {"P1"}),
        ("images/P1", "train: [images/train, images/P1]\n", {"P1"}),
        ("train/images/P1", "train: train/images\n", {"P1"}),
        ("images", "", {"x", "y"}),
        ("images/train", "", {"train/x", "train/y"}),
        ("images/val", "train: images/train\nval: images/val\n", {"val/x", "val/y"}),
        ("train/images", "train: ../train/images\n", {"train/x", "train/y"}),
        ("images/most", "train: images/most\nval: images/val\n", {"most/x", "most/y"}),
        ("images/most/P1", "train: images/most\n", {"P1"}),
    ],
)
def test_a_folder_of_images_is_a_group_unless_it_is_the_whole_split(
    root: Path, folder: str, data: str, expected: set[str]
) -> None:
    assert groups(root, folder, data) == expected


# ---- paths that were written elsewhere -------------------------------------------------------------------------------

SPLITS = {"train/a": None, "train/b": None, "val/c": "val"}


@pytest.mark.parametrize(
    "start", ["{root}/", "/content/cats-1/", "cats-1/", "../cats/", "../../x/cats/", "C:\\Users\\me\\cats\\", "./"]
)
def test_paths_of_data_yaml(root: Path, start: str) -> None:
    start = start.format(root=root)
    put_text(root / "data.yaml", NAMES + f"train: {start}images/train\nval: {start}images/val\n")
    told = [warning.partition(", which does not exist")[2] for warning in scan(KIND, root).warnings]
    assert (splits(root), told) == (SPLITS, ["; images/train was read"] if "cats" in start and start[0] in "c." else [])
    put_text(root / "data.yaml", NAMES + f"path: {start}\ntrain: images/train\nval: images/val\n")
    assert (splits(root), scan(KIND, root).warnings) == (SPLITS, ())
    put_text(root / "data.yaml", NAMES + f"path: {start}\ntrain: {start}images/train\nval: {start}images/val\n")
    if start.startswith("/"):
        assert (splits(root), scan(KIND, root).warnings) == (SPLITS, ())


@pytest.mark.parametrize("start", ["{root}/", "/home/x/cats/", "data/", "D:\\cats\\", "./", "../"])
def test_paths_of_lists(root: Path, start: str) -> None:
    start = start.format(root=root)
    put_text(root / "train.txt", f"{start}images/train/a.jpg\n{start}images/train/b.jpg\n")
    put_text(root / "val.txt", "images/val/c.jpg\n")
    put_text(root / "data.yaml", NAMES + "train: train.txt\nval: val.txt\n")
    assert (splits(root), scan(KIND, root).warnings) == (SPLITS, ())


def test_folders_that_are_lost_without_evidence(root: Path) -> None:
    """What may be another folder is told, and what is another split's is an error."""
    put_text(root / "data.yaml", NAMES + "train: v2/images\n")
    assert scan(KIND, root).warnings == ("data.yaml names v2/images, which does not exist; images was read",)
    put_text(root / "data.yaml", NAMES + f"train: {root.name}/images/train\n")
    assert scan(KIND, root).warnings == ()
    for start in ("..", "/content/cats"):
        put_text(root / "data.yaml", NAMES + f"val: {start}/valid/images\n")
        broken(KIND, root, "data.yaml: val: ", "valid/images")
    put_text(root / "data.yaml", NAMES + "train: list.txt\n")
    put_text(root / "list.txt", "data/train/images/d.jpg\n")
    put_image(root / "images/d.jpg")
    broken(KIND, root, "train/images/d.jpg is no image")
    put_text(root / "data.yaml", NAMES + "train: /home/x/test/cats/images/train\n")
    assert splits(root) == {"train/a": None, "train/b": None}


def test_a_relative_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_text(root / "data.yaml", NAMES + f"train: {root}/images/train\nval: {root}/images/val\n")
    monkeypatch.chdir(root.parent)
    assert splits(Path(root.name)) == SPLITS


def test_all_paths_lose_the_same_folders(root: Path) -> None:
    """So that another folder of the same name is not taken for one that is missing."""
    put_image(root / "val/images/d.jpg")
    put_text(root / "data.yaml", NAMES + "train: /x/images/train\nval: /x/y/images/val\n")
    broken(KIND, root, "y/images/val does not exist")
    put_text(root / "data.yaml", NAMES + "train: /x/images/train\nval: /y/images/val\n")
    broken(KIND, root, "data.yaml: val: /y/images/val is an absolute path, and not below")
    put_text(root / "data.yaml", NAMES + "train: images/train\nval: data/images/val\n")
    broken(KIND, root, "data/images/val does not exist")


def test_absolute_paths_of_data_that_is_here_too(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("original")
    put_image(other / "images/train/z.jpg")
    put_text(root / "data.yaml", NAMES + f"path: {other}\ntrain: images/train\nval: images/val\n")
    assert splits(root) == SPLITS
    warning = f"data.yaml names {other}/images/train, which exists; what was read lies below source.path"
    assert scan(KIND, root).warnings == (warning,)


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("0 0.1 0.1 0.2", "3 numbers behind the class; expected x y of 3 points or more"),
        ("0", "0 points; expected 3 or more different ones"),
        ("0 0.1 0.1 0.2 0.2 0.3", "5 numbers behind the class"),
        ("0 0.1 0.1 0.2 0.2 0.3 nan", "'nan' is no finite number"),
        ("0 0.1 0.1 0.2 0.2 0.3 1e999", "is no finite number"),
        ("0 0.1 0.1 0.2 0.2 0.3 x", "'x' is no finite number"),
        ("2 0.1 0.1 0.2 0.2 0.3 0.3", "class 2 is not among the names; expected one of 0 to 1"),
        ("-1 0.1 0.1 0.2 0.2 0.3 0.3", "class -1"),
        ("0.5 0.1 0.1 0.2 0.2 0.3 0.3", "class 0.5"),
        ("cat 0.1 0.1 0.2 0.2 0.3 0.3", "'cat' is no finite number"),
        (
            "0 12 30 40 30 40 50",
            "coordinate 12 lies far outside the image",
        ),
        ("0 0.5 0.5 1.52 0.5 0.6 0.6", "coordinate 1.52 lies far outside"),
        ("0 1.1 0.5 1.2 0.5 1.2 0.6", "the shape lies outside its image"),
        ("0 0.5 -0.1 0.6 -0.1 0.6 -0.2", "the shape lies outside its image"),
    ],
)
def test_broken_lines(root: Path, line: str, part: str) -> None:
    path = put_text(root / "labels/train/a.txt", f"{SQUARE}\n{line}\n")
    assert broken(KIND, root, part).startswith(f"{path}:3: ")
    assert rejected(KIND, root) == [("train/a", "broken label file")]


def test_broken_boxes(root: Path) -> None:
    path = put_text(root / "labels/train/a.txt", "0 0.5 0.5 0 0.1")
    broken(KIND, root, f"{path}:1: the box is 0x0.1", boxes="rectangle")
    put_text(root / "labels/train/a.txt", "0 0.9 0.5 1.4 0.1")
    broken(KIND, root, "coordinate 1.6 lies far outside", boxes="rectangle")


def test_label_file_of_another_encoding(root: Path) -> None:
    path = put_text(root / "labels/train/a.txt", "0 0.1 \xb5".encode("latin-1"))
    broken(KIND, root, str(path), "not UTF-8")


def test_a_polygon_that_crosses_itself_is_filled(root: Path) -> None:
    put_text(root / "labels/train/a.txt", "0 0.1 0.1 0.9 0.9 0.9 0.1 0.1 0.9")
    assert masks_of(load(KIND, root)["train/a"], ("cat", "dog"))["cat"].sum() > 50


def test_label_files_without_an_image(root: Path) -> None:
    path = put_text(root / "labels/train/z.txt", SQUARE)
    put_text(root / "labels/train/classes.txt", "cat\ndog\n")
    put_text(root / "labels/train.cache", "x")
    broken(KIND, root, f"{path} has no image named train/z")
    assert ("train/z", "no image") in rejected(KIND, root)
    path.unlink()
    assert sorted(reason for _, reason in rejected(KIND, root)) == ["not a label file", "not a label file"]


def test_labels_of_images_that_data_yaml_does_not_name(root: Path) -> None:
    put_text(root / "data.yaml", NAMES + "train: images/train\n")
    assert splits(root) == {"train/a": None, "train/b": None}


def test_a_label_file_behind_a_bad_link_is_not_taken_for_a_missing_one(root: Path) -> None:
    path = root / "labels/train/a.txt"
    path.unlink()
    path.symlink_to("nowhere.txt")
    broken(KIND, root, str(path))
    assert {name for name, _ in rejected(KIND, root)} == {"train/a"}
    path.unlink()
    path.mkdir()
    broken(KIND, root, f"{path} is no file")


def test_damaged_images(root: Path) -> None:
    (root / "images/train/a.jpg").write_bytes(b"")
    path = root / "images/val/c.jpg"
    path.write_bytes(path.read_bytes()[:-2])
    broken(KIND, root, "2 problems", "a.jpg is empty", "c.jpg is damaged")
    assert rejected(KIND, root) == [("train/a", "broken image"), ("val/c", "broken image")]


def test_two_images_of_one_name(root: Path) -> None:
    other = put_image(root / "images/train/a.png")
    broken(KIND, root, str(other), "share the name train/a")


def test_images_beside_their_labels(tmp_path: Path) -> None:
    put_text(tmp_path / "data.yaml", NAMES + "train: all\n")
    put_image(tmp_path / "all/a.jpg")
    broken(KIND, tmp_path, "all/a.jpg lies in no folder named images")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("names: [a, a]", "duplicate class 'a' in names"),
        ("names: cat", "names is no list"),
        ("names: {a: cat}", "names is no list"),
        ("names: []", "names is no list"),
        ("names: [a]\nnc: 2", "nc is 2, but names holds 1 classes"),
        ("names: [a]\ntrain: 3", "train is no path"),
        ("names: [a]\ntrain: ../../elsewhere", "leaves"),
        ("names: [a]\ntrain: /etc", "train: /etc is an absolute path"),
        ("names: [a]\ntrain: nowhere", "nowhere does not exist"),
        ("- a", "holds no keys"),
        ("a: [", "data.yaml:1: not valid YAML"),
        ("? [a]: b", "not valid YAML"),
        (b"names: [\xff]", "not UTF-8"),
    ],
)
def test_broken_data_yaml(root: Path, text: str | bytes, part: str) -> None:
    put_text(root / "data.yaml", text)
    broken(KIND, root, part)


def test_data_yaml(tmp_path: Path) -> None:
    said = read_data_yaml(put_text(tmp_path / "d.yaml", "names: {3: x}\ntrain: [a, b]\nval: ''\npath: ../q\n"))
    assert (said.names, said.parts, said.base) == ({3: "x"}, {"train": ["a", "b"]}, "../q")


# ---- poses, coordinates outside, mismatched labels -------------------------------------------------------------------


def test_poses_are_no_polygons(root: Path) -> None:
    put_text(root / "data.yaml", f"{NAMES}kpt_shape: [12, 2]\n")
    for on_error in ("error", "reject"):
        broken(KIND, root, "kpt_shape says that the labels are poses", on_error=on_error)
    put_text(root / "data.yaml", f"{NAMES}kpt_shape: null\n")
    assert scan(KIND, root).findings == ()


@pytest.mark.parametrize("keypoints", ["0.5 0.4 2 0.6 0.5 1", "0.5 0.4 2 0.6 0.5 1 0 0 0", "0.5 0.4 1 0.6 0.5 1"])
def test_poses_with_visibility_are_known_without_kpt_shape(root: Path, keypoints: str) -> None:
    put_text(root / "labels/train/a.txt", f"0 0.5 0.5 0.4 0.4 {keypoints}")
    broken(KIND, root, f"a box and {len(keypoints.split()) // 3} keypoints with their visibility, a pose")


@pytest.mark.parametrize(
    "line", ["0 0 0 1 0 1 1 0 1 0 0", "0 0.5 0.5 1 0.5 1 1 0.5 1 0.5 1", "0 0.5 0.5 0.4 0.4 0.5 0.4 1.0 0.6 0.5 1.0"]
)
def test_polygons_along_the_border_are_no_poses(root: Path, line: str) -> None:
    put_text(root / "labels/train/a.txt", line)
    assert masks_of(load(KIND, root)["train/a"], ("cat", "dog"))["cat"].any()


@pytest.mark.parametrize(
    "line", ["0 0.9 0.9 1.03 0.9 1.03 1.0", "0 -0.2 -0.2 0.3 -0.2 0.3 0.5", "0 0.5 0.5 1.4 0.5 1.4 1.4"]
)
def test_a_shape_partly_outside_is_cut_and_told(root: Path, line: str) -> None:
    put_text(root / "labels/train/a.txt", line)
    points = np.array(line.split()[1:], float).reshape(-1, 2) * (20, 16)
    large = np.zeros((116, 120), np.uint8)  # the oracle draws on an image with a margin of 50 pixels
    expected = cv2.fillPoly(large, [np.rint(points).astype(np.int32) + 50], 1)[50:66, 50:70]
    np.testing.assert_array_equal(masks_of(load(KIND, root)["train/a"], ("cat", "dog"))["cat"], expected)
    assert [(f.kind, f.names) for f in scan(KIND, root).findings] == [("shapes outside the image", ("train/a",))]


def test_a_box_partly_outside_is_cut_and_told(root: Path) -> None:
    put_text(root / "labels/train/a.txt", "0 0.9 0.5 0.4 0.5")
    drawn = masks_of(load(KIND, root, boxes="rectangle")["train/a"], ("cat", "dog"))["cat"]
    expected = np.zeros((16, 20), bool)
    expected[4:12, 14:] = True
    np.testing.assert_array_equal(drawn, expected)
    (finding,) = scan(KIND, root, boxes="rectangle").findings
    assert "by up to 2 pixels" in finding.message and "labels/train/a.txt" in finding.message


def test_what_rounding_leaves_outside_is_not_told(root: Path) -> None:
    put_text(root / "labels/train/a.txt", "0 -0.005 0 1.004 0 1.004 1")
    assert scan(KIND, root).findings == ()


def test_images_beside_mismatched_labels_are_unlabelled(root: Path) -> None:
    """Without its label an image would count as empty, although a label that was rejected may be its own."""
    (root / "labels/train/a.txt").rename(root / "labels/train/other.txt")
    put_image(root / "images/train/d.jpg")
    broken(KIND, root, "has no image named train/other")
    listing = scan(KIND, root, on_error="reject")
    known = {name: known_of(sample, listing.classes) for name, sample in load(KIND, root, on_error="reject").items()}
    assert known == {"train/a": [], "train/b": ["cat", "dog"], "train/d": [], "val/c": ["cat", "dog"]}
    assert [(f.kind, f.names) for f in listing.findings] == [
        ("unlabelled beside mismatched labels", ("train/a", "train/d")),
    ]


def test_images_that_are_said_to_be_empty_stay_so_unless_a_label_nearly_fits(root: Path) -> None:
    (root / "labels/train/a.txt").rename(root / "labels/train/A .txt")
    (root / "labels/train/b.txt").unlink()
    broken(KIND, root, "Did you mean train/a?", missing_label="empty")
    options = {"on_error": "reject", "missing_label": "empty"}
    known = {name: known_of(sample, ("cat", "dog")) for name, sample in load(KIND, root, **options).items()}
    assert known == {"train/a": [], "train/b": ["cat", "dog"], "val/c": ["cat", "dog"]}


def test_labels_agree_however_their_names_are_composed(root: Path) -> None:
    composed = "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    put_image(root / f"images/train/{composed}.JPG")
    put_text(root / f"labels/train/{unicodedata.normalize('NFD', composed)}.TXT", SQUARE)
    assert load(KIND, root)[f"train/{composed}"].masks.any()
    assert scan(KIND, root).findings == ()
