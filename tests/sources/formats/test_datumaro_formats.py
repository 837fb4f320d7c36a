"""The formats that the datumaro adapter's page names, each on an example in its usual layout; and those it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makedata import block, broken, load, masks_of, put_image, put_json, put_pixels, put_text, scan

from augforge.sources.formats.datumaro.importing import CHECKED
from augforge.sources.formats.datumaro.source import Datumaro

pytestmark = pytest.mark.extras  # Datumaro holds much back, so `dev` does not install it

KIND = "datumaro"
CAT, DOG = block(2, 2, 6, 5, 1), block(8, 2, 12, 9, 1)
INDEX = CAT + 2 * DOG
COLOURS = np.stack([0 * CAT, 128 * DOG, 128 * CAT], -1)
"""BGR: cats are 128, 0, 0 and dogs 0, 128, 0."""
CLASSES: dict[str, Any] = {"classes": ["cat", "dog"], "class_map": {"*": None}}


# ---- formats ---------------------------------------------------------------------------------------------------------


def camvid(root: Path) -> None:
    put_image(root / "train/a.png")
    put_pixels(root / "trainannot/a.png", COLOURS)
    put_text(root / "label_colors.txt", "0 0 0 void\n128 0 0 cat\n0 128 0 dog\n")
    put_text(root / "train.txt", "/train/a.png trainannot/a.png\n")


def coco_panoptic(root: Path) -> None:
    put_image(root / "images/train/a.png")
    put_pixels(root / "annotations/panoptic_train/a.png", np.stack([0 * INDEX, 0 * INDEX, INDEX], -1))
    put_json(root / "annotations/panoptic_train.json", panoptic())


def common(root: Path) -> None:
    put_image(root / "images/a.png")
    put_pixels(root / "masks/a.png", COLOURS)
    colours = [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    labels = {"0": "void", "1": "cat", "2": "dog"}
    put_json(root / "dataset_meta.json", {"label_map": labels, "segmentation_colors": colours})


def cvat(root: Path) -> None:
    labels = "<label><name>cat</name></label><label><name>dog</name></label>"
    ring = '<polygon label="cat" points="2,2;5,2;5,4;2,4"></polygon>'
    runs = '<mask label="dog" rle="0, 28" left="8" top="2" width="4" height="7"></mask>'
    image = f'<image id="0" name="a.png" width="20" height="16">{ring}{runs}</image>'
    put_image(root / "images/a.png")
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    put_text(root / "annotations.xml", f"<annotations>{meta}{image}</annotations>")


def datumaro(root: Path) -> None:
    ring = {"type": "polygon", "points": [2, 2, 5, 2, 5, 4, 2, 4], "label_id": 0}
    box = {"type": "bbox", "bbox": [8, 2, 4, 7], "label_id": 1}
    rest = {"id": 0, "group": 0, "z_order": 0, "attributes": {}}
    labels: list[dict[str, Any]] = [{"name": name, "parent": "", "attributes": []} for name in ("cat", "dog")]
    item = {"id": "a", "annotations": [{**rest, **ring}, {**rest, **box}], "image": {"path": "a.png", "size": [16, 20]}}
    categories = {"label": {"labels": labels, "attributes": []}}
    put_image(root / "images/train/a.png")
    put_json(root / "annotations/train.json", {"infos": {}, "categories": categories, "items": [item]})


def kitti(root: Path) -> None:
    """Cars are 26, and people 24; what has no instances counts as a crowd."""
    put_image(root / "training/image_2/a.png")
    put_pixels(root / "training/instance/a.png", CAT * np.uint16(26 * 256 + 1) + DOG * np.uint16(24 * 256))


def label_me(root: Path) -> None:
    def ring(*points: tuple[int, int]) -> str:
        return f"<polygon>{''.join(f'<pt><x>{x}</x><y>{y}</y></pt>' for x, y in points)}</polygon>"

    shapes = (
        ("cat", ring((2, 2), (5, 2), (5, 4), (2, 4))),
        ("cat", f"<deleted>1</deleted>{ring((0, 0), (19, 0), (19, 15))}"),
        ("dog", "<segm><mask>a.png</mask></segm>"),
    )
    objects = "".join(f"<object><name>{name}</name><id>{n}</id>{of}</object>" for n, (name, of) in enumerate(shapes))
    put_image(root / "Images/f/a.png")
    put_pixels(root / "Masks/f/a.png", np.stack([255 * DOG] * 3, -1))
    head = "<filename>a.png</filename><folder>f</folder>"
    put_text(root / "Annotations/f/a.xml", f"<annotation>{head}{objects}</annotation>")


def mapillary_instances(root: Path) -> None:
    labels = [{"name": name, "color": [number, 0, 0]} for number, name in enumerate(("void", "cat", "dog"))]
    put_image(root / "training/images/a.jpg")
    put_pixels(root / "training/v2.0/instances/a.png", INDEX * np.uint16(256) + CAT)
    put_json(root / "config_v2.0.json", {"labels": labels})


def mapillary_panoptic(root: Path) -> None:
    put_image(root / "training/images/a.png")
    put_pixels(root / "training/v2.0/panoptic/a.png", np.stack([0 * INDEX, 0 * INDEX, INDEX], -1))
    put_json(root / "training/v2.0/panoptic/panoptic_2020.json", panoptic())


def mvtec(root: Path) -> None:
    put_image(root / "train/good/b.png")
    for name, mask in {"cat": CAT, "dog": DOG}.items():
        put_image(root / f"test/{name}/a.png")
        put_pixels(root / f"ground_truth/{name}/a_mask.png", 255 * mask)


def voc(root: Path) -> None:
    """As CVAT exports segmentation masks."""
    put_image(root / "JPEGImages/a.png")
    for folder in ("SegmentationClass", "SegmentationObject"):
        put_pixels(root / f"{folder}/a.png", COLOURS)
    put_text(root / "labelmap.txt", "# label:color_rgb:parts:actions\nvoid:0,0,0::\ncat:128,0,0::\ndog:0,128,0::\n")
    put_text(root / "ImageSets/Segmentation/default.txt", "a\n")


def panoptic() -> dict[str, Any]:
    segments = [{"id": n, "category_id": n, "iscrowd": 0, "area": 9, "bbox": [2, 2, 4, 4]} for n in (1, 2)]
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 16}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": n, "name": name, "color": [n, 0, 0]} for n, name in ((1, "cat"), (2, "dog"))],
    }


FORMATS: dict[str, tuple[Callable[[Path], None], dict[str, Any]]] = {
    "camvid": (camvid, CLASSES),
    "coco_panoptic": (coco_panoptic, CLASSES),
    "common_semantic_segmentation": (common, CLASSES),
    "cvat": (cvat, CLASSES),
    "datumaro": (datumaro, {**CLASSES, "boxes": "rectangle"}),
    "kitti_segmentation": (kitti, {"crowd": "class", "class_map": {"car": "cat", "person": "dog", "*": None}}),
    "label_me": (label_me, CLASSES),
    "mapillary_vistas_instances": (mapillary_instances, CLASSES),
    "mapillary_vistas_panoptic": (mapillary_panoptic, CLASSES),
    "mvtec_segmentation": (mvtec, CLASSES),
    "voc_instance_segmentation": (voc, CLASSES),
    "voc_segmentation": (voc, CLASSES),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_the_page(tmp_path: Path, name: str) -> None:
    write, options = FORMATS[name]
    write(tmp_path)
    samples = load(KIND, tmp_path, dataset_format=name, **options).values()
    classes = scan(KIND, tmp_path, dataset_format=name, **options).classes
    for class_, mask in {"cat": CAT, "dog": DOG}.items():
        drawn = np.any([masks_of(sample, classes)[class_] for sample in samples], axis=0)
        np.testing.assert_array_equal(drawn, mask, err_msg=class_)


def test_the_page_names_no_other_format() -> None:
    page = (Datumaro.__doc__ or "").split("were checked:")[1].split(". Others")[0]
    named = set(re.findall(r"\w+", page)) - {"and"}
    assert named == FORMATS.keys() - {"voc_instance_segmentation"}
    assert FORMATS.keys() <= CHECKED


# ---- what is misread, and what is said -------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset_format", [None, "cityscapes"])
def test_cityscapes_is_refused(tmp_path: Path, dataset_format: str | None) -> None:
    """Its instances lie beyond the labels' numbers, where Datumaro does not look."""
    put_image(tmp_path / "leftImg8bit/train/x/x_leftImg8bit.png")
    put_pixels(tmp_path / "gtFine/train/x/x_gtFine_instanceIds.png", CAT * np.uint16(26001) + DOG * np.uint16(7))
    put_pixels(tmp_path / "gtFine/train/x/x_gtFine_labelIds.png", CAT * 26 + DOG * 7)
    put_pixels(tmp_path / "gtFine/train/x/x_gtFine_color.png", COLOURS)
    broken(KIND, tmp_path, "misreads format cityscapes", "format index-mask", dataset_format=dataset_format)
    names = {"image_suffix": "_leftImg8bit", "mask_suffix": "_gtFine_labelIds"}
    own: dict[str, Any] = {"images": "leftImg8bit", "masks": "gtFine", "values": {26: "cat", 7: "dog"}, **names}
    (sample,) = load("index-mask", tmp_path, **own).values()
    masks = masks_of(sample, scan("index-mask", tmp_path, **own).classes)
    np.testing.assert_array_equal(masks["cat"], CAT)
    np.testing.assert_array_equal(masks["dog"], DOG)


@pytest.mark.parametrize("dataset_format", ["ade20k2020", "open_images"])
def test_formats_that_are_refused_by_name(tmp_path: Path, dataset_format: str) -> None:
    broken(KIND, tmp_path, f"misreads format {dataset_format}", dataset_format=dataset_format)


def test_what_datumaro_logs_is_a_warning(tmp_path: Path) -> None:
    for name in "abc":
        put_image(tmp_path / f"training/{name}.jpg")
        put_text(tmp_path / f"training/{name}_atr.txt", '1 # 0 # 0 # cat # cat # ""\n')
    put_pixels(tmp_path / "training/a_seg.png", np.stack([CAT, 0 * CAT, 0 * CAT], -1))
    warnings = scan(KIND, tmp_path, dataset_format="ade20k2017").warnings
    assert warnings[0] == "Datumaro: Can't find mask for image: training/b.jpg (and 1 more)"
    assert any("format ade20k2017 was not checked" in warning for warning in warnings)
    assert any(warning.startswith("2 of 3 images have no annotations") for warning in warnings)
