"""`augforge init`: the format of a folder is found, and the recipe that is written builds without edits."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from layouts import (
    LAYOUTS,
    coco_2017,
    coco_one_file,
    csv_of_labels,
    two_sets,
    ultralytics,
    unreadable_json,
    write_layout,
)

from augforge.engine.builder import build
from augforge.errors import RecipeError, SourceError
from augforge.recipe.first import name_for
from augforge.recipe.recipe import load_recipe
from augforge.recipe.starting import STANDARD_OUTPUT, is_data, recipe_for, start_recipe
from augforge.sources.detecting.matching import Match
from augforge.store.dataset import open_dataset


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_recipe_of_each_layout_builds_as_it_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = write_layout(name, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    first, recipe = start_recipe(Path("mine"))
    assert first.match.format == layout.format
    assert recipe == Path("mine.yaml") or name == "in-an-archive"
    if layout.splits:
        assert dict(first.splits) == dict(layout.splits)
    summary = build(recipe, "out")
    dataset = open_dataset("out")
    found = tuple(label for label in dataset.labels or dataset.classes if label != "ignore")
    assert layout.classes is None or set(found) == set(layout.classes)
    assert dataset.index.filter(~pl.col("name").str.contains("~rotate")).height == layout.samples
    assert summary.splits["val" if "test" not in layout.splits or "val" in layout.splits else "test"] > 0


@pytest.mark.parametrize("name", ["coco-one-file", "index-masks", "class-folders", "nnunet", "csv-of-runs"])
def test_every_hint_is_valid_when_it_is_uncommented(name: str, tmp_path: Path) -> None:
    write_layout(name, tmp_path / "mine")
    _, recipe = start_recipe(tmp_path / "mine", tmp_path / "r.yaml")
    lines = recipe.read_text().splitlines()
    hints = [i for i, line in enumerate(lines) if re.match(r" *# (- \{|[a-z_]+: [{\[])", line)]
    assert len(hints) >= 4
    for i in hints:
        key = lines[i].lstrip(" #").partition(":")[0]
        others = [line for line in lines[:i] + lines[i + 1 :] if not line.startswith(f"{key}:")]
        changed = others[: min(i, len(others))]
        at = sum(line in others for line in lines[:i])
        changed = [*others[:at], lines[i].replace("# ", "", 1), *others[at:]]
        recipe.write_text("\n".join(changed))
        load_recipe(recipe)


def test_a_folder_of_two_sets_says_so(tmp_path: Path) -> None:
    two_sets(tmp_path / "nuts")
    with pytest.raises(SourceError, match="holds 2 data sets") as caught:
        start_recipe(tmp_path / "nuts", tmp_path / "r.yaml")
    assert f"{tmp_path}/nuts/coco: coco, 6 samples" in str(caught.value)
    assert f"{tmp_path}/nuts/labelme: labelme, 6 samples" in str(caught.value)


def test_a_person_may_choose_one_of_two_sets(tmp_path: Path) -> None:
    two_sets(tmp_path / "nuts")

    def choose(what: str, matches: tuple[Match, ...]) -> Match:
        assert what == "data sets"
        return matches[1]

    first, _ = start_recipe(tmp_path / "nuts", tmp_path / "r.yaml", choose=choose)  # type: ignore[arg-type]
    assert (first.match.format, first.name) == ("labelme", "nuts-labelme")


@pytest.mark.parametrize("place", ["instances.json", "data.yaml", "labels.csv", "annotations/instances_val2017.json"])
def test_a_file_stands_for_its_data_set(place: str, tmp_path: Path) -> None:
    write, format = {
        "instances.json": (coco_one_file, "coco"),
        "data.yaml": (ultralytics, "yolo"),
        "labels.csv": (csv_of_labels, "csv"),
        "annotations/instances_val2017.json": (coco_2017, "coco"),
    }[place]
    write(tmp_path / "mine")
    first, recipe = start_recipe(tmp_path / "mine" / place, tmp_path / "r.yaml")
    assert first.match.format == format
    assert load_recipe(recipe).source.root.resolve() == tmp_path / "mine"


def test_where_nothing_fits_the_nearest_three_are_told(tmp_path: Path) -> None:
    unreadable_json(tmp_path / "mine")
    with pytest.raises(SourceError) as caught:
        start_recipe(tmp_path / "mine", tmp_path / "r.yaml")
    head, *lines, end = str(caught.value).split("\n")
    assert head.endswith("The nearest are these, with what stands in the way:")
    assert len(lines) == 3
    assert lines[0].startswith("  coco: ") and "images" in lines[0]
    assert "augforge sources FORMAT" in end
    assert not (tmp_path / "r.yaml").exists()


def test_a_recipe_is_never_overwritten_without_force(tmp_path: Path) -> None:
    coco_one_file(tmp_path / "mine")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("mine")
    with pytest.raises(RecipeError, match="--force"):
        start_recipe(tmp_path / "mine", recipe)
    assert recipe.read_text() == "mine"
    start_recipe(tmp_path / "mine", recipe, force=True)
    assert recipe.read_text() != "mine"


def test_standard_output_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coco_one_file(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    first, _ = start_recipe(Path("mine"), STANDARD_OUTPUT)
    assert "path: mine " in first.text
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_format_may_be_given(tmp_path: Path) -> None:
    write_layout("index-masks", tmp_path / "mine")
    first, _ = start_recipe(tmp_path / "mine", tmp_path / "r.yaml", format="index-mask")
    assert first.match.format == "index-mask"
    with pytest.raises(SourceError, match="Did you mean 'coco'"):
        start_recipe(tmp_path / "mine", tmp_path / "s.yaml", format="cocco")
    with pytest.raises(SourceError, match="fits no format"):
        start_recipe(tmp_path / "mine", tmp_path / "s.yaml", format="coco")


def test_a_name_that_names_no_folder_writes_nothing(tmp_path: Path) -> None:
    coco_one_file(tmp_path / "mine")
    with pytest.raises(RecipeError, match="cannot name a folder"):
        start_recipe(tmp_path / "mine", tmp_path / "r.yaml", name="my/set")
    assert not (tmp_path / "r.yaml").exists()


def test_no_folder_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        start_recipe(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no file"):
        start_recipe(tmp_path / "empty")


def test_a_folder_that_is_built_twice_keeps_its_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coco_one_file(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    recipe = recipe_for(Path("mine"))
    recipe.write_text(recipe.read_text().replace("seed: 0", "seed: 5"))
    assert recipe_for(Path("mine")) == recipe
    assert load_recipe(recipe).seed == 5
    recipe.write_text("name: other\nsource: {format: coco, path: elsewhere}\n")
    (tmp_path / "dry").mkdir()
    for folder in (Path(), tmp_path / "dry"):
        with pytest.raises(RecipeError, match="augforge init mine --name OTHER"):
            recipe_for(Path("mine"), folder)


def test_a_folder_within_a_folder_is_built_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coco_one_file(tmp_path / "mine/export/v3")
    monkeypatch.chdir(tmp_path)
    recipe = recipe_for(Path("mine"))
    recipe.write_text(recipe.read_text().replace("seed: 0", "seed: 5"))
    assert recipe_for(Path("mine")) == recipe
    (tmp_path / "dry").mkdir()
    assert recipe_for(Path("mine"), tmp_path / "dry") == recipe
    assert load_recipe(recipe).seed == 5


@pytest.mark.parametrize("name", ["data.yaml", "mine.json"])
def test_a_recipe_with_a_name_of_data_is_a_recipe(name: str, tmp_path: Path) -> None:
    coco_one_file(tmp_path / "mine")
    (tmp_path / name).write_text('{"name": "other", "source": {"format": "coco", "path": "mine"}}')
    assert not is_data(tmp_path / name)
    assert load_recipe(tmp_path / name).name == "other"
    (tmp_path / name).write_text('{"name": "other", "source": "a camera", "names": ["nut"]}')
    assert is_data(tmp_path / name)


def test_a_recipe_behind_a_link_reads_the_data(tmp_path: Path) -> None:
    coco_one_file(tmp_path / "mine")
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "link").symlink_to("deep/er")
    _, recipe = start_recipe(tmp_path / "mine", tmp_path / "link/r.yaml")
    assert load_recipe(recipe).source.root.resolve() == (tmp_path / "mine").resolve()


@pytest.mark.parametrize(
    ("folder", "name"),
    [("nuts", "nuts"), ("nuts/coco", "nuts-coco"), ("my scans (2)", "my-scans-2"), ("쥐", "dataset"), ("_x", "x")],
)
def test_names_of_datasets_come_from_folders(folder: str, name: str) -> None:
    assert name_for(Path("/somewhere") / folder) == name
