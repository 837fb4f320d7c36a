"""The index-mask adapter: what values mean, void, and every kind of bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from makedata import (
    block,
    broken,
    known_of,
    load,
    masks_of,
    png,
    put_image,
    put_palette,
    put_pixels,
    put_text,
    rejected,
    scan,
    spy,
)
from PIL import Image
from pydantic import ValidationError

from augforge.sources.formats.index_mask import IndexMask

KIND = "index-mask"
VALUES = block(2, 2, 6, 5, 1) + block(8, 2, 12, 9, 2) + block(0, 14, 20, 16, 255)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        put_image(tmp_path / f"images/{name}.jpg")
        put_palette(tmp_path / f"masks/{name}.png", VALUES if name == "a" else VALUES % 255)
    return tmp_path


def test_values_are_named(root: Path) -> None:
    values = {1: "cat", "2": "dog"}
    listing = scan(KIND, root, values=values)
    assert listing.classes == ("cat", "dog", "ignore")
    samples = load(KIND, root, values=values)
    masks = masks_of(samples["a"], listing.classes)
    for name, value in {"cat": 1, "dog": 2, "ignore": 255}.items():
        np.testing.assert_array_equal(masks[name], value == VALUES)
    assert not masks_of(samples["b"], listing.classes)["ignore"].any()
    assert known_of(samples["b"], listing.classes) == ["cat", "dog", "ignore"]


def test_classes_count_from_one(root: Path) -> None:
    classes = ("cat", "ignore", "dog", "cow")
    sample = load(KIND, root, classes=classes)["a"]
    masks = masks_of(sample, classes)
    np.testing.assert_array_equal(masks["dog"], VALUES == 2)
    np.testing.assert_array_equal(masks["ignore"], VALUES == 255)
    assert known_of(sample, classes) == list(classes)


def test_values_without_names(root: Path) -> None:
    assert scan(KIND, root).classes == ("1", "2", "ignore")
    assert scan(KIND, root, void=None).classes == ("1", "2", "255")
    assert scan(KIND, root, background=None).classes == ("0", "1", "2", "ignore")
    assert scan(KIND, root, class_map={"1": "animal", "2": "animal", "ignore": None}).classes == ("animal",)


def test_void_that_is_not_listed_is_left_out_and_told(root: Path) -> None:
    (warning,) = scan(KIND, root, classes=["cat", "dog"]).warnings
    assert warning == "void pixels (255) are left out; list 'ignore' in source.classes to keep them"
    assert masks_of(load(KIND, root, classes=["cat", "dog"])["a"], ("cat", "dog"))["dog"].sum() == 28


def test_background_may_be_a_class(root: Path) -> None:
    values = {"0": "ground", "1": "cat", "2": "dog"}
    masks = masks_of(load(KIND, root, values=values)["a"], ("ground", "cat", "dog", "ignore"))
    np.testing.assert_array_equal(masks["ground"], VALUES == 0)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_hold_the_value_and_not_the_brightness(tmp_path: Path, bits: int) -> None:
    put_image(tmp_path / "images/a.png")
    path = tmp_path / "masks/a.png"
    path.parent.mkdir()
    picture = Image.fromarray(block(2, 2, 6, 5, 1), mode="P")
    picture.putpalette([200, 0, 0, 0, 200, 0])
    picture.save(path, bits=bits)
    assert masks_of(load(KIND, tmp_path, values={"1": "cat"})["a"], ("cat",))["cat"].sum() == 12


@pytest.mark.parametrize(("suffix", "dtype"), [(".png", np.uint8), (".png", np.uint16), (".tif", np.uint16)])
def test_gray_masks(tmp_path: Path, suffix: str, dtype: type[np.unsignedinteger[Any]]) -> None:
    put_image(tmp_path / "images/a.png")
    values = np.where(block(1, 1, 4, 4), np.iinfo(dtype).max - 3, 0).astype(dtype)
    put_pixels(tmp_path / f"masks/a{suffix}", values)
    name = {str(np.iinfo(dtype).max - 3): "cat"}
    assert masks_of(load(KIND, tmp_path, values=name)["a"], ("cat",))["cat"].sum() == 9


@pytest.mark.parametrize(("suffix", "channels"), [(".png", 3), (".png", 4), (".tif", 3)])
def test_gray_stored_as_colours(tmp_path: Path, suffix: str, channels: int) -> None:
    put_image(tmp_path / "images/a.png")
    pixels = np.dstack([VALUES] * 3 + [np.full_like(VALUES, 255)])[..., :channels]
    path = put_pixels(tmp_path / f"masks/a{suffix}", pixels)
    masks = masks_of(load(KIND, tmp_path)["a"], ("1", "2", "ignore"))
    for name, value in {"1": 1, "2": 2, "ignore": 255}.items():
        np.testing.assert_array_equal(masks[name], value == VALUES)
    pixels[3, 3, channels - 1] = 7
    put_pixels(path, pixels)
    broken(KIND, tmp_path, str(path), f"has {channels} channels")


def test_masks_of_one_class_are_not_taken_for_void(root: Path) -> None:
    for name in "ab":
        put_pixels(root / f"masks/{name}.png", block(2, 2, 6, 5, 255))
    for options in ({}, {"classes": ["lesion"]}, {"values": {"1": "lesion"}}, {"classes": ["lesion", "ignore"]}):
        parts = ("2 of 2 masks", "nothing but 255, which is void", "values: {255: lesion}", "set 'void: 255'")
        broken(KIND, root, *parts, **options)
    assert load(KIND, root, values={255: "lesion"})["a"].masks.sum() == 12
    assert scan(KIND, root, values={255: "ignore"}).classes == scan(KIND, root, void=255).classes == ("ignore",)
    assert scan(KIND, root, values={0: "ground"}).classes == ("ground", "ignore")
    assert scan(KIND, root, void=None).classes == ("255",)
    assert scan(KIND, root, classes=["lesion", "ignore"], void=255).classes == ("lesion", "ignore")


@pytest.mark.parametrize(
    "options", [{}, {"classes": ["lesion", "ignore"]}, {"classes": ["lesion"]}, {"values": {1: "lesion"}}]
)
def test_masks_that_hold_void_alone(tmp_path: Path, options: dict[str, Any]) -> None:
    masks = {"train/a": 1, "train/b": 1, "train/c": 255, "train/d": 0, "test/e": 1}
    for name, value in masks.items():
        put_image(tmp_path / f"images/{name}.png")
        put_pixels(tmp_path / f"masks/{name}.png", block(2, 2, 6, 5, value))
    told = "1 of 4 masks that are not empty hold nothing but 255, which is void. If that is a class, name it: "
    assert scan(KIND, tmp_path, **options).warnings[0].startswith(f"{told}'values: {{1: lesion, 255: lesion}}'")
    assert "nothing but" not in " ".join(scan(KIND, tmp_path, void=255, **options).warnings)
    united = {**options, "values": {1: "lesion", 255: "lesion"}}
    assert sum(load(KIND, tmp_path, **united)["train/c"].masks.reshape(-1)) == 12
    put_pixels(tmp_path / "masks/test/e.png", block(2, 2, 6, 5, 255))
    broken(KIND, tmp_path, "2 of 4", "and so all of test", "values: {1: lesion, 255: lesion}", **options)
    (tmp_path / "masks/test/e.png").rename(tmp_path / "masks/train/e.png")
    (tmp_path / "images/test/e.png").rename(tmp_path / "images/train/e.png")
    assert scan(KIND, tmp_path, **options).warnings[0].startswith("2 of 4 masks")
    put_pixels(tmp_path / "masks/train/a.png", block(2, 2, 6, 5, 255))
    broken(KIND, tmp_path, "3 of 4 masks that are not empty", on_error="reject", **options)


def test_a_first_class_that_is_zero_is_told(root: Path) -> None:
    classes = ["road", "sidewalk", "car"]
    assert "no mask holds 3 (car)" in scan(KIND, root, classes=[*classes, "ignore"]).warnings[0]
    assert "'values: {0: road, 1: sidewalk, 2: car}'" in scan(KIND, root, classes=classes).warnings[0]
    assert not scan(KIND, root, classes=[*classes, "ignore"], background=0).warnings
    assert not scan(KIND, root, classes=[*classes, "tree", "ignore"]).warnings
    assert not scan(KIND, root, classes=["road", "sidewalk", "ignore"]).warnings
    assert not scan(KIND, root, values=dict(enumerate(classes))).warnings


@pytest.mark.parametrize("name", ["background", "_Background_", "bg", "unlabelled"])
def test_a_background_among_the_classes_would_shift_them(root: Path, name: str) -> None:
    remedy = f"values: {{0: {name}, 1: cat, 2: dog}}"
    broken(KIND, root, f"begins with '{name}'", "Leave it out", remedy, classes=[name, "cat", "dog"])
    values = {0: name, 1: "cat", 2: "dog"}
    masks = masks_of(load(KIND, root, classes=[name, "cat", "dog"], values=values)["a"], (name, "cat", "dog"))
    np.testing.assert_array_equal(masks["cat"], VALUES == 1)


def test_content_is_that_of_the_pixels(root: Path) -> None:
    before = [record.content for record in scan(KIND, root).records]
    put_pixels(root / "masks/a.png", VALUES)
    assert [record.content for record in scan(KIND, root).records] == before
    put_pixels(root / "masks/a.png", VALUES.T.reshape(16, 20))
    assert scan(KIND, root).records[0].content != before[0]
    assert scan(KIND, root, values={"1": "x", "2": "y"}).records[1].content != before[1]


def test_missing_masks(root: Path) -> None:
    put_image(root / "images/c.png")
    broken(KIND, root, f"{root / 'images/c.png'} has no mask masks/c", "missing_mask")
    assert rejected(KIND, root) == [("c", "no mask")]
    classes = ("1", "2", "ignore")
    assert known_of(load(KIND, root, missing_mask="unlabelled")["c"], classes) == []
    empty = load(KIND, root, missing_mask="empty")["c"]
    assert known_of(empty, classes) == list(classes) and not empty.masks.any()


def test_a_value_that_names_nothing(root: Path) -> None:
    broken(KIND, root, str(root / "masks/a.png"), "value 2 names no class", "source.values", values={"1": "cat"})
    put_palette(root / "masks/b.png", VALUES % 2)
    assert rejected(KIND, root, values={"1": "cat"}) == [("a", "unknown value")]
    broken(KIND, root, "label 'dog' is not in classes", values={"1": "cat", "2": "dog"}, classes=["cat"])


def test_other_bad_masks(root: Path) -> None:
    put_pixels(root / "masks/a.png", np.dstack([VALUES, VALUES, VALUES // 2]))
    broken(KIND, root, "masks/a.png (png) has 3 channels", "palette")
    put_pixels(root / "masks/a.png", VALUES[:4])
    broken(KIND, root, "masks/a.png has 20x4 pixels, its image 20x16")
    assert rejected(KIND, root) == [("a", "size differs")]
    (root / "masks/a.png").rename(root / "masks/z.png")
    broken(KIND, root, "2 problems", "masks/z.png has no image named z", "images/a.jpg has no mask")
    assert rejected(KIND, root) == [("a", "no mask"), ("z", "no image")]


def test_gray_bmp_masks_are_read(root: Path) -> None:
    (root / "masks/a.png").unlink()
    Image.fromarray(np.asarray(VALUES, np.uint8)).save(root / "masks/a.bmp")
    classes, found = scan(KIND, root).classes, load(KIND, root)["a"]
    for name, mask in masks_of(found, classes).items():
        np.testing.assert_array_equal(
            mask, int(name) == np.asarray(VALUES) if name.isdigit() else np.asarray(VALUES) == 255
        )


def test_lossy_and_foreign_masks(root: Path) -> None:
    (root / "masks/a.png").unlink()
    path = put_pixels(root / "masks/a.jpg", VALUES)
    broken(KIND, root, str(path), "is a JPEG, which changes values")
    path.unlink()
    path = root / "masks/a.bmp"
    picture = Image.fromarray(np.asarray(VALUES, np.uint8), mode="P")
    picture.putpalette([(7 * i + 13) % 256 for i in range(768)])
    picture.save(path)
    broken(KIND, root, str(path), "(bmp)")
    path.unlink()
    many = np.arange(2048, dtype=np.uint16).reshape(32, 64)
    path = put_pixels(root / "masks/a.png", many)
    broken(KIND, root, str(path), "holds 2048 values")


def test_masks_that_cannot_be_read(root: Path) -> None:
    path = (root / "masks/b.png").rename(root / "masks/b.gif")
    message = broken(KIND, root, f"{path} is no mask that is read", "Convert it to PNG")
    assert "no mask masks" not in message
    broken(KIND, root, str(path), missing_mask="empty")
    assert rejected(KIND, root, missing_mask="empty") == [("b", "not a mask")]
    (root / "masks/a.png").rename(root / "masks/a.npy")
    for options in ({}, {"missing_mask": "empty", "classes": ["cat"]}, {"on_error": "reject"}):
        broken(KIND, root, "masks holds no mask of an image, but a.npy", "convert", **options)


def test_other_files_beside_masks_are_refused(root: Path) -> None:
    put_text(root / "masks/a.txt", "beside its mask")
    put_text(root / "masks/readme.txt", "of no image")
    assert rejected(KIND, root) == [("a.txt", "not a mask"), ("readme.txt", "not a mask")]
    assert len(scan(KIND, root).records) == 2


# ---- names -----------------------------------------------------------------------------------------------------------


def test_suffixes(tmp_path: Path) -> None:
    for city, values in (("aachen", VALUES), ("bremen", VALUES % 255)):
        stem = f"train/{city}/{city}_0"
        put_image(tmp_path / f"images/{stem}_leftImg8bit.png")
        put_palette(tmp_path / f"masks/{stem}_gtFine_labelIds.png", values)
        put_palette(tmp_path / f"masks/{stem}_gtFine_instanceIds.png", values * 0 + 9)
        put_text(tmp_path / f"masks/{stem}_gtFine_polygons.json", "{}")
    named: dict[str, Any] = {"image_suffix": "_leftImg8bit", "mask_suffix": "_gtFine_labelIds"}
    listing = scan(KIND, tmp_path, **named)
    assert [(r.name, r.group) for r in listing.records] == [
        ("train/aachen/aachen_0", "aachen"),
        ("train/bremen/bremen_0", "bremen"),
    ]
    assert {(r.name, r.reason) for r in listing.refused if "bremen" in r.name} == {
        ("train/bremen/bremen_0_gtFine_instanceIds", "name without mask_suffix"),
        ("train/bremen/bremen_0_gtFine_polygons.json", "not a mask"),
    }
    masks = masks_of(load(KIND, tmp_path, **named)["train/aachen/aachen_0"], listing.classes)
    np.testing.assert_array_equal(masks["2"], VALUES == 2)
    path = put_text(tmp_path / "masks/train/aachen/aachen_0_gtFine_labelIds.npy", "x")
    assert len(scan(KIND, tmp_path, **named).records) == 2
    (tmp_path / "masks/train/aachen/aachen_0_gtFine_labelIds.png").unlink()
    broken(KIND, tmp_path, f"{path} is no mask", **named)


def test_suffixes_that_lack_are_told(root: Path) -> None:
    for name in "ab":
        (root / f"masks/{name}.png").rename(root / f"masks/{name}_mask.png")
    for options in ({}, {"missing_mask": "empty", "classes": ["1", "2"]}, {"on_error": "reject"}):
        broken(KIND, root, "no mask of an image, but a_mask;", "such as a.png", "source.mask_suffix", **options)
    assert len(load(KIND, root, mask_suffix="_mask")) == 2
    for option in ("image_suffix", "mask_suffix"):
        broken(KIND, root, "no name ends with '_x'", f"source.{option}", **{option: "_x"}, on_error="reject")
    put_palette(root / "masks/_mask.png", VALUES)
    assert rejected(KIND, root, mask_suffix="_mask") == [("_mask", "name without mask_suffix")]


@pytest.mark.parametrize("folder", [".", "P1/"])
def test_images_and_masks_side_by_side(tmp_path: Path, folder: str) -> None:
    for name in ("P1/a", "P1/b"):
        put_image(tmp_path / f"{name}.jpg")
        put_palette(tmp_path / f"{name}_mask.png", VALUES)
    places: dict[str, Any] = {"images": folder, "masks": folder.strip("/"), "mask_suffix": "_mask"}
    listing = scan(KIND, tmp_path, **places)
    assert [r.name for r in listing.records] == ["P1/a", "P1/b"] if folder == "." else ["a", "b"]
    assert not listing.refused
    sample = next(iter(load(KIND, tmp_path, **places).values()))
    np.testing.assert_array_equal(masks_of(sample, listing.classes)["1"], VALUES == 1)
    put_text(tmp_path / "P1/b.txt", "a note")
    assert [row.reason for row in scan(KIND, tmp_path, **places).refused] == ["not an image"]
    (tmp_path / "P1/b_mask.png").rename(tmp_path / "P1/b_mask.gif")
    broken(KIND, tmp_path, "b_mask.gif is no mask", missing_mask="empty", **places)
    broken(KIND, tmp_path, "source.mask_suffix", missing_mask="empty", **{**places, "mask_suffix": "_msk"})
    with pytest.raises(ValidationError, match="tell them apart by mask_suffix"):
        IndexMask(path="x", images=".", masks="./")


@pytest.mark.parametrize("masks", [".", "masks"])
def test_a_second_mask_of_an_image(tmp_path: Path, masks: str) -> None:
    for name in ("a", "face_mask_1"):
        put_image(tmp_path / f"{name}.jpg")
        put_palette(tmp_path / masks / f"{name}_mask.png", VALUES)
    places: dict[str, Any] = {"images": ".", "masks": masks, "mask_suffix": "_mask", "missing_mask": "empty"}
    assert len(scan(KIND, tmp_path, **places).records) == 2
    path = put_palette(tmp_path / masks / "a_mask_old.png", VALUES)
    broken(KIND, tmp_path, f"{path} seems to be another mask of a; expected one, a_mask", **places)
    assert rejected(KIND, tmp_path, **places) == [("a", "several masks")]
    assert [r.name for r in scan(KIND, tmp_path, on_error="reject", **places).records] == ["face_mask_1"]
    (tmp_path / "a.jpg").rename(tmp_path / "a_im.jpg")
    (tmp_path / "face_mask_1.jpg").rename(tmp_path / "face_mask_1_im.jpg")
    assert rejected(KIND, tmp_path, image_suffix="_im", **places)[0] == ("a", "several masks")


def test_a_folder_of_masks_among_the_images(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")
    put_palette(tmp_path / "masks/a.png", VALUES)
    assert [r.name for r in scan(KIND, tmp_path, images=".").records] == ["a"]
    assert len(scan(KIND, tmp_path, images="./", masks="./masks/").records) == 1
    (tmp_path / "masks/images").mkdir()
    (tmp_path / "a.jpg").rename(tmp_path / "masks/images/a.jpg")
    broken(KIND, tmp_path, "has no image named images/a", images="masks/images")


@pytest.mark.parametrize("masks", [".", "masks"])
def test_numbered_masks_of_an_image_are_united(tmp_path: Path, masks: str) -> None:
    put_image(tmp_path / "a.jpg")
    put_palette(tmp_path / masks / "a_mask.png", block(2, 2, 6, 5, 1))
    path = put_palette(tmp_path / masks / "a_mask_1.png", block(4, 2, 8, 5, 2) + block(10, 2, 14, 5, 1))
    places: dict[str, Any] = {"images": ".", "masks": masks, "mask_suffix": "_mask"}
    listing = scan(KIND, tmp_path, **places)
    (warning,) = listing.warnings
    assert warning.endswith(f"1, such as the one of {path.relative_to(tmp_path)}") and not listing.refused
    found = masks_of(load(KIND, tmp_path, **places)["a"], listing.classes)
    np.testing.assert_array_equal(found["1"], block(2, 2, 6, 5) + block(10, 2, 14, 5) > 0)
    np.testing.assert_array_equal(found["2"], block(4, 2, 8, 5) > 0)
    put_palette(path, block(4, 2, 8, 5, 2))
    assert scan(KIND, tmp_path, **places).records[0].content != listing.records[0].content
    put_palette(path, block(4, 2, 8, 5, 7))
    assert rejected(KIND, tmp_path, values={1: "x", 2: "y"}, **places) == [("a", "unknown value")]
    put_pixels(path, block(0, 0, 1, 1, 2, size=(5, 4)))
    assert rejected(KIND, tmp_path, **places) == [("a", "size differs")]
    path.write_bytes(path.read_bytes()[:30])
    assert rejected(KIND, tmp_path, **places) == [("a", "broken mask")]
    (tmp_path / masks / "a_mask.png").unlink()
    if masks == ".":
        return
    put_image(tmp_path / "b.jpg")
    put_palette(tmp_path / masks / "b_mask.png", VALUES)
    assert rejected(KIND, tmp_path, **places) == [("a", "several masks")]


# ---- splits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["error", "empty", "unlabelled"])
def test_a_split_without_any_mask_is_unlabelled(tmp_path: Path, missing: str) -> None:
    for name in ("train/a", "train/b", "test/c"):
        put_image(tmp_path / f"images/{name}.png")
    for name in ("train/a", "train/b"):
        put_palette(tmp_path / f"masks/{name}.png", VALUES)
    listing = scan(KIND, tmp_path, missing_mask=missing)
    told = ("test: none of 1 images has a mask, so they are taken for unlabelled",)
    assert listing.warnings == (told if missing == "error" else ())
    samples = load(KIND, tmp_path, missing_mask=missing)
    assert known_of(samples["test/c"], listing.classes) == (list(listing.classes) if missing == "empty" else [])
    assert known_of(samples["train/a"], listing.classes) == list(listing.classes)
    put_image(tmp_path / "images/test/d.png")
    put_palette(tmp_path / "masks/test/d.png", VALUES)
    if missing == "error":
        broken(KIND, tmp_path, "test/c.png has no mask", missing_mask=missing)
    else:
        known = known_of(load(KIND, tmp_path, missing_mask=missing)["test/c"], listing.classes)
        assert known == ([] if missing == "unlabelled" else list(listing.classes))


def test_no_mask_at_all_is_no_unlabelled_split(tmp_path: Path) -> None:
    put_image(tmp_path / "images/test/c.png")
    (tmp_path / "masks").mkdir()
    broken(KIND, tmp_path, "test/c.png has no mask", values={1: "x"})


def test_folders_of_images_in_those_of_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        put_image(tmp_path / f"{split}/img/a.png")
    entries = [f"- {{format: index-mask, path: {tmp_path}/{entry}}}" for entry in ("test, split: test", "train")]
    broken(KIND, tmp_path, "img is no folder", "format: union", *entries, images="img")


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 20, -5])
def test_cut_masks(root: Path, keep: int) -> None:
    path = root / "masks/a.png"
    path.write_bytes(path.read_bytes()[:keep])
    broken(KIND, root, str(path))
    assert rejected(KIND, root) == [("a", "broken mask")]


def test_broken_masks_are_told_before_missing_classes(root: Path) -> None:
    for name in "ab":
        path = root / f"masks/{name}.png"
        path.write_bytes(path.read_bytes()[:-5])
    assert "classes" not in broken(KIND, root, "2 problems", str(path), "is damaged")
    broken(KIND, root, "names 0 classes", "masks/a.png is damaged", on_error="reject")


def test_pixels_behind_good_checksums_are_seen_when_listed(root: Path) -> None:

    path = put_text(root / "masks/a.png", png(20, 16, 8, 0, b"\0" + bytes(20)))
    broken(KIND, root, str(path), "cannot be decoded")


def test_a_turned_mask(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    put_image(tmp_path / "images/a.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.ascontiguousarray(np.rot90(VALUES))).save(tmp_path / "masks/a.png", exif=exif)
    np.testing.assert_array_equal(masks_of(load(KIND, tmp_path)["a"], ("1", "2", "ignore"))["1"], VALUES == 1)


def test_missing_folders(root: Path) -> None:
    (root / "masks").rename(root / "SegmentationClass")
    broken(KIND, root, "masks is no folder", "VOC: masks: SegmentationClass")
    assert len(load(KIND, root, masks="SegmentationClass")) == 2


# ---- Pascal VOC ------------------------------------------------------------------------------------------------------

VOC: dict[str, Any] = {
    "images": "JPEGImages",
    "masks": "SegmentationClass",
    "lists": "ImageSets/Segmentation",
    "classes": "voc",
}


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Four images, three of them with masks and in lists."""
    for name in "abcd":
        put_image(tmp_path / f"JPEGImages/2007_{name}.jpg")
    for name in "abc":
        put_palette(tmp_path / f"SegmentationClass/2007_{name}.png", VALUES, voc=True)
    for stem, names in {"train": "a", "val": "b", "trainval": "ab", "test": "c"}.items():
        put_text(tmp_path / f"ImageSets/Segmentation/{stem}.txt", "".join(f"2007_{name}\n" for name in names))
    return tmp_path


