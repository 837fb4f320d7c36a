"""Source samples whose damage only decoding shows, where ``on_error: reject`` asks for a row with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from toybox import copy_tree, ids, put_unreadable_pixels, rejected, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.engine.outliers import find_outliers, scores
from augforge.engine.summary import Summary
from augforge.errors import PlanError, TaskError
from augforge.report.outliers import outliers_json
from augforge.store.gc import collect
from augforge.store.verify import verify

LEVELS = (10, 40, 70, 100, 130, 160, 190, 220)


def picture(data: Path, person: int) -> Path:
    return data / f"train/DCM/ID{person:03d}/image{person:013d}.png"


def name(person: int) -> str:
    return f"ID{person:03d}/image{person:013d}"


def rejecting(path: Path, data: Path, steps: tuple[str, ...] = ()) -> Path:
    recipe = write_recipe(path, data, steps, classes="[a, b]")
    text = recipe.read_text(encoding="utf-8").replace("format: hand-bone,", "format: hand-bone, on_error: reject,")
    recipe.write_text(text, encoding="utf-8")
    return recipe


def without(data: Path, *people: int) -> Path:
    for person in people:
        picture(data, person).unlink()
        (data / f"train/outputs_json/{name(person)}.json").unlink()
    return data


@pytest.fixture(name="data")
def data_fixture(tmp_path: Path) -> Path:
    return tiny_hands(tmp_path / "data", LEVELS)


STEPS = {
    "nothing": (),
    "flipped": ("{op: hflip, keep_input: true}",),
    "mosaic": ("{op: mosaic, keep_input: true}",),
    "mosaic alone": ("{op: mosaic, p: 0.5}",),
    "filtered mosaic": ("{op: intensity, action: drop}", "{op: mosaic, grid: [1, 2], keep_input: true}"),
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
@pytest.mark.parametrize("jobs", [1, 2])
def test_the_dataset_is_the_one_without_them(tmp_path: Path, data: Path, steps: tuple[str, ...], jobs: int) -> None:
    other = without(copy_tree(data, tmp_path / "other"), 3, 6)
    for person in (3, 6):
        put_unreadable_pixels(picture(data, person))
    summary = build(rejecting(tmp_path / "r.yaml", data, steps), tmp_path / "out", jobs=jobs)
    clean = build(rejecting(tmp_path / "clean.yaml", other, steps), tmp_path / "clean")
    assert ids(tmp_path / "out") == ids(tmp_path / "clean")
    assert summary.rejected == {"source: broken pixels": 2}
    assert (summary.samples, summary.splits) == (clean.samples, clean.splits)
    assert (summary.made, summary.reused, summary.steps) == (clean.made, clean.reused, clean.steps)


def test_rows_name_the_file_and_not_where_it_lies(tmp_path: Path, data: Path) -> None:
    put_unreadable_pixels(picture(data, 3))
    build(rejecting(tmp_path / "r.yaml", data), tmp_path / "out")
    row = rejected(tmp_path / "out").row(0, named=True)
    assert (row["name"], row["step"], row["reason"]) == (name(3), "source", "broken pixels")
    assert row["detail"].startswith(f"train/DCM/{name(3)}.png is damaged") and str(data) not in row["detail"]


def test_a_second_build_changes_nothing(tmp_path: Path, data: Path) -> None:
    put_unreadable_pixels(picture(data, 3))
    recipe = rejecting(tmp_path / "r.yaml", data, STEPS["mosaic"])
    first, second = build(recipe, tmp_path / "out"), build(recipe, tmp_path / "out")
    assert second.unchanged and second.made == 0 and second.version == first.version


def test_a_mended_file_comes_back(tmp_path: Path, data: Path) -> None:
    recipe, whole = rejecting(tmp_path / "r.yaml", data, STEPS["mosaic"]), picture(data, 3).read_bytes()
    before = build(recipe, tmp_path / "whole")
    put_unreadable_pixels(picture(data, 3))
    assert build(recipe, tmp_path / "out").version != before.version
    picture(data, 3).write_bytes(whole)
    assert build(recipe, tmp_path / "out").version == before.version


def test_what_an_earlier_build_made_is_made_again_where_it_is_needed(tmp_path: Path, data: Path) -> None:
    steps = (
        "{op: hflip}",
        "{op: mosaic, grid: [1, 2], keep_input: true}",
        "{op: ricap, keep_input: true}",
        "{op: vflip}",
    )
    recipe = rejecting(tmp_path / "r.yaml", data, steps)
    build(recipe, tmp_path / "out")
    collect(tmp_path / "out", now=True)  # the work area, with all that lies between stages
    put_unreadable_pixels(picture(data, 3))
    build(recipe, tmp_path / "out")
    other = without(copy_tree(data, tmp_path / "other"), 3)
    build(rejecting(tmp_path / "clean.yaml", other, steps), tmp_path / "clean")
    assert ids(tmp_path / "out") == ids(tmp_path / "clean")
    assert not verify(tmp_path / "out", pixels=True)


def test_filters_tell_what_they_could_not_see(tmp_path: Path, data: Path) -> None:
    put_unreadable_pixels(picture(data, 3))
    found = find_outliers(rejecting(tmp_path / "r.yaml", data, ("{op: intensity}",)), tmp_path / "out")
    assert [row.name for row in found.unreadable] == [name(3)]
    assert len(found.names) == 7 and name(3) not in found.names
    truth = {name(person): "ring" if person in (3, 4) else "" for person in range(1, 9)}
    (score,) = scores(found, truth)
    assert score.missed == (name(4),)  # the intensities are all alike, so nothing is found
    told = outliers_json(found)
    assert list(told["unreadable"]) == [name(3)] and told["samples"] == 7


def test_without_reject_it_stops_the_build(tmp_path: Path, data: Path) -> None:
    put_unreadable_pixels(picture(data, 3))
    with pytest.raises(TaskError, match=name(3)):
        build(write_recipe(tmp_path / "r.yaml", data, classes="[a, b]"), tmp_path / "out")


def test_none_that_can_be_read(tmp_path: Path, data: Path) -> None:
    for person, _ in enumerate(LEVELS, 1):
        put_unreadable_pixels(picture(data, person))
    with pytest.raises(PlanError, match=r"no sample of the source can be read, such as train/DCM/ID\d+/image\d+\.png"):
        build(rejecting(tmp_path / "r.yaml", data), tmp_path / "out")


def test_a_split_that_is_left_empty_is_told(tmp_path: Path, data: Path) -> None:
    put_unreadable_pixels(picture(data, 2))  # all of `val`
    summary: Summary = build(rejecting(tmp_path / "r.yaml", data), tmp_path / "out")
    assert summary.splits == {"train": 7}
    assert summary.warnings == ["split 'val' is empty: all of its samples were rejected or moved"]


def test_a_union_rejects_what_each_source_does(tmp_path: Path, data: Path) -> None:
    other = copy_tree(data, tmp_path / "other")
    put_unreadable_pixels(picture(other, 3))
    source = "{format: union, classes: [a, b], sources: [{format: hand-bone, path: data, classes: [a, b]}, %s]}"
    member = "{format: hand-bone, path: other, classes: [a, b], on_error: reject}"
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"name: toy\nsource: {source % member}\nsteps: []\n", encoding="utf-8")
    assert build(recipe, tmp_path / "out").samples == 15
    row = rejected(tmp_path / "out").row(0, named=True)
    assert row["name"] == f"other/{name(3)}" and row["detail"].startswith(f"train/DCM/{name(3)}.png is damaged")
    put_unreadable_pixels(picture(data, 5))
    with pytest.raises(TaskError, match=f"data/{name(5)}"):
        build(recipe, tmp_path / "out")
