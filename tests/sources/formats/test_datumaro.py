"""The datumaro adapter: the same planes as our own adapters on the same shapes, splits, labels and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makedata import (
    block,
    broken,
    filled,
    known_of,
    label_of,
    load,
    masks_of,
    put_image,
    put_json,
    put_palette,
    put_text,
    rejected,
    scan,
)
from mutation import mutated_file

from augforge.errors import SourceError
from augforge.sources.formats.datumaro.source import Datumaro

pytestmark = pytest.mark.extras  # Datumaro holds much back, so `dev` does not install it

KIND = "datumaro"
VALUES = block(2, 2, 6, 5, 1) + block(8, 2, 12, 9, 2) + block(0, 14, 20, 16, 255)
TRIANGLE = [2.0, 2.0, 9.0, 2.0, 9.0, 8.0]


# ---- CVAT ------------------------------------------------------------------------------------------------------------


def test_cvat(tmp_path: Path) -> None:
    root = cvat(tmp_path, polygon(), mask(), '<tag label="cat"></tag>')
    listing = scan(KIND, root, missing_annotation="unlabelled")
    assert listing.classes == ("cat", "dog")
    assert [(r.name, r.group, r.split) for r in listing.records] == [("P1/a", "P1", None), ("b", "b", None)]
    assert listing.warnings == ("1 annotations of kind label are left out",)
    samples = load(KIND, root, missing_annotation="unlabelled")
    planes = masks_of(samples["P1/a"], listing.classes)
    own = coco(tmp_path / "own")
    np.testing.assert_array_equal(planes["cat"], masks_of(own, ("cat",))["cat"])
    np.testing.assert_array_equal(planes["dog"], np.pad([[0, 0, 0, 1], [1, 1, 1, 0]], ((2, 12), (10, 6))))
    assert known_of(samples["P1/a"], listing.classes) == ["cat", "dog"]
    assert known_of(samples["b"], listing.classes) == []
    assert known_of(load(KIND, root)["b"], listing.classes) == ["cat", "dog"]


def test_the_format_may_be_named(tmp_path: Path) -> None:
    root = cvat(tmp_path, polygon())
    found, named = scan(KIND, root), scan(KIND, root, dataset_format="cvat")
    assert [r.content for r in found.records] == [r.content for r in named.records]
    broken(KIND, root, "Datumaro has no format 'cvaat'. Did you mean 'cvat'?", dataset_format="cvaat")
    broken(KIND, root, "cannot be read by Datumaro as voc", "source.dataset_format", dataset_format="voc")


def test_a_content_is_that_of_its_own_annotations(tmp_path: Path) -> None:
    before = scan(KIND, cvat(tmp_path / "x", polygon())).records
    after = scan(KIND, cvat(tmp_path / "x", polygon(), mask())).records
    assert [one.content == other.content for one, other in zip(before, after, strict=True)] == [False, True]
    twice = scan(KIND, cvat(tmp_path / "x", polygon(), polygon())).records
    assert list(twice) == list(before)


def test_boxes(tmp_path: Path) -> None:
    root = cvat(tmp_path, polygon(), '<box label="dog" xtl="8" ytl="2" xbr="12" ybr="9"></box>')
    broken(KIND, root, "item 'P1/a' has a box", "boxes: rectangle")
    masks = masks_of(load(KIND, root, boxes="rectangle")["P1/a"], ("cat", "dog"))
    np.testing.assert_array_equal(masks["dog"], block(8, 2, 12, 9, 1))
    assert not masks_of(load(KIND, root, boxes="drop")["P1/a"], ("cat", "dog"))["dog"].any()


def test_a_box_of_the_same_thing(tmp_path: Path) -> None:
    """A group of CVAT's is of several things: its boxes are of the polygon only where the label is."""
    ring = '<polygon label="cat" group_id="3" points="2,2;9,2;9,8"></polygon>'
    box = '<box label="LABEL" group_id="3" xtl="8" ytl="2" xbr="12" ybr="9"></box>'
    broken(KIND, cvat(tmp_path, ring, box.replace("LABEL", "dog")), "item 'P1/a' has a box")
    sample = load(KIND, cvat(tmp_path, ring, box.replace("LABEL", "cat")))["P1/a"]
    np.testing.assert_array_equal(masks_of(sample, ("cat", "dog"))["cat"], filled(TRIANGLE))


