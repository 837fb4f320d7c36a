"""The LabelMe adapter: each kind of shape, where the image is found, and what is called broken."""

from __future__ import annotations

import base64
import json
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import makedata
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makedata import filled
from mutation import mutated_bytes, mutated_json
from pydantic import ValidationError

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.ops.contract_samples import has_extra_bits
from augforge.sources.core import Listing
from augforge.sources.formats.coco.source import Coco
from augforge.sources.formats.labelme.source import Labelme
from augforge.sources.scan.images import read_image

SQUARE = [[2, 2], [6, 2], [6, 5], [2, 5]]
GRID = np.mgrid[0:16, 0:20]


scan, only = partial(makedata.scan, "labelme"), partial(makedata.only, "labelme")
load, broken = partial(makedata.first, "labelme"), partial(makedata.broken, "labelme")


def picture(seed: int = 0, size: tuple[int, int] = (20, 16)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def mask_text(mask: np.ndarray) -> str:
    return text_of(cv2.imencode(".png", mask)[1].tobytes())


def shape(points: Any = None, label: Any = "heart", kind: str | None = "polygon", **more: Any) -> dict[str, Any]:
    return {
        "label": label,
        "points": SQUARE if points is None else points,
        "shape_type": kind,
        "group_id": None,
        "flags": {},
        **more,
    }


def document(*shapes: dict[str, Any], **more: Any) -> dict[str, Any]:
    size = {"imageWidth": 20, "imageHeight": 16}
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "a.png",
        "imageData": None,
        **size,
        **more,
    }


def put_json(root: Path, content: Any, name: str = "a") -> Path:
    return makedata.put_json(root / f"{name}.json", content)


def put(root: Path, content: Any = None) -> Path:
    path = put_json(root, document(shape()) if content is None else content)
    (root / "a.png").write_bytes(picture())
    return path


def drawn(root: Path, *shapes: dict[str, Any], **options: Any) -> np.ndarray:
    put(root, document(*shapes))
    sample, classes = load(root, **options)
    return bitmask.class_mask(sample.masks, classes.index("heart"))


# ---- listing ---------------------------------------------------------------------------------------------------------


def test_listing(tmp_path: Path) -> None:
    put(tmp_path)
    put_json(tmp_path, document(shape(label="lung"), imagePath="b.png"), "P01/b")
    (tmp_path / "P01/b.png").write_bytes(picture(1))
    listing = scan(tmp_path)
    assert listing.classes == ("heart", "lung")
    assert [(r.name, r.group, r.split) for r in listing.records] == [("P01/b", "P01", None), ("a", "a", None)]
    assert listing.refused == ()


def test_load(tmp_path: Path) -> None:
    put(tmp_path, document(shape(), shape([[8, 8], [12, 8], [12.4, 11.6]], "lung")))
    sample, classes = load(tmp_path)
    np.testing.assert_array_equal(sample.image, read_image(tmp_path / "a.png"))
    np.testing.assert_array_equal(bitmask.class_mask(sample.masks, 0), filled(SQUARE))
    np.testing.assert_array_equal(bitmask.class_mask(sample.masks, 1), filled([[8, 8], [12, 8], [12, 12]]))
    assert sample.known.tolist() == bitmask.all_bits(len(classes)).tolist()


def test_a_file_of_version_3_has_polygons_alone(tmp_path: Path) -> None:
    old = {
        "version": "3.16.2",
        "shapes": [{"label": "heart", "points": SQUARE, "line_color": None}],
        "imagePath": "a.png",
    }
    put(tmp_path, old)
    assert load(tmp_path)[0].masks.any()


def test_no_shapes_is_labelled(tmp_path: Path) -> None:
    put(tmp_path, document())
    sample, _ = load(tmp_path / ".", classes=["heart"], class_map={"x": "heart"})
    assert not sample.masks.any()


def test_what_nobody_labelled_is_unknown(tmp_path: Path) -> None:
    put(tmp_path)
    sample, _ = load(tmp_path, classes=["liver", "heart"])
    assert bitmask.bits_to_flags(sample.known, 2).tolist() == [False, True]


