"""COCO files as other tools write them: several files and folders, ids as text, odd polygons, phantom classes."""

from __future__ import annotations

import json
import unicodedata
from functools import partial
from pathlib import Path
from typing import Any

import makedata
import numpy as np
import pytest
from makedata import filled

from augforge.sources import Listing

SQUARE = [2, 2, 6, 2, 6, 5, 2, 5]

scan, broken, load = partial(makedata.scan, "coco"), partial(makedata.broken, "coco"), partial(makedata.load, "coco")


def content(*file_names: str, ring: Any = None, first_id: Any = 1, **more: Any) -> dict[str, Any]:
    """A file of images of 20x16 pixels, each with one square of class cell."""
    images = [{"id": i, "file_name": name, "width": 20, "height": 16} for i, name in enumerate(file_names, 1)]
    notes = [
        {"id": i, "image_id": i, "category_id": 1, "segmentation": [ring or SQUARE], "iscrowd": 0}
        for i in range(1, len(file_names) + 1)
    ]
    return {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "cell"}], **more}


def put(root: Path, place: str, data: Any, *images: str) -> None:
    makedata.put_json(root / place, data)
    for image in images:
        makedata.put_image(root / image)


def splits(listing: Listing) -> dict[str, str | None]:
    return {record.name: record.split for record in listing.records}


def kinds(listing: Listing) -> list[str]:
    return [finding.kind for finding in listing.findings]


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("annotations/instances_default.json", "annotations/val_instances_default.json"),
        ("annotations/instances.json", "annotations/instances_val2017.json"),
        ("labels.json", "labels_val.json"),
        ("annotations/instances_train.json", "valid/_annotations_instances.json"),
        ("annotations/instances_train.json", "annotations/val.json"),
        ("annotations/train.json", "annotations/val_instances.json"),
        ("instances.json", "val.json"),
    ],
)
def test_a_file_without_split_is_that_of_training(tmp_path: Path, train: str, val: str) -> None:
    put(tmp_path, train, content("a.png", "b.png"), "images/a.png", "images/b.png")
    put(tmp_path, val, content("c.png"), "images/c.png")
    listing = scan(tmp_path)
    assert sorted(str(split) for split in splits(listing).values()) == ["None", "None", "val"]
    assert not listing.findings and not listing.refused
    assert all(sample.masks.any() for sample in load(tmp_path).values())


def test_the_only_file_of_a_split_is_not_left_aside(tmp_path: Path) -> None:
    put(tmp_path, "annotations/instances_train.json", content("a.png"), "images/a.png")
    put(tmp_path, "annotations/captions_test.json", content("c.png"), "images/c.png")
    broken(tmp_path, "annotations/captions_test.json would be left aside", "instances_test.json")
    assert len(scan(tmp_path, annotations="annotations/captions_test.json").records) == 1
    bare = content("c.png")
    del bare["annotations"]  # as COCO itself has image_info_test2017.json
    put(tmp_path, "annotations/captions_test.json", bare)
    assert len(scan(tmp_path).records) == 1


def test_a_file_that_is_left_aside_is_told(tmp_path: Path) -> None:
    put(tmp_path, "annotations/instances_train.json", content("a.png"), "images/a.png")
    put(tmp_path, "annotations/captions_train.json", content("a.png"))  # COCO itself has them
    assert scan(tmp_path).findings == ()
    put(tmp_path, "annotations/corrected.json", content("a.png"))
    (finding,) = scan(tmp_path).findings
    assert (finding.kind, finding.names) == ("annotation file left aside", ("annotations/corrected.json",))


# ---- folders of images -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folders", [("images/train", "images/val"), ("train", "val"), ("train/images", "val/images")])
def test_two_folders_of_images_for_one_file(tmp_path: Path, folders: tuple[str, str]) -> None:
    put(
        tmp_path,
        "instances.json",
        content("a.png", "b.png"),
        *(f"{f}/{n}.png" for f, n in zip(folders, "ab", strict=True)),
    )
    listing = scan(tmp_path)
    assert sorted(record.data["image"] for record in listing.records) == [f"{folders[0]}/a.png", f"{folders[1]}/b.png"]
    assert sorted(map(str, splits(listing).values())) == ["None", "val"]
    assert kinds(listing) == ["images in several folders"]


