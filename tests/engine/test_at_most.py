"""What a dry run foretells is never exceeded, and what it calls exact is what is made; over recipes made at random."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from makedata import put_text
from toybox import write_recipe

from augforge.engine.builder import build
from augforge.engine.summary import Summary
from augforge.phantom import write_phantom

SIZE = 128


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hands")
    write_phantom(root, persons=4, size=SIZE, seed=7)
    return root


def totals(summary: Summary) -> Counter[tuple[str, str]]:
    """How many each step makes or takes over, in each split."""
    found: Counter[tuple[str, str]] = Counter()
    for step in summary.steps:
        for counts in (step["made"], step["reused"]):
            found.update({(step["op"], split): count for split, count in counts.items()})
    return found


def check(recipe: Path, out: Path) -> Summary:
    """A dry run before the build, and one after it, when all is known."""
    dry = build(recipe, out, dry_run=True)
    real = build(recipe, out)
    again = build(recipe, out, dry_run=True)
    foretold, made = totals(dry), totals(real)
    assert real.samples <= dry.samples, f"{dry.samples} foretold, {real.samples} made"
    assert all(made[key] <= foretold[key] for key in made), (foretold, made)
    assert all(real.splits[split] <= dry.splits.get(split, 0) for split in real.splits), (dry.splits, real.splits)
    if dry.exact:
        assert (dry.samples, dry.splits, foretold) == (real.samples, real.splits, made)
    assert again.exact and (again.samples, again.splits, totals(again)) == (real.samples, real.splits, made)
    return dry


def steps_at_random(rng: random.Random) -> list[dict[str, Any]]:
    """One to four steps that multiply, drop, keep and chance; every kind that pixels decide."""
    chance = {"p": rng.choice([0.3, 0.5, 1]), "keep_input": rng.random() < 0.4, "copies": rng.choice([1, 2])}
    kinds: list[dict[str, Any]] = [
        {"op": "sliding_window", "size": 64, "min_pixels": rng.choice([0, 200, 900])},
        {"op": "rotate_normalise", "axis": "image", "min_angle": rng.choice([1, 20])},
        {"op": "hflip", **chance},
        {"op": "vflip", **chance},
        {"op": "rotate", "angle_range": [-20, 20], **chance},
        {"op": "mosaic", **chance},
        {"op": "balance", "weights": {"finger-1": 4}, "others": 0.5},
        {"op": "empty"},
        {"op": "where", "condition": 'area."finger-1" > 90'},
        {"op": "crop_nonempty", "size": 48, "count": 2},
        {"op": "hflip", "where": 'empty.area."finger-1" > 40', "keep_input": True},
        {"op": "near_duplicates", "within": "all", "across_splits": "move", "distance": 40},
    ]
    chosen = [rng.choice(kinds) for _ in range(rng.randint(1, 4))]
    # What a filter measured is known as long as no step changes the pixels.
    measured = [step for step in chosen if "empty.area" in step.get("where", "")][:1]
    return [{"op": "empty"}, *measured, *(step for step in chosen if step not in measured)] if measured else chosen


@pytest.mark.parametrize("seed", range(5))
def test_at_most_is_never_exceeded(hands: Path, tmp_path: Path, seed: int) -> None:
    steps = steps_at_random(random.Random(seed))
    recipe = write_recipe(tmp_path / "recipe.yaml", hands, map(json.dumps, steps), seed=seed)
    check(recipe, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 220))
def test_at_most_is_never_exceeded_in_many(hands: Path, tmp_path: Path, seed: int) -> None:
    test_at_most_is_never_exceeded(hands, tmp_path, seed)


@pytest.mark.parametrize(
    "steps",
    [
        # Chance hashes names, and those of windows are known only once they are made.
        ["{op: sliding_window, size: 64, min_pixels: 300}", "{op: hflip, p: 0.5, keep_input: true}"],
        ["{op: sliding_window, size: 64}", "{op: hflip, p: 0.5, keep_input: true}"],
        ["{op: rotate_normalise}", "{op: hflip, p: 0.5, copies: 2}"],
        ["{op: sliding_window, size: 64, min_pixels: 300}", "{op: mosaic, p: 0.5, keep_input: true}"],
        # Twins of validation move to train, and are mirrored there.
        ["{op: near_duplicates, within: all, across_splits: move, distance: 64}", "{op: hflip, keep_input: true}"],
    ],
)
def test_what_chance_does_to_names_that_nobody_knows_yet(hands: Path, tmp_path: Path, steps: list[str]) -> None:
    for seed in range(2):
        dry = check(write_recipe(tmp_path / f"{seed}.yaml", hands, steps, seed=seed), tmp_path / f"out{seed}")
        assert not dry.exact


def test_what_a_step_made_counts_though_a_later_step_replaced_it(hands: Path, tmp_path: Path) -> None:
    steps = ["{op: hflip, keep_input: true}", "{op: rotate, angle_range: [-9, 9], on: train}", "{op: resize, size: 64}"]
    recipe = write_recipe(tmp_path / "recipe.yaml", hands, steps)
    for dry in (True, False):
        summary = build(recipe, tmp_path / "out", dry_run=dry)
        assert [step["made"] for step in summary.steps] == [{"train": 6}, {"train": 12}, {"train": 12, "val": 2}]
    again = build(recipe, tmp_path / "out")
    assert [step["reused"] for step in again.steps] == [step["made"] for step in summary.steps]


def test_a_ledger_without_such_counts_still_says_what_the_last_steps_made(hands: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", hands, ["{op: hflip, keep_input: true}"])
    build(recipe, tmp_path / "out")
    put_text(tmp_path / "out/work/nothing", "")
    shutil.rmtree(tmp_path / "out/work")
    again = build(recipe, tmp_path / "out")
    assert [step["reused"] for step in again.steps] == [{"train": 6}]
