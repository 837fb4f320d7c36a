"""The CVAT adapter: each kind of shape, tasks, projects, jobs and videos, and what is called broken."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import makedata
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from makedata import SIZE, block, filled, known_of, masks_of, put_image, put_text
from mutation import mutated_bytes

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.sources.formats.cvat.source import Cvat

scan, load = partial(makedata.scan, "cvat"), partial(makedata.load, "cvat")
broken, rejected = partial(makedata.broken, "cvat"), partial(makedata.rejected, "cvat")

RING = [[2, 2], [9, 3], [6, 9]]
POLYGON = '<polygon label="cell" points="2.0,2.0;9.0,3.0;6.0,9.0"/>'


def xml(*images: str, labels: tuple[str, ...] = ("cell", "line"), kind: str = "task", more: str = "") -> str:
    named = "".join(f"<label><name>{label}</name><attributes></attributes></label>" for label in labels)
    meta = f"<meta><{kind}><id>1</id><labels>{named}</labels>{more}</{kind}></meta>"
    body = f"<version>1.1</version>{meta}{''.join(images)}"
    return f'<?xml version="1.0" encoding="utf-8"?><annotations>{body}</annotations>'


def image(name: str, *shapes: str, more: str = "") -> str:
    return f'<image id="0" name="{name}" width="{SIZE[0]}" height="{SIZE[1]}"{more}>{"".join(shapes)}</image>'


def put(root: Path, *shapes: str, kind: str = "task") -> Path:
    put_image(root / "images/a.png")
    return put_text(root / "annotations.xml", xml(image("a.png", *shapes), kind=kind))


def drawn(root: Path, *shapes: str) -> np.ndarray:
    put(root, *shapes)
    return masks_of(load(root)["a"], ("cell", "line"))["cell"]


def centres() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]] + 0.5
    return x, y


# ---- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["task", "project", "job"])
def test_polygons_of_tasks_projects_and_jobs(tmp_path: Path, kind: str) -> None:
    put(tmp_path, POLYGON, kind=kind)
    listing = scan(tmp_path)
    assert (listing.classes, listing.warnings, listing.findings) == (("cell", "line"), (), ())
    sample = load(tmp_path)["a"]
    masks = masks_of(sample, listing.classes)
    np.testing.assert_array_equal(masks["cell"], filled(RING))
    assert not masks["line"].any() and known_of(sample, listing.classes) == ["cell", "line"]


def test_a_box_covers_its_pixels(tmp_path: Path) -> None:
    found = drawn(tmp_path, '<box label="cell" xtl="3.0" ytl="2.0" xbr="8.0" ybr="6.0"/>')
    np.testing.assert_array_equal(found, block(3, 2, 8, 6, 1))


@pytest.mark.parametrize(("degrees", "corners"), [(90, (7, 4, 11, 12)), (180, (5, 6, 13, 10)), (270.0, (7, 4, 11, 12))])
def test_a_box_turned_by_quarters(tmp_path: Path, degrees: float, corners: tuple[int, int, int, int]) -> None:
    box = f'<box label="cell" xtl="5" ytl="6" xbr="13" ybr="10" rotation="{degrees}"/>'
    np.testing.assert_array_equal(drawn(tmp_path, box), block(*corners, 1))


def test_a_box_turns_clockwise(tmp_path: Path) -> None:
    found = drawn(tmp_path, '<box label="cell" xtl="3" ytl="6" xbr="17" ybr="9" rotation="30"/>')
    x, y = centres()
    turn = math.radians(30)
    along = (x - 10) * math.cos(turn) + (y - 7.5) * math.sin(turn)
    across = (y - 7.5) * math.cos(turn) - (x - 10) * math.sin(turn)
    np.testing.assert_array_equal(found, (np.abs(along) <= 7) & (np.abs(across) <= 1.5))


def test_an_ellipse_covers_the_centres_in_it(tmp_path: Path) -> None:
    x, y = centres()
    found = drawn(tmp_path, '<ellipse label="cell" cx="9.5" cy="8" rx="7.2" ry="3.1"/>')
    np.testing.assert_array_equal(found, ((x - 9.5) / 7.2) ** 2 + ((y - 8) / 3.1) ** 2 <= 1)
    turned = drawn(tmp_path, '<ellipse label="cell" cx="9.5" cy="8" rx="7.2" ry="3.1" rotation="90"/>')
    np.testing.assert_array_equal(turned, ((x - 9.5) / 3.1) ** 2 + ((y - 8) / 7.2) ** 2 <= 1)


def row_runs(mask: np.ndarray) -> str:
    """Run lengths along the rows, beginning with zeros, by plain counting."""
    runs, value = [0], 0
    for pixel in mask.reshape(-1).tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return ", ".join(map(str, runs))


@pytest.mark.parametrize("first", [0, 1])
def test_a_mask(tmp_path: Path, first: int) -> None:
    own = np.random.default_rng(1).integers(0, 2, (6, 9))
    own[0, 0] = first
    whole = np.zeros(SIZE[::-1], np.uint8)
    whole[4:10, 3:12] = own
    mask = f'<mask label="cell" rle="{row_runs(own)}" left="3" top="4" width="9" height="6"/>'
    np.testing.assert_array_equal(drawn(tmp_path, mask), whole)


def test_a_mask_is_cut_at_the_image(tmp_path: Path) -> None:
    found = drawn(tmp_path, '<mask label="cell" rle="0, 30" left="17" top="-2" width="6" height="5"/>')
    np.testing.assert_array_equal(found, block(17, 0, 20, 3, 1))
    (finding,) = scan(tmp_path).findings
    assert (finding.kind, finding.names) == ("shapes outside the image", ("a",))
    put(tmp_path, '<mask label="cell" rle="0,30" left="30" top="40" width="6" height="5"/>')
    broken(tmp_path, "annotation 1 (mask) lies outside its image of 20x16 pixels")


@pytest.mark.parametrize("kind", ["polyline", "points", "cuboid", "skeleton"])
def test_what_has_no_area_leaves_its_class_unknown(tmp_path: Path, kind: str) -> None:
    put_image(tmp_path / "images/b.png")
    put_image(tmp_path / "images/a.png")
    images = image("a.png", POLYGON, f'<{kind} label="line" points="1,1;4,5"/>'), image("b.png", POLYGON)
    put_text(tmp_path / "annotations.xml", xml(*images))
    samples = load(tmp_path)
    assert known_of(samples["a"], ("cell", "line")) == ["cell"]
    assert known_of(samples["b"], ("cell", "line")) == ["cell", "line"]
    (warning,) = scan(tmp_path).warnings
    assert warning == f"1 annotations of kind {kind} have no area, so their class is unknown in those images"


def test_tags_are_left_out_and_told(tmp_path: Path) -> None:
    put(tmp_path, POLYGON, '<tag label="line"/>')
    assert scan(tmp_path).warnings == ("1 annotations of kind tag are left out",)


def test_boxes_may_be_dropped_and_are_told_beside_masks(tmp_path: Path) -> None:
    put(tmp_path, POLYGON, '<box label="cell" xtl="3" ytl="2" xbr="18" ybr="14"/>')
    assert [(found.kind, found.names) for found in scan(tmp_path).findings] == [("boxes beside masks", ("cell",))]
    assert not scan(tmp_path, boxes="rectangle").findings
    np.testing.assert_array_equal(masks_of(load(tmp_path, boxes="drop")["a"], ("cell", "line"))["cell"], filled(RING))


# ---- layouts ---------------------------------------------------------------------------------------------------------


def test_subsets_of_a_project_are_splits(tmp_path: Path) -> None:
    named = [("a", "Train"), ("b", "val"), ("a", "Test")]
    for name, subset in named:
        put_image(tmp_path / f"images/{subset}/{name}.png")
    images = [image(f"{name}.png", POLYGON, more=f' subset="{subset}" task_id="1"') for name, subset in named]
    put_text(tmp_path / "annotations.xml", xml(*images, kind="project"))
    assert {r.name: r.split for r in scan(tmp_path).records} == {"Train/a": None, "val/b": "val", "Test/a": "test"}


def test_each_task_in_a_folder_of_its_own(tmp_path: Path) -> None:
    for task in ("one", "two"):
        put(tmp_path / task, POLYGON)
    put_image(tmp_path / "two/images/b.png")
    put_text(tmp_path / "two/voc.xml", "<annotation><folder>x</folder></annotation>")
    listing = scan(tmp_path)
    assert [(r.name, r.group) for r in listing.records] == [("one/a", "one"), ("two/a", "two")]
    assert [(row.name, row.reason) for row in listing.refused] == [
        ("two/images/b", "no annotation"),
        ("two/voc", "not a CVAT file"),
    ]
    assert [r.name for r in scan(tmp_path, annotations="one/annotations.xml").records] == ["one/a"]


def test_images_beside_the_file(tmp_path: Path) -> None:
    put_image(tmp_path / "P1/a.png")
    put_text(tmp_path / "annotations.xml", xml(image("P1/a.png", POLYGON)))
    assert [(r.name, r.group) for r in scan(tmp_path).records] == [("P1/a", "P1")]


def test_tracks_of_a_video(tmp_path: Path) -> None:
    for number in range(3):
        put_image(tmp_path / f"images/frame_00000{number}.png")
    inner = 'points="2.0,2.0;9.0,3.0;6.0,9.0"'
    shapes = f'<polygon frame="0" outside="0" {inner}/><polygon frame="1" outside="1" {inner}/>'
    size = f"<original_size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></original_size>"
    put_text(tmp_path / "annotations.xml", xml(f'<track id="0" label="cell">{shapes}</track>', more=size))
    samples = load(tmp_path)
    assert {name: int(masks_of(s, ("cell", "line"))["cell"].sum()) for name, s in samples.items()} == {
        "frame_000000": filled(RING).sum(),
        "frame_000001": 0,
        "frame_000002": 0,
    }


def test_images_without_annotations(tmp_path: Path) -> None:
    put(tmp_path)
    (warning,) = scan(tmp_path).warnings
    assert warning.startswith("1 of 1 images have no annotations, such as a.png")
    assert known_of(load(tmp_path)["a"], ("cell", "line")) == ["cell", "line"]
    assert not known_of(load(tmp_path, missing_annotation="unlabelled")["a"], ("cell", "line"))
    assert not scan(tmp_path, missing_annotation="empty").warnings


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ('<polygon label="cell" points="1,2;3,4"/>', "2 points; expected 3"),
        ('<polygon label="cell" points="1,2;3;4,5"/>', "no list"),
        ('<polygon label="cell" points="1,2;nan,4;5,6"/>', "NaN"),
        ('<polygon points="1,2;3,4;5,6"/>', "has no label"),
        ('<polygon label="cell" points="30,30;40,30;40,40"/>', "outside its image"),
        ('<box label="cell" xtl="1" ytl="2" xbr="x" ybr="4"/>', "xbr is 'x'"),
        ('<ellipse label="cell" cx="1" cy="2" rx="0" ry="4"/>', "more than 0"),
        ('<mask label="cell" rle="3, 4" left="1" top="1" width="4" height="2"/>', "does not fill a box of 4x2"),
        ('<mask label="cell" rle="8" left="1.5" top="1" width="4" height="2"/>', "whole number"),
        ('<mask label="cell" rle="" left="1" top="1" width="999999" height="999999"/>', "does not fill"),
        ('<blob label="cell"/>', "not known"),
    ],
)
def test_broken_shapes(tmp_path: Path, shape: str, part: str) -> None:
    put(tmp_path, POLYGON, shape)
    broken(tmp_path, str(tmp_path / "annotations.xml"), "annotation 2", part)
    assert [reason for _, reason in rejected(tmp_path)] in (["broken annotation"], ["outside the image"])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("<annotations>", "is no XML"),
        ("<html/>", "holds no XML of CVAT"),
        ("<annotations><version>2.0</version></annotations>", "is of version 2.0"),
        (xml('<image id="3" width="2" height="2"/>'), "image 3 has no name"),
        (xml('<image name="a.png" width="2"/>'), "no width and height"),
        (xml(image("b.png")), "'b.png' does not exist as images/b.png"),
        (xml('<track id="7" label="cell"><box frame="0"/></track>'), "no original_size"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, part: str) -> None:
    put_image(tmp_path / "images/a.png")
    put_text(tmp_path / "annotations.xml", text)
    broken(tmp_path, part)


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE a [<!ENTITY x "yyyyyyyyyy">]>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd">',
    ],
)
def test_entities_are_never_resolved(tmp_path: Path, doctype: str) -> None:
    text = xml(image("a.png", POLYGON), labels=("&x;",)).replace("<annotations>", f"{doctype}<annotations>", 1)
    put_image(tmp_path / "images/a.png")
    put_text(tmp_path / "annotations.xml", text)
    broken(tmp_path, "has a document type")


def test_an_image_of_another_size(tmp_path: Path) -> None:
    put(tmp_path, POLYGON)
    put_image(tmp_path / "images/a.png", (16, 20))
    broken(tmp_path, "annotations.xml: a.png has 20x16 pixels, its image 16x20")


SOUND = xml(
    image("a.png", POLYGON, '<box label="cell" xtl="3" ytl="2" xbr="8" ybr="6" rotation="9"/>'),
    image("b.png", '<mask label="cell" rle="2, 4" left="1" top="1" width="3" height="2"/><points label="line"/>'),
)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=mutated_bytes(SOUND.encode()))
def test_no_mutation_crashes(tmp_path: Path, content: bytes) -> None:
    for name in "ab":
        put_image(tmp_path / f"images/{name}.png")
    (tmp_path / "annotations.xml").write_bytes(content)
    source = Cvat(path=str(tmp_path))
    try:
        listing = source.scan(FileCache())
        for record in listing.records:
            source.load(record, listing.classes)
    except SourceError as error:
        assert str(tmp_path) in str(error)
