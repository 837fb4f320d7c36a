"""The mask-folder adapter: layouts, classes, what is known, and every kind of bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from makedata import (
    block,
    broken,
    known_of,
    load,
    masks_of,
    put_image,
    put_palette,
    put_pixels,
    put_text,
    rejected,
    scan,
    spy,
)
from PIL import Image

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.sources.formats.mask_folder import MaskFolder
from augforge.sources.raster import mask_looks

KIND = "mask-folder"
HEART, LUNG = block(2, 2, 6, 5), block(4, 1, 12, 9, value=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of one patient, one of another; the last has no lung."""
    for name in ("P1/a", "P1/b", "P2/c"):
        put_image(tmp_path / f"images/{name}.png")
        put_pixels(tmp_path / f"masks/heart/{name}.png", HEART)
        if name != "P2/c":
            put_pixels(tmp_path / f"masks/lung/{name}.png", LUNG)
    return tmp_path


def test_listing(root: Path) -> None:
    listing = scan(KIND, root)
    assert listing.classes == ("heart", "lung")
    assert [(r.name, r.group, r.split) for r in listing.records] == [
        ("P1/a", "P1", None),
        ("P1/b", "P1", None),
        ("P2/c", "P2", None),
    ]
    assert (listing.refused, listing.labels, listing.warnings) == ((), (), ())
    first = listing.records[0]
    assert (first.width, first.height) == (20, 16)
    assert first.bytes == (root / "images/P1/a.png").stat().st_size


def test_planes(root: Path) -> None:
    classes = scan(KIND, root).classes
    samples = load(KIND, root)
    masks = masks_of(samples["P1/a"], classes)
    np.testing.assert_array_equal(masks["heart"], HEART > 0)
    np.testing.assert_array_equal(masks["lung"], LUNG > 0)
    assert not masks_of(samples["P2/c"], classes)["lung"].any()
    assert known_of(samples["P2/c"], classes) == ["heart", "lung"]
    assert samples["P1/a"].split == "train"
    np.testing.assert_array_equal(
        samples["P1/a"].image, cv2.imread(str(root / "images/P1/a.png"), cv2.IMREAD_UNCHANGED)
    )


def test_a_class_without_a_folder_is_unknown(root: Path) -> None:
    classes = ("spine", "heart", "lung")
    sample = load(KIND, root, classes=classes)["P1/a"]
    assert known_of(sample, classes) == ["heart", "lung"]
    before = scan(KIND, root, classes=classes).records[0].content
    (root / "masks/spine").mkdir()
    assert known_of(load(KIND, root, classes=classes)["P1/a"], classes) == list(classes)
    assert scan(KIND, root, classes=classes).records[0].content != before


def test_rename_merge_and_drop(root: Path) -> None:
    merged = {"heart": "chest", "lung": "chest"}
    sample = load(KIND, root, class_map=merged)["P1/a"]
    np.testing.assert_array_equal(masks_of(sample, ("chest",))["chest"], (HEART > 0) | (LUNG > 0))
    assert scan(KIND, root, class_map={"lung": None}).classes == ("heart",)
    assert scan(KIND, root, classes=["heart"], class_map={"*": None}).classes == ("heart",)
    broken(KIND, root, "masks: label 'lung' is not in classes", "class_map", classes=["heart"])
    broken(KIND, root, "names 0 classes", class_map={"*": None})


def test_ignore_is_a_class_like_any_other(root: Path) -> None:
    put_pixels(root / "masks/ignore/P1/a.png", block(0, 0, 3, 3))
    listing = scan(KIND, root)
    assert listing.classes == ("heart", "ignore", "lung")
    assert masks_of(load(KIND, root)["P1/a"], listing.classes)["ignore"].sum() == 9


def test_other_folder_names(root: Path) -> None:
    (root / "images").rename(root / "scans")
    (root / "masks").rename(root / "labels")
    assert len(load(KIND, root, images="scans", masks="labels/")) == 3


