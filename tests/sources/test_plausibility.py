"""What a listing finds implausible, and that it finds nothing in plain data."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makedata import block, broken, put_image, put_json, put_pixels, put_text, scan

from augforge import bitmask
from augforge.sources.listing import Finding, Listing, Record
from augforge.sources.looks import as_spoken
from augforge.sources.plausibility.classes import find_alike
from augforge.sources.plausibility.groups import LoneGroups
from augforge.sources.plausibility.splits import find_far_shares, find_shared_images
from augforge.sources.raster import rle
from augforge.sources.raster.fills import Fill
from augforge.sources.raster.outlines import Outlines, covered_classes
from augforge.sources.raster.shapes import draw


def kinds(listing: Listing) -> dict[str, tuple[str, ...]]:
    return {found.kind: found.names for found in listing.all_findings}


def mask_folder(root: Path, *names: str, classes: Sequence[str] = ("heart",)) -> Path:
    for name in names:
        put_image(root / f"images/{name}.png")
        for label in classes:
            put_pixels(root / f"masks/{label}/{name}.png", block(2, 2, 9, 9))
    return root


def coco(root: Path, categories: Sequence[str], drawn: Sequence[int]) -> Path:
    """A COCO file with one image for each drawn category number."""
    images = [{"id": i, "file_name": f"{'abcdef'[i]}.png", "width": 20, "height": 16} for i in range(len(drawn))]
    ring = [[2, 2, 9, 2, 9, 9, 2, 9]]
    notes = [{"id": i, "image_id": i, "category_id": c, "segmentation": ring} for i, c in enumerate(drawn)]
    named = [{"id": i, "name": name} for i, name in enumerate(categories)]
    for image in images:
        put_image(root / "images" / str(image["file_name"]))
    put_json(root / "instances.json", {"images": images, "annotations": notes, "categories": named})
    return root


def test_plain_data_has_no_finding(tmp_path: Path) -> None:
    assert not scan("mask-folder", mask_folder(tmp_path / "a", "P01/one", "P02/two")).all_findings
    assert not scan("coco", coco(tmp_path / "b", ["heart", "lung"], [0, 1])).all_findings


def test_a_class_that_nothing_draws(tmp_path: Path) -> None:
    listing = scan("coco", coco(tmp_path, ["animals", "cat", "dog"], [1, 1, 2]))
    (found,) = listing.all_findings
    assert (found.kind, found.names) == ("class drawn nowhere", ("animals",))
    assert found.message == "class 'animals' is drawn in none of 3 images" and "class_map" in found.remedy
    assert not scan("coco", tmp_path, class_map={"animals": None}).all_findings


def test_a_label_that_all_images_have(tmp_path: Path) -> None:
    """A folder of images is taken for a class, as if the path were one level too high."""
    for name in ("images/a", "images/b"):
        put_image(tmp_path / f"{name}.png")
    (found,) = scan("image-folder", tmp_path).all_findings
    assert (found.kind, found.names) == ("one label for all images", ("images",))
    assert found.message.startswith("each of 2 images has the label 'images', and there is no other")
    put_image(tmp_path / "cats/c.png")
    assert not scan("image-folder", tmp_path).all_findings


def test_each_format_knows_what_is_drawn(tmp_path: Path) -> None:
    put_image(tmp_path / "yolo/images/a.png")
    put_text(tmp_path / "yolo/labels/a.txt", "1 0.1 0.1 0.5 0.1 0.5 0.5")
    put_text(tmp_path / "yolo/data.yaml", "names: [x, y]")
    assert kinds(scan("yolo", tmp_path / "yolo")) == {"class drawn nowhere": ("x",)}
    put_image(tmp_path / "labelme/a.png")
    shape = {"label": "y", "shape_type": "polygon", "points": [[2, 2], [9, 2], [9, 9]]}
    put_json(tmp_path / "labelme/a.json", {"imagePath": "a.png", "shapes": [shape]})
    assert kinds(scan("labelme", tmp_path / "labelme", classes=["x", "y"])) == {"class drawn nowhere": ("x",)}
    put_image(tmp_path / "index/images/a.png")
    put_pixels(tmp_path / "index/masks/a.png", block(2, 2, 9, 9, value=2))
    found = kinds(scan("index-mask", tmp_path / "index", values={1: "x", 2: "y"}))
    assert found == {"class drawn nowhere": ("x",)}
    put_image(tmp_path / "labels/y/a.png")
    found = kinds(scan("image-folder", tmp_path / "labels", classes=["x", "y"]))
    assert found == {"label given to no image": ("x",)}


def test_a_union_looks_at_all_of_its_sources_together(tmp_path: Path) -> None:
    coco(tmp_path / "a", ["x", "y", "z"], [0])
    coco(tmp_path / "b", ["x", "y", "z"], [1])
    put_text(tmp_path / "b/images/more.json", "{}")
    sources = [{"format": "coco", "path": "a"}, {"format": "coco", "path": "b"}]
    listing = scan("union", tmp_path, sources=sources, classes=["x", "y", "z"])
    assert kinds(listing) == {"class drawn nowhere": ("z",), "annotation files left aside": ("images/more.json",)}
    assert next(found for found in listing.all_findings if "aside" in found.kind).message.startswith("b: ")


def test_names_and_classes_that_agree_but_for_their_look(tmp_path: Path) -> None:
    mask_folder(tmp_path, "Scan1", "scan1", classes=("Heart", "heart "))
    assert kinds(scan("mask-folder", tmp_path)) == {
        "classes alike": ("Heart", "heart "),
        "names alike": ("Scan1", "scan1"),
    }
    (found,) = find_alike(["größe", "GRÖSSE", "x"], "classes alike", "classes")
    assert found.names == ("größe", "GRÖSSE")
    (found,) = find_alike(["e\u0301", "\u00c9"], "classes alike", "classes")
    assert "'e\u0301' and '\u00c9'" in found.message


def test_what_is_left_aside(tmp_path: Path) -> None:
    mask_folder(tmp_path, "a", "b")
    put_text(tmp_path / "images/labels.csv", "a,1")
    put_text(tmp_path / "images/README.txt", "read me")
    put_image(tmp_path / "images_new/c.png")
    put_text(tmp_path / "docs/readme.md", "nothing")
    listing = scan("mask-folder", tmp_path)
    assert kinds(listing) == {
        "annotation files left aside": ("images/labels.csv",),
        "folders left aside": ("images_new",),
    }


def test_a_key_of_class_map_that_names_nothing(tmp_path: Path) -> None:
    mask_folder(tmp_path, "a")
    listing = scan("mask-folder", tmp_path, class_map={"heart": "heart", "haert": "heart", "*": None})
    (found,) = listing.all_findings
    assert (found.kind, found.names) == ("class_map without effect", ("haert",))
    assert "Did you mean 'heart'?" in found.remedy


def test_a_table_that_has_no_row_for_some(tmp_path: Path) -> None:
    mask_folder(tmp_path, "a", "b")
    put_text(tmp_path / "ages.csv", "name,age\na,7\n")
    (found,) = scan("mask-folder", tmp_path, metadata="ages.csv").all_findings
    assert found.message == "1 of 2 samples have no row in ages.csv, such as b"


@pytest.mark.parametrize(("odd", "shown"), [("n.a.", "'n.a.'"), ("7 years", "'7 years'"), ("1,5", "'1,5'")])
def test_an_odd_value_in_a_column_of_numbers(tmp_path: Path, odd: str, shown: str) -> None:
    mask_folder(tmp_path, *"abcde")
    put_text(tmp_path / "ages.csv", f'name,age,sex\na,7,F\nb,8.5,M\n\nc,"{odd}",F\nd,9,1\ne,,F\n')
    (found,) = scan("mask-folder", tmp_path, metadata="ages.csv").all_findings
    assert (found.kind, found.names) == ("odd value in a numeric column", ("c",))
    assert (
        f"column 'age' holds numbers in 3 samples, but {shown} of c (ages.csv:5): all of it becomes text"
        in found.message
    )


@pytest.mark.parametrize(
    "ages", [["7", "8", "9", "10"], ["7", "8", "x", "y"], ["x", "y", "z", "9"], ["1", "2", "3.5", "4"]]
)
def test_columns_without_an_odd_value(tmp_path: Path, ages: list[str]) -> None:
    mask_folder(tmp_path, *"abcd")
    put_text(tmp_path / "ages.csv", "name,age\n" + "".join(f"{n},{age}\n" for n, age in zip("abcd", ages, strict=True)))
    assert not scan("mask-folder", tmp_path, metadata="ages.csv").all_findings


def test_rows_of_a_table_that_fit_no_sample(tmp_path: Path) -> None:
    mask_folder(tmp_path, "P1/a", "P1/b")
    put_text(tmp_path / "ages.csv", "name,age\nP1/a,7\nP1/b.png,8\nP1/C,9\n")
    (found,) = scan("mask-folder", tmp_path, metadata="ages.csv").all_findings
    assert (found.kind, found.names) == ("metadata rows without a sample", ("ages.csv",))
    assert found.message == "1 of 3 rows of ages.csv fits no sample, such as 'P1/C'"
    put_text(tmp_path / "ages.csv", "group,age\nP1,7\n")
    assert not scan("mask-folder", tmp_path, metadata={"table": "ages.csv", "on": "group"}).all_findings


def records(*names: str, group: str | None = None) -> list[Record]:
    return [Record(name, group or name, None, 20, 16, 100, "x") for name in names]


def lone(found: list[Record]) -> list[Finding]:
    groups = LoneGroups()
    for record in found:
        groups.see(record)
    return list(groups.findings())


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([f"p{p}_{i}" for p in range(4) for i in range(3)], True),
        ([f"video{p}-frame-{i:05d}" for p in range(4) for i in range(3)], True),
        ([f"wall{'abcd'[p]}_crop_{i}" for p in range(4) for i in range(3)], True),
        ([f"scan7{p}_tile_512_{i * 512}" for p in range(4) for i in range(3)], True),
        ([f"IMG_{i:04d}" for i in range(20)], False),
        ([f"JPCLN{i:03d}" for i in range(20)], False),
        ([f"case_{i}" for i in range(20)], False),
        ([f"{i:012d}" for i in range(20)], False),
        ([f"p{p}_1" for p in range(9)], False),
        ([f"frame_{i:06d}" for i in range(9)], True),  # one video
        ([f"video{p}_frame_{i:04d}" for p in range(2) for i in range(6)], True),
        ([f"ortho_{p}_tile_r{i}_c{j}" for p in "AB" for i in range(2) for j in range(2)], True),
        ([f"map{p}-x{i}-y0" for p in "ABC" for i in range(3)], True),
        ([f"IO000001 ({i})" for i in range(9)], False),  # a device's one name
        (["wall_crop_1", "IMG_1", "IMG_2", "IMG_3"], False),
        ([f"202304{d:02d}_1015{i}" for d in range(1, 5) for i in range(3)], False),  # days, as phones name them
        ([f"IMG_2023-04-{d:02d} {i}" for d in range(1, 5) for i in range(3)], False),
        ([f"{y}_{i:05d}" for y in (2007, 2008, 2009) for i in range(3)], False),
        ([f"n0{w}/n0{w}_{i}" for w in range(4) for i in range(3)], False),  # ImageNet: the class's folder
        ([f"00{w}.Black_Tern/Black_Tern_{i:04d}_{9 * i}" for w in range(4) for i in range(3)], False),
    ],
)
def test_names_that_look_like_parts_of_one_picture(names: list[str], found: bool) -> None:
    assert [each.kind for each in lone(records(*names))] == ["groups of one image"] * found
    assert not list(lone(records(*names, group="one")))


def test_the_same_bytes_in_two_splits(tmp_path: Path) -> None:
    mask_folder(tmp_path, "train/a", "train/b", "test/c", "test/d")
    shutil.copy(tmp_path / "images/train/a.png", tmp_path / "images/test/d.png")
    listing = scan("mask-folder", tmp_path)
    splits = {record.name: record.split or "train" for record in listing.records}
    (found,) = find_shared_images(listing.records, splits)
    assert (found.kind, found.names) == ("same image in two splits", ("test/d", "train/a"))
    assert "test/d (test) and train/a (train)" in found.message
    assert not list(find_shared_images(listing.records, dict.fromkeys(splits, "train")))


@pytest.mark.parametrize(
    ("asked", "counts", "far"),
    [
        (0.2, (8, 2), False),
        (0.2, (11, 1), True),
        (0.2, (7, 5), True),
        (0.2, (70, 30), False),
        (0.01, (99, 1), False),
        (0.01, (1, 1), True),
        (0.02, (97, 3), False),
    ],
)
def test_a_split_far_from_its_share(asked: float, counts: tuple[int, int], far: bool) -> None:
    splits = ["train"] * counts[0] + ["val"] * counts[1]
    found: list[Finding] = list(find_far_shares({"val": asked}, splits, len(splits)))
    assert [each.names for each in found] == [("val",)] * far
    assert not far or f"{counts[1]} of {sum(counts)} samples" in found[0].message


@pytest.mark.parametrize(
    ("ring", "covers"),
    [
        ([0, 0, 19, 0, 19, 15, 0, 15], {"outline"}),
        ([-1, -1, 20, -1, 20, 16, -1, 16], {"outline", "pixel-centre", "coco"}),
        ([0, 0, 20, 0, 20, 16, 0, 16], {"outline", "pixel-centre", "coco"}),
        ([0, 0, 9, 0, 19, 0, 19, 15, 0, 15], {"outline"}),
        ([0, 0, 19, 0, 19, 15], set()),
        ([1, 0, 19, 0, 19, 15, 1, 15], set()),
        ([0, 0, 19, 0, 19, 14, 0, 14], set()),
    ],
)
def test_a_ring_that_covers_all_pixels(ring: list[float], covers: set[Fill]) -> None:
    """What drawing it gives is the oracle."""
    image = {"width": 20, "height": 16}
    outlines = Outlines()
    outlines.add_ring("x", [float(value) for value in ring], "it")
    fills: tuple[Fill, ...] = ("outline", "pixel-centre", "coco")
    for fill in fills:
        drawn = bitmask.class_mask(draw([("x", [*map(float, ring)])], 16, 20, ["x"], fill), 0).all()
        assert drawn == (fill in covers)
        assert [*covered_classes(outlines.facts(), image, fill)] == ["x"] * int(drawn)


def test_run_lengths_that_cover_all_pixels() -> None:
    whole = np.ones((16, 20), np.uint8)
    assert rle.fills(rle.encode(whole), 20, 16) and rle.fills(rle.compress([0, 5, 0, 315], 16, 20), 20, 16)
    whole[7, 7] = 0
    assert not rle.fills(rle.encode(whole), 20, 16)


def test_what_people_overlook_in_a_name() -> None:
    assert as_spoken(" P1 /Scan 2 ") == as_spoken("p1/scan 2") != as_spoken("p1/scan2")
    assert as_spoken("GRÖSSE") == as_spoken("gro\u0308ße")


def test_a_class_that_fills_all_masks_is_told_once(tmp_path: Path) -> None:
    for name in "abc":
        put_image(tmp_path / f"images/{name}.png")
        put_pixels(tmp_path / f"masks/heart/{name}.png", block(0, 0, 20, 16))
        put_pixels(tmp_path / f"masks/background/{name}.png", block(0, 0, 20, 16))
    assert kinds(scan("mask-folder", tmp_path)).keys() == {"class fills its masks"}
    put_pixels(tmp_path / "masks/heart/b.png", block(2, 2, 9, 9))
    (found,) = scan("mask-folder", tmp_path).all_findings
    assert (found.kind, found.names) == ("class in every pixel", ("heart",))
    assert "2 of 3 images, such as a" in found.message


def test_a_hole_label_that_names_nothing(tmp_path: Path) -> None:
    put_image(tmp_path / "a.png")
    shapes = [{"label": label, "points": [[2, 2], [9, 2], [9, 9]]} for label in ("cell", "ring")]
    put_json(tmp_path / "a.json", {"imagePath": "a.png", "shapes": shapes})
    (found,) = scan("labelme", tmp_path, hole_label="hole", class_map={"ring": None}).all_findings
    assert (found.kind, found.names) == ("hole_label without effect", ("hole",))
    assert not scan("labelme", tmp_path, hole_label="ring").all_findings


def test_a_link_that_may_have_led_to_data_is_told(tmp_path: Path) -> None:
    put_image(tmp_path / "data/cat/a.png")
    put_image(tmp_path / "outside/b.png")
    (tmp_path / "data/dog").symlink_to("nowhere")
    assert kinds(scan("image-folder", tmp_path / "data")) == {"links that lead nowhere": ("dog",)}
    (tmp_path / "data/dog").unlink()
    (tmp_path / "data/dog").symlink_to(tmp_path / "outside")
    broken("image-folder", tmp_path / "data", "out of the root", "links: follow")
    assert scan("image-folder", tmp_path / "data", links="follow").labels == ("cat", "dog")


def test_findings_are_cheap_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No image is decoded for them."""
    coco(tmp_path, ["heart"], [0, 0])

    def refuse(*arguments: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("cv2.imdecode", refuse)
    assert len(scan("coco", tmp_path).records) == 2
