"""Sources that somebody made to break what reads them, each a folder and the ``source`` of a recipe."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hostiledatasets import ESCAPES, MARKUP, jpeg, png, yaml_bomb
from makedata import put_image, put_palette, put_pixels, put_text

Write = Callable[[Path], str]
NAME = ESCAPES.replace("\x00", "").replace("/", "-")
"""A file's name with escapes; a file system takes anything but NUL and the slash."""


def coco(change: Callable[[dict[str, Any]], Any] = lambda data: None, text: str | None = None, **options: Any) -> Write:
    """Two images with a polygon each, and what is done to the document."""

    def write(root: Path) -> str:
        for name in ("a", "b"):
            put_image(root / f"images/{name}.png")
        data = {
            "images": [{"id": i, "file_name": f"{n}.png", "width": 20, "height": 16} for i, n in enumerate("ab")],
            "categories": [{"id": 1, "name": "heart"}],
            "annotations": [
                {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "segmentation": [[1, 1, 9, 1, 9, 9]]}
                for i in (0, 1)
            ],
        }
        change(data)
        put_text(root / "a.json", json.dumps(data) if text is None else text)
        return json.dumps({"format": "coco", "path": str(root), "images": "images", "annotations": "a.json", **options})

    return write


def annotated(**values: Any) -> Write:
    return coco(lambda data: data["annotations"][0].update(values))


def pictured(**values: Any) -> Write:
    return coco(lambda data: data["images"][0].update(values))


def csv(*rows: str, name: str = "train.csv", content: Callable[[], bytes] | None = None, **options: Any) -> Write:
    def write(root: Path) -> str:
        put_image(root / "a.png")
        head = "image_name,class,rle\n"
        put_text(root / name, content() if content is not None else head + "\n".join(rows) + "\n")
        return json.dumps({"format": "csv", "path": str(root), "table": name, **options})

    return write


def parquet(table: Callable[[], pa.Table]) -> Write:
    def content() -> bytes:
        stream = io.BytesIO()
        pq.write_table(table(), stream, compression="zstd")
        return stream.getvalue()

    return csv(name="t.parquet", content=content)


def folder(files: dict[str, bytes], **options: Any) -> Write:
    """A folder of images."""

    def write(root: Path) -> str:
        put_image(root / "good/a.png")
        for name, content in files.items():
            put_text(root / name, content)
        return json.dumps({"format": "image-folder", "path": str(root), **options})

    return write


def mask(content: Callable[[], bytes]) -> Write:
    def write(root: Path) -> str:
        put_image(root / "images/a.png")
        put_text(root / "masks/heart/a.png", content())
        return json.dumps({"format": "mask-folder", "path": str(root)})

    return write


def yolo(data: str, labels: str = "0 0.1 0.1 0.9 0.1 0.9 0.9\n") -> Write:
    def write(root: Path) -> str:
        put_image(root / "images/train/a.png")
        put_text(root / "labels/train/a.txt", labels)
        put_text(root / "data.yaml", data)
        return json.dumps({"format": "yolo", "path": str(root)})

    return write


def labelme(text: str) -> Write:
    def write(root: Path) -> str:
        put_image(root / "a.png")
        put_text(root / "a.json", text)
        return json.dumps({"format": "labelme", "path": str(root)})

    return write


def odd_folder(name: str) -> Write:
    """A sound source in a folder of an odd name; its metadata too."""

    def write(root: Path) -> str:
        put_image(root / name / "images/a.png")
        put_pixels(root / name / "masks/heart/a.png", np.full((16, 20), 255, np.uint8))
        stream = io.BytesIO()
        pq.write_table(pa.table({"name": ["a"], "age": [7]}), stream)
        put_text(root / name / "people.parquet", stream.getvalue())
        return json.dumps({"format": "mask-folder", "path": str(root / name), "metadata": "people.parquet"})

    return write


def odd_names(root: Path) -> str:
    put_image(root / f"images/{NAME}.png")
    put_pixels(root / f"masks/{NAME}/{NAME}.png", np.full((16, 20), 255, np.uint8))
    return json.dumps({"format": "mask-folder", "path": str(root)})


def pipe_image(root: Path) -> str:
    put_image(root / "a.png")
    os.mkfifo(root / "b.png")
    return json.dumps({"format": "image-folder", "path": str(root)})


def device_image(root: Path) -> str:
    put_image(root / "a.png")
    (root / "b.png").symlink_to("/dev/zero")
    return json.dumps({"format": "image-folder", "path": str(root)})


def odd_values(root: Path) -> str:
    put_image(root / "images/a.png")
    put_palette(root / "masks/a.png", np.arange(320).reshape(16, 20) % 256)
    return json.dumps({"format": "index-mask", "path": str(root), "values": {NAME: 1, "b": 2}})


def workbook(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def xml_bomb() -> bytes:
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{entities}]><x>&a11;</x>'.encode()


DEEP = "[" * 100_000 + "]" * 100_000

