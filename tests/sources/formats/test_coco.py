"""The COCO adapter: polygons and run lengths, crowds and boxes, what one edit changes, and what it calls broken."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import makedata
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makedata import filled
from mutation import mutated_bytes, mutated_json
from pycocotools import mask as coco_mask
from pydantic import ValidationError

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.ops.contract_samples import has_extra_bits
from augforge.sources.formats.coco.source import Coco
from augforge.sources.raster import rle

SQUARE = [2, 2, 6, 2, 6, 5, 2, 5]
HEART, LUNG = 7, 3
NOTES = "instances.json"


scan, only = partial(makedata.scan, "coco"), partial(makedata.only, "coco")
load, broken = partial(makedata.first, "coco"), partial(makedata.broken, "coco")


def put_image(root: Path, file_name: str = "a.png", size: tuple[int, int] = makedata.SIZE) -> Path:
    return makedata.put_image(root / "images" / file_name, size)


def image(number: Any = 1, file_name: str = "a.png", **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": file_name, "width": 20, "height": 16, **more}


def note(segmentation: Any = None, image_id: Any = 1, category: Any = HEART, **more: Any) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "category_id": category,
        "segmentation": [SQUARE] if segmentation is None else segmentation,
        **more,
    }


def document(*notes: dict[str, Any], **more: Any) -> dict[str, Any]:
    categories = [{"id": HEART, "name": "heart"}, {"id": LUNG, "name": "lung", "supercategory": "organ"}]
    return {"images": [image()], "annotations": list(notes), "categories": categories, **more}


def put(root: Path, content: Any = None) -> Path:
    put_image(root)
    return put_json(root, document(note()) if content is None else content)


def put_json(root: Path, content: Any) -> Path:
    return makedata.put_json(root / NOTES, content)


def drawn(root: Path, name: str = "heart", **options: Any) -> np.ndarray:
    sample, classes = load(root, **options)
    return bitmask.class_mask(sample.masks, classes.index(name))


def compressed(mask: np.ndarray) -> dict[str, Any]:
    packed = coco_mask.encode(np.asfortranarray(mask))
    return {"size": packed["size"], "counts": packed["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


BLOB = (np.random.default_rng(3).random((16, 20)) < 0.3).astype(np.uint8)


# ---- listing and loading ---------------------------------------------------------------------------------------------


def test_listing(tmp_path: Path) -> None:
    put(tmp_path, document(note(), images=[image(), image(12, "P01/b.jpg"), image("x", "P01\\c.png")]))
    put_image(tmp_path, "P01/b.jpg")
    put_image(tmp_path, "P01/c.png")
    listing = scan(tmp_path)
    assert listing.classes == ("heart", "lung")
    assert [(r.name, r.group, r.split) for r in listing.records] == [
        ("P01/b", "P01", None),
        ("P01/c", "P01", None),
        ("a", "a", None),
    ]
    assert (listing.records[2].width, listing.records[2].height) == (20, 16)
    assert listing.refused == ()


def test_load(tmp_path: Path) -> None:
    put(tmp_path, document(note(), note([[8, 8, 12, 8, 12.4, 11.6]], category=LUNG)))
    sample, classes = load(tmp_path)
    np.testing.assert_array_equal(bitmask.class_mask(sample.masks, 0), filled(SQUARE))
    np.testing.assert_array_equal(bitmask.class_mask(sample.masks, 1), filled([8, 8, 12, 8, 12, 12]))
    assert sample.known.tolist() == bitmask.all_bits(len(classes)).tolist()
    assert (sample.name, sample.image.shape) == ("a", (16, 20))


def test_instances_and_parts_are_united(tmp_path: Path) -> None:
    rings = [SQUARE, [8, 8, 12, 8, 12, 12], [1, 1, 4, 1, 4, 4, 1, 4]]
    put(tmp_path, document(note(rings[:2]), note(rings[2:])))
    np.testing.assert_array_equal(drawn(tmp_path), filled(*rings))


@pytest.mark.parametrize("pack", [compressed, uncompressed])
@pytest.mark.parametrize("mask", [BLOB, 1 - BLOB, BLOB * 0, BLOB * 0 + 1], ids=["blob", "inverse", "none", "all"])
def test_run_lengths(tmp_path: Path, pack: Any, mask: np.ndarray) -> None:
    put(tmp_path, document(note(pack(mask))))
    np.testing.assert_array_equal(drawn(tmp_path), mask)


def test_run_lengths_of_a_long_mask() -> None:
    mask = np.zeros((300, 4000), np.uint8)
    mask[:, 3] = mask[7:200, 3000:] = 1
    text, size = rle.read_counts(compressed(mask), "x")
    assert size == mask.shape and text == compressed(mask)["counts"]
    assert rle.read_counts(uncompressed(mask), "x")[0] == text
    np.testing.assert_array_equal(rle.decode(text, *size), mask)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=30))
def test_run_lengths_read_as_pycocotools_does(runs: list[int]) -> None:
    total = sum(runs) or 1
    runs = runs if sum(runs) else [1]
    text = coco_mask.frPyObjects({"size": [1, total], "counts": runs}, 1, total)["counts"].decode()
    parsed = rle._parse_text(text)
    assert parsed is not None and parsed.tolist() == runs


def test_an_image_without_annotations_is_labelled(tmp_path: Path) -> None:
    put(tmp_path, document())
    sample, classes = load(tmp_path)
    assert sample.known.tolist() == bitmask.all_bits(len(classes)).tolist()
    assert not sample.masks.any()


def test_a_class_that_is_no_category_is_unknown(tmp_path: Path) -> None:
    put(tmp_path)
    sample, _ = load(tmp_path, classes=["lung", "liver", "heart"])
    assert bitmask.bits_to_flags(sample.known, 3).tolist() == [True, False, True]
    assert only(tmp_path).content != only(tmp_path, classes=["lung", "liver", "heart"]).content


def known(root: Path, **options: Any) -> list[str]:
    sample, classes = load(root, **options)
    return [name for name, flag in zip(classes, bitmask.bits_to_flags(sample.known, len(classes)), strict=True) if flag]


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({}, ["heart", "lung"]),
        ({"neg_category_ids": []}, ["heart"]),
        ({"neg_category_ids": [LUNG]}, ["heart", "lung"]),
        ({"neg_category_ids": [LUNG], "not_exhaustive_category_ids": [HEART]}, ["lung"]),
        ({"not_exhaustive_category_ids": [LUNG]}, ["heart"]),
    ],
)
def test_lvis_labels_an_image_for_some_categories(tmp_path: Path, lists: dict[str, Any], expected: list[str]) -> None:
    put(tmp_path, document(note(), images=[image(**lists)]))
    assert known(tmp_path) == expected
    plain = known(tmp_path, classes=["lung", "bone", "heart"])
    assert sorted(plain) == expected
    both = known(tmp_path, class_map={"heart": "organ", "lung": "organ"})
    assert both == (["organ"] if len(expected) == 2 else [])
    before = only(tmp_path).content
    put(tmp_path, document(note(), images=[image()]))
    assert (only(tmp_path).content == before) == (len(expected) == 2)


def test_images_that_lvis_names_by_their_urls(tmp_path: Path) -> None:
    entry = {"id": 1, "coco_url": "http://images/coco/val2017/a.png", "width": 20, "height": 16}
    put(tmp_path, document(note(), images=[entry]))
    put_image(tmp_path, "val2017/a.png")
    assert [r.name for r in scan(tmp_path).records] == ["val2017/a"]


def test_broken_lvis_lists(tmp_path: Path) -> None:
    put(tmp_path, document(note(), images=[image(neg_category_ids=[None])]))
    broken(tmp_path, str(tmp_path / NOTES), "image 1, a.png: neg_category_ids: an entry is missing")
    put(tmp_path, document(note(), images=[image(neg_category_ids=7)]))
    broken(tmp_path, "image 1, a.png: neg_category_ids is no list of ids")


def test_categories_go_by_name(tmp_path: Path) -> None:
    names = [{"id": 90, "name": "cat"}, {"id": 1, "name": "dog"}, {"id": 4, "name": "cat"}]
    other = [8, 8, 12, 8, 12, 12]
    put(tmp_path, document(note(category=90), note([other], category=4), categories=names))
    assert scan(tmp_path).classes == ("cat", "dog")
    np.testing.assert_array_equal(drawn(tmp_path, "cat"), filled(SQUARE, other))


def test_class_map(tmp_path: Path) -> None:
    put(tmp_path, document(note(), note([[0, 0, 3, 0]], category=LUNG)))
    broken(tmp_path, "2 points")
    sample, classes = load(tmp_path, class_map={"heart": "organ", "lung": None})
    assert classes == ("organ",)
    np.testing.assert_array_equal(bitmask.class_mask(sample.masks, 0), filled(SQUARE))
    assert load(tmp_path, classes=["heart"], class_map={"*": None})[1] == ("heart",)
    broken(tmp_path, NOTES, "label 'lung' is not in classes", classes=["heart"])


def test_a_polygon_partly_outside_is_cut(tmp_path: Path) -> None:
    ring = [-5.0, -5.0, 9, -5, 9, 9, -5, 9]
    put(tmp_path, document(note([ring])))
    np.testing.assert_array_equal(drawn(tmp_path), filled([0, 0, 9, 0, 9, 9, 0, 9]))


@pytest.mark.parametrize("stated", [{}, {"width": None, "height": None}])
@pytest.mark.parametrize("shift", [(-7, 0), (0, -6), (18.5, 0), (0, 14.5), (500, 500)])
def test_a_polygon_wholly_outside(tmp_path: Path, shift: tuple[float, float], stated: dict[str, None]) -> None:
    entry = {key: value for key, value in (image() | stated).items() if value is not None}
    ring = [value + shift[i % 2] for i, value in enumerate(SQUARE)]
    path = put(tmp_path, document(note(), note([SQUARE, ring], category=LUNG), images=[entry, image(2, "b.png")]))
    put_image(tmp_path, "b.png")
    assert broken(tmp_path, "annotation 2 lies outside its image of 20x16 pixels").startswith(str(path))
    listing = scan(tmp_path, on_error="reject")
    assert [(r.name, r.reason) for r in listing.refused] == [("a", "outside the image")]
    assert [record.name for record in listing.records] == ["b"]


@pytest.mark.parametrize("shift", [(-6.5, 0), (0, -5.5), (18, 0), (0, 14)])
def test_a_polygon_on_the_rim_of_the_image(tmp_path: Path, shift: tuple[float, float]) -> None:
    """COCO's x = 20 is the right edge of an image of 20 pixels."""
    put(tmp_path, document(note([[value + shift[i % 2] for i, value in enumerate(SQUARE)]])))
    assert only(tmp_path).name == "a"