def test_class_folders_beside_the_images(root: Path) -> None:
    for label in ("heart", "lung"):
        (root / f"masks/{label}").rename(root / label)
    (root / "masks").rmdir()
    listing = scan(KIND, root, masks=".")
    assert listing.classes == ("heart", "lung")
    before = masks_of(load(KIND, root, masks="./")["P1/b"], listing.classes)
    np.testing.assert_array_equal(before["heart"], HEART > 0)
    (root / "scans").mkdir()
    (root / "images").rename(root / "scans/raw")
    assert scan(KIND, root, images="scans/raw", masks=".").classes == ("heart", "lung")


def test_masks_below_the_images_are_no_images(root: Path) -> None:
    (root / "masks").rename(root / "images/masks")
    listing = scan(KIND, root, masks="images/masks")
    assert [r.name for r in listing.records] == ["P1/a", "P1/b", "P2/c"]
    masks = masks_of(load(KIND, root, masks="images/masks")["P1/a"], listing.classes)
    np.testing.assert_array_equal(masks["lung"], LUNG > 0)


def test_suffixes(root: Path) -> None:
    for path in sorted(root.rglob("*.png")):
        path.rename(path.with_stem(f"{path.stem}_{'im' if 'images' in path.parts else 'mask'}"))
    named: dict[str, Any] = {"image_suffix": "_im", "mask_suffix": "_mask"}
    listing = scan(KIND, root, **named)
    assert [(r.name, r.group) for r in listing.records] == [("P1/a", "P1"), ("P1/b", "P1"), ("P2/c", "P2")]
    masks = masks_of(load(KIND, root, **named)["P1/a"], listing.classes)
    np.testing.assert_array_equal(masks["lung"], LUNG > 0)
    assert not masks_of(load(KIND, root, **named)["P2/c"], listing.classes)["lung"].any()
    put_pixels(root / "masks/lung/P1/a_colour.png", LUNG)
    put_image(root / "images/P1/overview.png")
    assert rejected(KIND, root, **named) == [
        ("P1/a_colour", "name without mask_suffix"),
        ("P1/overview", "name without image_suffix"),
    ]