def test_images_of_one_name_in_two_folders_are_told(tmp_path: Path) -> None:
    put(tmp_path, "instances.json", content("a.png"), "images/a.png", "data/a.png")
    listing = scan(tmp_path)
    assert [record.data["image"] for record in listing.records] == ["images/a.png"]
    assert [(f.kind, f.names) for f in listing.findings] == [("two folders of images", ("images", "data"))]
    assert scan(tmp_path, images="data").findings == ()


# ---- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [str, float, lambda number: f"{number}.0"])
@pytest.mark.parametrize("key", ["image_id", "category_id", "id"])
def test_ids_as_text_or_floats_match(tmp_path: Path, written: Any, key: str) -> None:
    data = content("a.png", "b.png")
    for entry in [*data["annotations"], *(data["images"] if key == "id" else [])]:
        entry[key] = written(entry[key])
    put(tmp_path, "instances.json", data, "images/a.png", "images/b.png")
    for sample in load(tmp_path).values():
        np.testing.assert_array_equal(makedata.masks_of(sample, ("cell",))["cell"], filled(SQUARE))


def test_ids_that_are_text_are_no_numbers(tmp_path: Path) -> None:
    """007 and 7 may be two images."""
    data = content("a.png", "b.png")
    data["images"][0]["id"], data["annotations"][0]["image_id"] = "002", "002"
    put(tmp_path, "instances.json", data, "images/a.png", "images/b.png")
    assert len(scan(tmp_path).records) == 2
    data["annotations"][0]["image_id"] = "01"
    put(tmp_path, "instances.json", data)
    broken(tmp_path, "image_id 01 of 1 annotations is none of images")


@pytest.mark.parametrize(("flag", "expected"), [("0", "cell"), (0.0, "cell"), (False, "cell"), ("1", "ignore")])
def test_flags_as_text(tmp_path: Path, flag: Any, expected: str) -> None:
    data = content(*(f"{i}.png" for i in range(6)))
    data["annotations"][0]["iscrowd"] = flag
    put(tmp_path, "instances.json", data, *(f"images/{i}.png" for i in range(6)))
    (sample, *_), classes = load(tmp_path).values(), scan(tmp_path).classes
    assert [name for name, mask in makedata.masks_of(sample, classes).items() if mask.any()] == [expected]


# ---- polygons --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("box", [{"bbox": [2, 2, 5, 4]}, {"bbox": [0.1, 0.1, 0.2, 0.2]}, {}])
def test_shares_of_the_image_are_no_pixels(tmp_path: Path, box: dict[str, Any]) -> None:
    data = content("a.png", "b.png", ring=[0.1, 0.1, 0.6, 0.1, 0.6, 0.8])
    data["annotations"] = [{**entry, **box} for entry in data["annotations"]]
    put(tmp_path, "instances.json", data, "images/a.png", "images/b.png")
    for option in ("error", "reject"):
        broken(tmp_path, "all coordinates of its 2 polygons lie within 0 to 1", "20x16 pixels", on_error=option)
    data["annotations"][1]["segmentation"] = [[0, 0, 1, 0, 1, 1, 0, 1]]
    put(tmp_path, "instances.json", data)
    broken(tmp_path, "all coordinates of its 2 polygons lie within 0 to 1")
    data["annotations"][1]["segmentation"] = [SQUARE]
    put(tmp_path, "instances.json", data)
    assert len(scan(tmp_path).records) == 2, "one small object is no proof"


def test_one_pixel_is_no_share(tmp_path: Path) -> None:
    put(tmp_path, "instances.json", content("a.png", ring=[0, 0, 1, 0, 1, 1]), "images/a.png")
    assert len(scan(tmp_path).records) == 1


@pytest.mark.parametrize("ring", [[], [3, 3], [3, 3, 4, 4]])
def test_degenerate_rings(tmp_path: Path, ring: list[int]) -> None:
    data = content("a.png", "b.png")
    data["annotations"][0]["segmentation"].append(ring)
    put(tmp_path, "instances.json", data, "images/a.png", "images/b.png")
    broken(tmp_path, f"annotation 1: {len(ring) // 2} point", "drop_degenerate: true")
    listing = scan(tmp_path, drop_degenerate=True)
    assert [(f.kind, f.names) for f in listing.findings] == [("polygons of one or two points dropped", ("a",))]
    for sample in load(tmp_path, drop_degenerate=True).values():
        np.testing.assert_array_equal(makedata.masks_of(sample, ("cell",))["cell"], filled(SQUARE))