def test_voc(voc: Path) -> None:
    listing = scan(KIND, voc, **VOC)
    assert [(r.name, r.split) for r in listing.records] == [("2007_a", None), ("2007_b", "val"), ("2007_c", "test")]
    assert len(listing.classes) == 21 and not listing.refused and not listing.warnings
    masks = masks_of(load(KIND, voc, **VOC)["2007_b"], listing.classes)
    for name, value in {"aeroplane": 1, "bicycle": 2, "ignore": 255}.items():
        np.testing.assert_array_equal(masks[name], value == VALUES)
    assert sum(mask.any() for mask in masks.values()) == 3


def test_the_lists_word_is_obeyed(voc: Path) -> None:
    before = scan(KIND, voc, **VOC).records
    put_text(voc / "ImageSets/Segmentation/train.txt", "2007_a\n\n2007_d \n2007_b\nzebra")
    message = broken(KIND, voc, "3 problems", "train.txt:5: no image is named zebra", **VOC)
    assert "train.txt:4 and" in message and "val.txt:1 both name 2007_b" in message
    assert "2007_d.jpg has no mask" in message
    refused = [("2007_b", "in two splits"), ("2007_d", "no mask"), ("zebra", "no image")]
    assert rejected(KIND, voc, **VOC) == refused
    assert [r.content for r in scan(KIND, voc, on_error="reject", **VOC).records] == [
        before[0].content,
        before[2].content,
    ]