def test_a_box_wholly_outside(tmp_path: Path) -> None:
    put(tmp_path, document(note([], bbox=[30, 4, 5, 6])))
    broken(tmp_path, "annotation 1 lies outside", boxes="rectangle")
    assert only(tmp_path, boxes="drop").name == "a"


def test_a_polygon_that_crosses_itself_is_filled_by_the_even_odd_rule(tmp_path: Path) -> None:
    twice = [2, 2, 14, 2, 14, 14, 2, 14, 2, 2, 5, 5, 11, 5, 11, 11, 5, 11, 5, 5]
    put(tmp_path, document(note([twice])))
    mask = drawn(tmp_path)
    assert mask[3, 3] == 1 and mask[8, 8] == 0


# ---- crowds and boxes ------------------------------------------------------------------------------------------------


OTHER = [12, 12, 14, 12, 14, 14]


def test_crowds_become_ignore(tmp_path: Path) -> None:
    notes = [note(), note([OTHER], category=LUNG), note(uncompressed(BLOB), category=LUNG, iscrowd=1)]
    put(tmp_path, document(*notes))
    listing = scan(tmp_path)
    assert listing.classes == ("heart", "lung", "ignore")
    (warning,) = listing.warnings
    assert warning.startswith("instances.json: 1 of 3 annotations are crowds and became ignore; set 'crowd: class'")
    assert scan(tmp_path, crowd="ignore").warnings == scan(tmp_path, crowd="class").warnings == ()
    np.testing.assert_array_equal(drawn(tmp_path, "ignore"), BLOB)
    np.testing.assert_array_equal(drawn(tmp_path, "lung"), filled(OTHER))
    listed = ["ignore", "lung", "heart"]
    np.testing.assert_array_equal(drawn(tmp_path, "ignore", classes=listed), BLOB)
    assert load(tmp_path, classes=listed)[0].known.tolist() == bitmask.all_bits(3).tolist()