# ---- classes ---------------------------------------------------------------------------------------------------------

PHANTOM = [
    {"id": 0, "name": "cells", "supercategory": "none"},
    {"id": 1, "name": "cell", "supercategory": "cells"},
    {"id": 2, "name": "nucleus", "supercategory": "cells"},
]


def test_the_phantom_class_is_left_out_and_told(tmp_path: Path) -> None:
    put(tmp_path, "_annotations.coco.json", content("a.png", categories=PHANTOM), "a.png")
    listing = scan(tmp_path)
    assert listing.classes == ("cell", "nucleus")
    assert [(f.kind, f.names) for f in listing.findings] == [("phantom class left out", ("cells",))]
    for meant in ({"classes": ["cells", "cell", "nucleus"]}, {"class_map": {"cells": "tissue"}}):
        assert len(scan(tmp_path, **meant).classes) == 3 and not scan(tmp_path, **meant).findings


@pytest.mark.parametrize("change", ["used", "parent", "alone", "used in another file"])
def test_a_category_0_that_is_no_phantom(tmp_path: Path, change: str) -> None:
    data = content("a.png", categories=json.loads(json.dumps(PHANTOM)))
    if change == "used":
        data["annotations"][0]["category_id"] = 0
    elif change == "parent":
        data["categories"][2]["supercategory"] = "none"
    elif change == "alone":
        data = content("a.png", categories=PHANTOM[:1], annotations=[])
    put(tmp_path, "train/_annotations.coco.json", data, "train/a.png")
    if change == "used in another file":
        other = content("b.png", categories=PHANTOM)
        other["annotations"][0]["category_id"] = "0"
        put(tmp_path, "valid/_annotations.coco.json", other, "valid/b.png")
    assert scan(tmp_path).classes[0] == "cells" and not scan(tmp_path).findings


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["images", "images/train"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_file_names_agree_however_they_are_composed(tmp_path: Path, form: Any, folder: str) -> None:
    name = "환자 caf\N{LATIN SMALL LETTER E WITH ACUTE}.png"
    other: Any = {"NFC": "NFD", "NFD": "NFC"}[form]
    data = content(unicodedata.normalize(form, name))
    put(tmp_path, "annotations/train.json", data, f"{folder}/{unicodedata.normalize(other, name)}")
    ((found, sample),) = load(tmp_path).items()
    assert unicodedata.normalize("NFC", found) == name.removesuffix(".png") and sample.masks.any()


@pytest.mark.parametrize(("named", "there"), [("a.PNG", "a.png"), ("a.png", "a.PNG"), ("a.Png", "a.pNG")])
def test_suffixes_agree_in_any_case(tmp_path: Path, named: str, there: str) -> None:
    put(tmp_path, "instances.json", content(named), f"images/{there}")
    assert [record.data["image"] for record in scan(tmp_path).records] == [f"images/{there}"]


# ---- mismatches ------------------------------------------------------------------------------------------------------


def test_a_mismatched_annotation_leaves_no_image_empty(tmp_path: Path) -> None:
    """An annotation whose image is not found may belong to one that has none, so nobody knows what is there."""
    data = content("a.png", "b.png", "c.png")
    data["annotations"][0]["image_id"] = "one"
    put(tmp_path, "instances.json", data, *(f"images/{name}.png" for name in "abc"))
    broken(tmp_path, "image_id one of 1 annotations is none of images")
    listing = scan(tmp_path, on_error="reject")
    known = {name: makedata.known_of(s, listing.classes) for name, s in load(tmp_path, on_error="reject").items()}
    assert known == {"a": [], "b": ["cell"], "c": ["cell"]}
    assert [(f.kind, f.names) for f in listing.findings] == [("unlabelled beside mismatched labels", ("a",))]


# ---- links -----------------------------------------------------------------------------------------------------------


def test_links_that_no_annotation_names_stop_nothing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    put(root, "instances.json", content("a.png", "P1/b.png"), "images/a.png", "images/P1/b.png")
    before = [record.content for record in scan(root).records]
    for name in ("old.png", "backup", "P1/old.jpg"):
        (root / f"images/{name}").symlink_to(tmp_path)
    (root / "images/lost.png").symlink_to("nowhere.png")
    listing = scan(root)
    assert [record.content for record in listing.records] == before
    assert len(listing.refused) == 4, "they are told as rejected rows"
    (root / "images/P1").rename(tmp_path / "P1")
    (root / "images/P1").symlink_to(tmp_path / "P1")
    broken(root, "images/P1 is a link that leads to", "links: follow")
    assert len(scan(root, links="follow").records) == 2


# ---- polygons and boxes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "apart"),
    [
        ([20, 10, 41, 31], False),
        ([20, 10, 40, 30], False),
        ([19.5, 9.5, 42, 32], False),
        ([10, 5, 20.5, 15.5], True),  # of an image of half the size
        ([2, 1, 15, 8], True),  # of another object
        (["20", 10, 41, 31], False),  # no box at all
        ([20, 10, 0, 0], False),
    ],
)
def test_polygons_that_lie_elsewhere_than_their_boxes_are_told(tmp_path: Path, box: list[Any], apart: bool) -> None:
    data = content("a.png", "b.png", ring=[20, 10, 60, 10, 60, 40, 20, 40])
    for image, note in zip(data["images"], data["annotations"], strict=True):
        image.update(width=96, height=72)
        note["bbox"] = [20, 10, 41, 31]
        makedata.put_image(tmp_path / image["file_name"], (96, 72))
    data["annotations"][0]["bbox"] = box
    put(tmp_path, "coco.json", data)
    found = [each for each in scan(tmp_path).findings if each.kind == "polygons apart from their boxes"]
    assert [each.names for each in found] == [("a",)] * apart
    if apart:
        assert (
            "coco.json: the polygons of 1 of 2 annotations lie elsewhere than their bbox, such as in a"
            in found[0].message
        )