def test_class_map(tmp_path: Path) -> None:
    put(tmp_path, document(shape(), shape([[0, 0]], "scratch"), shape(label="Heart")))
    broken(tmp_path, "label 'scratch': 1 point;", "drop_degenerate: true")
    assert load(tmp_path, class_map={"scratch": None, "Heart": "heart"})[1] == ("heart",)
    broken(tmp_path, "label 'Heart' is not in classes", classes=["heart"], class_map={"scratch": None})


def test_flags_are_metadata_and_groups_are_not_looked_at(tmp_path: Path) -> None:
    flags = {"blurred": False, "left": True, "": True, "odd": 3}
    put(tmp_path, document(shape(group_id=1), shape(group_id=2), flags=flags))
    record = only(tmp_path)
    assert record.metadata == {"blurred": False, "left": True}
    put(tmp_path, document(shape(group_id=7), shape(group_id=2)))
    assert only(tmp_path).content == record.content


def test_an_edit_changes_the_content_and_formatting_does_not(tmp_path: Path) -> None:
    shapes = [shape(), shape([[8, 8], [12, 8], [12, 12]], "lung")]
    put(tmp_path, document(*shapes))
    before = only(tmp_path).content
    put(tmp_path, json.dumps(document(*reversed(shapes), version="4.5.6"), indent=2).encode())
    assert only(tmp_path).content == before
    put(tmp_path, document(shapes[0], shape([[8, 8], [12, 8], [12, 13]], "lung")))
    assert only(tmp_path).content != before


# ---- shapes ----------------------------------------------------------------------------------------------------------


def test_a_rectangle_between_any_corners(tmp_path: Path) -> None:
    expected = filled([[3, 4], [9, 4], [9, 11], [3, 11]])
    for corners in ([[3, 4], [9, 11]], [[9, 4], [3, 11]], [[9, 11], [3, 4]]):
        np.testing.assert_array_equal(drawn(tmp_path, shape(corners, kind="rectangle")), expected)


@pytest.mark.parametrize("radius", [0, 1, 4.5, 7])
def test_a_circle(tmp_path: Path, radius: float) -> None:
    mask = drawn(tmp_path, shape([[10, 8], [10 + radius, 8]], kind="circle"))
    distance = np.hypot(GRID[1] - 10, GRID[0] - 8)
    assert mask[distance <= radius - 0.5].all()
    assert not mask[distance > radius + 0.75].any()
    assert mask[8, 10]


@pytest.mark.parametrize("kind", ["line", "linestrip"])
def test_a_line_has_the_width_of_the_option(tmp_path: Path, kind: str) -> None:
    line = shape([[4, 8], [15, 8]], kind=kind)
    put(tmp_path, document(line))
    broken(tmp_path, f"a {kind} has no area", "source.line_width")
    for width in (1, 3, 5):
        mask = drawn(tmp_path, line, line_width=width)
        assert mask[:, 9].sum() == width and mask[8, 9]
        assert not mask[:, :2].any() and not mask[:, 18:].any()


def test_a_bent_line_is_whole(tmp_path: Path) -> None:
    mask = drawn(tmp_path, shape([[3, 3], [15, 3], [15, 12]], kind="linestrip"), line_width=3)
    assert mask[2:5, 3:15].all() and mask[3:13, 14:17].all()
    assert not mask[8:, :12].any()


def test_a_point(tmp_path: Path) -> None:
    point = shape([[10, 8]], kind="point")
    put(tmp_path, document(point))
    broken(tmp_path, "a point has no area", "source.point_width")
    assert drawn(tmp_path, point, point_width=1).sum() == 1
    mask = drawn(tmp_path, point, point_width=5)
    assert (mask[:, 10].sum(), mask[8].sum()) == (5, 5)


def test_a_mask(tmp_path: Path) -> None:
    blob = np.array([[1, 0, 1, 1], [0, 1, 0, 1]], np.uint8)
    entry = shape([[3.0, 4.0], [6.0, 5.0]], kind="mask", mask=mask_text(blob * 255))
    expected = np.zeros((16, 20), np.uint8)
    expected[4:6, 3:7] = blob
    np.testing.assert_array_equal(drawn(tmp_path, entry), expected)
    np.testing.assert_array_equal(drawn(tmp_path, {**entry, "points": [[-2, 15], [1, 16]]})[15, :2], blob[0, 2:])