def test_a_category_of_crowds_alone_needs_a_decision(tmp_path: Path) -> None:
    """CVAT and Datumaro write each mask as a crowd."""
    path = put(tmp_path, document(note(), note(uncompressed(BLOB), category=LUNG, iscrowd=1)))
    assert broken(tmp_path, "all annotations of lung are crowds", "crowd: class").startswith(str(path))
    broken(tmp_path, "crowd: ignore", on_error="reject", classes=["heart", "lung", "ignore"])
    np.testing.assert_array_equal(drawn(tmp_path, "lung", crowd="class"), BLOB)
    np.testing.assert_array_equal(drawn(tmp_path, "ignore", crowd="ignore"), BLOB)
    assert scan(tmp_path, class_map={"lung": "ignore"}).warnings == ()
    put(tmp_path, document(*[note()] * 6, note(uncompressed(BLOB), category=LUNG, iscrowd=1)))
    assert [warning.partition(" are")[0] for warning in scan(tmp_path).warnings] == [f"{NOTES}: 1 of 7 annotations"]


def test_one_file_without_annotations_is_told(tmp_path: Path) -> None:
    put(tmp_path, document())
    assert scan(tmp_path).warnings == (f"{NOTES} holds no annotation, so all its images are empty",)


def test_crowds_without_ignore_need_a_decision(tmp_path: Path) -> None:
    path = put(tmp_path, document(note(), note(uncompressed(BLOB), category=LUNG, iscrowd=1)))
    listed = ["lung", "heart"]
    assert broken(tmp_path, "annotation 2 is a crowd", "crowd: drop", classes=listed).startswith(str(path))
    np.testing.assert_array_equal(drawn(tmp_path, "lung", classes=listed, crowd="class"), BLOB)
    assert not drawn(tmp_path, "lung", classes=listed, crowd="drop").any()
    with pytest.raises(ValidationError, match="classes has no 'ignore'"):
        Coco(path="x", classes=listed, crowd="ignore")
    assert scan(tmp_path, crowd="drop").classes == ("heart", "lung")


