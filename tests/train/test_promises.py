"""What a run promises beyond its steps: whom it learns from and is judged by, and how it stops and begins."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from tinyrun import config
from toybox import made, with_index, write_recipe

from augforge.engine.builder import build
from augforge.errors import TrainError
from augforge.phantom import write_phantom
from augforge.store.dataset import open_dataset
from augforge.train.checkpoint import load_checkpoint
from augforge.train.config import load_config
from augforge.train.journal import read_journal
from augforge.train.loop import train
from augforge.train.mirrored import exchange_finder
from augforge.train.prediction.inputs import list_inputs
from augforge.train.run import TrainingRun


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("promises")
    write_phantom(folder / "data", persons=4, size=96, seed=3)
    return folder / "data"


@pytest.fixture(scope="module")
def hands(data: Path) -> Path:
    made(data.parent, data, split="{val: [ID002]}")
    return data.parent / "out"


class Asks:
    """Progress that sends this process a signal at a step."""

    def __init__(self, step: int, number: int) -> None:
        self.left, self.number = step, number

    def start(self, label: str, total: int) -> None:
        pass

    def advance(self, count: int) -> None:
        self.left -= count
        if self.left == 0 and count:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_stop_keeps_the_step_it_is_at(hands: Path, tmp_path: Path, number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train([hands], config(), tmp_path / "run", progress=Asks(2, number))
    assert signal.getsignal(number) == before
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.state.step == 2, "in mid-epoch, where no checkpoint was due"
    train([hands], config(), tmp_path / "run", resume=True)
    train([hands], config(), tmp_path / "whole")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_what_cannot_be_built_leaves_no_run_behind(hands: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="Did you mean"):
        train([hands], config("model.encoder=tu-test_resnett"), tmp_path / "run")
    train([hands], config("steps=1"), tmp_path / "run")


def test_a_folder_of_other_files_is_left_alone(hands: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(TrainError, match="holds other files"):
        train([hands], config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_resuming_nothing_is_reported(hands: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    train([hands], config("steps=1"), tmp_path / "run", resume=True, log=lines.append)
    assert "holds no run to resume: a new one begins" in lines[0]


def test_what_cannot_change_results_may_change(hands: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train([hands], config(), tmp_path / "run", progress=Asks(1, signal.SIGINT))
    moved = tmp_path / "moved"
    moved.symlink_to(hands)
    assert train([moved], config("checkpoint_every=5"), tmp_path / "run", resume=True)["steps"] == 6


def test_another_number_of_processes_is_refused(hands: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train([hands], config(), tmp_path / "run", progress=Asks(1, signal.SIGINT))
    [checkpoint] = (tmp_path / "run" / "checkpoints").iterdir()
    state = torch.load(checkpoint / "state.pt", weights_only=True)
    torch.save({**state, "processes": 4}, checkpoint / "state.pt")
    with pytest.raises(TrainError, match="was trained by 4 processes and cannot go on with 1"):
        train([hands], config(), tmp_path / "run", resume=True)


def test_a_dataset_behind_a_url_is_trained_on(hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))
    url = hands.as_uri()
    assert train([url], config("steps=1"), tmp_path / "run")["datasets"][0]["path"] == url


def labelled(folder: Path) -> Path:
    """A dataset of labels alone."""
    rng = np.random.default_rng(0)
    for number in range(8):
        path = folder / "data" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 40)).astype(np.uint8)).save(path)
    (folder / "recipe.yaml").write_text("name: x\nsource: {format: image-folder, path: data}\nsplit: {val: 0.3}\n")
    build(folder / "recipe.yaml", folder / "out")
    return folder / "out"


def test_samples_without_label_are_left_out(tmp_path: Path) -> None:
    dataset = open_dataset(labelled(tmp_path))
    index = dataset.index.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(None).otherwise(pl.col("label")).alias("label")
    )
    part = with_index(dataset, index)
    overrides = ("model.encoder=tu-test_resnet", "data.size=64", "data.workers=0", "data.batch_size=8", "steps=2")
    train([dataset], load_config(None, overrides), tmp_path / "run", train_and_val=(part, dataset))
    losses = [row["loss"] for row in read_journal(tmp_path / "run") if row["kind"] == "step"]
    assert np.isfinite(losses).all()


def test_a_validation_split_that_knows_nothing_is_refused(hands: Path, tmp_path: Path) -> None:
    dataset = open_dataset(hands)
    unknown = pl.struct([pl.lit(None, pl.Int64).alias(name) for name in dataset.classes]).alias("area")
    val = with_index(dataset, dataset.split("val").index.with_columns(unknown))
    with pytest.raises(TrainError, match="no labelled split 'val'"):
        train([dataset], config("steps=1"), tmp_path / "run", train_and_val=(dataset.split("train"), val))


def test_groups_on_both_sides_of_two_datasets_are_reported(data: Path, hands: Path, tmp_path: Path) -> None:
    made(tmp_path, data, split="{val: [ID003]}")
    lines: list[str] = []
    train([hands, tmp_path / "out"], config("steps=1"), tmp_path / "run", log=lines.append)
    assert "2 groups are in training and in validation, such as ID002" in lines[0]


def test_a_dataset_without_validation_split_may_stand_beside_one_with(data: Path, hands: Path, tmp_path: Path) -> None:
    made(tmp_path, data, split="{}")
    summary: dict[str, Any] = train([hands, tmp_path / "out"], config("steps=1"), tmp_path / "run")
    assert summary["best"]["mean_dice"] is not None


def test_mirrored_samples_are_turned_back_with_their_classes(data: Path, tmp_path: Path) -> None:
    mirror = "{op: hflip, on: [train, val], keep_input: true, swap: [[finger-1, finger-2]]}"
    made(tmp_path, data, (mirror,), split="{val: [ID002]}")
    found = list_inputs(open_dataset(tmp_path / "out"), "val")
    parts = [[part.exchange for part in target.parts] for target in found.targets]
    assert parts and all(sorted(each) == [(), (("finger-1", "finger-2"),)] for each in parts)


def test_weights_can_be_read_by_others(hands: Path, tmp_path: Path) -> None:
    train([hands], config("steps=1"), tmp_path / "run")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "run").glob("*.safetensors")}
    assert set(modes.values()) == {(tmp_path / "run" / "run.json").stat().st_mode & 0o777}
    assert (
        json.loads((tmp_path / "run" / "run.json").read_text())["task"] == TrainingRun.open(tmp_path / "run").spec.task
    )


def test_an_override_of_the_build_counts_as_its_recipe(data: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", data, ("{op: hflip}",))
    plain = open_dataset(build(recipe, tmp_path / "plain").folder)
    swap = ["steps.0.swap=[[finger-1, finger-2]]"]
    swapped = open_dataset(build(recipe, tmp_path / "swapped", overrides=swap).folder)
    lineage = next(each for each in plain.index["lineage"] if each["roots"][0]["matrix"][0][0] < 0)
    assert exchange_finder(plain)(lineage) == ()
    assert exchange_finder(swapped)(lineage) == (("finger-1", "finger-2"),)
