"""Conditions of steps that choose by what the pixels hold, without a filter before them, and weights of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from toybox import ids, put_hand, write_recipe
from toybox import made as built

from augforge.engine.builder import build
from augforge.errors import PlanError
from augforge.store.dataset import open_dataset

NAME = "ID00{0}/image000000000000{0}".format


def put_persons(data: Path) -> None:
    """Persons 2 and 5 hold a and rare, the others a and b: put_hand leaves every third class out."""
    for person in range(1, 7):
        names = ("a", "rare") if person in (2, 5) else ("a", "b", "rare")
        put_hand(data, person, np.full((40, 40), 20 * person, np.uint8), names)


CLASSES: dict[str, Any] = {"classes": "[a, b, rare]", "split": "{}"}


@pytest.mark.parametrize("before", [[], ["{op: resize, size: 20}"]])
@pytest.mark.parametrize("condition", ["area.rare > 0", "area.b = 0", "area.rare > 0 and channels = 1"])
def test_where_of_a_step_knows_areas(tmp_path: Path, before: list[str], condition: str) -> None:
    put_persons(tmp_path / "data")
    step = f'{{op: hflip, keep_input: true, where: "{condition}"}}'
    summary, _ = built(tmp_path, tmp_path / "data", [*before, step], **CLASSES)
    flipped = {name for name in ids(tmp_path / "out") if name.endswith("~hflip")}
    assert flipped == {f"{NAME(2)}~hflip", f"{NAME(5)}~hflip"}
    again = build(tmp_path / "recipe.yaml", tmp_path / "out")
    assert again.version == summary.version


def test_a_dry_run_says_at_most_before_areas_are_known(tmp_path: Path) -> None:
    put_persons(tmp_path / "data")
    recipe = write_recipe(
        tmp_path / "r.yaml", tmp_path / "data", ['{op: hflip, keep_input: true, where: "area.rare > 0"}'], **CLASSES
    )
    dry = build(recipe, tmp_path / "out", dry_run=True)
    assert not dry.exact and dry.samples == 12
    build(recipe, tmp_path / "out")
    dry = build(recipe, tmp_path / "out", dry_run=True)
    assert dry.exact and dry.samples == 8


def test_an_unknown_class_in_where_names_the_nearest(tmp_path: Path) -> None:
    put_persons(tmp_path / "data")
    with pytest.raises(PlanError, match=r"recipe.yaml:.*the data has no class 'raer'. Did you mean 'rare'"):
        built(tmp_path, tmp_path / "data", ['{op: hflip, where: "area.raer > 0"}'], **CLASSES)


@pytest.mark.parametrize(("fewer", "samples"), [("repeat", 3), ("skip", 3)])
@pytest.mark.parametrize("op", ["mosaic", "ricap"])
def test_fewer_images_than_tiles(tmp_path: Path, op: str, fewer: str, samples: int) -> None:
    for person in range(1, 4):
        put_hand(tmp_path / "data", person, np.full((40, 40), 20 * person, np.uint8), ("a", "b"))
    with pytest.raises(PlanError, match="joins 4 samples, but split 'train' holds 3"):
        built(tmp_path, tmp_path / "data", [f"{{op: {op}}}"], **CLASSES)
    summary, _ = built(tmp_path, tmp_path / "data", [f"{{op: {op}, fewer: {fewer}}}"], out=fewer, **CLASSES)
    made = [name for name in ids(tmp_path / fewer) if name.startswith(op)]
    assert summary.samples == samples and len(made) == (3 if fewer == "repeat" else 0)
    warned = [text for text in summary.warnings if "makes nothing for 3 of 3 samples" in text]
    assert len(warned) == (fewer == "skip")


def put_pictures(root: Path) -> Path:
    """Six pictures of cats and two of dogs, in folders; no masks."""
    for number in range(8):
        path = root / ("cat" if number < 6 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((16, 16), 20 + 20 * number, np.uint8))
    recipe = root.parent / "labels.yaml"
    recipe.write_text(
        f"name: labels\nseed: 1\nsource: {{format: image-folder, path: {root}}}\nsplit: {{}}\nsteps:\n",
        encoding="utf-8",
    )
    return recipe


def built_labels(tmp_path: Path, step: str) -> set[str]:
    recipe = put_pictures(tmp_path / "pictures")
    recipe.write_text(f"{recipe.read_text(encoding='utf-8')}  - {step}\n", encoding="utf-8")
    build(recipe, tmp_path / "out")
    return {*open_dataset(tmp_path / "out").index["name"].to_list()}


def test_where_knows_labels(tmp_path: Path) -> None:
    names = built_labels(tmp_path, '{op: hflip, keep_input: true, where: "label.dog >= 0.5"}')
    assert {name for name in names if "hflip" in name} == {"dog/6~hflip", "dog/7~hflip"} and len(names) == 10


def test_a_filter_knows_labels(tmp_path: Path) -> None:
    assert built_labels(tmp_path, '{op: where, condition: "label.dog = 1"}') == {"dog/6", "dog/7"}


@pytest.mark.parametrize("weights", ["rare", "{dog: 4}"])
def test_balance_knows_labels(tmp_path: Path, weights: str) -> None:
    """Dogs are 2 of 8: their weight is 4, and its root says how often they come."""
    names = built_labels(tmp_path, f"{{op: balance, weights: {weights}}}")
    assert {name for name in names if "balance" in name} == {"dog/6~balance@2", "dog/7~balance@2"} and len(names) == 10


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{op: balance, weights: {dgo: 4}}", "no class 'dgo'"),
        ("{op: balance, weights: small}", "'small' compares areas of classes, and the data has labels alone"),
        ('{op: hflip, where: "label.dgo > 0"}', "the data has no label 'dgo'. Did you mean 'dog'"),
    ],
)
def test_mistakes_with_labels_are_named(tmp_path: Path, step: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        built_labels(tmp_path, step)