def test_a_rotated_box(tmp_path: Path) -> None:
    box = '<box label="cat" xtl="3" ytl="7" xbr="13" ybr="9" rotation="90"></box>'
    sample = load(KIND, cvat(tmp_path, box))["P1/a"]
    np.testing.assert_array_equal(masks_of(sample, ("cat", "dog"))["cat"], filled([7, 3, 9, 3, 9, 13, 7, 13]))


def test_what_datumaro_passes_over_in_cvat(tmp_path: Path) -> None:
    ellipse = '<ellipse label="cat" cx="9" cy="8" rx="5" ry="3"></ellipse>'
    root = cvat(tmp_path / "x", ellipse, polygon(), '<cuboid label="cat" xtl1="1"></cuboid>')
    broken(KIND, root, f"{root}/annotations.xml: image 'P1/a' has cuboid and ellipse", "format: cvat")
    assert rejected(KIND, root) == [("P1/a", "broken item")]
    root = cvat(tmp_path / "y", polygon())
    put_image(root / "more/images/c.png")
    put_text(root / "more/annotations.xml", (root / "annotations.xml").read_text().replace("b.png", "c.png"))
    broken(KIND, root, f"{root}/more/annotations.xml: image 'c' is passed over", "other .xml")
    put_text(root / "more/annotations.xml", "<x>")
    broken(KIND, root, f"{root}/more/annotations.xml cannot be read as XML")


def test_a_polyline_leaves_its_class_unknown(tmp_path: Path) -> None:
    root = cvat(tmp_path, polygon(), '<polyline label="dog" points="2,2;9,2"></polyline>')
    assert known_of(load(KIND, root)["P1/a"], ("cat", "dog")) == ["cat"]
    assert known_of(load(KIND, root)["b"], ("cat", "dog")) == ["cat", "dog"]


def test_subsets_of_cvat(tmp_path: Path) -> None:
    """A project's file names the subsets of its tasks; an image of another is passed over."""
    root = cvat(tmp_path, polygon())
    path = root / "annotations.xml"
    task = "<task><subset>Train</subset></task>"
    text = (
        path.read_text()
        .replace("<task>", f"<project><tasks>{task}</tasks>")
        .replace("</task></meta>", "</project></meta>")
    )
    put_text(path, text.replace("<image ", '<image subset="Train" '))
    assert [r.name for r in scan(KIND, root).records] == ["P1/a", "b"]
    put_text(
        path,
        text.replace('<image id="0"', '<image subset="Train" id="0"').replace(
            '<image id="1"', '<image subset="Val" id="1"'
        ),
    )
    broken(KIND, root, "image 'b' is passed over", "its subset 'Val'")
    put_text(path, text.replace(">Train<", "><").replace("<image ", '<image subset="default" '))
    broken(KIND, root, "2 problems", "its subset 'default'")


def test_tracks_of_cvat(tmp_path: Path) -> None:
    """What a track leaves outside of a frame is not there."""
    for number in range(4):
        put_image(tmp_path / f"images/frame_{number:06d}.png")
    shape = '<polygon frame="{}" outside="{}" points="2,2;9,2;9,8"></polygon>'
    meta = "<meta><task><labels><label><name>cat</name></label></labels><original_size><height>16</height>"
    track = f'<track id="0" label="cat">{shape.format(0, 0)}{shape.format(1, 1)}</track>'
    end = "<width>20</width></original_size></task></meta>"
    put_text(tmp_path / "annotations.xml", f"<annotations>{meta}{end}{track}</annotations>")
    listing, samples = scan(KIND, tmp_path), load(KIND, tmp_path)
    assert [bool(samples[name].masks.any()) for name in ("frame_000000", "frame_000001")] == [True, False]
    assert listing.warnings == ("2 images are not in the annotations, such as images/frame_000002.png",)
    lost = track.replace("</track>", '<ellipse frame="3" outside="0" cx="5" cy="5" rx="2" ry="2"></ellipse></track>')
    put_text(tmp_path / "annotations.xml", f"<annotations>{meta}{end}{lost}</annotations>")
    broken(KIND, tmp_path, "image 'frame_000003' has ellipse")


