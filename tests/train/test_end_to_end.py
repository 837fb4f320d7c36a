"""The trainer as people use it: train, killed and resumed, evaluate, predict; every step a command."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from toybox import made

from augforge import open_dataset
from augforge.phantom import write_phantom
from augforge.sources.raster.runs import parse_runs, runs_mask
from augforge.train.loop import train
from augforge.train.run import TrainingRun

SIZE = 160
TOLD = {
    "model.architecture": "unet",
    "model.encoder": "tu-test_resnet",
    "model.options": "{decoder_channels: [64, 48, 32, 32, 32]}",
    "loss": "[{name: dice}]",
    "data.size": 96,
    "data.batch_size": 4,
    "data.workers": 0,
    "optimizer.lr": 0.003,
    "precision": "fp32",
    "threads": 1,
    "checkpoint_every": 3,
    "epochs": 16,
    "validate_every": 8,
}
SETTINGS = [part for key, value in TOLD.items() for part in ("--set", f"{key}={value}")]


def started(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "augforge", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def answer(*arguments: str | Path) -> dict[str, Any]:
    """What a command that must succeed prints as JSON."""
    process = started(*arguments, "--json")
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hands")
    write_phantom(folder / "data", persons=6, size=SIZE, seed=3)
    made(folder, folder / "data", ("{op: hflip, keep_input: true}",), split="{val: [ID002]}")
    return folder / "out"


@pytest.fixture(scope="module")
def run(hands: Path) -> Path:
    """A run that was killed in mid-epoch and went on."""
    folder = hands.parent / "run"
    process = started("train", "--shards", hands, "--out", folder, *SETTINGS)
    journal = folder / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 8):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "no step in two minutes"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "summary.json").exists()
    summary = answer("train", "--shards", hands, "--out", folder, *SETTINGS, "--resume")
    assert summary["steps"] == 80
    return folder


def test_a_killed_run_has_the_losses_of_one_that_was_not(run: Path, hands: Path, tmp_path: Path) -> None:
    train([hands], TrainingRun.open(run).config, tmp_path / "whole")
    assert (run / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert (run / "last.safetensors").read_bytes() == (tmp_path / "whole" / "last.safetensors").read_bytes()


def test_evaluate(run: Path, hands: Path) -> None:
    found = answer("evaluate", run, hands, "--worst", "1")
    best = json.loads((run / "summary.json").read_text())["best"]
    assert found["mean_dice"] == pytest.approx(best["mean_dice"], abs=1e-9)
    assert {name: values["dice"] for name, values in found["classes"].items()} == pytest.approx(best["classes"])
    assert found["mean_dice"] > 0.15, "29 classes, of which an untrained network hits next to nothing"
    rows = pl.read_parquet(Path(found["folder"]) / "samples.parquet")
    index = open_dataset(hands).index.filter(pl.col("split") == "val")
    assert sorted(rows["id"]) == sorted(index["id"])
    assert (Path(found["folder"]) / "worst-1.png").exists()


def test_predict_writes_the_contest_file(run: Path, hands: Path, tmp_path: Path) -> None:
    images = hands.parent / "data" / "train" / "DCM" / "ID002"
    answer("predict", run, images, "-o", tmp_path / "p.parquet", "--csv", tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    files = sorted(path.name for path in images.glob("*.png"))
    trained = TrainingRun.open(run)
    assert [row["image_name"] for row in rows] == [name for name in files for _ in trained.outputs]
    assert [row["class"] for row in rows] == [*trained.outputs] * len(files)

    dataset = open_dataset(hands)
    samples = [dataset.by_name(f"ID002/{name.removesuffix('.png')}") for name in files]
    predictions = trained.predictor().predict(samples)
    table_rows = iter(rows)
    for prediction in predictions:
        for layer, threshold in zip(prediction.layers(), trained.thresholds, strict=True):
            runs = parse_runs(next(table_rows)["rle"], SIZE * SIZE, 1, "p.csv")
            assert np.array_equal(runs_mask(runs, SIZE, SIZE, "row"), layer >= threshold)