def test_turned_boxes_are_told_where_they_are_drawn_upright(tmp_path: Path) -> None:
    """CVAT writes the box before its turn, and the angle beside it."""
    data = content("a.png", "b.png")
    for note, angle in zip(data["annotations"], (30.0, 0.0), strict=True):
        note.update(segmentation=[], bbox=[2, 2, 9, 5], attributes={"rotation": angle, "occluded": False})
    put(tmp_path, "coco.json", data, "a.png", "b.png")
    (found,) = scan(tmp_path, boxes="rectangle").findings
    assert (found.kind, found.names) == ("turned boxes drawn upright", ("a",))
    assert found.message.startswith("1 box in 1 image, such as a, are turned") and "format cvat" in found.remedy


def test_a_single_slip_among_many_boxes_is_not_told(tmp_path: Path) -> None:
    data = content("a.png")
    note = {**data["annotations"][0], "bbox": [2, 2, 5, 4]}
    data["annotations"] = [{**note, "id": i, "bbox": note["bbox"] if i else [12, 9, 5, 4]} for i in range(40)]
    put(tmp_path, "coco.json", data, "a.png")
    assert "polygons apart from their boxes" not in kinds(scan(tmp_path))


def test_labelme_files_for_coco_are_called_so(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path, f"{name}.json", {"shapes": [], "imagePath": f"{name}.png", "imageData": None}, f"{name}.png")
    broken(tmp_path, "holds 2 annotation files", "looks like format labelme: if it is, set 'format: labelme'")


def test_paths_of_another_machine_are_answered_with_the_images_that_are_there(tmp_path: Path) -> None:
    """As Label Studio writes them: out of the root, or URL-encoded."""
    put(tmp_path / "a", "coco.json", content("..\\..\\media\\upload\\4\\x.png"), "images/x.png")
    broken(tmp_path / "a", "file_name ..\\..\\media", "leaves", "Correct the path", "that name, images/x.png: correct")
    put(tmp_path / "b", "coco.json", content("a%20%C3%BC.png"), "images/a \u00fc.png")
    broken(tmp_path / "b", "a%20%C3%BC.png does not exist", "There is an image of that name, images/a \u00fc.png")


def test_exchanged_width_and_height_are_called_so(tmp_path: Path) -> None:
    data = content("a.png")
    data["images"][0].update(width=16, height=20)
    put(tmp_path, "coco.json", data, "a.png")
    broken(tmp_path, "a.png has 16x20 pixels, its image 20x16", "Width and height are exchanged: if the shapes fit")