def test_images_without_annotations_are_told(tmp_path: Path) -> None:
    root = cvat(tmp_path, polygon())
    (warning,) = scan(KIND, root).warnings
    assert warning.startswith("1 of 2 images have no annotations, such as b")
    assert not scan(KIND, root, missing_annotation="empty").warnings


def test_class_maps(tmp_path: Path) -> None:
    root = cvat(tmp_path, polygon(), mask())
    listing = scan(KIND, root, class_map={"cat": "animal", "dog": "animal"})
    assert listing.classes == ("animal",)
    broken(KIND, root, "label 'dog' is not in classes", classes=["cat", "cow"])
    options: dict[str, Any] = {"classes": ["cow", "cat"], "class_map": {"dog": None}}
    sample = load(KIND, root, **options)["P1/a"]
    assert known_of(sample, ("cow", "cat")) == ["cat"]


def test_bad_annotations(tmp_path: Path) -> None:
    root = cvat(tmp_path, polygon("2,2;3,3"))
    broken(KIND, root, "Wrong polygon points: [2.0, 2.0, 3.0, 3.0]")
    root = cvat(tmp_path, polygon("2,2;3,nan;4,4"))
    broken(KIND, root, "item 'P1/a'", "NaN")
    assert rejected(KIND, root) == [("P1/a", "broken annotation")]
    root = cvat(tmp_path, polygon())
    broken(KIND, root, str(root / "images/b.png"), "has no annotation", missing_annotation="error")
    put_image(root / "images/b.png", (7, 5))
    broken(KIND, root, "has 20x16 pixels, its image 7x5")
    (root / "images/b.png").write_bytes(b"")
    assert rejected(KIND, root) == [("b", "broken image")]
    (root / "images/b.png").unlink()
    broken(KIND, root, "cannot be read by Datumaro", "b.png")
    put_text(root / "annotations.xml", "<annotations>")
    broken(KIND, root, "cannot be read by Datumaro as cvat", dataset_format="cvat")


def test_an_image_out_of_the_root(tmp_path: Path) -> None:
    root = cvat(tmp_path / "data", polygon())
    outside = put_image(tmp_path / "b.png")
    (root / "images/b.png").unlink()
    (root / "images/b.png").symlink_to(outside)
    broken(KIND, root, "item 'b'", "leaves")
    assert rejected(KIND, root) == [("b", "no image")]


def test_labels(tmp_path: Path) -> None:
    root = cvat(tmp_path, '<tag label="dog"></tag>', '<tag label="cat"></tag>')
    listing = scan(KIND, root)
    assert listing.classes == ("ignore",) and listing.labels == ("cat", "dog")
    samples = load(KIND, root)
    assert {name: label_of(sample) for name, sample in samples.items()} == {"P1/a": [1, 1], "b": [0, 0]}
    assert load(KIND, root, missing_annotation="unlabelled")["b"].label is None
    assert scan(KIND, root, class_map={"dog": None}).labels == ("cat",)
    assert known_of(samples["P1/a"], listing.classes) == []
    both = cvat(tmp_path / "both", polygon(), '<tag label="dog"></tag>')
    assert label_of(load(KIND, both, take="labels")["P1/a"]) == [0, 1]


# ---- crowds, and shapes of Datumaro's own format ---------------------------------------------------------------------


def test_crowds_need_a_decision(tmp_path: Path) -> None:
    put_image(tmp_path / "images/train/a.png")
    document = instances()
    document["categories"].append({"id": 2, "name": "dog"})
    runs = {"size": [16, 20], "counts": [33, 5, 282]}
    crowd = {**document["annotations"][0], "id": 2, "category_id": 2, "iscrowd": 1, "segmentation": runs}
    put_json(
        tmp_path / "annotations/instances_train.json", {**document, "annotations": [*document["annotations"], crowd]}
    )
    broken(KIND, tmp_path, "item 'a' has a crowd (is_crowd)", "crowd: class")
    drawn = np.zeros((16, 20), np.uint8)
    drawn[1:6, 2] = 1
    for chosen, classes in {
        "class": ("cat", "dog"),
        "drop": ("cat", "dog"),
        "ignore": ("cat", "dog", "ignore"),
    }.items():
        assert scan(KIND, tmp_path, crowd=chosen).classes == classes
        sample = load(KIND, tmp_path, crowd=chosen)["a"]
        masks = masks_of(sample, classes)
        np.testing.assert_array_equal(masks["cat"], filled(TRIANGLE))
        np.testing.assert_array_equal(masks["dog"], drawn if chosen == "class" else 0 * drawn)
        np.testing.assert_array_equal(masks.get("ignore", 0 * drawn), drawn if chosen == "ignore" else 0 * drawn)
        assert known_of(sample, classes) == list(classes)
    with pytest.raises(ValueError, match="classes has no 'ignore'"):
        Datumaro(path="x", classes=("cat",), crowd="ignore")


