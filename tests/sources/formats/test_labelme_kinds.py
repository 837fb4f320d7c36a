"""LabelMe files of other tools and habits: turned rectangles, holes, flags that are labels, other JSON beside."""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path
from typing import Any

import makedata
import numpy as np
import pytest
from makedata import filled, label_of, masks_of, put_image, put_json

load, scan = partial(makedata.load, "labelme"), partial(makedata.scan, "labelme")
broken = partial(makedata.broken, "labelme")

OUTER = [[2, 2], [17, 2], [17, 13], [2, 13]]
INNER = [[6, 5], [12, 5], [12, 10], [6, 10]]
ISLAND = [[8, 7], [10, 7], [10, 8], [8, 8]]


def shape(points: Any, label: str = "ring", kind: str = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, **more}


def put(root: Path, *shapes: dict[str, Any], name: str = "a", **more: Any) -> None:
    put_image(root / f"{name}.png")
    put_json(root / f"{name}.json", {"shapes": [*shapes], "imagePath": f"{name}.png", "imageData": None, **more})


def drawn(root: Path, **options: Any) -> np.ndarray:
    (ring,) = masks_of(load(root, **options)["a"], ("ring",)).values()
    return ring


# ---- rectangles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rectangle", "oriented_rectangle", "rotation"])
def test_a_rectangle_of_four_corners_is_a_polygon(tmp_path: Path, kind: str) -> None:
    turned = [[5, 2], [12, 5], [10, 9], [3, 6]]
    put(tmp_path, shape(turned, kind=kind, direction=0.4))
    np.testing.assert_array_equal(drawn(tmp_path), filled(turned))


# ---- holes -----------------------------------------------------------------------------------------------------------


def cut(*holes: Any) -> np.ndarray:
    return np.asarray(filled(OUTER) & ~filled(*holes) & 1)


def test_the_label_of_holes_is_cut_out_and_no_class(tmp_path: Path) -> None:
    put(tmp_path, shape(OUTER), shape(INNER, "_background_"))
    assert scan(tmp_path).classes == ("_background_", "ring")
    (found,) = scan(tmp_path).findings
    assert (found.kind, found.names) == ("background is a class", ("_background_",))
    assert "hole_label: _background_" in found.remedy
    assert scan(tmp_path, hole_label="_background_").classes == ("ring",)
    assert not scan(tmp_path, hole_label="_background_").findings
    assert not scan(tmp_path, class_map={"_background_": None}).findings
    assert not scan(tmp_path, classes=["ring", "_background_"]).findings
    np.testing.assert_array_equal(drawn(tmp_path, hole_label="_background_"), cut(INNER))


def test_a_hole_may_stand_before_its_shape_and_an_island_after_it(tmp_path: Path) -> None:
    hole, island = shape(INNER, "hole"), shape(ISLAND)
    put(tmp_path, hole, shape(OUTER), island)
    np.testing.assert_array_equal(drawn(tmp_path, hole_label="hole"), cut(INNER) | filled(ISLAND))
    put(tmp_path, shape(OUTER), hole, island)
    np.testing.assert_array_equal(drawn(tmp_path, hole_label="hole"), cut(INNER) | filled(ISLAND))
    put(tmp_path, shape(OUTER), island, hole)
    np.testing.assert_array_equal(drawn(tmp_path, hole_label="hole"), cut(INNER))


def test_holes_cut_masks_and_all_classes(tmp_path: Path) -> None:
    put(tmp_path, shape(OUTER), shape(OUTER, "other"), shape([[2, 2], [9, 6]], "hole", "rectangle"))
    masks = masks_of(load(tmp_path, hole_label="hole")["a"], ("other", "ring"))
    for mask in masks.values():
        np.testing.assert_array_equal(mask, cut([[2, 2], [9, 2], [9, 6], [2, 6]]))


def test_a_difficult_shape_inside_of_its_group_is_a_hole(tmp_path: Path) -> None:
    put(tmp_path, shape(OUTER, group_id=3), shape(INNER, group_id=3, difficult=True))
    np.testing.assert_array_equal(drawn(tmp_path), cut(INNER))


@pytest.mark.parametrize("outer", [{"group_id": 4}, {"group_id": 3, "label": "other"}, {"group_id": None}])
def test_a_difficult_shape_of_no_group_is_drawn(tmp_path: Path, outer: dict[str, Any]) -> None:
    put(tmp_path, {**shape(OUTER), **outer}, shape(INNER, group_id=3, difficult=True))
    masks = masks_of(load(tmp_path)["a"], scan(tmp_path).classes)
    np.testing.assert_array_equal(masks["ring"] & filled(INNER), filled(INNER))


def test_holes_change_ids(tmp_path: Path) -> None:
    put(tmp_path, shape(OUTER, group_id=3), shape(INNER, group_id=3))
    whole = scan(tmp_path).records[0].content
    put(tmp_path, shape(OUTER, group_id=3), shape(INNER, group_id=3, difficult=True))
    assert scan(tmp_path).records[0].content != whole