def test_a_shape_partly_outside_is_cut(tmp_path: Path) -> None:
    mask = drawn(tmp_path, shape([[-5, -5], [4, -5], [4, 4], [-5, 4]]))
    np.testing.assert_array_equal(mask, filled([[0, 0], [4, 0], [4, 4], [0, 4]]))
    assert drawn(tmp_path, shape([[0, 0], [1e9, 1]], kind="circle")).all()
    assert drawn(tmp_path, shape([[-9, 8], [-9, 30]], kind="circle")).any()
    assert drawn(tmp_path, shape([[-2, 3], [-2, 9]], kind="line"), line_width=9)[:, 0].any()


@pytest.mark.parametrize("stated", [{}, {"imageWidth": None, "imageHeight": None}])
@pytest.mark.parametrize(
    "entry",
    [
        shape([[90, 90], [99, 90], [95, 99]]),
        shape([[22, 3], [29, 9]], kind="rectangle"),
        shape([[10, 30], [10, 40]], kind="circle"),
        shape([[-9, 3], [-3, 9]], kind="line"),
        shape([[4, -3]], kind="point"),
        shape([[30, 3], [31, 4]], kind="mask", mask=mask_text(np.ones((2, 2), np.uint8))),
    ],
)
def test_a_shape_wholly_outside(tmp_path: Path, entry: dict[str, Any], stated: dict[str, None]) -> None:
    path = put(tmp_path, document(shape(), entry, **stated))
    options: dict[str, Any] = {"line_width": 3, "point_width": 3}
    said = broken(tmp_path, "shape 2, label 'heart' lies outside its image of 20x16 pixels", **options)
    assert said.startswith(str(path))
    assert [(r.name, r.reason) for r in scan(tmp_path, on_error="reject", **options).refused] == [
        ("a", "outside the image")
    ]


def test_options_are_checked() -> None:
    with pytest.raises(ValidationError):
        Labelme(path="x", line_width=0)


# ---- images ----------------------------------------------------------------------------------------------------------


def test_image_path_goes_before_the_name(tmp_path: Path) -> None:
    put_json(tmp_path, document(shape(), imagePath="..\\pictures\\scan.png"), "notes/a")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/scan.png").write_bytes(picture())
    assert only(tmp_path).data["image"] == "pictures/scan.png"
    assert only(tmp_path).name == "a"
    (tmp_path / "notes/a.png").write_bytes(picture(1))
    listing = scan(tmp_path)
    assert listing.records[0].data["image"] == "pictures/scan.png"
    assert [(r.name, r.reason) for r in listing.refused] == [("notes/a", "no annotation")]
    (tmp_path / "pictures/scan.png").unlink()
    assert only(tmp_path).data["image"] == "notes/a.png"


@pytest.mark.parametrize("image_path", ["a.png", "C:\\Users\\x\\a.png", "/home/x/a.png"])
def test_an_image_in_a_parallel_folder(tmp_path: Path, image_path: str) -> None:
    for i, patient in enumerate(("P1", "P2")):
        put_json(tmp_path, document(shape(), imagePath=image_path), f"json/{patient}/a")
        (tmp_path / f"images/{patient}").mkdir(parents=True)
        (tmp_path / f"images/{patient}/a.png").write_bytes(picture(i))
    assert [(r.name, r.group, r.data["image"]) for r in scan(tmp_path).records] == [
        ("P1/a", "P1", "images/P1/a.png"),
        ("P2/a", "P2", "images/P2/a.png"),
    ]
    (warning,) = scan(tmp_path).warnings
    assert "2 files leads to no image" in warning and "images for json, such as images/P1/a.png for json/P1" in warning
    (tmp_path / "images/P1/a.png").unlink()
    broken(tmp_path, "json/P1/a.json", "" if "/" in image_path else "There are images of that name: images/P2/a.png")


def test_an_image_in_one_of_two_parallel_folders(tmp_path: Path) -> None:
    put_json(tmp_path, document(shape()), "json/a")
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(picture())
    broken(tmp_path, "json/a.json", "images/a.png, masks/a.png", "correct imagePath")
    (tmp_path / "masks/a.png").unlink()
    assert (only(tmp_path).name, only(tmp_path).group) == ("a", "a")