def test_shapes_of_its_own_format(tmp_path: Path) -> None:
    root = own_format(tmp_path, {"type": "ellipse", "points": [3, 4, 15, 10]})
    mask = masks_of(load(KIND, root)["a"], ("cat",))["cat"]
    angles = np.linspace(0, 2 * np.pi, 500)
    np.testing.assert_array_equal(mask, filled(np.stack([9 + 6 * np.cos(angles), 7 + 3 * np.sin(angles)], -1)))
    turned = {"attributes": {"rotation": 30.0}}
    broken(KIND, own_format(tmp_path, {"type": "ellipse", "points": [3, 4, 15, 10], **turned}), "has a rotation")
    box = {"type": "bbox", "bbox": [3, 4, 6, 2]}
    broken(KIND, own_format(tmp_path, {**box, **turned}), "bbox has a rotation", boxes="rectangle")
    root = own_format(tmp_path, {**box, "attributes": {"rotation": 0.0}})
    mask = masks_of(load(KIND, root, boxes="rectangle")["a"], ("cat",))["cat"]
    np.testing.assert_array_equal(mask, block(3, 4, 9, 6, 1))


# ---- Pascal VOC ------------------------------------------------------------------------------------------------------


def test_voc(tmp_path: Path) -> None:
    root = voc(tmp_path / "voc")
    options: dict[str, Any] = {
        "dataset_format": "voc_segmentation",
        "class_map": {"aeroplane": "plane", "bicycle": "bike", "ignored": "ignore", "*": None},
    }
    listing = scan(KIND, root, **options)
    assert listing.classes == ("plane", "bike", "ignore")
    assert [(r.name, r.split) for r in listing.records] == [("a", None), ("b", "val"), ("c", None)]
    assert [r.split for r in scan(KIND, root, own_splits=False, **options).records] == [None] * 3
    own = load("index-mask", root, images="JPEGImages", masks="SegmentationClass", values={1: "plane", 2: "bike"})
    for name, sample in load(KIND, root, **options).items():
        np.testing.assert_array_equal(sample.masks, own[name].masks)
        np.testing.assert_array_equal(sample.known, own[name].known)


def test_voc_with_boxes(tmp_path: Path) -> None:
    root = voc(tmp_path)
    broken(KIND, root, "matches more than one format", "source.dataset_format")
    options: dict[str, Any] = {"dataset_format": "voc_detection", "class_map": {"cat": "cat", "*": None}}
    sample = load(KIND, root, boxes="rectangle", **options)["a"]
    np.testing.assert_array_equal(masks_of(sample, ("cat",))["cat"], block(2, 2, 6, 5, 1))


def test_a_broken_mask_is_named(tmp_path: Path) -> None:
    root = voc(tmp_path)
    (root / "SegmentationClass/a.png").write_bytes(b"x")
    broken(KIND, root, "item 'a'", dataset_format="voc_segmentation")
    refused = rejected(KIND, root, dataset_format="voc_segmentation")
    assert refused == [("a", "broken item"), ("a", "broken item")]  # in train, and in trainval


# ---- ids -------------------------------------------------------------------------------------------------------------


def test_ids_of_several_images_get_their_subset(tmp_path: Path) -> None:
    for subset in ("train", "val"):
        put_image(tmp_path / f"images/{subset}/a.png")
        put_text(tmp_path / f"annotations/instances_{subset}.json", json.dumps(instances()))
    listing = scan(KIND, tmp_path, dataset_format="coco_instances")
    assert [(r.name, r.split) for r in listing.records] == [("train/a", None), ("val/a", "val")]
    bad = instances()
    bad["annotations"].append({**bad["annotations"][0], "category_id": 9})
    put_text(tmp_path / "annotations/instances_val.json", json.dumps(bad))
    for on_error in ("error", "reject"):
        options = {"dataset_format": "coco_instances", "on_error": on_error}
        broken(KIND, tmp_path, "item (1, 'val')", "Undeclared label '9'", **options)


