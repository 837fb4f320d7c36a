"""What every format must say of broken, foreign and tricky files: the file's name, or a rejected row with a reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from makedata import block, broken, png, put_image, put_json, put_palette, put_pixels, put_text, rejected, scan

TRIANGLE = [[1, 1], [9, 1], [9, 9]]
NAMES = ("a", "b")
POLYGONS: dict[str, list[Any]] = {"coco": [1, 1, 9, 1, 9, 9], "hand-bone": TRIANGLE, "labelme": TRIANGLE}


def coco(root: Path) -> dict[str, Any]:
    images = [{"id": i, "file_name": f"{name}.png", "width": 20, "height": 16} for i, name in enumerate(NAMES)]
    notes = [{"image_id": i, "category_id": 1, "segmentation": [POLYGONS["coco"]]} for i in range(len(NAMES))]
    for name in NAMES:
        put_image(root / f"images/{name}.png")
    content = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "cat"}]}
    put_json(root / "annotations/x.json", content)
    return {}


def csv(root: Path) -> dict[str, Any]:
    for name in NAMES:
        put_image(root / f"images/{name}.png")
    put_text(root / "train.csv", "image_name,class,rle\na.png,cat,1 3\na.png,dog,\nb.png,cat,4 2\n")
    return {"folder": "images"}


def hand_bone(root: Path) -> dict[str, Any]:
    for name in NAMES:
        put_image(root / f"train/DCM/P1/{name}.png")
        content = {"annotations": [{"label": "Ulna", "points": TRIANGLE}], "metadata": {"width": 20, "height": 16}}
        put_json(root / f"train/outputs_json/P1/{name}.json", content)
    return {}


def image_folder(root: Path) -> dict[str, Any]:
    for name in NAMES:
        put_image(root / f"cat/{name}.png")
    return {}


def index_mask(root: Path) -> dict[str, Any]:
    for name in NAMES:
        put_image(root / f"images/{name}.png")
        put_palette(root / f"masks/{name}.png", block(1, 1, 5, 5, 1))
    return {}


def labelme(root: Path) -> dict[str, Any]:
    for name in NAMES:
        put_image(root / f"{name}.png")
        shapes = [{"label": "cat", "points": TRIANGLE}]
        size = {"imageWidth": 20, "imageHeight": 16}
        put_json(root / f"{name}.json", {"shapes": shapes, "imagePath": f"{name}.png", **size})
    return {}


def mask_folder(root: Path) -> dict[str, Any]:
    for name in NAMES:
        put_image(root / f"images/{name}.png")
        put_pixels(root / f"masks/cat/{name}.png", block(1, 1, 5, 5))
    return {}


def yolo(root: Path) -> dict[str, Any]:
    for name in NAMES:
        put_image(root / f"images/{name}.png")
        put_text(root / f"labels/{name}.txt", "0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    put_text(root / "data.yaml", "names: [cat]\n")
    return {}


MAKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "coco": coco,
    "csv": csv,
    "hand-bone": hand_bone,
    "image-folder": image_folder,
    "index-mask": index_mask,
    "labelme": labelme,
    "mask-folder": mask_folder,
    "yolo": yolo,
}


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def image_of(root: Path) -> Path:
    return next(path for path in sorted(root.rglob("a.png")) if "masks" not in path.parts)


def note_of(root: Path) -> Path:
    """The file that holds the annotation of ``a``."""
    found = [path for suffix in (".json", ".txt", ".csv") for path in sorted(root.rglob(f"*{suffix}"))]
    return [*found, *(path for path in sorted(root.rglob("a.png")) if "masks" in path.parts)][0]


# ---- images ----------------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def bomb(path: Path) -> None:
    path.write_bytes(png(60_000, 60_000, 8, 0, b"0"))


@pytest.mark.parametrize(("harm", "fact"), [(cut, "is damaged"), (emptied, "is empty"), (bomb, "at most")])
def test_broken_images(tmp_path: Path, kind: str, harm: Callable[[Path], None], fact: str) -> None:
    options = MAKERS[kind](tmp_path)
    harm(image_of(tmp_path))
    broken(kind, tmp_path, str(image_of(tmp_path)), fact, **options)
    ((name, reason),) = rejected(kind, tmp_path, **options)
    assert name.endswith("a") and reason == "broken image"
    assert len(scan(kind, tmp_path, on_error="reject", **options).records) == 1


def test_an_image_that_is_none(tmp_path: Path, kind: str) -> None:
    options = MAKERS[kind](tmp_path)
    put_text(image_of(tmp_path), b"GIF89a, and no PNG")
    broken(kind, tmp_path, str(image_of(tmp_path)), "GIF", **options)


@pytest.mark.parametrize("where", ["out", "nowhere"])
def test_links_out_of_the_root(tmp_path: Path, kind: str, where: str) -> None:
    root = tmp_path / "data"
    options = MAKERS[kind](root)
    path = image_of(root)
    target = shutil.move(path, tmp_path / "a.png") if where == "out" else tmp_path / "nothing.png"
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    broken(kind, root, path.name, **options)
    assert {name.rpartition("/")[2][0] for name, _ in rejected(kind, root, **options)} == {"a"}
    assert len(scan(kind, root, on_error="reject", **options).records) == 1


def test_links_in_a_circle(tmp_path: Path, kind: str) -> None:
    options = MAKERS[kind](tmp_path)
    link = image_of(tmp_path).parent / "circle"
    link.symlink_to(link.parent)
    assert len(scan(kind, tmp_path, **options).records) == 2, "there is nothing new in a circle"


# ---- annotations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(MAKERS.keys() - {"csv", "image-folder", "yolo"}))
def test_an_annotation_of_another_size(tmp_path: Path, kind: str) -> None:
    options = MAKERS[kind](tmp_path)
    put_image(image_of(tmp_path), (9, 7))
    broken(kind, tmp_path, "20x16", "9x7", "expected the same", **options)
    assert [reason for _, reason in rejected(kind, tmp_path, **options)] == ["size differs"]


@pytest.mark.parametrize("kind", sorted(MAKERS.keys() - {"image-folder"}))
def test_an_annotation_without_an_image(tmp_path: Path, kind: str) -> None:
    options = MAKERS[kind](tmp_path)
    image_of(tmp_path).unlink()
    if kind == "hand-bone":  # is told as refused, as the maker of the format has such files
        assert [row.reason for row in scan(kind, tmp_path).refused] == ["no image"]
        return
    broken(kind, tmp_path, "a", **options)
    assert [reason for _, reason in rejected(kind, tmp_path, **options)] == ["no image"]


@pytest.mark.parametrize("kind", ["coco", "csv", "hand-bone", "labelme", "yolo"])
def test_wrong_encoding(tmp_path: Path, kind: str) -> None:
    options = MAKERS[kind](tmp_path)
    note = note_of(tmp_path)
    note.write_bytes(b"\xb0" + note.read_bytes())
    broken(kind, tmp_path, str(note), "not UTF-8", **options)


@pytest.mark.parametrize(("point", "fact"), [(None, "2 points; expected 3 or more"), (float("nan"), "finite|NaN")])
@pytest.mark.parametrize("kind", POLYGONS)
def test_broken_polygons(tmp_path: Path, kind: str, point: float | None, fact: str) -> None:
    options = MAKERS[kind](tmp_path)
    polygon = POLYGONS[kind]
    bad = polygon[: -2 if kind == "coco" else -1] if point is None else json.loads(json.dumps(polygon))
    if point is not None:
        bad[-1] = point if kind == "coco" else [1, point]
    note = note_of(tmp_path)
    note.write_text(note.read_text().replace(json.dumps(polygon), json.dumps(bad), 1))
    message = broken(kind, tmp_path, str(note), **options)
    assert any(part in message for part in fact.split("|"))
    assert [reason for _, reason in rejected(kind, tmp_path, **options)] == ["broken annotation"]


def test_two_images_of_one_name(tmp_path: Path, kind: str) -> None:
    options = MAKERS[kind](tmp_path)
    put_image(image_of(tmp_path).with_suffix(".jpg"))
    if kind in ("coco", "csv", "labelme"):  # they name the file, suffix and all
        listing = scan(kind, tmp_path, **options)
        assert len(listing.records) == 2
        assert [row.reason for row in listing.refused] == [] if kind == "csv" else ["no annotation"]
    else:
        broken(kind, tmp_path, "a.jpg", "a.png", "share the name", **options)
        assert [reason for _, reason in rejected(kind, tmp_path, **options)] == ["name stands twice"]
