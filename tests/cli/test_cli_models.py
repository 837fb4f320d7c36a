"""Commands around models: options reach the functions, and wrong ones are reported."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from tinyrun import NETWORK, settings
from toybox import made
from typer.testing import CliRunner

from augforge.cli import app as cli
from augforge.cli import models as cli_models
from augforge.cli.options import class_weights_of, pairs_of, window_of
from augforge.errors import MissingExtra, TrainError
from augforge.phantom import write_phantom
from augforge.train.config import TrainConfig
from augforge.train.prediction.inference import Window

SETTINGS = settings(*NETWORK, "data.batch_size=4")


def parsed(*arguments: str | Path) -> dict[str, Any]:
    """What a command that must succeed prints as JSON; without --json it must print something for people too."""
    texts = [str(argument) for argument in arguments]
    result = CliRunner().invoke(cli.app, [*texts, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def printed(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets of the same 4 persons, and a run on the first."""
    folder = tmp_path_factory.mktemp("models")
    write_phantom(folder / "data", persons=4, size=96, seed=3)
    made(folder, folder / "data", split="{val: [ID002]}", name="plain", out="plain")
    made(
        folder, folder / "data", ("{op: hflip, keep_input: true}",), split="{val: [ID002]}", name="mirror", out="mirror"
    )
    parsed("train", "--shards", folder / "plain", "--out", folder / "run", *SETTINGS, "--set", "steps=2")
    return folder


def test_train_prints_its_result_and_what_to_do_next(folder: Path) -> None:
    out = printed(
        "train", "--shards", folder / "plain", "--out", folder / "run", *SETTINGS, "--set", "steps=2", "--resume"
    )
    assert "mean Dice" in out
    assert "augforge evaluate" in out


def test_one_option_takes_several_datasets(folder: Path, tmp_path: Path) -> None:
    command: list[str | Path] = ["--out", tmp_path / "run", *SETTINGS, "--set", "steps=1"]
    summary = parsed("train", "--shards", folder / "plain", folder / "mirror", *command)
    assert [data["name"] for data in summary["datasets"]] == ["plain", "mirror"]


def test_the_configuration_can_be_printed_and_read_back(folder: Path, tmp_path: Path) -> None:
    text = printed("train", "--shards", folder / "plain", "--set", "optimizer.lr=0.5", "--show-config")
    (tmp_path / "train.yaml").write_text(text)
    assert printed("train", "--shards", folder / "plain", "--config", tmp_path / "train.yaml", "--show-config") == text
    assert "lr: 0.5" in text
    assert yaml.safe_load(text) == TrainConfig.model_validate({"optimizer": {"lr": 0.5}}).model_dump(mode="json")
    assert "# each sample to mean 0 and deviation 1" in text and "[sample | encoder | unit]" in text


def test_a_wrong_key_names_its_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("epochs: 3\nmodel:\n  encodr: resnet18\n")
    with pytest.raises(TrainError, match=r"train\.yaml:3: model\.encodr: unknown key\. Did you mean 'encoder'"):
        printed("train", "--shards", folder / "plain", "--config", tmp_path / "train.yaml")


def test_evaluate(folder: Path, tmp_path: Path) -> None:
    command = ("evaluate", folder / "run", folder / "plain", "--worst", "1", "--out", tmp_path / "out")
    found = parsed(*command, "--split", "train", "--tolerance", "3")
    assert found["samples"] == 6
    assert (tmp_path / "out" / "worst-1.png").exists()
    assert "Radius" in printed(*command)


def test_tune_thresholds(folder: Path, tmp_path: Path) -> None:
    printed("train", "--shards", folder / "plain", "--out", tmp_path / "run", *SETTINGS, "--set", "steps=1")
    assert parsed("tune-thresholds", tmp_path / "run", folder / "plain")["classes"]
    assert (tmp_path / "run" / "thresholds.json").exists()


def test_predict_and_ensemble(folder: Path, tmp_path: Path) -> None:
    images = folder / "data" / "train" / "DCM"
    command = ("predict", folder / "run", images, "--probabilities")
    assert parsed(*command, "-o", tmp_path / "a.parquet", "--overlays", tmp_path / "pictures")["images"] == 8
    assert len([*(tmp_path / "pictures").rglob("*.png")]) == 8
    windows = ("--window", "64", "--overlap", "0.5", "--scale", "fit", "--batch-size", "2")
    parsed(*command, "-o", tmp_path / "b.parquet", *windows, "--image-name", "path", "--csv", tmp_path / "b.csv")
    assert "ID001/" in (tmp_path / "b.csv").read_text()
    a, b = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in "ab")
    assert a["name"].to_list() == b["name"].to_list()
    assert a["rle"].to_list() != b["rle"].to_list()
    for method in ("vote", "mean"):
        tables = (tmp_path / "a.parquet", tmp_path / "b.parquet")
        found = parsed(
            "ensemble", *tables, "-o", tmp_path / "e.parquet", "--method", method, "--csv", tmp_path / "e.csv"
        )
        assert found["images"] == 8