def test_boxes(tmp_path: Path) -> None:
    path = put(tmp_path, document(note([], bbox=[3, 4, 5, 6])))
    assert broken(tmp_path, "annotation 1 has a box and no mask", "boxes: rectangle").startswith(str(path))
    expected = np.zeros((16, 20), np.uint8)
    expected[4:10, 3:8] = 1
    np.testing.assert_array_equal(drawn(tmp_path, boxes="rectangle"), expected)
    assert not drawn(tmp_path, boxes="drop").any()
    refused = scan(tmp_path, on_error="reject").refused
    assert [(r.name, r.reason) for r in refused] == [("a", "broken annotation")]


@pytest.mark.parametrize("box", [None, [1, 2, 3], [1, 2, 0, 4], [1, 2, float("nan"), 4], [1, 2, "3", 4], "1,2,3,4"])
def test_broken_boxes(tmp_path: Path, box: Any) -> None:
    put(tmp_path, document(note([], bbox=box)))
    broken(tmp_path, "bbox is not", boxes="rectangle")


# ---- what changes an id ----------------------------------------------------------------------------------------------


def contents(root: Path) -> dict[str, str]:
    return {record.name: record.content for record in scan(root).records}


def test_one_edit_changes_one_content(tmp_path: Path) -> None:
    images = [image(), image(2, "b.png"), image(3, "c.png")]
    for entry in images:
        put_image(tmp_path, entry["file_name"])
    notes = [note(), note(image_id=2), note([[8, 8, 12, 8, 12, 12]], image_id=2, category=LUNG)]
    put_json(tmp_path, document(*notes, images=images))
    before = contents(tmp_path)
    put_json(tmp_path, document(notes[0], notes[2], note([[2, 2, 6, 2, 6, 6]], image_id=2), images=images))
    after = contents(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"b"}


def test_ids_order_and_formatting_change_nothing(tmp_path: Path) -> None:
    notes = [note(), note([[8, 8, 12, 8, 12, 12]], category=LUNG), note(compressed(BLOB))]
    put(tmp_path, document(*notes))
    before = contents(tmp_path)
    other = [{**entry, "image_id": 5, "area": 3.5, "id": 9} for entry in reversed(notes)]
    other[0]["segmentation"] = uncompressed(BLOB)
    other[2]["segmentation"] = [[float(value) for value in SQUARE]]
    content = document(*other, images=[image(5, license=3)], info={})
    put_json(tmp_path, json.dumps(content, indent=2).encode())
    assert contents(tmp_path) == before


def test_the_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    put(data)
    cache = FileCache(tmp_path / "facts.db")
    source = Coco(path=str(data))
    first = source.scan(cache)
    cache.save()
    monkeypatch.setattr("augforge.sources.formats.coco.source.read_document", lambda *_: pytest.fail("parsed"))
    assert source.scan(FileCache(tmp_path / "facts.db")) == first
    (data / NOTES).unlink()
    assert source.load(first.records[0], first.classes).masks.any()


# ---- files -----------------------------------------------------------------------------------------------------------


def test_places_of_the_files(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "annotations").mkdir()
    (tmp_path / NOTES).rename(tmp_path / "annotations/notes.json")
    assert only(tmp_path).name == "a"
    (tmp_path / "images").rename(tmp_path / "pictures")
    assert only(tmp_path, images="./pictures/").name == "a"
    missing = broken(tmp_path, "none of the 1 images", "source.images")
    assert missing.startswith(f"{tmp_path / 'a.png'} does not exist")
    (tmp_path / "annotations/other.json").write_text("{}")
    assert only(tmp_path, images="pictures").name == "a", "it is no COCO file"
    (tmp_path / "annotations/other.json").write_text('{"images": []}')
    broken(
        tmp_path,
        "holds 2 annotation files",
        "annotations/notes.json, annotations/other.json",
        "{format: coco, path: PATH, annotations: annotations/notes.json, name: NAME}",
        images="pictures",
    )
    assert only(tmp_path, images="pictures", annotations="./annotations/notes.json").name == "a"
    broken(tmp_path, "none.json does not exist", annotations="none.json")


@pytest.mark.parametrize(
    ("notes", "file_name", "place", "options"),
    [
        ("annotations/instances_default.json", "P1/a.png", "images/default/P1/a.png", {}),  # CVAT, Datumaro
        ("annotations/instances_my_set.json", "P1/a.png", "images/my_set/P1/a.png", {}),
        ("annotations/instances_val2017.json", "P1/a.png", "val2017/P1/a.png", {}),
        ("annotations/instances_val2017.json", "P1/a.png", "images/val2017/P1/a.png", {}),
        ("result.json", "images\\P1\\a.png", "images/P1/a.png", {}),  # Label Studio
        ("train/_annotations.coco.json", "P1/a.png", "train/P1/a.png", {}),  # Roboflow
        ("valid/notes.json", "P1/a.png", "valid/images/P1/a.png", {}),
        ("annotations/train.json", "P1/a.png", "pictures/train/P1/a.png", {"images": "pictures"}),
        ("labels.json", "P1/a.png", "data/P1/a.png", {}),  # FiftyOne
    ],
)
def test_where_the_images_lie(tmp_path: Path, notes: str, file_name: str, place: str, options: dict[str, str]) -> None:
    makedata.put_json(tmp_path / notes, document(note(), images=[image(1, file_name)]))
    makedata.put_image(tmp_path / place)
    record = only(tmp_path, **options)
    assert (record.name, record.group, record.split, record.data["image"]) == ("P1/a", "P1", None, place)