# ---- mutations -------------------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=60, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_mutation_crashes(tmp_path: Path, data: st.DataObject) -> None:
    root = tmp_path / "mutated"
    shutil.rmtree(root, ignore_errors=True)
    dataset_format = data.draw(st.sampled_from(["cvat", "coco_instances"]))
    if dataset_format == "cvat":
        path = cvat(root, polygon(), mask()) / "annotations.xml"
    else:
        put_image(root / "images/train/a.png")
        path = put_json(root / "annotations/instances_train.json", instances())
    path.write_bytes(data.draw(mutated_file(path)))
    on_error = data.draw(st.sampled_from(["error", "reject"]))
    try:
        load(KIND, root, dataset_format=dataset_format, on_error=on_error)
    except SourceError as error:
        assert str(root) in str(error)


# ---- data sets -------------------------------------------------------------------------------------------------------


def polygon(points: str = "2,2;9,2;9,8") -> str:
    return f'<polygon label="cat" points="{points}"></polygon>'


def mask() -> str:
    return '<mask label="dog" rle="3, 4, 1" left="10" top="2" width="4" height="2"></mask>'


def cvat(root: Path, *shapes: str, b: str = "b.png") -> Path:
    """Two images: ``P1/a`` with the shapes, and ``b`` without any."""
    put_image(root / "images/P1/a.png")
    put_image(root / "images/b.png")
    labels = "".join(f"<label><name>{name}</name></label>" for name in ("cat", "dog"))
    images = f"""<image id="0" name="P1/a.png" width="20" height="16">{"".join(shapes)}</image>
        <image id="1" name="{b}" width="20" height="16"></image>"""
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    put_text(root / "annotations.xml", f"<annotations><version>1.1</version>{meta}{images}</annotations>")
    return root


def own_format(root: Path, annotation: dict[str, Any]) -> Path:
    """Datumaro's own JSON of one image."""
    put_image(root / "images/train/a.png")
    labels = {"labels": [{"name": "cat", "parent": "", "attributes": []}], "attributes": []}
    rest = {"id": 1, "label_id": 0, "group": 0, "z_order": 0, "attributes": {}}
    image = {"path": "a.png", "size": [16, 20]}
    item = {"id": "a", "annotations": [{**rest, **annotation}], "image": image}
    put_json(
        root / "annotations/train.json",
        {"infos": {}, "categories": {"label": labels}, "items": [item]},
    )
    return root


def instances() -> dict[str, Any]:
    shape = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [TRIANGLE], "area": 20, "bbox": [2, 2, 7, 6]}
    image = {"id": 1, "file_name": "a.png", "width": 20, "height": 16}
    return {"images": [image], "annotations": [{**shape, "iscrowd": 0}], "categories": [{"id": 1, "name": "cat"}]}


def coco(root: Path) -> Any:
    """The sample of our own coco adapter with the polygon that `polygon` writes."""
    put_image(root / "images/a.png")
    put_text(root / "x.json", json.dumps(instances()))
    return load("coco", root)["a"]


def voc(root: Path) -> Path:
    """Three images with masks; ``c`` stands in train and in val."""
    for name in "abc":
        put_image(root / f"JPEGImages/{name}.jpg")
        put_palette(root / f"SegmentationClass/{name}.png", VALUES if name == "a" else VALUES % 2, voc=True)
    box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>6</xmax><ymax>5</ymax></bndbox>"
    size = "<size><width>20</width><height>16</height></size>"
    put_text(
        root / "Annotations/a.xml",
        f"<annotation><filename>a.jpg</filename>{size}<object><name>cat</name>{box}</object></annotation>",
    )
    put_text(root / "ImageSets/Main/train.txt", "a\n")
    for name, names in {"train": "a\nc\n", "val": "b\nc\n", "trainval": "a\nb\nc\n"}.items():
        put_text(root / f"ImageSets/Segmentation/{name}.txt", names)
    return root