def test_lists_stand_above_folders(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "val/c", "val/d", "test/e"):
        put_image(tmp_path / f"images/{name}.png")
        put_palette(tmp_path / f"masks/{name}.png", VALUES)
    for stem, names in {"train": "train/a val/c", "val": "train/b", "all": "val/d test/e train/a"}.items():
        put_text(tmp_path / f"lists/{stem}.txt", names.replace(" ", "\n"))
    splits = {record.name: record.split for record in scan(KIND, tmp_path, lists="lists").records}
    assert splits == {"train/a": None, "train/b": "val", "val/c": "train", "val/d": "val", "test/e": "test"}
    splits = {record.name: record.split for record in scan(KIND, tmp_path, lists="lists", own_splits=False).records}
    assert set(splits.values()) == {None}


def test_lists_may_name_image_files(tmp_path: Path) -> None:
    for name in ("a", "b", "c.1"):
        put_image(tmp_path / f"images/{name}.png")
        put_palette(tmp_path / f"masks/{name}.png", VALUES)
    put_text(tmp_path / "lists/train.txt", "a.png\r\n")
    put_text(tmp_path / "lists/val.txt", "b.JPG \r\nc.1\r\n")
    found = {record.name: record.split for record in scan(KIND, tmp_path, lists="lists").records}
    assert found == {"a": None, "b": "val", "c.1": "val"}