@pytest.mark.parametrize(
    ("suffix", "pixels"),
    [
        (".png", HEART[..., None].repeat(3, axis=2)),
        (".png", np.dstack([HEART, np.zeros_like(HEART), HEART, np.full_like(HEART, 255)])),
        (".png", HEART.astype(np.uint16) * 257),
        (".bmp", HEART),
        (".tif", HEART),
        (".png", "palette"),
    ],
    ids=["rgb", "opaque", "16 bits", "bmp", "tiff", "palette"],
)
def test_masks_of_other_kinds(tmp_path: Path, suffix: str, pixels: Any) -> None:
    put_image(tmp_path / "images/a.jpg")
    path = tmp_path / f"masks/heart/a{suffix}"
    put_palette(path, HEART // 100) if isinstance(pixels, str) else put_pixels(path, pixels)
    np.testing.assert_array_equal(masks_of(load(KIND, tmp_path)["a"], ("heart",))["heart"], HEART > 0)


def test_lossy_masks_need_a_threshold(tmp_path: Path) -> None:
    put_image(tmp_path / "images/a.png", (32, 32))
    path = put_pixels(tmp_path / "masks/heart/a.jpg", block(8, 8, 16, 16, size=(32, 32)))
    broken(KIND, tmp_path, str(path), "threshold")
    assert masks_of(load(KIND, tmp_path, threshold=127)["a"], ("heart",))["heart"].sum() == 64


def test_content_is_that_of_image_and_own_masks(root: Path) -> None:
    before = [record.content for record in scan(KIND, root).records]
    put_pixels(root / "masks/lung/P1/b.png", HEART)
    after = [record.content for record in scan(KIND, root).records]
    assert [one == two for one, two in zip(before, after, strict=True)] == [True, False, True]
    assert scan(KIND, root, threshold=1).records[0].content != after[0]


def test_no_image_is_decoded_and_nothing_read_twice(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    decoded: list[int] = []
    monkeypatch.setattr(cv2, "imdecode", spy(cv2.imdecode, decoded, lambda *_: 1))
    cache = FileCache(tmp_path / "facts.db")
    first = scan(KIND, root, cache)
    assert len(decoded) == 5  # the masks, which show whether they have grey levels
    cache.save()
    monkeypatch.setattr(Path, "read_bytes", lambda *_: pytest.fail("read"))
    assert scan(KIND, root, FileCache(tmp_path / "facts.db")) == first


# ---- splits ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """A training and a test image; the test image has no mask."""
    for name in ("train/a", "val/b", "test/c"):
        put_image(tmp_path / f"images/{name}.png")
    for name in ("train/a", "val/b"):
        for label in ("heart", "lung"):
            put_pixels(tmp_path / f"masks/{label}/{name}.png", HEART)
    return tmp_path


def test_a_split_without_any_mask_is_unlabelled(splits: Path) -> None:
    listing = scan(KIND, splits)
    assert listing.warnings == ("test: none of 1 images has a mask, so they are taken for unlabelled",)
    samples = load(KIND, splits)
    assert {name: known_of(sample, listing.classes) for name, sample in samples.items()} == {
        "train/a": ["heart", "lung"],
        "val/b": ["heart", "lung"],
        "test/c": [],
    }
    put_image(splits / "images/test/d.png")
    put_pixels(splits / "masks/lung/test/d.png", HEART * 0)
    listing = scan(KIND, splits)
    assert known_of(load(KIND, splits)["test/c"], listing.classes) == ["heart", "lung"]
    assert listing.records[0].content != scan(KIND, splits, classes=["lung", "heart", "x"]).records[0].content


def test_a_class_that_a_split_lacks_is_told(splits: Path) -> None:
    (splits / "masks/lung/val/b.png").unlink()
    listing = scan(KIND, splits)
    assert "val: no image has a mask of lung, so it counts as not there" in listing.warnings
    assert known_of(load(KIND, splits)["val/b"], listing.classes) == ["heart", "lung"]


def test_nobody_labelled_anything_or_test_is_a_person(splits: Path) -> None:
    put_image(splits / "images/P1/d.png")
    assert known_of(load(KIND, splits)["test/c"], ("heart", "lung")) == []
    assert known_of(load(KIND, splits, own_splits=False)["test/c"], ("heart", "lung")) == ["heart", "lung"]
    for path in splits.glob("masks/*/*/*.png"):
        path.unlink()
    assert known_of(load(KIND, splits)["test/c"], ("heart", "lung")) == ["heart", "lung"]


def test_folders_of_images_in_those_of_splits(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        put_image(tmp_path / f"{split}/images/a.png")
        put_pixels(tmp_path / f"{split}/masks/heart/a.png", HEART)
    entries = [
        f"- {{format: mask-folder, path: {tmp_path}/train}}\n",
        f"- {{format: mask-folder, path: {tmp_path}/valid, split: val}}\n",
    ]
    message = broken(KIND, tmp_path, "images is no folder", "format: union", *entries)
    shown = yaml.safe_load(message[message.index("  format") : message.index("with all other")])
    listing = scan(shown.pop("format"), tmp_path, **shown)
    assert [(record.name, record.split) for record in listing.records] == [("train/a", None), ("valid/a", "val")]


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["images/P1/a.png", "masks/lung/P1/a.png"])
@pytest.mark.parametrize("keep", [0, 30, -5])
def test_cut_files(root: Path, place: str, keep: int) -> None:
    path = root / place
    path.write_bytes(path.read_bytes()[:keep])
    broken(KIND, root, str(path))
    reason = "broken image" if place.startswith("images") else "broken mask"
    assert rejected(KIND, root) == [("P1/a", reason)]
    assert [r.name for r in scan(KIND, root, on_error="reject").records] == ["P1/b", "P2/c"]


def test_mask_of_another_size(root: Path) -> None:
    path = put_pixels(root / "masks/lung/P1/a.png", block(0, 0, 1, 1, size=(5, 4)))
    broken(KIND, root, str(path), "5x4", "20x16")
    assert rejected(KIND, root) == [("P1/a", "size differs")]


def test_mask_without_an_image(root: Path) -> None:
    path = put_pixels(root / "masks/lung/P9/x.png", LUNG)
    broken(KIND, root, str(path), "no image named P9/x")
    assert rejected(KIND, root) == [("P9/x", "no image")]


def test_masks_that_would_be_missed(root: Path) -> None:
    """What is no mask by its name or kind must not make the class absent."""
    for name in ("P1/a", "P1/b"):
        (root / f"masks/lung/{name}.png").rename(root / f"masks/lung/{name}_mask.png")
    for on_error in ("error", "reject"):
        parts = ("masks/lung holds no mask of an image, but P1/a_mask;", "such as P1/a.png", "source.mask_suffix")
        broken(KIND, root, *parts, on_error=on_error)
    for name in ("P1/a", "P1/b"):
        (root / f"masks/lung/{name}_mask.png").rename(root / f"masks/lung/{name}.gif")
    broken(KIND, root, "masks/lung holds no mask of an image, but P1/a.gif", "convert", on_error="reject")
    put_pixels(root / "masks/lung/P1/a.png", LUNG)
    broken(KIND, root, f"{root / 'masks/lung/P1/b.gif'} is no mask", "Convert it to PNG")
    assert rejected(KIND, root) == [("P1/a.gif", "not a mask"), ("P1/b", "not a mask")]
    assert [r.name for r in scan(KIND, root, on_error="reject").records] == ["P1/a", "P2/c"]


def test_two_files_of_one_name(root: Path) -> None:
    other = put_image(root / "images/P1/a.jpg")
    broken(KIND, root, str(other), "share the name P1/a")
    assert ("P1/a", "name stands twice") in rejected(KIND, root)
    assert len(scan(KIND, root, on_error="reject").records) == 2


def test_two_masks_of_one_name(root: Path) -> None:
    other = put_pixels(root / "masks/lung/P1/a.bmp", LUNG)
    broken(KIND, root, str(other), "share the name P1/a")


def test_problems_come_together(root: Path) -> None:
    (root / "images/P1/a.png").write_bytes(b"")
    (root / "masks/heart/P2/c.png").write_bytes(b"no png")
    broken(KIND, root, "2 problems", "images/P1/a.png is empty", "masks/heart/P2/c.png is of an unknown kind")


def test_odd_files_are_refused_rows(root: Path) -> None:
    put_text(root / "images/P1/notes.txt", "x")
    put_text(root / "masks/readme.txt", "x")
    put_text(root / "masks/heart/P1/.DS_Store", "x")
    assert rejected(KIND, root) == [("P1/notes.txt", "not an image"), ("readme.txt", "not a folder of a class")]
    assert len(scan(KIND, root).records) == 3


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_missing_folders_show_the_layout(root: Path, missing: str) -> None:
    (root / missing).rename(root / "moved")
    broken(KIND, root, str(root / missing), "masks/heart/P01/scan1.png", "Correct source.path")
    broken(KIND, root / "elsewhere", "images is no folder", "masks/heart/P01/scan1.png")


def test_an_empty_masks_folder(tmp_path: Path) -> None:
    put_image(tmp_path / "images/a.png")
    (tmp_path / "masks").mkdir()
    broken(KIND, tmp_path, "masks holds no folders", "masks/heart/P01/scan1.png")


def test_masks_without_folders_of_classes(tmp_path: Path) -> None:
    put_image(tmp_path / "images/a.png")
    put_pixels(tmp_path / "masks/a.PNG", HEART)
    broken(KIND, tmp_path, "masks holds a.PNG", "index-mask", "values: {255: NAME}")


def test_lossy_masks_without_folders_of_classes(tmp_path: Path) -> None:
    put_image(tmp_path / "images/a.png", (32, 32))
    path = put_pixels(tmp_path / "masks/a.jpg", block(8, 8, 16, 16, size=(32, 32)))
    remedy = ("'masks: .', 'class_map: {masks: NAME}'", "'threshold: 127'")
    broken(KIND, tmp_path, "masks holds a.jpg", *remedy)
    broken("index-mask", tmp_path, str(path), "is a JPEG", "format: mask-folder with a threshold")
    sample = load(KIND, tmp_path, masks=".", class_map={"masks": "polyp"}, threshold=127)["a"]
    assert masks_of(sample, ("polyp",))["polyp"].sum() == 64
    (tmp_path / "data").mkdir()
    (tmp_path / "masks").rename(tmp_path / "data/polyps")
    broken(KIND, tmp_path, "'masks: data', 'class_map: {polyps: NAME}'", masks="data/polyps")


def test_numbered_masks_of_an_image_are_united(tmp_path: Path) -> None:
    put_image(tmp_path / "images/a.png")
    for tail, mask in {"": HEART, "_1": LUNG, " (2)": block(14, 10, 16, 12)}.items():
        path = put_pixels(tmp_path / f"masks/heart/a_mask{tail}.png", mask)
    listing = scan(KIND, tmp_path, mask_suffix="_mask")
    (warning,) = listing.warnings
    assert warning.startswith("images with several masks, which are united: 1, such as the one of masks/heart/a_mask")
    found = masks_of(load(KIND, tmp_path, mask_suffix="_mask")["a"], ("heart",))["heart"]
    np.testing.assert_array_equal(found, (HEART > 0) | (LUNG > 0) | (block(14, 10, 16, 12) > 0))
    put_pixels(path, HEART)
    assert scan(KIND, tmp_path, mask_suffix="_mask").records[0].content != listing.records[0].content
    path.write_bytes(path.read_bytes()[:30])
    assert rejected(KIND, tmp_path, mask_suffix="_mask") == [("a", "broken mask")]
    path.rename(path.with_stem("a_mask_old"))
    broken(KIND, tmp_path, "a_mask_old.png seems to be another mask of a", mask_suffix="_mask")


def test_an_empty_images_folder(tmp_path: Path) -> None:
    (tmp_path / "masks/heart").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    broken(KIND, tmp_path, "holds no image", "images/P01")


def test_mask_changed_since_the_listing(root: Path) -> None:
    source = MaskFolder(path=str(root))
    listing = source.scan(FileCache())
    path = put_pixels(root / "masks/lung/P1/a.png", block(0, 0, 1, 1, size=(5, 4)))
    with pytest.raises(SourceError, match="5x4 now; expected 20x16") as caught:
        source.load(listing.records[0], listing.classes)
    assert str(path) in str(caught.value)


def test_a_class_without_any_mask_is_told(root: Path) -> None:
    (root / "masks/rib").mkdir()
    assert scan(KIND, root).warnings == ("masks/rib holds no mask, so rib counts as not there in all images",)


# ---- masks that are not meant as they are read -----------------------------------------------------------------------


def findings(root: Path, **options: Any) -> dict[str, tuple[str, str]]:
    return {found.kind: (found.message, found.remedy) for found in scan(KIND, root, **options).findings}


def put_masks(root: Path, mask: Any, label: str = "heart", count: int = 3, size: tuple[int, int] = (64, 48)) -> None:
    for name in "abcdefgh"[:count]:
        put_image(root / f"images/{name}.png", size)
        put_pixels(root / f"masks/{label}/{name}.png", mask)


def test_grey_levels_are_told_with_what_they_cover(tmp_path: Path) -> None:
    square = block(20, 12, 40, 30, size=(64, 48))
    blurred = cv2.GaussianBlur(square, (9, 9), 0)
    put_masks(tmp_path, blurred)
    put_pixels(tmp_path / "masks/heart/a.png", square)
    message, remedy = findings(tmp_path)["grey levels in masks"]
    assert message.startswith("2 of 3 masks of heart hold more than one value besides 0, such as masks/heart/b.png")
    inside, half = 2 * (blurred > 0).sum(), 2 * (blurred > 127).sum()
    assert f"{inside} pixels where those above half of the brightest are {half}" in message
    assert "'threshold: 127'" in remedy
    assert not findings(tmp_path, threshold=127)
    (heart,) = masks_of(load(KIND, tmp_path, threshold=127)["b"], ("heart",)).values()
    np.testing.assert_array_equal(heart, blurred > 127)


@pytest.mark.parametrize("make", ["resized", "jpeg"])
def test_resized_and_once_jpeg_masks_are_told(tmp_path: Path, make: str) -> None:
    square = block(20, 12, 41, 31, size=(64, 48))
    small = cv2.resize(square, (40, 30), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imdecode(cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)
    put_masks(tmp_path, {"resized": cv2.resize(small, (64, 48)), "jpeg": jpeg}[make])
    assert [*findings(tmp_path)] == ["grey levels in masks"]


def test_values_from_1_to_n_are_told_and_united(tmp_path: Path) -> None:
    """Classes in one mask would be lost; numbers of objects are rightly united, which a person has to say."""
    numbered = block(2, 2, 9, 9, 1, (64, 48)) + block(20, 20, 30, 30, 2, (64, 48)) + block(40, 2, 50, 9, 3, (64, 48))
    put_masks(tmp_path, numbered)
    found = findings(tmp_path)
    message, remedy = found["masks of several values"]
    assert [*found] == ["masks of several values"]
    assert message.startswith("3 of 3 masks of heart hold more than one value besides 0, such as masks/heart/a.png")
    assert "with 4 (0, 1, 2, 3), and all of them are heart" in message and "index-mask" in remedy
    (heart,) = masks_of(load(KIND, tmp_path)["a"], ("heart",)).values()
    np.testing.assert_array_equal(heart, numbered > 0)


def test_a_ground_that_is_not_0_is_told_without_a_wrong_number(tmp_path: Path) -> None:
    put_masks(tmp_path, np.maximum(block(2, 2, 9, 9, size=(64, 48)), 1))
    message, _ = findings(tmp_path)["grey levels in masks"]
    assert "hold more than one value besides 0, such as masks/heart/a.png with 2 (1, 255): every" in message


def test_a_class_whose_masks_are_all_black_is_told(tmp_path: Path) -> None:
    """As after a threshold for 255 on masks of 1: the class would never be there."""
    put_masks(tmp_path, block(2, 2, 9, 9, 1, (64, 48)))
    message, remedy = findings(tmp_path, threshold=127)["class drawn nowhere"]
    assert message == "class 'heart' has no pixel in 3 masks of heart, whose largest value is 1"
    assert "source.threshold" in remedy and not findings(tmp_path)


def test_plain_masks_are_not_told(tmp_path: Path) -> None:
    put_masks(tmp_path, block(2, 2, 30, 30, size=(64, 48)), "lung")
    put_pixels(tmp_path / "masks/lung/a.png", np.zeros((48, 64), np.uint8))
    put_masks(tmp_path, np.full((48, 64), 255, np.uint8), "background")
    assert not findings(tmp_path)


def test_a_palette_with_white_first_is_told(tmp_path: Path) -> None:
    put_masks(tmp_path, block(1, 1, 2, 2, size=(64, 48)))
    values = 1 - block(20, 12, 40, 30, 1, (64, 48))
    for name in "abc":
        picture = Image.fromarray(values, mode="P")
        picture.putpalette([255, 255, 255, 0, 0, 0])
        picture.save(tmp_path / f"masks/heart/{name}.png")
    message, remedy = findings(tmp_path)["palette with white first"]
    assert "heart covers 88 % of them" in message and "gray" in remedy


@pytest.mark.parametrize(("colour", "meaning"), [(0, "heart is nowhere there"), (255, "heart fills the image there")])
def test_a_shape_in_alpha_alone_is_told(tmp_path: Path, colour: int, meaning: str) -> None:
    pixels = np.full((48, 64, 4), colour, np.uint8)
    pixels[..., 3] = block(20, 12, 40, 30, size=(64, 48))
    put_masks(tmp_path, pixels)
    assert findings(tmp_path)["masks in the alpha channel"][0].endswith(meaning)


def test_a_white_ground_is_told(tmp_path: Path) -> None:
    put_masks(tmp_path, 255 - block(20, 12, 40, 30, size=(64, 48)))
    assert "heart covers the whole border of 3 of 3 masks" in findings(tmp_path)["class fills its masks"][0]


def test_of_many_masks_a_sample_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_looks, "_LEAST", 2)
    put_masks(tmp_path, cv2.GaussianBlur(block(20, 12, 40, 30, size=(64, 48)), (9, 9), 0), count=8)
    assert findings(tmp_path)["grey levels in masks"][0].startswith("2 of 2 sampled masks of heart hold")


def test_classes_share_the_masks_that_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_looks, "_LEAST", 6)
    decoded: list[Path] = []
    look = mask_looks.mask_look
    monkeypatch.setattr(mask_looks, "mask_look", spy(look, decoded, lambda path, threshold=0: path))
    for number in range(5):
        put_image(tmp_path / f"images/{number}.png")
        for name in ("heart", "lung", "spleen"):
            put_pixels(tmp_path / f"masks/{name}/{number}.png", block(2, 2, 9, 9))
    scan(KIND, tmp_path)
    assert sorted(path.parent.name for path in decoded) == ["heart"] * 2 + ["lung"] * 2 + ["spleen"] * 2