def test_the_one_folder_of_images_and_files_is_a_group(tmp_path: Path) -> None:
    put_json(tmp_path, document(shape()), "P1/a")
    (tmp_path / "P1/a.png").write_bytes(picture())
    assert only(tmp_path).group == "P1"


def put_parts(root: Path, notes: list[str], images: list[str]) -> None:
    """Annotations that name an image beside them, and images, by their places."""
    for note in notes:
        put_json(root, document(shape(), imagePath=f"{Path(note).name}.png"), note)
    for number, image in enumerate(images):
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{image}.png").write_bytes(picture(number))


@pytest.mark.parametrize(
    ("notes", "images", "hint"),
    [
        (["P1/a"], ["P1/b", "P2/a"], "P2/a.png"),
        (["P1/a", "P3/b"], ["P2/a", "P3/b"], "P2/a.png"),
        (["P1/a", "P3/b"], ["P2/a", "P4/b"], "P2/a.png"),
        (["train/a", "train/b"], ["test/a", "test/b"], "test/a.png"),
        (["json/train/a"], ["json/val/a"], "json/val/a.png"),
        (["json/a", "json/b"], ["images/a", "overlay/b"], "images/a.png"),
    ],
)
def test_no_other_patients_image_is_taken(tmp_path: Path, notes: list[str], images: list[str], hint: str) -> None:
    put_parts(tmp_path, notes, images)
    broken(tmp_path, "'a.png' does not exist", f"There are images of that name: {hint}")


@pytest.mark.parametrize(
    ("note", "image"),
    [
        ("annotations/{}", "images/{}"),
        ("{}/json", "{}/images"),
        ("cats/{}/json", "cats/{}/images"),
        ("data/{}", "data/{}"),
    ],
)
@pytest.mark.parametrize("patient", ["", "P1/"])
def test_splits_of_folders_that_are_not_the_first(tmp_path: Path, note: str, image: str, patient: str) -> None:
    splits = {"train": None, "val": "val"}
    places = [(f"{note.format(split)}/{patient}a", f"{image.format(split)}/{patient}a") for split in splits]
    put_parts(tmp_path, [one for one, _ in places], [other for _, other in places])
    assert [(r.name, r.group, r.split, r.data["image"]) for r in scan(tmp_path).records] == [
        (name := f"{split}/{patient}a", "P1" if patient else name, splits[split], f"{place}.png")
        for split, (_, place) in zip(splits, places, strict=True)
    ]


def test_an_image_far_from_all_annotations(tmp_path: Path) -> None:
    put_json(tmp_path, document(shape(), imagePath="../../pictures/a.png"), "notes/train/a")
    put_json(tmp_path, document(shape(), imagePath="../../pictures/b.png"), "notes/test/b")
    put_parts(tmp_path, [], ["pictures/a", "pictures/b"])
    assert [(r.name, r.group, r.split) for r in scan(tmp_path).records] == [
        ("test/b", "test/b", "test"),
        ("train/a", "train/a", None),
    ]
    (tmp_path / "notes/train/a.json").unlink()
    assert (only(tmp_path).name, only(tmp_path).split) == ("test/b", "test")


def test_an_embedded_image(tmp_path: Path) -> None:
    put_json(tmp_path, document(shape(), imagePath="C:\\Users\\x\\a.png", imageData=text_of(picture(4))))
    record = only(tmp_path)
    assert (record.width, record.height, record.data["image"]) == (20, 16, "a.json")
    sample, _ = load(tmp_path)
    (tmp_path / "a.png").write_bytes(picture(4))
    np.testing.assert_array_equal(sample.image, read_image(tmp_path / "a.png"))
    np.testing.assert_array_equal(bitmask.class_mask(sample.masks, 0), filled(SQUARE))
    assert only(tmp_path).content == record.content


@pytest.mark.parametrize("data", ["no base64!", "", "AAAA", text_of(picture()[:40]), 7, True])
def test_a_broken_embedded_image(tmp_path: Path, data: Any) -> None:
    path = put_json(tmp_path, document(shape(), imageData=data))
    assert broken(tmp_path).startswith(str(path))