def test_a_list_without_any_mask_is_unlabelled(voc: Path) -> None:
    (voc / "SegmentationClass/2007_c.png").unlink()
    listing = scan(KIND, voc, **VOC)
    assert listing.warnings == ("test: none of 1 images has a mask, so they are taken for unlabelled",)
    assert known_of(load(KIND, voc, **VOC)["2007_c"], listing.classes) == []


def test_bad_lists(voc: Path) -> None:
    put_text(voc / "ImageSets/Segmentation/val.txt", b"\xff")
    broken(KIND, voc, "val.txt is not UTF-8", **VOC)
    broken(KIND, voc, "ImageSets/Main is no folder", "VOC: lists", **{**VOC, "lists": "ImageSets/Main"})
    put_text(voc / "ImageSets/Main/val.md", "2007_a")
    broken(KIND, voc, "ImageSets/Main holds no .txt", **{**VOC, "lists": "ImageSets/Main"})
    (voc / "ImageSets/Segmentation/val.txt").unlink()
    (voc / "ImageSets/Segmentation/train.txt").unlink()
    assert [r.split for r in scan(KIND, voc, **VOC).records] == [None, None, "test"]


def test_images_are_not_decoded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[int] = []
    monkeypatch.setattr(cv2, "imdecode", spy(cv2.imdecode, shapes, lambda data, _: len(data)))
    scan(KIND, root)
    assert len(shapes) == 2  # the masks alone