# ---- several files ---------------------------------------------------------------------------------------------------

CAT, DOG = {"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}
SPLITS = {
    "coco": ("annotations/instances_{}2017.json", "{}2017/{}", ("train", "val")),
    "images": ("annotations/{}.json", "images/{}/{}", ("train", "val", "test")),
    "roboflow": ("{}/_annotations.coco.json", "{}/{}", ("train", "valid", "test")),
}


def put_splits(root: Path, layout: str) -> dict[str, str | None]:
    """The split of each sample's name; the first file has cats, the others dogs, both by one id."""
    notes, place, splits = SPLITS[layout]
    for split in splits:
        entry = note(category=1)
        content = document(entry, images=[image(1, "P1/a.png")], categories=[CAT if split == "train" else DOG])
        makedata.put_json(root / notes.format(split), content)
        makedata.put_image(root / place.format(split, "P1/a.png"))
    year = "2017" if layout == "coco" else ""
    return {f"{split}{year}/P1/a": {"train": None, "valid": "val"}.get(split, split) for split in splits}


@pytest.mark.parametrize("layout", SPLITS)
def test_a_file_a_split(tmp_path: Path, layout: str) -> None:
    expected = put_splits(tmp_path, layout)
    (tmp_path / "annotations").mkdir(exist_ok=True)
    if layout == "coco":
        (tmp_path / "annotations/captions_train2017.json").write_text("{}")
        (tmp_path / "annotations/._instances_train2017.json").write_text("what macOS leaves")
    listing = scan(tmp_path)
    assert {record.name: record.split for record in listing.records} == expected
    assert {record.group for record in listing.records} == {"P1"}
    assert listing.refused == ()
    assert sorted(listing.classes) == ["cat", "dog"]
    assert {record.split for record in scan(tmp_path, own_splits=False).records} == {None}
    for name, sample in makedata.load("coco", tmp_path).items():
        own = "cat" if name.startswith("train") else "dog"
        assert makedata.known_of(sample, listing.classes) == [own]
        np.testing.assert_array_equal(makedata.masks_of(sample, listing.classes)[own], filled(SQUARE))


def test_a_file_a_split_and_one_folder(tmp_path: Path) -> None:
    for split, names in {"train": ("train/a.png", "b.png"), "val": ("c.png",)}.items():
        images = [image(i, name) for i, name in enumerate(names)]
        makedata.put_json(tmp_path / f"annotations/{split}.json", document(images=images))
    for name in ("train/a.png", "b.png", "c.png", "stray.png"):
        put_image(tmp_path, name)
    listing = scan(tmp_path)
    assert [(r.name, r.group, r.split) for r in listing.records] == [
        ("train/a", "train/a", None),
        ("train/b", "train/b", None),
        ("val/c", "val/c", "val"),
    ]
    assert [(r.name, r.reason) for r in listing.refused] == [("stray", "no annotation")]
    makedata.put_json(tmp_path / "annotations/val.json", document(images=[image(1, "b.png")]))
    broken(tmp_path, "annotations/train.json and", "annotations/val.json: images holds b.png twice")


def test_files_of_splits_that_were_made_anew(tmp_path: Path) -> None:
    """Images of one base name keep the folder that they lie in, which is no group."""
    parts = {"train": ("train/1.png", "val/1.png", "val/P1/1.png"), "val": ("train2017/2.png", "val/2.png")}
    for split, names in parts.items():
        images = [image(i, name) for i, name in enumerate(names)]
        makedata.put_json(tmp_path / f"annotations/{split}.json", document(images=images))
        for name in names:
            put_image(tmp_path, name)
    assert [(r.name, r.group, r.split) for r in scan(tmp_path).records] == [
        ("train/1", "train/1", None),
        ("train/val/1", "train/val/1", None),
        ("train/val/P1/1", "P1", None),
        ("val/2", "val/2", "val"),
        ("val/train2017/2", "val/train2017/2", "val"),
    ]


@pytest.mark.parametrize("content", [{"a": 1}, [], [{"annotations": []}], b"", b"{}"])
def test_another_json_beside_the_folders_of_splits(tmp_path: Path, content: Any) -> None:
    expected = put_splits(tmp_path, "roboflow")
    makedata.put_json(tmp_path / "export.json", content)
    assert {record.name: record.split for record in scan(tmp_path).records} == expected
    broken(tmp_path, "export.json", annotations="export.json")


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf\n"])
def test_a_file_of_coco_beside_the_folders_of_splits(tmp_path: Path, start: bytes) -> None:
    put_splits(tmp_path, "roboflow")
    content = document(images=[image(1, "train/P1/a.png")])
    makedata.put_json(tmp_path / "all.json", start + json.dumps({"info": {}, **content}).encode())
    broken(tmp_path, "holds 4 annotation files", "'annotations: all.json'")
    assert only(tmp_path, annotations="all.json").data["image"] == "train/P1/a.png"


def test_what_is_rejected_does_not_hang_on_the_path_or_on_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "data", document(note([[1, 1, 2]])))
    (tmp_path / "deep").mkdir()
    cache = FileCache()
    for folder, root in ((tmp_path, "data"), (tmp_path / "deep", "../data")):
        monkeypatch.chdir(folder)
        (row,) = Coco(path=root, on_error="reject").scan(cache).refused
        assert row.detail.startswith(f"{NOTES}: annotation 1: polygon holds 3 numbers, which are no pairs")


