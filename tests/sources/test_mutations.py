"""Files of every format with bytes, keys or values changed: read, or refused with the file's name, nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makearrays import put_idx, put_pickle
from makedata import block, put_image, put_json, put_palette, put_pixels, put_text
from makemedical import put_dicom, put_nifti, put_series, put_tiff
from mutation import mutated_file

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.sources import SOURCES


def hand_bone(root: Path) -> dict[str, Any]:
    put_image(root / "train/DCM/ID1/a.png")
    polygon = {"label": "Ulna", "points": [[1, 1], [9, 1], [9, 9]]}
    document = {"annotations": [polygon], "metadata": {"width": 20, "height": 16}}
    put_json(root / "train/outputs_json/ID1/a.json", document)
    put_text(root / "meta_data.csv", "ID,age\n1,30\n")
    return {}


def mask_folder(root: Path) -> dict[str, Any]:
    put_image(root / "images/a.png")
    put_pixels(root / "masks/heart/a.png", block(1, 1, 5, 5))
    put_text(root / "meta.csv", 'name,age\na,"7"\n')
    return {"metadata": "meta.csv"}


def yolo(root: Path) -> dict[str, Any]:
    put_image(root / "images/val/a.jpg")
    put_text(root / "labels/val/a.txt", "0 0.1 0.1 0.9 0.1 0.9 0.9\n1 0.5 0.5 0.2 0.2\n")
    put_text(root / "data.yaml", "path: .\nnames: {0: cat, 1: dog}\nnc: 2\nval: images/val\n")
    return {"boxes": "rectangle"}


def index_mask(root: Path) -> dict[str, Any]:
    put_image(root / "images/a.webp")
    put_palette(root / "masks/a.png", block(1, 1, 5, 5, 1))
    return {"values": {"1": "cat"}}


def image_folder(root: Path) -> dict[str, Any]:
    put_image(root / "cat/a.bmp")
    put_image(root / "dog/b.tif")
    return {}


def csv(root: Path) -> dict[str, Any]:
    put_image(root / "a.png")
    put_text(root / "train.csv", 'image_name,class,rle\na.png,heart,"1 3 10 3"\na.png,lung,\n')
    return {}


def dicom(root: Path) -> dict[str, Any]:
    pixels = np.arange(2 * 16 * 20, dtype=np.uint16).reshape(2, 16, 20)
    put_dicom(root / "images/a.dcm", pixels[0], bits=12, PatientID="P1", WindowCenter="99", WindowWidth="200")
    put_dicom(root / "images/IM2", pixels, "MONOCHROME1", RescaleSlope="2", RescaleIntercept="-9")
    put_pixels(root / "masks/heart/IM2/0001.png", block(1, 1, 5, 5))
    return {"tags": ["PatientID"]}


def volume(root: Path) -> dict[str, Any]:
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    for folder in ("images", "labels"):
        put_nifti(root / f"{folder}/a.nii.gz", values % 3)
        put_nifti(root / f"{folder}/b.nii", values % 3)
        put_tiff(root / f"{folder}/c.tif", (values % 3).astype(np.uint8))
    put_series(root / "images/ct", values[:3])
    return {"missing_labels": "empty", "channels": [-1, 0, 1]}


def coco(root: Path) -> dict[str, Any]:
    put_image(root / "images/a.png")
    categories = [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}]
    shape = {"image_id": 1, "iscrowd": 0, "bbox": [2, 2, 7, 6], "area": 20}
    polygon = {**shape, "id": 1, "category_id": 3, "segmentation": [[2, 2, 9, 2, 9, 8]]}
    runs = {**shape, "id": 2, "category_id": 4, "iscrowd": 1, "segmentation": {"size": [16, 20], "counts": [9, 7, 304]}}
    images = [{"id": 1, "file_name": "a.png", "width": 20, "height": 16}]
    put_json(root / "x.json", {"images": images, "categories": categories, "annotations": [polygon, runs]})
    return {"crowd": "ignore"}


def labelme(root: Path) -> dict[str, Any]:
    put_image(root / "a.png")
    polygon = {"label": "cat", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}
    circle = {"label": "dog", "points": [[10, 8], [13, 8]], "shape_type": "circle"}
    size = {"imageHeight": 16, "imageWidth": 20}
    put_json(root / "a.json", {"shapes": [polygon, circle], "imagePath": "a.png", "imageData": None, **size})
    return {}


def mnist_idx(root: Path) -> dict[str, Any]:
    images = np.arange(2 * 16 * 20, dtype=np.uint8).reshape(2, 16, 20)
    put_idx(root / "train-images-idx3-ubyte", images)
    put_idx(root / "train-labels-idx1-ubyte.gz", np.array([1, 0], np.uint8))
    return {}


def cifar(root: Path) -> dict[str, Any]:
    data = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    put_pickle(root / "data_batch_1", {b"data": data, b"labels": [0, 1]})
    put_pickle(root / "batches.meta", {b"label_names": [b"cat", b"dog"]})
    return {}


def cvat(root: Path) -> dict[str, Any]:
    put_image(root / "images/a.png")
    polygon = '<polygon label="cat" points="1,1;9,1;9,9"/><polyline label="dog" points="1,1;2,2"/>'
    mask = '<mask label="dog" rle="2, 4" left="1" top="1" width="3" height="2"/>'
    image = f'<image id="0" name="a.png" width="20" height="16">{polygon}{mask}</image>'
    labels = "<label><name>cat</name></label><label><name>dog</name></label>"
    meta = f"<version>1.1</version><meta><task><labels>{labels}</labels></task></meta>"
    put_text(root / "annotations.xml", f"<annotations>{meta}{image}</annotations>")
    return {}


def union(root: Path) -> dict[str, Any]:
    """All other formats as one, in folders named like them."""
    members = [kind for kind in MAKERS if kind != "union"]
    return {"sources": [{"format": kind, "path": kind, **MAKERS[kind](root / kind)} for kind in members]}


MAKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "hand-bone": hand_bone,
    "mask-folder": mask_folder,
    "yolo": yolo,
    "index-mask": index_mask,
    "image-folder": image_folder,
    "csv": csv,
    "dicom": dicom,
    "volume": volume,
    "coco": coco,
    "labelme": labelme,
    "cvat": cvat,
    "mnist-idx": mnist_idx,
    "cifar": cifar,
    "union": union,
}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"


def test_every_format_is_here() -> None:
    elsewhere = {"dataset", "datumaro"}  # in their own tests: one must be built, the other needs an extra
    assert MAKERS.keys() | elsewhere == SOURCES.keys()


@pytest.mark.parametrize("kind", MAKERS)
@given(data=st.data())
@settings(max_examples=60, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_files(root: Path, kind: str, data: st.DataObject) -> None:
    shutil.rmtree(root, ignore_errors=True)
    options = MAKERS[kind](root)
    path = data.draw(st.sampled_from(sorted(path for path in root.rglob("*") if path.is_file())))
    path.write_bytes(data.draw(mutated_file(path)))
    on_error = data.draw(st.sampled_from(["error", "reject"]))
    source = SOURCES[kind](format=kind, path=str(root), on_error=on_error, **options)
    try:
        listing = source.scan(FileCache())
        for record in listing.records:
            sample = source.load(record, listing.classes)
            assert (sample.width, sample.height) == (record.width, record.height)
        assert listing.records or listing.refused
    except SourceError as error:
        assert str(root) in str(error)