def test_an_image_outside_the_root(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (tmp_path / "x.png").write_bytes(picture())
    path = put_json(root, document(shape(), imagePath="../x.png"))
    assert broken(root, "leaves").startswith(str(path))
    assert [(r.name, r.reason) for r in scan(root, on_error="reject").refused] == [("a", "no image")]
    put_json(root, document(shape(), imagePath="../x.png", imageData=text_of(picture())))
    assert only(root).data["embedded"]


def test_what_has_no_partner(tmp_path: Path) -> None:
    put(tmp_path)
    lost = put_json(tmp_path, document(shape(), imagePath="gone.png"), "lost")
    (tmp_path / "stray.png").write_bytes(picture())
    (tmp_path / "notes.txt").write_text("x")
    assert broken(tmp_path, "'gone.png' does not exist").startswith(str(lost))
    listing = scan(tmp_path, on_error="reject")
    assert [record.name for record in listing.records] == ["a"]
    assert [(r.name, r.reason) for r in listing.refused] == [
        ("lost", "no image"),
        ("notes.txt", "not an image"),
        ("stray", "no annotation"),
    ]


def test_two_files_of_one_image(tmp_path: Path) -> None:
    put(tmp_path)
    put_json(tmp_path, document(shape()), "a (copy)")
    broken(tmp_path, "a (copy).json", "both annotate", "a.png")


@pytest.mark.parametrize("keep", [0, 20, -8])
def test_broken_image(tmp_path: Path, keep: int) -> None:
    put(tmp_path)
    path = tmp_path / "a.png"
    path.write_bytes(path.read_bytes()[:keep])
    assert broken(tmp_path).startswith(str(path))


def test_an_image_of_another_size(tmp_path: Path) -> None:
    path = put(tmp_path, document(shape(), imageWidth=2000))
    assert broken(tmp_path, "2000x16", "20x16").startswith(str(path))
    put(tmp_path, document(shape(), imageWidth=None, imageHeight=None))
    assert only(tmp_path).width == 20


def test_links(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "circle").symlink_to(".")
    assert len(scan(tmp_path).records) == 1
    (tmp_path / "b.json").symlink_to("nowhere.json")
    broken(tmp_path, "leads nowhere")
    assert len(scan(tmp_path, on_error="reject").records) == 1


def test_nothing_there(tmp_path: Path) -> None:
    broken(tmp_path, "holds no .json", "imagePath")
    broken(tmp_path / "missing", "holds no .json")


# ---- broken annotations ----------------------------------------------------------------------------------------------

NAN = float("nan")
TWO = np.ones((2, 2), np.uint8)


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        (shape(label=None), "has no label"),
        (shape(label=""), "has no label"),
        (shape(label="\ud800"), "has the label"),
        (shape(kind="polygn"), "Did you mean 'polygon'?"),
        (shape(kind=None), None),
        (shape(SQUARE[:2]), "2 points; expected 3 or more"),
        (shape([[1, NAN], *SQUARE]), "points are not"),
        (shape("1,2"), "points are not"),
        (shape([1, 2, 3]), "points are not"),
        (shape([[1, 2, 3]] * 3), "points are not"),
        (shape(SQUARE[:3], kind="rectangle"), "3 points; expected 2"),
        (shape(SQUARE[:3], kind="rotation"), "3 points; expected 4"),
        (shape([[1, 1]], kind="circle"), "1 points; expected 2"),
        (shape([[1, 1], [2**31 - 2, 1]], kind="circle"), None),
        (shape([[-(2**31) + 2, 1], [2**31 - 2, 1]], kind="circle"), "beyond any image"),
        (shape([[1, 1], [2, 2]], kind="mask"), "no base64"),
        (shape([[1, 1], [2, 2]], kind="mask", mask="!"), "no base64"),
        (shape([[1, 1], [2, 2]], kind="mask", mask=text_of(b"x" * 30)), "unknown kind"),
        (shape([[1, 1], [2, 3]], kind="mask", mask=mask_text(TWO)), "expected a png of 2x3"),
        (shape([[1, 1], [2, 2]], kind="mask", mask=text_of(cv2.imencode(".jpg", TWO)[1].tobytes())), "is a jpeg"),
    ],
)
def test_broken_shapes(tmp_path: Path, entry: dict[str, Any], part: str | None) -> None:
    path = put(tmp_path, document(shape(), entry))
    if part is None:
        assert load(tmp_path)[0].masks.any()
        return
    assert broken(tmp_path, part, "shape 2").startswith(str(path))
    assert [(r.name, r.reason) for r in scan_beside(tmp_path).refused] == [("a", "broken annotation")]