def test_a_file_without_categories_beside_others_is_unlabelled(tmp_path: Path) -> None:
    put_splits(tmp_path, "roboflow")
    makedata.put_json(tmp_path / "test/_annotations.coco.json", document(images=[image(1, "P1/a.png")], categories=[]))
    assert not makedata.load("coco", tmp_path)["test/P1/a"].known.any()


def test_an_annotation_file_that_is_a_pipe(tmp_path: Path) -> None:
    put_image(tmp_path)
    os.mkfifo(tmp_path / "notes.json")
    broken(tmp_path, "notes.json does not exist", annotations="notes.json")
    broken(tmp_path, "notes.json cannot be read: it is no regular file")


def test_a_file_without_annotations_beside_others_is_unlabelled(tmp_path: Path) -> None:
    put_splits(tmp_path, "roboflow")
    test = tmp_path / SPLITS["roboflow"][0].format("test")
    makedata.put_json(test, document(images=[image(1, "P1/a.png")], categories=[CAT]))
    listing = scan(tmp_path)
    (warning,) = listing.warnings
    assert warning.startswith("test/_annotations.coco.json holds no annotation")
    samples = makedata.load("coco", tmp_path)
    assert [makedata.known_of(samples[f"{split}/P1/a"], listing.classes) for split in ("test", "valid")] == [
        [],
        ["dog"],
    ]
    assert known(tmp_path, annotations="test/_annotations.coco.json") == ["cat"]


def test_crowds_of_several_files(tmp_path: Path) -> None:
    """A category of which one file has crowds alone has others in another; all samples know of ignore."""
    put_splits(tmp_path, "roboflow")
    notes = SPLITS["roboflow"][0]
    crowd = document(note(category=1, iscrowd=1), images=[image(1, "P1/a.png")], categories=[DOG])
    makedata.put_json(tmp_path / notes.format("valid"), crowd)
    listing = scan(tmp_path)
    assert listing.classes[-1] == "ignore"
    assert "1 of 3 annotations are crowds" in listing.warnings[0]
    samples = makedata.load("coco", tmp_path)
    assert all("ignore" in makedata.known_of(sample, listing.classes) for sample in samples.values())
    assert makedata.masks_of(samples["valid/P1/a"], listing.classes)["ignore"].any()


def test_files_of_no_split_or_of_the_same(tmp_path: Path) -> None:
    put_splits(tmp_path, "images")
    makedata.put_json(tmp_path / "annotations/more.json", document())
    broken(tmp_path, "holds 4 annotation files", "annotations/more.json")
    (tmp_path / "annotations/more.json").rename(tmp_path / "annotations/other-train.json")
    broken(tmp_path, "holds 4 annotation files", "annotations/other-train.json")


def test_a_split_without_its_images(tmp_path: Path) -> None:
    put_splits(tmp_path, "coco")
    (tmp_path / "train2017/P1/a.png").unlink()
    broken(tmp_path, "none of the 1 images that", "instances_train2017.json names is there", "source.annotations")
    assert only(tmp_path, annotations="annotations/instances_val2017.json").name == "P1/a"


def test_images_beside_the_file(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "images/a.png").rename(tmp_path / "a.png")
    (tmp_path / "images").rmdir()
    listing = scan(tmp_path)
    assert [record.name for record in listing.records] == ["a"]
    assert listing.refused == ()


def test_missing_files(tmp_path: Path) -> None:
    broken(tmp_path / "missing", "is no folder", "instances.json")
    broken(tmp_path, "holds no .json", "instances.json")
    put_json(tmp_path, document(note()))
    (tmp_path / "images").mkdir()
    broken(tmp_path, "images/a.png does not exist", "source.images")