# ---- flags -----------------------------------------------------------------------------------------------------------


def test_flags_become_label_vectors(tmp_path: Path) -> None:
    put(tmp_path, flags={"blurred": True, "left": False})
    put(tmp_path, name="b", flags={"left": True})
    put(tmp_path, name="c")
    listing = scan(tmp_path, flags="labels")
    assert (listing.labels, listing.classes) == (("blurred", "left"), ("ignore",))
    samples = load(tmp_path, flags="labels")
    assert (label_of(samples["a"]), label_of(samples["b"])) == ([1.0, 0.0], [0.0, 1.0])
    assert samples["c"].label is None and not samples["a"].known.any()
    assert samples["a"].metadata == {"blurred": True, "left": False}


def test_flags_that_are_given_are_no_labels_without_images(tmp_path: Path) -> None:
    put(tmp_path, shape(OUTER), flags={"blurred": True, "left": False})
    found = [each for each in scan(tmp_path, flags="labels").all_findings if each.kind == "label given to no image"]
    assert [each.names for each in found] == [("left",)]
    put(tmp_path, name="b", flags={"left": True})
    assert not scan(tmp_path, flags="labels").all_findings


def test_flags_and_shapes_go_together(tmp_path: Path) -> None:
    put(tmp_path, shape(OUTER), flags={"left": True})
    sample = load(tmp_path, flags="labels")["a"]
    assert label_of(sample) == [1.0]
    np.testing.assert_array_equal(masks_of(sample, ("ring",))["ring"], filled(OUTER))
    before = scan(tmp_path, flags="labels").records[0].content
    put(tmp_path, shape(OUTER), flags={"left": False})
    assert scan(tmp_path, flags="labels").records[0].content != before
    assert load(tmp_path)["a"].label is None


# ---- files -----------------------------------------------------------------------------------------------------------


def test_other_json_beside_is_refused_with_its_reason(tmp_path: Path) -> None:
    put(tmp_path, shape(OUTER))
    put_json(tmp_path / "classes.json", ["ring"])
    put_json(tmp_path / "coco/instances.json", {"images": [], "annotations": [], "categories": []})
    listing = scan(tmp_path)
    assert [(row.name, row.reason) for row in listing.refused] == [
        ("classes", "not a LabelMe file"),
        ("coco/instances", "not a LabelMe file"),
    ]
    assert [record.name for record in listing.records] == ["a"]
    assert [(found.kind, found.names) for found in listing.all_findings] == [
        ("annotation files left aside", ("classes.json", "coco/instances.json"))
    ]


def test_json_with_an_image_of_its_name_has_to_be_an_annotation(tmp_path: Path) -> None:
    put(tmp_path, shape(OUTER))
    put_image(tmp_path / "b.png")
    put_json(tmp_path / "b.json", {"images": []})
    broken(tmp_path, str(tmp_path / "b.json"), "holds no shapes")


def test_a_folder_without_any_labelme_file(tmp_path: Path) -> None:
    put_json(tmp_path / "a.json", {"images": []})
    broken(tmp_path, str(tmp_path / "a.json"), "holds no shapes")


def test_base64_may_have_line_ends(tmp_path: Path) -> None:
    put(tmp_path, shape(OUTER))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").unlink()
    put_json(tmp_path / "a.json", {"shapes": [shape(OUTER)], "imageData": base64.encodebytes(whole).decode()})
    assert drawn(tmp_path).sum() == filled(OUTER).sum()


def test_base64_may_be_a_data_url(tmp_path: Path) -> None:
    put(tmp_path, shape(OUTER))
    whole = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    (tmp_path / "a.png").unlink()
    put_json(tmp_path / "a.json", {"shapes": [shape(OUTER)], "imageData": f"data:image/png;base64,{whole}"})
    assert drawn(tmp_path).sum() == filled(OUTER).sum()


# ---- labels and kinds ------------------------------------------------------------------------------------------------


def test_a_kind_that_is_null_is_a_polygon(tmp_path: Path) -> None:
    put(tmp_path, {**shape(OUTER), "shape_type": None})
    assert drawn(tmp_path).sum() == filled(OUTER).sum()


def test_a_label_that_is_a_number_is_called_so(tmp_path: Path) -> None:
    put(tmp_path, {**shape(OUTER), "label": 3})
    broken(tmp_path, "shape 1 has the label 3; expected a class name as text")
    put(tmp_path, {**shape(OUTER), "label": ""})
    broken(tmp_path, "shape 1 has no label;")


def test_what_nobody_should_learn_from_is_told_where_it_becomes_a_class(tmp_path: Path) -> None:
    put(tmp_path, shape(OUTER), {**shape(OUTER), "label": "__ignore__"})
    (found,) = scan(tmp_path).all_findings
    assert (found.kind, found.names) == ("ignored pixels are a class", ("__ignore__",))
    assert "'class_map: {__ignore__: ignore}'" in found.remedy
    listing = scan(tmp_path, class_map={"__ignore__": "ignore"})
    assert not listing.all_findings and set(listing.classes) == {"ring", "ignore"}
