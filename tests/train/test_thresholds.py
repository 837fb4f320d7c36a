"""Tuned thresholds are the best ones of the grid, by trying each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from oracles import oracle_run, spec, write_shapes
from rich.console import Console

from augforge import bitmask
from augforge.engine.builder import build
from augforge.errors import TrainError
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.evaluation.scores import Truth
from augforge.train.evaluation.totals import Scores
from augforge.train.prediction.thresholds import GRID, ThresholdTuner, render_thresholds, tune_thresholds

CLASSES = ("one", "two", "absent", "unlabelled")


def case(seed: int) -> tuple[np.ndarray, Truth]:
    """Probabilities (4, H, W), some of them exactly on the grid, and what is true; the second class comes seldom."""
    rng = np.random.default_rng(seed)
    masks = rng.random((4, 30, 40)) < np.array([0.3, 0.1 * (seed % 2), 0, 0.5])[:, None, None]
    layers = np.clip(masks * 0.3 + rng.uniform(0, 0.7, masks.shape), 0, 1).astype(np.float32)
    layers[:, :, ::3] = np.round(layers[:, :, ::3] / 0.05) * np.float32(0.05)
    ignore = rng.random((30, 40)) < 0.2 if seed % 3 else None
    known = np.array([True, seed != 2, True, False])
    return layers, Truth(bitmask.from_masks(list(masks)), known, ignore)


def tried(threshold: float, seeds: range) -> list[float | None]:
    """Mean Dice of each class at a threshold, by masks and `Scores`."""
    scores = Scores(CLASSES)
    for layers, truth in map(case, seeds):
        scores.add(bitmask.from_masks([layer >= threshold for layer in layers]), truth)
    return [scores.score().classes[name]["dice"] for name in CLASSES]


def test_every_dice_is_that_of_the_masks() -> None:
    seeds, tuning = range(6), ThresholdTuner(CLASSES, GRID)
    for layers, truth in map(case, seeds):
        tuning.add(iter(layers), truth)
    table = {threshold: tried(threshold, seeds) for threshold in GRID}
    for threshold in GRID:
        befores = [entry["before"] for entry in tuning.classes(threshold)]
        assert befores == pytest.approx(table[threshold])
    for c, entry in enumerate(tuning.classes(0.5)):
        if CLASSES[c] in ("absent", "unlabelled"):
            assert entry["threshold"] == 0.5
            assert entry["positive"] == 0
            continue
        values = {threshold: row[c] for threshold, row in table.items()}
        assert entry["after"] == pytest.approx(max(value for value in values.values() if value is not None))
        assert values[entry["threshold"]] == pytest.approx(entry["after"])
        assert entry["after"] >= entry["before"]
    assert [entry["known"] for entry in tuning.classes(0.5)] == [6, 5, 6, 0]


def test_of_equal_thresholds_the_one_next_to_the_default_counts() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:5, 2:5] = True
    layer = np.where(mask, 0.82, 0.11).astype(np.float32)
    for default, expected in ((0.5, 0.5), (0.05, 0.15), (0.9, 0.8)):
        tuning = ThresholdTuner(("one",), [*GRID, default])
        tuning.add([layer], Truth(bitmask.from_masks([mask]), np.array([True])))
        [entry] = tuning.classes(default)
        assert entry["threshold"] == expected
        assert entry["after"] == 1


def test_thresholds_beyond_0_to_1_are_refused() -> None:
    for grid in ([0, 0.5], [0.5, 1.0]):
        with pytest.raises(TrainError, match="expected above 0 and below 1"):
            ThresholdTuner(("one",), grid)


# ---- a run ----


def built(tmp_path: Path) -> Dataset:
    data = write_shapes(tmp_path / "data", [(64, 64)] * 3)
    for path in (data / "masks/blue").rglob("*.png"):
        path.write_bytes((data / f"masks/green/{path.parent.name}/{path.name}").read_bytes())
    source = f"source: {{format: mask-folder, path: {str(data)!r}, classes: [red, green, blue]}}"
    (tmp_path / "recipe.yaml").write_text(f"name: shapes\nsplit: {{val: [P0, P1]}}\n{source}\n")
    build(tmp_path / "recipe.yaml", tmp_path / "dataset")
    return open_dataset(tmp_path / "dataset")


def test_a_runs_thresholds_are_written(tmp_path: Path) -> None:
    run = oracle_run(tmp_path / "run", spec(64, 64, 3))
    run.folder.mkdir()
    found = tune_thresholds(run, built(tmp_path), batch_size=1)
    assert json.loads((run.folder / "thresholds.json").read_text()) == found
    assert list(found["thresholds"]) == ["red", "green", "blue"]
    assert found["images"] == 2
    red, green, blue = found["classes"]
    assert (red["threshold"], red["before"], red["after"]) == (0.5, 1, 1)
    assert green["after"] == 1
    assert blue["before"] < 0.5  # its masks are another class's: where it is, nothing answers
    assert found["mean_dice"]["after"] >= found["mean_dice"]["before"]
    assert [*tmp_path.glob("run/.*")] == []


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    run = oracle_run(tmp_path / "run", spec(64, 64, 3))
    with pytest.raises(Exception, match="no split 'test'"):
        tune_thresholds(run, built(tmp_path), "test")


def test_people_are_told_what_was_not_tuned(tmp_path: Path) -> None:
    tuning = ThresholdTuner(CLASSES, GRID)
    for layers, truth in map(case, range(4)):
        tuning.add(iter(layers), truth)
    classes = tuning.classes(0.5)
    found = {
        "classes": classes,
        "split": "val",
        "images": 4,
        "run": "runs/a",
        "mean_dice": {"before": 0.4, "after": 0.5},
    }
    with (tmp_path / "console").open("w") as stream:
        render_thresholds(found, Console(width=100, file=stream))
    text = (tmp_path / "console").read_text()
    assert "In no sample of val, so not tuned: absent, unlabelled" in text
    assert "mean Dice 0.4000, now 0.5000" in text
