"""Errors for a folder of another format name that format; images that are not read are told, with the conversion."""

from __future__ import annotations

from pathlib import Path

import makedata
import pytest
from makedata import put_image, put_json, put_text
from sourcecontract import SourceExample
from sourceexamples import EXAMPLES

from augforge.errors import SourceError
from augforge.sources.scan.likely import likely_formats

KNOWN = {"coco", "csv", "hand-bone", "image-folder", "index-mask", "labelme", "mask-folder", "yolo", "dataset", "dicom"}
SINGLE = [example for example in EXAMPLES if example.format in KNOWN]


@pytest.mark.parametrize("example", SINGLE, ids=lambda example: example.format)
def test_each_format_is_recognised(example: SourceExample, tmp_path: Path) -> None:
    example.make(tmp_path / "data")
    assert likely_formats(tmp_path / "data")[:1] == [example.format]


@pytest.mark.parametrize("example", SINGLE, ids=lambda example: example.format)
@pytest.mark.parametrize("other", ["coco", "labelme", "yolo", "hand-bone", "mask-folder", "index-mask"])
def test_the_error_names_the_likely_format(example: SourceExample, other: str, tmp_path: Path) -> None:
    example.make(tmp_path / "data")
    if other == example.format:
        return
    with pytest.raises(SourceError) as caught:
        makedata.scan(other, tmp_path / "data")
    assert f"set 'format: {example.format}'" in str(caught.value) or "source." in str(caught.value)


def test_a_folder_of_no_format_gets_no_hint(tmp_path: Path) -> None:
    put_text(tmp_path / "notes.txt", "nothing")
    assert likely_formats(tmp_path) == []
    assert "looks like" not in makedata.broken("yolo", tmp_path, "data.yaml")


def put_masks(root: Path, *images: str) -> None:
    for name in images:
        put_text(root / f"images/{name}", b"\0\0\0\x18ftypheic" if name.endswith(".heic") else b"GIF89a")
    (root / "masks/cell").mkdir(parents=True)


def test_a_folder_of_images_that_are_not_read(tmp_path: Path) -> None:
    put_masks(tmp_path, "a.heic", "b.gif")
    makedata.broken(
        "mask-folder", tmp_path, ".gif, .heic is not read, but .bmp, .jpeg", "magick mogrify -format png *.heic"
    )


def test_some_images_that_are_not_read_are_told(tmp_path: Path) -> None:
    put_masks(tmp_path, "a.HEIC", "notes.txt")
    put_image(tmp_path / "images/b.png")
    (finding,) = makedata.scan("mask-folder", tmp_path).findings
    assert (finding.kind, finding.names) == ("images of a kind that is not read", ("images/a.HEIC",))
    assert "magick mogrify -format png *.heic" in finding.remedy


def test_annotations_of_images_that_are_not_read(tmp_path: Path) -> None:
    put_masks(tmp_path / "coco", "a.heic")
    entry = {"id": 1, "file_name": "a.heic", "width": 20, "height": 16}
    put_json(tmp_path / "coco/a.json", {"images": [entry], "annotations": [], "categories": [{"id": 1, "name": "x"}]})
    makedata.broken("coco", tmp_path / "coco", "names images/a.heic; .heic is not read")
    put_json(tmp_path / "labelme/a.json", {"imagePath": "a.heic", "imageData": None, "shapes": []})
    put_text(tmp_path / "labelme/a.heic", b"\0\0\0\x18ftypheic")
    makedata.broken("labelme", tmp_path / "labelme", "its image is a.heic; .heic is not read", classes=["x"])
