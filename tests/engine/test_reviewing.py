"""The first review file: it changes nothing until a person edits it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from toybox import ids, tiny_hands, write_recipe
from typer.testing import CliRunner

from augforge.cli import app as cli
from augforge.engine.builder import build
from augforge.engine.outliers import find_outliers
from augforge.engine.reviewing import write_review
from augforge.errors import AugforgeError
from augforge.recipe.recipe import Verdict, parse_review

LEVELS = (50, 90, 120, 150, 200)


def read_review(path: Path) -> Mapping[str, Verdict]:
    return parse_review(path.read_text(), str(path))


def name(person: int) -> str:
    return f"ID{person:03d}/image{person:013d}"


def filtered(tmp_path: Path, *persons: int, before: str = "") -> Path:
    """A recipe that drops the samples of some persons; person 2 is `val`, where filters only tag."""
    tiny_hands(tmp_path / "data", LEVELS)
    names = ", ".join(f"'{name(person)}'" for person in persons)
    steps = [*([before] if before else []), f'{{op: where, condition: "name NOT IN ({names})"}}']
    return write_recipe(tmp_path / "recipe.yaml", tmp_path / "data", steps, classes="[a, b]")


def test_as_written_it_changes_no_sample(tmp_path: Path) -> None:
    recipe = filtered(tmp_path, 1, 2, 3)
    build(recipe, tmp_path / "plain")
    path = tmp_path / "review.yaml"
    assert write_review(find_outliers(recipe, tmp_path / "out"), path) == 2
    review = read_review(path)
    assert {n: v.verdict for n, v in review.items()} == {name(1): "drop", name(3): "drop"}
    assert all(v.why.startswith("where: condition not fulfilled") for v in review.values())
    assert f'# "{name(2)}"' in path.read_text(), "val is only tagged, so its line is a comment"
    recipe.write_text("review: review.yaml\n" + recipe.read_text())
    build(recipe, tmp_path / "reviewed")
    assert ids(tmp_path / "reviewed") == ids(tmp_path / "plain")


def test_a_source_image_of_which_something_is_left_is_a_comment(tmp_path: Path) -> None:
    recipe = filtered(tmp_path, 1, before="{op: hflip, keep_input: true}")
    path = tmp_path / "review.yaml"
    assert write_review(find_outliers(recipe, tmp_path / "out"), path) == 0
    assert read_review(path) == {} and f'# "{name(1)}"' in path.read_text()


def test_verdicts_of_the_present_review_are_taken_over(tmp_path: Path) -> None:
    recipe = filtered(tmp_path, 1, 3)
    (tmp_path / "mine.yaml").write_text(json.dumps({"samples": {name(1): {"verdict": "keep", "why": 'it\'s: "fine"'}}}))
    recipe.write_text("review: mine.yaml\n" + recipe.read_text())
    write_review(find_outliers(recipe, tmp_path / "out"), tmp_path / "review.yaml")
    found = read_review(tmp_path / "review.yaml")
    assert {n: v.verdict for n, v in found.items()} == {name(1): "keep", name(3): "drop"}
    assert found[name(1)].why == 'it\'s: "fine"'


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    recipe = filtered(tmp_path, 1)
    (tmp_path / "review.yaml").write_text("mine")
    command = ["outliers", str(recipe), str(tmp_path / "out"), "--write-review", str(tmp_path / "review.yaml")]
    result = CliRunner().invoke(cli.app, command)
    assert isinstance(result.exception, AugforgeError) and "Choose another name" in str(result.exception)
    assert (tmp_path / "review.yaml").read_text() == "mine"
    with pytest.raises(AugforgeError):
        write_review(find_outliers(recipe, tmp_path / "out"), tmp_path / "review.yaml")