def test_crossval(folder: Path, tmp_path: Path) -> None:
    command: tuple[str | Path, ...] = ("crossval", folder / "plain", "--folds", "2", *SETTINGS, "--set", "steps=1")
    parsed(*command, "--out", tmp_path / "cv", "--propose", "2")
    assert pl.read_csv(tmp_path / "cv" / "label_quality.csv").height == 8
    assert (tmp_path / "cv" / "review.yaml").read_text().count("verdict: drop") == 2


def test_compare(folder: Path, tmp_path: Path) -> None:
    command: list[str | Path] = ["compare", folder / "plain", folder / "mirror", "--seeds", "1", "--budget", "1"]
    command += SETTINGS
    found = parsed(*command, "--out", tmp_path / "study")
    assert [entry["label"] for entry in found["datasets"]] == ["plain", "mirror"]
    assert (tmp_path / "study" / "compare.png").exists()
    assert "mirror to plain" in printed(*command, "--out", tmp_path / "study")


def test_commands_name_the_extra_that_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_models, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    with pytest.raises(MissingExtra, match=r"torch.*augforge\[train\]"):
        printed("evaluate", folder / "run", folder / "plain")


def test_pairs_of_classes() -> None:
    assert pairs_of(None) is None
    assert pairs_of(["none"]) == []
    assert pairs_of(["a:b", "c:d"]) == [("a", "b"), ("c", "d")]
    with pytest.raises(TrainError, match="--swap a: expected two classes"):
        pairs_of(["a"])


def test_windows() -> None:
    assert window_of(None, 0.5, None, crop=False) is None
    assert window_of(64, 0.5, None, crop=False) == Window((64, 64), 0.5, 1.0)
    assert window_of(64, 0.5, None, crop=True) == Window((64, 64), 0.5, None)
    assert window_of(64, 0.5, "0.25", crop=True) == Window((64, 64), 0.5, 0.25)
    with pytest.raises(TrainError, match="--scale big: expected a factor"):
        window_of(64, 0.5, "big", crop=True)


# ---- several networks, and tables over runs -------------------------------------------------------------------------


def failed(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code
    return f"{result.output} {result.exception}".replace("\n", " ")


def test_the_models_of_all_folds_predict_images(folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    parsed("crossval", folder / "plain", "--folds", "2", "-o", study, *SETTINGS, "--set", "steps=1")
    found = parsed("predict", "--crossval", study, folder / "data/train/DCM", "-o", tmp_path / "p.parquet")
    assert (found["run"], found["images"]) == (str(study), 8)
    assert "--crossval DIR stands instead of RUN" in failed("predict", "--crossval", study, folder / "run", "images")
    assert "it is required, but was not given" in failed("predict", folder / "run")


def test_weights_by_name(folder: Path, tmp_path: Path) -> None:
    place = folder / "data/train/DCM"
    parsed("predict", folder / "run", place, "-o", tmp_path / "p.parquet", "--weights", "last")
    assert "expected best, last or snapshots" in failed("predict", folder / "run", place, "--weights", "lst")
    assert "has no snapshots" in failed("evaluate", folder / "run", folder / "plain", "--weights", "snapshots")


def test_runs_are_listed(folder: Path) -> None:
    [found] = json.loads(
        CliRunner().invoke(cli.app, ["runs", str(folder / "run"), "--json"], catch_exceptions=False).stdout
    )
    assert (found["run"], found["steps"], found["finished"]) == (str(folder / "run"), 2, True)
    text = printed("runs", folder / "run")
    assert "mean Dice" in text and "1 run" in text


def test_class_weights_are_numbers() -> None:
    assert class_weights_of(["finger-1=3,1", "a=b=0.5,2"]) == {"finger-1": [3, 1], "a=b": [0.5, 2]}
    with pytest.raises(TrainError, match="--class-weight Radius: expected a number for each table"):
        class_weights_of(["Radius"])