def scan_beside(root: Path) -> Listing:
    """The scan where one sample is sound."""
    put_json(root, document(shape(), imagePath="b.png"), "b")
    (root / "b.png").write_bytes(picture(2))
    listing = scan(root, on_error="reject")
    assert [record.name for record in listing.records if record.name == "b"] == ["b"]
    return listing


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "no JSON"),
        (b'{"shapes": [}', "line 1 column 13"),
        (b'{"shapes": [], "imagePath": "\xb0\xa1"}', "not UTF-8"),
        ([], "holds no shapes"),
        ({}, "holds no shapes"),
        ({"shapes": {}}, "holds no shapes"),
        ({"shapes": [1]}, "holds no shapes"),
        (document(imageWidth="20"), "no size in pixels"),
        (document(imageWidth=None), "no size in pixels"),
        (document(imageHeight=-16), "no size in pixels"),
    ],
)
def test_broken_files(tmp_path: Path, content: Any, part: str) -> None:
    path = put(tmp_path, content)
    assert broken(tmp_path, part).startswith(str(path))
    assert ("a", "broken annotation") in [(r.name, r.reason) for r in scan_beside(tmp_path).refused]


SOUND = document(
    shape(),
    shape([[3, 4], [9, 11]], "lung", "rectangle"),
    shape([[10, 8], [13, 8]], kind="circle"),
    shape([[4, 8], [15, 8]], kind="linestrip"),
    shape([[10, 8]], kind="point"),
    shape([[3, 4], [4, 5]], kind="mask", mask=mask_text(TWO)),
    imageData=text_of(picture(1)),
    flags={"left": True},
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(mutated_json(SOUND), mutated_bytes(json.dumps(SOUND).encode())), beside=st.booleans())
def test_no_mutation_crashes(tmp_path: Path, content: bytes, beside: bool) -> None:
    path = put(tmp_path, content)
    if not beside:
        (tmp_path / "a.png").unlink()
    source = Labelme(path=str(tmp_path), line_width=3, point_width=3)
    try:
        listing = source.scan(FileCache())
        for record in listing.records:
            assert not has_extra_bits(source.load(record, listing.classes).masks, len(listing.classes))
            json.dumps(dict(record.metadata)).encode()
    except SourceError as error:
        assert str(tmp_path) in str(error)
        str(error).encode()
    assert path.exists()


# ---- the same data as COCO -------------------------------------------------------------------------------------------


def test_coco_and_labelme_give_the_same_planes(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    rings = [(rng.uniform(-2, 22, (rng.integers(3, 9), 2)), f"class-{rng.integers(9)}") for _ in range(40)]
    put(tmp_path / "labelme", document(*(shape(ring.tolist(), name) for ring, name in rings)))
    names = sorted({name for _, name in rings})
    notes = [
        {"image_id": 1, "category_id": names.index(name), "segmentation": [ring.reshape(-1).tolist()]}
        for ring, name in rings
    ]
    (tmp_path / "coco/images").mkdir(parents=True)
    (tmp_path / "coco/images/a.png").write_bytes(picture())
    images, categories = [{"id": 1, "file_name": "a.png"}], [{"id": i, "name": name} for i, name in enumerate(names)]
    put_json(tmp_path / "coco", {"images": images, "annotations": notes, "categories": categories}, "x")
    source = Coco(path=str(tmp_path / "coco"))
    listing = source.scan(FileCache())
    ours, classes = load(tmp_path / "labelme")
    assert listing.classes == classes
    np.testing.assert_array_equal(source.load(listing.records[0], classes).masks, ours.masks)