SOURCES: dict[str, Write] = {
    # COCO
    "coco-deep": coco(text=DEEP),
    "coco-number": coco(text='{"images": ' + "1" * 1_000_000 + "}"),
    "coco-nan": annotated(segmentation=[[float("nan"), 1, 9, 1, 9, 9]]),
    "coco-infinite": annotated(segmentation=[[1e308, 1, 9, -1e308, 9, 9]]),
    "coco-rle-size": annotated(segmentation={"size": [10**9, 10**9], "counts": [10**18]}),
    "coco-rle-counts": annotated(segmentation={"size": [16, 20], "counts": [10**18, 5]}),
    "coco-rle-text": annotated(segmentation={"size": [16, 20], "counts": "\u001b" * 1000}),
    "coco-rle-many": annotated(segmentation={"size": [16, 20], "counts": [0, 1] * 200_000}),
    "coco-points-many": annotated(segmentation=[[1, 1, 9, 9] * 50_000]),
    "coco-file-up": pictured(file_name="../../../../etc/hostname"),
    "coco-file-absolute": pictured(file_name="/etc/hostname"),
    "coco-file-escapes": pictured(file_name=ESCAPES),
    "coco-size": pictured(width=10**9, height=10**9),
    "coco-category-escapes": coco(lambda data: data["categories"][0].update(name=ESCAPES)),
    "coco-category-markup": coco(lambda data: data["categories"][0].update(name=MARKUP)),
    "coco-categories-many": coco(
        lambda data: data.update(categories=[{"id": i, "name": f"c{i}"} for i in range(5000)])
    ),
    "coco-types": coco(lambda data: data.update(images={"a": 1}, annotations="x")),
    "coco-ids": annotated(image_id=[1], category_id={"x": 1}),
    # tables
    "csv-rle": csv("a.png,heart,1 1000000000000"),
    "csv-rle-negative": csv("a.png,heart,-5 9"),
    "csv-rle-digits": csv("a.png,heart," + "9" * 5000 + " 1"),
    "csv-file-up": csv("../../../etc/hostname,heart,1 3"),
    "csv-class-escapes": csv(f"a.png,{NAME.replace(chr(10), '').replace(chr(13), '')},1 3"),
    "csv-class-formula": csv("a.png,=cmd|'/c calc'!A1,1 3"),
    "csv-field": csv("a.png,heart," + "1 3 " * 500_000),
    "csv-nul": csv(content=lambda: b"image_name,class,rle\na.png,he\0art,1 3\n"),
    "csv-quote": csv(content=lambda: b'image_name,class,rle\n"a.png' + b"x" * 1_000_000),
    "parquet-repeated": parquet(
        lambda: pa.table(
            {
                "image_name": pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), ["x" * 500_000]),
                "class": ["heart"] * 50_000,
                "rle": ["1 3"] * 50_000,
            }
        )
    ),
    "parquet-zipped": parquet(
        lambda: pa.table({"image_name": ["a.png"], "class": ["x" * 300_000_000], "rle": ["1 3"]})
    ),
    "parquet-text": csv(name="t.parquet", content=lambda: b"PAR1" + b"\xff" * 99 + b"PAR1"),
    "xlsx-bomb": csv(
        name="t.xlsx", content=lambda: workbook({"xl/workbook.xml": xml_bomb(), "[Content_Types].xml": xml_bomb()})
    ),
    "xlsx-zip-bomb": csv(name="t.xlsx", content=lambda: workbook({"xl/workbook.xml": bytes(400_000_000)})),
    "xlsx-text": csv(name="t.xlsx", content=lambda: b"PK\x03\x04 no archive"),
    # images and masks
    "png-claims": folder({"b.png": png(100_000, 100_000, 0)}),
    "png-bomb": folder({"b.png": png(60_000, 60_000, 300)}),
    "png-cut": folder({"b.png": png(20, 16, 3)}),
    "jpeg-claims": folder({"b.jpg": jpeg(65_500, 65_500)}),
    "bmp-claims": folder({"b.bmp": b"BM" + b"\xff" * 60}),
    "tiff-claims": folder({"b.tif": b"II*\x00\x08\x00\x00\x00" + b"\xff" * 200}),
    "webp-claims": folder({"b.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 " + b"\xff" * 60}),
    "image-pipe": pipe_image,
    "image-device": device_image,
    "mask-claims": mask(lambda: png(50_000, 50_000, 0)),
    "mask-bomb": mask(lambda: png(16_000, 16_000, 16_000)),
    "mask-values": odd_values,
    # YOLO, LabelMe
    "yolo-bomb": yolo("names: [a]\n" + yaml_bomb()),
    "yolo-deep": yolo(f"names: {DEEP[:10_000]}"),
    "yolo-number": yolo("nc: 0x" + "f" * 1_000_000 + "\nnames: [a]\n"),
    "yolo-path-up": yolo("path: ../../..\ntrain: etc\nnames: [a]\n"),
    "yolo-names-escapes": yolo("names: [" + json.dumps(ESCAPES) + "]\ntrain: images/train\n"),
    "yolo-names-index": yolo("names: {0: a, 999999999999: b}\ntrain: images/train\n"),
    "yolo-coordinates": yolo("names: [a]\ntrain: images/train\n", "0 1e999 0 1 nan 0 1\n"),
    "yolo-class": yolo("names: [a]\ntrain: images/train\n", "9" * 5000 + " 0 0 1 0 1 1\n"),
    "labelme-deep": labelme(DEEP),
    "labelme-escapes": labelme(
        json.dumps(
            {
                "imagePath": "../../../etc/hostname",
                "imageWidth": 20,
                "imageHeight": 16,
                "shapes": [{"label": ESCAPES, "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}],
            }
        )
    ),
    "labelme-data": labelme(json.dumps({"imageData": "A" * 3_000_000, "imagePath": "a.png", "shapes": []})),
    # names of folders and files
    "odd-brackets": odd_folder("data[1]"),
    "odd-star": odd_folder("a*b"),
    "odd-question": odd_folder("what?{x,y}"),
    "odd-equals": odd_folder("sex=F/age=7"),
    "odd-at": odd_folder("data@1"),
    "odd-names": odd_names,
}
"""Hostile sources by name."""
