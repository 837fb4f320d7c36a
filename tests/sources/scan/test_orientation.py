"""Photos that EXIF turns: read upright or as stored, decided by the sizes that annotations state, and told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import makedata
import numpy as np
import pytest
from makedata import put_json, put_pixels, put_text
from PIL import Image, ImageOps

from augforge.sources import Listing

WIDE, TALL = (20, 16), (16, 20)
"""Width and height."""


def put_photo(path: Path, orientation: int, stored: tuple[int, int] = WIDE) -> Path:
    """A PNG of these stored pixels, with a gradient, so that every turn differs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = (np.arange(stored[0] * stored[1]) % 251).reshape(stored[::-1]).astype(np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)
    return path


Annotate = Callable[[Path, dict[str, tuple[int, int]]], None]
"""Writes annotations of these sizes for the images of these names."""

RING = [[2, 2], [9, 2], [9, 9]]


def coco(root: Path, sizes: dict[str, tuple[int, int]]) -> None:
    images = [{"id": n, "file_name": f"{n}.png", "width": w, "height": h} for n, (w, h) in sizes.items()]
    flat = [value for point in RING for value in point]
    notes = [{"image_id": n, "category_id": 1, "segmentation": [flat]} for n in sizes]
    put_json(root / "notes.json", {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "cell"}]})


def labelme(root: Path, sizes: dict[str, tuple[int, int]]) -> None:
    for name, (width, height) in sizes.items():
        shapes = [{"label": "cell", "shape_type": "polygon", "points": RING}]
        size = {"imageWidth": width, "imageHeight": height}
        put_json(
            root / f"images/{name}.json", {"imagePath": f"{name}.png", "imageData": None, "shapes": shapes, **size}
        )


def mask_folder(root: Path, sizes: dict[str, tuple[int, int]]) -> None:
    for name, size in sizes.items():
        put_pixels(root / f"masks/cell/{name}.png", makedata.block(2, 2, 9, 9, size=size))


def index_mask(root: Path, sizes: dict[str, tuple[int, int]]) -> None:
    for name, size in sizes.items():
        put_pixels(root / f"masks/{name}.png", makedata.block(2, 2, 9, 9, 1, size=size))


ANNOTATE: dict[str, Annotate] = {
    "coco": coco,
    "labelme": labelme,
    "mask-folder": mask_folder,
    "index-mask": index_mask,
}


def put(kind: str, root: Path, photos: dict[str, tuple[int, tuple[int, int]]]) -> None:
    """Photos of 20x16 stored pixels by name: their orientation, and the size that was annotated."""
    for name, (orientation, _) in photos.items():
        put_photo(root / f"images/{name}.png", orientation)
    ANNOTATE[kind](root, {name: size for name, (_, size) in photos.items()})


def told(listing: Listing) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.kind, finding.names) for finding in listing.findings if finding.kind.startswith("EXIF")]


def name_of(name: str) -> str:
    return name.removeprefix("images/")


def loaded(kind: str, root: Path, **options: Any) -> dict[str, np.ndarray]:
    return {name_of(name): sample.image for name, sample in makedata.load(kind, root, **options).items()}


@pytest.mark.parametrize("kind", ANNOTATE)
def test_one_quarter_turn_that_fits_only_as_stored_decides(kind: str, tmp_path: Path) -> None:
    put(kind, tmp_path, {"a": (1, WIDE), "b": (3, WIDE), "c": (6, WIDE)})
    listing = makedata.scan(kind, tmp_path)
    ((found, names),) = told(listing)
    assert found == "EXIF orientation ignored" and sorted(map(name_of, names)) == ["b", "c"]
    for name, pixels in loaded(kind, tmp_path).items():
        with Image.open(tmp_path / f"images/{name}.png") as image:
            np.testing.assert_array_equal(pixels, np.asarray(image), err_msg=name)
    assert told(makedata.scan(kind, tmp_path, exif="ignore")) == []
    makedata.broken(kind, tmp_path, "20x16", "16x20", "set 'exif: ignore'", exif="apply")


@pytest.mark.parametrize("kind", ANNOTATE)
def test_photos_that_were_annotated_upright_are_turned(kind: str, tmp_path: Path) -> None:
    put(kind, tmp_path, {"a": (1, WIDE), "b": (3, WIDE), "c": (6, TALL), "d": (8, TALL)})
    assert makedata.scan(kind, tmp_path).findings == ()
    for name, pixels in loaded(kind, tmp_path).items():
        with Image.open(tmp_path / f"images/{name}.png") as image:
            np.testing.assert_array_equal(pixels, np.asarray(ImageOps.exif_transpose(image)), err_msg=name)
    makedata.broken(kind, tmp_path, "20x16", "16x20", "set 'exif: apply'", exif="ignore")


