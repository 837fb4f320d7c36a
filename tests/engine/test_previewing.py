"""`augforge preview`: the steps do to the samples that are shown what a build does to them; nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from toybox import write_recipe
from typer.testing import CliRunner

from augforge.cli import app as cli
from augforge.engine.builder import build
from augforge.engine.previewing import preview_recipe
from augforge.errors import PlanError
from augforge.phantom import write_phantom
from augforge.report.preview import preview_sheet
from augforge.store.dataset import open_dataset

STEPS = (
    "{op: where, condition: width > 10}",
    "{op: resize, size: 96}",
    "{op: hflip, keep_input: true}",
    "{op: rotate, where: \"name LIKE '%hflip'\", keep_input: true, copies: 2}",
    "{op: sliding_window, size: 64, stride: 32}",
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path / "recipe.yaml", hands(tmp_path), STEPS)


def hands(tmp_path: Path) -> Path:
    write_phantom(tmp_path / "hands", persons=4, size=128, seed=3)
    return tmp_path / "hands"


def test_what_is_shown_is_what_a_build_makes(recipe: Path, tmp_path: Path) -> None:
    """Without partners and fits, each sample depends on itself alone."""
    found = preview_recipe(recipe, samples=2)
    build(recipe, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    last = found.steps[-1]
    compared = 0
    for shown in last.shown:
        assert shown.made == 4
        for sample in shown.after:
            stored = dataset.by_name(sample.name)
            np.testing.assert_array_equal(sample.image, stored.image)
            np.testing.assert_array_equal(sample.masks, stored.masks)
            compared += 1
    assert compared == 8


def test_each_step_gets_what_the_one_before_made(recipe: Path) -> None:
    found = preview_recipe(recipe, samples=2)
    labels = [step.step.bound.label for step in found.steps]
    assert labels == ["where", "resize", "hflip", "rotate", "sliding_window"]
    assert {shown.note for shown in found.steps[0].shown} == {"kept"}
    assert {(sample.width, sample.height) for shown in found.steps[1].shown for sample in shown.after} == {(96, 96)}
    for shown in found.steps[2].shown:
        np.testing.assert_array_equal(shown.after[0].image, shown.before[0].image[:, ::-1])
    assert all(shown.before[0].name.endswith("~hflip") for shown in found.steps[3].shown)
    assert found.steps[3].shown[0].note.startswith("angle_deg ")


def test_one_step_alone_named_samples_and_overrides(recipe: Path) -> None:
    names = [sample.name for sample in preview_recipe(recipe, samples=3).sources]
    found = preview_recipe(recipe, names=names[2:], step=3, overrides=["steps.2={op: vflip}"])
    (step,) = found.steps
    assert (step.step.index, step.step.bound.name) == (3, "vflip")
    assert [shown.before[0].name for shown in step.shown] == names[2:]
    with pytest.raises(PlanError, match=r"--step 9: .*expected 1 to 5"):
        preview_recipe(recipe, step=9)
    with pytest.raises(PlanError, match="Did you mean"):
        preview_recipe(recipe, names=[names[0] + "x"])


def test_another_seed_shows_other_samples(recipe: Path) -> None:
    chosen = {tuple(s.name for s in preview_recipe(recipe, samples=1, seed=seed, step=1).sources) for seed in range(8)}
    assert len(chosen) > 1


@pytest.mark.parametrize(
    "steps",
    [
        ["{op: where, condition: width > 9999}", "{op: hflip}"],
        ["{op: mosaic, keep_input: true}"],
        ["{op: class_area}"],
        ["{op: rotate, on: [test]}"],
        [],
    ],
)
def test_sheets_of_all_kinds_of_steps(steps: list[str], tmp_path: Path) -> None:
    found = preview_recipe(write_recipe(tmp_path / "recipe.yaml", hands(tmp_path), steps), samples=2)
    sheet = preview_sheet(found)
    assert sheet.dtype == np.uint8 and sheet.ndim == 3 and min(sheet.shape[:2]) > 300
    if "9999" in str(steps):
        assert [shown.after for shown in found.steps[0].shown] == [(), ()]
        assert found.steps[1].shown, "what follows is shown although all was dropped"
    if "test" in str(steps):
        assert found.steps[0].note == "acts on none of these samples"
    if "mosaic" in str(steps):
        assert len(found.steps[0].shown[0].before) == 4


def test_the_command_writes_the_picture_alone(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(
        cli.app, ["preview", str(recipe), "-o", "p.png", "--json", "--samples", "1"], catch_exceptions=False
    )
    found = json.loads(result.stdout)
    assert found["picture"] == "p.png"
    assert [step["op"] for step in found["steps"]] == ["where", "resize", "hflip", "rotate", "sliding_window"]
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "p.png"])
