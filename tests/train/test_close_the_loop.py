"""Comparison and cross-validation with the bundled trainer itself, as short as can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from toybox import made

from augforge.phantom import write_phantom
from augforge.store.dataset import Dataset
from augforge.train.config import load_config
from augforge.train.run import TrainingRun
from augforge.train.study.compare import compare
from augforge.train.study.crossval import crossval

pytestmark = pytest.mark.slow

CONFIG = load_config(
    None,
    ["data.size=32", "data.batch_size=2", "data.workers=0", "model.architecture=unet", "model.encoder=resnet18"]
    + ["device=cpu", "precision=fp32", "threads=1", "steps=2"],
)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    root = tmp_path_factory.mktemp("loop")
    write_phantom(root / "data", persons=5, size=64, seed=3)
    recipes: dict[str, Any] = {"plain": (), "mosaics": ("{op: mosaic, keep_input: true}",)}
    return [made(root / name, root / "data", steps, name=name)[1] for name, steps in recipes.items()]


def stamps(out: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}


def test_compare_trains_judges_and_does_neither_twice(datasets: list[Dataset], tmp_path: Path) -> None:
    found = compare(datasets, CONFIG, tmp_path, seeds=2)
    runs = [TrainingRun.open(folder) for folder in (tmp_path / "runs").iterdir()]
    assert sorted((run.datasets[0]["name"], run.config.seed) for run in runs) == [
        (name, seed) for name in ("mosaics", "plain") for seed in (0, 1)
    ]
    assert {run.summary()["steps"] for run in runs} == {2}
    assert all(0 <= entry["mean"]["dice"] < 1 for entry in found["datasets"])
    assert (tmp_path / "compare.png").exists()
    before = stamps(tmp_path)
    assert compare(datasets, CONFIG, tmp_path, seeds=2) == found
    assert stamps(tmp_path) == before


def test_crossval_trains_on_the_other_folds(datasets: list[Dataset], tmp_path: Path) -> None:
    found = crossval(datasets[1], CONFIG, tmp_path, folds=2, propose=1)
    assert found["samples"] == pl.read_csv(tmp_path / "label_quality.csv").height == 10
    assert all(fold["train"] < len(datasets[1]) for fold in found["folds"])
    folds = {path.parent for path in tmp_path.rglob("run.json")}
    assert {fold for fold in folds if TrainingRun.open(fold).preparations[0].steps == ()} == folds  # recorded: none
    assert all((fold / "preparation.json").exists() for fold in folds)
    before = stamps(tmp_path)
    assert len(before) >= 4
    assert crossval(datasets[1], CONFIG, tmp_path, folds=2, propose=1) == found
    assert stamps(tmp_path) == before