@pytest.mark.parametrize("kind", ANNOTATE)
def test_half_turns_prove_nothing_and_are_told(kind: str, tmp_path: Path) -> None:
    put(kind, tmp_path, {"a": (1, WIDE), "b": (3, WIDE), "c": (2, WIDE)})
    ((found, names),) = told(makedata.scan(kind, tmp_path))
    assert found == "EXIF orientation not certain" and sorted(map(name_of, names)) == ["b", "c"]
    before = {name_of(record.name): record.content for record in makedata.scan(kind, tmp_path).records}
    after = {name_of(record.name): record.content for record in makedata.scan(kind, tmp_path, exif="ignore").records}
    assert [name for name in before if before[name] != after[name]] == ["b", "c"], "other pixels, other ids"
    assert told(makedata.scan(kind, tmp_path, exif="apply")) == []


@pytest.mark.parametrize("kind", ANNOTATE)
def test_photos_that_contradict_each_other_are_read_as_they_fit(kind: str, tmp_path: Path) -> None:
    put(kind, tmp_path, {"a": (3, WIDE), "b": (6, TALL), "c": (6, WIDE)})
    (both, stored), (found, names) = told(makedata.scan(kind, tmp_path))
    assert both == "EXIF orientation ignored" and [*map(name_of, stored)] == ["c"]
    assert found == "EXIF orientation not certain" and [*map(name_of, names)] == ["a"]
    message = makedata.scan(kind, tmp_path).all_findings[0].message
    assert "by the sizes, 1 were annotated upright, but" in message and "as stored, and each was read so" in message
    assert {name: pixels.shape for name, pixels in loaded(kind, tmp_path).items()} == {
        "a": (16, 20),
        "b": (20, 16),
        "c": (16, 20),
    }


def test_each_coco_file_decides_for_its_own_images(tmp_path: Path) -> None:
    for split, size in {"train": WIDE, "val": TALL}.items():
        coco(tmp_path, {"1": size, "2": WIDE})
        (tmp_path / "notes.json").rename(tmp_path / f"{split}.json")
        for name, orientation in {"1": 6, "2": 3}.items():
            put_photo(tmp_path / f"{split}/{name}.png", orientation)
    assert told(makedata.scan("coco", tmp_path)) == [("EXIF orientation ignored", ("train/1", "train/2"))]
    shapes = {name: pixels.shape for name, pixels in loaded("coco", tmp_path).items()}
    assert shapes == {"train/1": (16, 20), "train/2": (16, 20), "val/1": (20, 16), "val/2": (16, 20)}


def test_formats_that_state_no_size_tell_all_turned_photos(tmp_path: Path) -> None:
    put_text(tmp_path / "yolo/data.yaml", "names: [cell]\n")
    for name, orientation in {"a": 1, "b": 6}.items():
        put_photo(tmp_path / f"yolo/images/{name}.png", orientation)
        put_photo(tmp_path / f"csv/{name}.png", orientation)
        put_text(tmp_path / f"yolo/labels/{name}.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    put_text(tmp_path / "csv/train.csv", "image_name,class,rle\na.png,cell,1 3\nb.png,cell,1 3\n")
    cases: dict[str, dict[str, Any]] = {"yolo": {}, "csv": {"table": "train.csv"}}
    for kind, options in cases.items():
        root = tmp_path / kind
        assert told(makedata.scan(kind, root, **options)) == [("EXIF orientation not certain", ("b",))]
        assert loaded(kind, root, **options)["b"].shape == (20, 16)
        assert loaded(kind, root, exif="ignore", **options)["b"].shape == (16, 20)
        assert told(makedata.scan(kind, root, exif="ignore", **options)) == []


def test_labels_of_whole_photos_hang_on_no_turn(tmp_path: Path) -> None:
    put_photo(tmp_path / "cat/a.png", 3)
    assert makedata.scan("image-folder", tmp_path).findings == ()
    upright, stored = (loaded("image-folder", tmp_path, exif=exif)["cat/a"] for exif in ("auto", "ignore"))
    np.testing.assert_array_equal(upright, stored[::-1, ::-1])