def test_what_has_no_partner(tmp_path: Path) -> None:
    put(tmp_path, document(note(), note(image_id=99), images=[image(), image(2, "gone.png")]))
    put_image(tmp_path, "stray.png")
    (tmp_path / "images/notes.txt").write_text("x")
    broken(tmp_path, "gone.png does not exist", "image_id 99 of 1 annotations is none of images")
    listing = scan(tmp_path, on_error="reject")
    assert [record.name for record in listing.records] == ["a"]
    assert [(r.name, r.reason) for r in listing.refused] == [
        ("gone", "no image"),
        ("image_id 99", "no image"),
        ("notes.txt", "not an image"),
        ("stray", "no annotation"),
    ]


def test_duplicate_names(tmp_path: Path) -> None:
    put(tmp_path, document(note(), images=[image(), image(2, "./a.png")]))
    broken(tmp_path, NOTES, "twice")
    put_image(tmp_path, "a.jpg")
    put_json(tmp_path, document(note(), images=[image(), image(2, "a.jpg")]))
    broken(tmp_path, "a.png", "a.jpg", "share the name a")
    assert [r.reason for r in scan(tmp_path, on_error="reject").refused] == ["name stands twice"]


@pytest.mark.parametrize("file_name", ["../../a.png", "/etc/a.png", "..\\..\\a.png", "x/../../../a.png"])
def test_a_file_name_that_leaves_the_root(tmp_path: Path, file_name: str) -> None:
    put(tmp_path / "data", document(images=[image(), image(2, file_name)]))
    put_image(tmp_path, "../a.png")
    broken(tmp_path / "data", NOTES, "leaves")
    refused = scan(tmp_path / "data", on_error="reject").refused
    assert [(r.name, r.reason) for r in refused] == [(file_name, "leaves the root")]


def test_links(tmp_path: Path) -> None:
    root = tmp_path / "data"
    put(root, document(note(), images=[image(), image(2, "out.png")]))
    put_image(tmp_path, "secret.png")
    (root / "images/out.png").symlink_to(tmp_path / "images/secret.png")
    (root / "images/circle").symlink_to(".")
    broken(root, "out of the root", "links: follow")
    listing = scan(root, on_error="reject")
    assert [record.name for record in listing.records] == ["a"]
    assert {r.reason for r in listing.refused} == {"leaves the root", "link in a circle"}


@pytest.mark.parametrize("keep", [0, 20, -8])
def test_broken_image(tmp_path: Path, keep: int) -> None:
    put(tmp_path)
    path = tmp_path / "images/a.png"
    path.write_bytes(path.read_bytes()[:keep])
    assert broken(tmp_path).startswith(str(path))


def test_an_image_of_another_size(tmp_path: Path) -> None:
    put(tmp_path, document(note(), images=[image(width=2000)]))
    broken(tmp_path, NOTES, "2000x16", "20x16")
    assert [r.reason for r in scan(tmp_path, on_error="reject").refused] == ["size differs"]
    put_json(tmp_path, document(note(compressed(BLOB.T)), images=[{"id": 1, "file_name": "a.png"}]))
    broken(tmp_path, NOTES, "16x20", "20x16")
    put_json(tmp_path, document(note(), images=[{"id": 1, "file_name": "a.png"}]))
    assert only(tmp_path).width == 20


# ---- broken annotations ----------------------------------------------------------------------------------------------

