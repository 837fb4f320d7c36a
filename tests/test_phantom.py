"""The made hand radiographs: layout, determinism, true outlines and the special images."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openpyxl
import pytest
from numpy.typing import NDArray

from augforge.errors import AugforgeError
from augforge.phantom import PhantomSummary, Traits, render_hand, write_phantom
from augforge.phantom.layout import META_COLUMNS, TRUTH_COLUMNS, cases
from augforge.phantom.placement import clip_convex
from augforge.sources.class_lists import HAND_BONES

SIZE = 256
PERSONS = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PhantomSummary]:
    out = tmp_path_factory.mktemp("phantom") / "set"
    return out, write_phantom(out, persons=PERSONS, size=SIZE, test_persons=1)


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def truth(root: Path) -> list[dict[str, str]]:
    with (root / "truth.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def image(root: Path, row: dict[str, str]) -> NDArray[np.uint8]:
    data = np.fromfile(root / "train" / "DCM" / row["person"] / row["image"], np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return np.asarray(pixels, np.uint8)


def polygons(root: Path, row: dict[str, str]) -> dict[str, NDArray[np.int32]]:
    path = root / "train" / "outputs_json" / row["person"] / row["image"].replace(".png", ".json")
    annotations = json.loads(path.read_text(encoding="utf-8"))["annotations"]
    return {a["label"]: np.array(a["points"], np.int32) for a in annotations}


def mask(polygon: NDArray[np.int32], size: int = SIZE) -> NDArray[np.bool_]:
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [polygon], 1)
    return canvas > 0


def labelled(root: Path) -> list[dict[str, str]]:
    return [row for row in truth(root) if int(row["person"][2:]) <= PERSONS]


def test_the_layout_is_the_contests(made: tuple[Path, PhantomSummary]) -> None:
    out, summary = made
    names = sorted(files(out))
    pictures = [n for n in names if re.fullmatch(r"train/DCM/ID0\d\d/image\d{13}\.png", n)]
    outlines = [n for n in names if re.fullmatch(r"train/outputs_json/ID0\d\d/image\d{13}\.json", n)]
    test = [n for n in names if re.fullmatch(r"test/DCM/ID013/image\d{13}\.png", n)]
    assert (len(pictures), len(outlines), len(test)) == (24, 24, 2)
    assert [n.replace("DCM", "outputs_json").replace("png", "json") for n in pictures] == outlines
    assert set(names) == {*pictures, *outlines, *test, "meta_data.xlsx", "truth.csv"}
    assert len({n.rsplit("/")[-1] for n in pictures + test}) == 26
    assert (summary.path, summary.persons, summary.images) == (out, 13, 26)


def test_an_annotation_file_is_as_the_contest_writes_it(made: tuple[Path, PhantomSummary]) -> None:
    path = sorted((made[0] / "train" / "outputs_json" / "ID001").iterdir())[0]
    content = json.loads(path.read_text(encoding="utf-8"))
    assert list(content) == ["annotations", "attributes", "filename", "metadata"]
    assert content["filename"] == f"{path.stem}.png"
    assert content["metadata"] == {"width": SIZE, "height": SIZE}
    assert [a["label"] for a in content["annotations"]] == list(HAND_BONES)
    assert len({a["id"] for a in content["annotations"]}) == 29
    for annotation in content["annotations"]:
        assert annotation["type"] == "poly_seg"
        assert annotation["attributes"] == {}
        assert all(type(value) is int for point in annotation["points"] for value in point)


def test_the_workbook_and_the_truth_cover_everyone(made: tuple[Path, PhantomSummary]) -> None:
    out, summary = made
    header, *rows = openpyxl.load_workbook(out / "meta_data.xlsx").active.iter_rows(values_only=True)
    assert header == META_COLUMNS
    assert [row[0] for row in rows] == list(range(1, 14))
    assert all(type(row[1]) is int and row[2].removeprefix("_x0008_") in "남여" for row in rows)
    assert any(row[2].startswith("_x0008_") for row in rows)
    assert all(110 < row[3] < 210 and 15 < row[4] < 160 for row in rows)

    lines = truth(out)
    assert tuple(lines[0]) == TRUTH_COLUMNS
    assert [line["hand"] for line in lines] == ["L", "R"] * 13
    assert sum(line["outlier"] != "none" for line in lines) == summary.outliers
    assert sum(line["bent"] == "yes" for line in lines) == summary.bent
    assert sum(abs(float(line["tilt_deg"])) > 4.01 for line in lines) == summary.turned


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_phantom(tmp_path / name, persons=1, size=96, seed=seed)
    a, b, c = (files(tmp_path / name) for name in "abc")
    assert a == b
    assert not set(a.values()) & set(c.values())


def test_a_person_does_not_depend_on_how_many_there_are(made: tuple[Path, PhantomSummary], tmp_path: Path) -> None:
    write_phantom(tmp_path / "few", persons=3, size=SIZE)
    everyone = files(made[0])
    few = {name: data for name, data in files(tmp_path / "few").items() if name.startswith("train/")}
    assert len(few) == 12
    assert all(everyone[name] == data for name, data in few.items())


def test_every_class_has_an_area_inside_the_picture(made: tuple[Path, PhantomSummary]) -> None:
    for row in labelled(made[0]):
        outlines = polygons(made[0], row)
        assert tuple(outlines) == HAND_BONES
        for label, polygon in outlines.items():
            assert polygon.min() >= 0, label
            assert polygon.max() < SIZE, label
            assert cv2.contourArea(polygon) > 4, label


def test_bones_overlap_where_they_lie_behind_one_another(made: tuple[Path, PhantomSummary]) -> None:
    pairs = (("Trapezium", "Trapezoid"), ("Capitate", "Hamate"), ("Triquetrum", "Pisiform"))
    for row in labelled(made[0]):
        masks = {label: mask(polygon) for label, polygon in polygons(made[0], row).items()}
        for one, other in pairs:
            assert np.any(masks[one] & masks[other]), (row["image"], one, other)
        assert np.mean(masks["Triquetrum"][masks["Pisiform"]]) > 0.6


def test_the_forearm_ends_where_an_upright_picture_ends(made: tuple[Path, PhantomSummary]) -> None:
    upright = [row for row in labelled(made[0]) if abs(float(row["tilt_deg"])) <= 4]
    assert len(upright) > 12
    for row in upright:
        outlines = polygons(made[0], row)
        assert outlines["Radius"][:, 1].max() == outlines["Ulna"][:, 1].max() == SIZE - 1


def test_thumb_shows_the_side_and_middle_finger_the_tilt(made: tuple[Path, PhantomSummary]) -> None:
    for row in labelled(made[0]):
        outlines = polygons(made[0], row)
        base, tip = (outlines[label].mean(axis=0) for label in ("finger-11", "finger-8"))
        dx, dy = tip - base
        assert np.degrees(np.arctan2(dx, -dy)) == pytest.approx(float(row["tilt_deg"]), abs=3.0)
        thumb, little = (outlines[label].mean(axis=0) - base for label in ("finger-2", "finger-18"))
        side = np.cross(np.append(thumb, 0), np.append(little, 0))[2]
        assert (side < 0) == (row["hand"] == "L")


def test_bones_are_brighter_than_flesh_and_flesh_than_air(made: tuple[Path, PhantomSummary]) -> None:
    for row in labelled(made[0]):
        pixels = image(made[0], row)
        outlines = polygons(made[0], row)
        bone = mask(outlines["finger-10"])
        around = cv2.dilate(bone.astype(np.uint8), np.ones((3, 3)), iterations=12) > 0
        others = np.any([mask(polygon) for polygon in outlines.values()], axis=0)
        assert pixels.shape == (SIZE, SIZE)
        assert np.median(pixels[bone]) > np.median(pixels[around & ~others]) + 20


@pytest.mark.parametrize("outlier", ["ring", "implant"])
def test_metal_is_saturated_and_nothing_else_of_the_hand_is(made: tuple[Path, PhantomSummary], outlier: str) -> None:
    rows = labelled(made[0])
    marked = [row for row in rows if row["outlier"] == outlier]
    assert marked
    for row in marked:
        assert np.count_nonzero(image(made[0], row) == 255) > 15
    for row in rows:
        if row["outlier"] == "none":
            carpus = mask(polygons(made[0], row)["Capitate"])
            assert image(made[0], row)[carpus].max() < 255


def test_metal_is_on_the_bone(made: tuple[Path, PhantomSummary]) -> None:
    for row in labelled(made[0]):
        if row["outlier"] == "ring":
            outlines = polygons(made[0], row)
            white = image(made[0], row) == 255
            hit = [np.any(white & mask(outlines[f"finger-{n}"])) for n in (6, 10, 14, 18)]
            assert sum(hit) == 1


@pytest.mark.parametrize("seed", [0, 7, 99])
def test_small_sets_hold_a_few_special_images_and_large_ones_about_a_tenth(seed: int) -> None:
    few = [case for person in range(1, 13) for case in cases(seed, person)]
    assert sum(case.outlier == "ring" for case in few) == 2
    assert sum(case.outlier == "implant" for case in few) == 1
    assert sum(case.turned for case in few) >= 4
    assert 1 <= sum(case.bent for case in few) <= 2
    many = [case for person in range(1, 61) for case in cases(seed, person)]
    assert 0.07 < np.mean([case.outlier != "none" for case in many]) < 0.14
    assert 0.22 < np.mean([case.turned for case in many]) < 0.34


@pytest.mark.parametrize("index", range(8))
def test_any_hand_fits_into_its_picture(index: int) -> None:
    rng = np.random.default_rng([index, 1])
    traits = Traits.draw(rng)
    hand = render_hand(rng, 128, traits, hand="LR"[index % 2], turned=index > 2, bent=index % 3 == 0)
    assert hand.image.dtype == np.uint8
    for label, polygon in hand.polygons.items():
        assert len(polygon) >= 3, label
        if label not in ("Radius", "Ulna"):
            assert polygon.min() > 0, label
            assert polygon.max() < 127, label


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "keep.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(AugforgeError, match=r"not empty.*Choose another folder"):
        write_phantom(tmp_path / "mine", persons=1, size=64)
    assert files(tmp_path) == {"mine/keep.txt": b"precious"}


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert (done, total) == (1, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "set", persons=2, size=64, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_used_and_progress_is_reported(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_phantom(tmp_path, persons=1, size=64, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert (tmp_path / "truth.csv").is_file()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"persons": 0}, "at least 1"),
        ({"persons": 1000}, "end at 999"),
        ({"test_persons": -1}, "are needed"),
        ({"size": 63}, "at least 64"),
        ({"seed": -1}, "negative"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(AugforgeError, match=message):
        write_phantom(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()


def test_clipping_keeps_the_inside() -> None:
    window = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
    square = np.array([[5.0, 5.0], [15.0, 5.0], [15.0, 15.0], [5.0, 15.0]])
    clipped = clip_convex(square, window)
    assert cv2.contourArea(clipped.astype(np.float32)) == pytest.approx(25.0)
    assert clip_convex(square + 20, window).shape == (0, 2)