NAN = float("nan")


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        (note([[1, 2, 3, 4]]), "2 points"),
        (note([[1, 2, 3, 4, 5]]), "holds 5 numbers, which are no pairs"),
        (note([[[1, 2], [3, 4], [5, 6]]]), "is the nested list [[1, 2], [3, 4], [5, 6]]; expected a flat list"),
        (note([["1", 2, 3, 4, 5, 6]]), "holds the text '1' where a number has to stand"),
        (note([[True, 2, 3, 4, 5, 6]]), "holds true, no number"),
        (note([None]), "segmentation is the flat list"),
        (note([[None]]), "holds nothing, no number"),
        (note(SQUARE), "segmentation is the flat list [2, 2, 6, 2, 6, 5, 2, 5]; expected a list of polygons"),
        (note([{"size": [16, 20]}]), "polygon is {'size': [16, 20]}; expected a flat list"),
        (note(iscrowd="no"), "iscrowd is 'no'; expected 0 or 1"),
        (note([[0, 0]]), "drop_degenerate: true"),
        (note([[NAN, 2, 3, 4, 5, 6]]), "NaN"),
        (note([[1, 2, 3, NAN, 5, 6]]), "NaN"),
        (note([[1, 2, 3, float("inf"), 5, 6]]), "NaN"),
        (note([[1, 2, 3, -(10**400), 5, 6]]), "NaN"),
        (note("polygon"), "segmentation is 'polygon'; expected polygons"),
        (note(category=5), "category_id 5 is none of categories"),
        (note(category=None), "category_id is missing"),
        (note(category=[HEART]), "category_id is [7]; expected an id"),
        (note({"counts": "16", "size": [16, 20]}), "sum to"),
        (note({"counts": "\x60", "size": [16, 20]}), "no run lengths"),
        (note({"counts": "", "size": [16, 20]}), "no run lengths"),
        (note({"counts": "ooooooooo0", "size": [16, 20]}), "no run lengths"),
        (note({"counts": "€", "size": [16, 20]}), "no run lengths"),
        (note({"counts": "\ud800", "size": [16, 20]}), "no run lengths"),
        (note({"counts": [320, -1, 1], "size": [16, 20]}), "no run lengths"),
        (note({"counts": [320.0], "size": [16, 20]}), "no run lengths"),
        (note({"counts": [319], "size": [16, 20]}), "sum to 319"),
        (note({"counts": None, "size": [16, 20]}), "no run lengths"),
        (note({"counts": [4], "size": [2, 2]}), "2x2 pixels"),
        (note({"counts": [4], "size": [16]}), "size is not"),
        (note({"counts": [4], "size": [-16, 20]}), "size is not"),
        (note({"counts": [4], "size": [10**6, 10**6]}), "at most"),
    ],
)
def test_broken_annotations(tmp_path: Path, entry: dict[str, Any], part: str) -> None:
    other = image(2, "b.png")
    put_image(tmp_path, "b.png")
    path = put(tmp_path, document(note(image_id=2), entry, images=[image(), other]))
    assert broken(tmp_path, part, "annotation 2").startswith(str(path))
    listing = scan(tmp_path, on_error="reject")
    assert [record.name for record in listing.records] == ["b"]
    assert [(r.name, r.reason) for r in listing.refused] == [("a", "broken annotation")]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "no JSON"),
        (b'{"images": [}', "line 1 column 13"),
        (b'{"images": [],\n "annotations": [1,,2]}', "line 2 column 20"),
        (b'{"images": [], "info": "\xb0\xa1"}', "not UTF-8"),
        (b"[" * 100_000, "no JSON"),
        ([], "no list 'images'"),
        ({}, "no list 'images'"),
        (document(images={}), "no list 'images'"),
        (document(annotations=[1]), "no list 'annotations'"),
        (document(categories=None), "no list 'categories'"),
        (document(categories=[{"id": 1}]), "category 1: name is nothing"),
        (document(categories=[{"id": True, "name": "x"}]), "category 1: id is true; expected an id"),
        (document(categories=[{"id": 1, "name": "\ud800"}]), "category 1: name is"),
        (document(categories=[{"id": 1, "name": "x"}, {"id": 1, "name": "y"}]), "both 'x' and 'y'"),
        (document(categories=[]), "names 0 classes"),
        (document(images=[{"id": 1}]), "image 1: file_name is nothing"),
        (document(images=[image(file_name="a\0.png")]), "image 1: file_name is 'a"),
        (document(images=[image([1])]), "image 1: id is [1]; expected an id"),
        (document(images=[image(1.5)]), "image 1: id is 1.5; expected an id"),
        (document(images=[image(), image(file_name="b.png")]), "both a.png and b.png"),
        (document(images=[image(width="20")]), "width and height are '20' and 16; expected whole numbers"),
        (document(images=[image(width=-20)]), "expected whole numbers of pixels"),
        (document(images=[image(width=None)]), "expected whole numbers of pixels"),
        (document(note(image_id=None)), "annotation 1: image_id is missing"),
        (document(note(image_id={})), "annotation 1: image_id is {}; expected an id"),
        (document({"image_id": 1, "file_name": "a.png", "segments_info": []}), "is a panoptic file"),
    ],
)
def test_broken_files(tmp_path: Path, content: Any, part: str) -> None:
    path = put(tmp_path, content)
    assert broken(tmp_path, part).startswith(str(path))
    broken(tmp_path, part, on_error="reject")


def test_a_byte_order_mark(tmp_path: Path) -> None:
    put(tmp_path, b"\xef\xbb\xbf" + json.dumps(document(note())).encode())
    assert only(tmp_path).name == "a"


SOUND = document(
    note(id=1, bbox=[2, 2, 5, 4], iscrowd=0),
    note(compressed(BLOB), category=LUNG, iscrowd=1),
    note(uncompressed(BLOB), image_id=2, category=LUNG),
    images=[image(), image(2, "b.png")],
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(mutated_json(SOUND), mutated_bytes(json.dumps(SOUND).encode())))
def test_no_mutation_crashes(tmp_path: Path, content: bytes) -> None:
    put_image(tmp_path)
    put_image(tmp_path, "b.png")
    path = put_json(tmp_path, content)
    for options in ({}, {"on_error": "reject", "boxes": "rectangle", "classes": ["heart", "lung"]}):
        source = Coco(path=str(tmp_path), **options)
        try:
            listing = source.scan(FileCache())
            samples = [source.load(record, listing.classes) for record in listing.records]
            assert all(not has_extra_bits(s.masks, len(listing.classes)) for s in samples)
            json.dumps([r.name + r.detail for r in listing.refused]).encode()
        except SourceError as error:
            assert str(path) in str(error) or str(tmp_path / "images") in str(error)
            str(error).encode()
