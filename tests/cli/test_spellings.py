"""One way to say a thing: -o/--out and plain datasets everywhere; earlier spellings work, with a notice on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from toybox import tiny_hands, toy_fixture, two_versions_fixture, write_recipe  # noqa: F401
from typer.testing import CliRunner, Result

from augforge.cli import app as cli
from augforge.cli import models as cli_models

WRITES = {"init", "preview", "schema", "build", "outliers", "show", "export", "sample-data"}
WRITES |= {"train", "evaluate", "predict", "ensemble", "crossval", "compare", "trace", "explain", "report"}
TAKES_A_DATASET = {"inspect", "verify", "show", "export", "files", "gc", "outliers"}
TAKES_A_DATASET |= {"train", "evaluate", "tune-thresholds", "crossval", "compare"}
TAKES_A_DATASET |= {"copy", "log", "trace", "tag", "checkout", "repair", "pack"}
PROMISED = {"train": ["--shards", "--out"], "build": ["--out"]}
COMMANDS: dict[str, Any] = vars(typer.main.get_command(cli.app))["commands"]


def invoke(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def notices(result: Result) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("notice: ")]


def options_of(command: Any) -> dict[str, Any]:
    return {spelling: param for param in command.params for spelling in param.opts}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_results_go_to_out_and_datasets_are_plain_arguments(name: str) -> None:
    command = COMMANDS[name]
    options = options_of(command)
    assert ("--out" in options) == ("-o" in options) == (name in WRITES)
    plain = [param.metavar for param in command.params if param.param_type_name == "argument" and not param.hidden]
    assert ("DATASET" in plain) == (name in TAKES_A_DATASET)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_shows_no_earlier_spelling(name: str) -> None:
    text = invoke(name, "--help").stdout
    assert "--output" not in text
    assert "[OUT]" not in text
    assert name == "train" or "--shards" not in text


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_promised_spellings_are_shown_and_print_no_notice(name: str) -> None:
    options = options_of(COMMANDS[name])
    for spelling in PROMISED[name]:
        assert not options[spelling].hidden
        assert options[spelling].callback is None


# ---- builds, pictures, exports ---------------------------------------------------------------------------------------


def test_build_takes_both(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", tiny_hands(tmp_path / "data", (9, 60, 99)), classes="[a, b]")
    made = [invoke("build", recipe, spelling, tmp_path / spelling, "--json") for spelling in ("--out", "-o")]
    assert len({json.loads(result.stdout)["version"] for result in made}) == 1
    assert [result.stderr for result in made] == ["", ""]


def test_show(toy: Path, tmp_path: Path) -> None:
    new = invoke("show", toy, "-o", tmp_path / "new.png")
    old = invoke("show", toy, "--output", tmp_path / "old.png")
    assert (notices(new), len(notices(old))) == ([], 1)
    assert "--output is now -o/--out" in old.stderr
    assert (tmp_path / "new.png").read_bytes() == (tmp_path / "old.png").read_bytes()


def test_export(toy: Path, tmp_path: Path) -> None:
    new = invoke("export", toy, "--to", "coco", "--out", tmp_path / "new", "--json")
    old = invoke("export", toy, tmp_path / "old", "--to", "coco", "--json")
    assert (notices(new), len(notices(old))) == ([], 1)
    found = [{**json.loads(result.stdout), "path": ""} for result in (new, old)]
    assert found[0] == found[1]
    assert files_below(tmp_path / "new") == files_below(tmp_path / "old")


def test_sample_data(tmp_path: Path) -> None:
    few = ("--persons", "1", "--size", "64", "--json")
    new = invoke("sample-data", "-o", tmp_path / "new", *few)
    old = invoke("sample-data", tmp_path / "old", *few)
    assert (notices(new), len(notices(old))) == ([], 1)
    assert files_below(tmp_path / "new") == files_below(tmp_path / "old")


@pytest.mark.parametrize("command", [("sample-data",), ("export", "DATASET", "--to", "coco")])
def test_out_is_given_once(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "required" in invoke(*command, code=2).stderr
    assert "2 times" in invoke(*command, "a", "-o", "b", code=2).stderr
    assert not list(tmp_path.iterdir())


def test_outliers(tmp_path: Path) -> None:
    """Its --out was the dataset's folder, and is the contact sheet now: the suffix tells them apart."""
    tiny_hands(tmp_path / "data", (9, 60, 99))
    recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "data", ["{op: min_area, pixels: 4000}"], classes="[a, b]")
    sheets = [tmp_path / name for name in ("new.png", "old.png", "output.png")]
    new = invoke("outliers", recipe, tmp_path / "set", "--out", sheets[0], "--json")
    old = invoke("outliers", recipe, "--out", tmp_path / "old-set", "-o", sheets[1], "--json")
    older = invoke("outliers", recipe, tmp_path / "set", "--output", sheets[2], "--json")
    assert [len(notices(result)) for result in (new, old, older)] == [0, 1, 1]
    assert len({result.stdout for result in (new, old, older)}) == 1
    assert len({sheet.read_bytes() for sheet in sheets}) == 1
    assert (tmp_path / "set").is_dir()
    assert (tmp_path / "old-set").is_dir()
    assert "2 times" in invoke("outliers", recipe, "one", "--out", "two", code=2).stderr


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- models: what reaches the function behind the command ------------------------------------------------------------


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[str], list[str]]]:
    """Run a command of models up to its work: the datasets or outputs that it was given, and the notices."""

    class Reached(Exception):
        pass

    def run(function: str, *arguments: str) -> tuple[list[str], list[str]]:
        seen: list[str] = []

        def stop(*values: Any, **options: Any) -> None:
            seen.extend(str(value) for value in values)
            raise Reached

        monkeypatch.setattr(function, stop)
        result = CliRunner().invoke(cli.app, arguments)
        assert isinstance(result.exception, Reached), (result.output, result.exception)
        return seen, notices(result)

    monkeypatch.setattr(cli_models, "need_trainer", lambda: None)
    return run


OPEN = "augforge.store.dataset.open_dataset"


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (("crossval", "d"), ("crossval", "--shards", "d")),
        (("compare", "d"), None),
        (("train", "d"), None),
        (("train", "--shards", "d"), None),
    ],
)
def test_datasets(new: tuple[str, ...], old: tuple[str, ...] | None, handed: Callable[..., Any]) -> None:
    assert handed(OPEN, *new) == (["d"], [])
    if old is not None:
        seen, notes = handed(OPEN, *old)
        assert (seen, len(notes)) == (["d"], 1)


def test_datasets_of_evaluate(handed: Callable[..., Any]) -> None:
    measure = "augforge.train.evaluation.evaluate.evaluate"
    new, notes = handed(measure, "evaluate", "run", "a", "b")
    assert (new, notes) == (["run", "['a', 'b']"], [])
    for old in (
        ["run", "--shards", "a", "b"],
        ["--shards", "a", "run", "b"],
        ["run", "--shards", "a", "--shards", "b"],
    ):
        seen, notes = handed(measure, "evaluate", *old)
        assert (seen, len(notes)) == (new, 1)


def test_dataset_of_tune_thresholds(handed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augforge.train.run.TrainingRun.open", lambda folder: folder)
    assert handed(OPEN, "tune-thresholds", "run", "d") == (["d"], [])
    seen, notes = handed(OPEN, "tune-thresholds", "run", "--shards", "d")
    assert (seen, len(notes)) == (["d"], 1)


def test_table_of_ensemble(handed: Callable[..., Any]) -> None:
    join = "augforge.train.prediction.ensemble.ensemble"
    (_, default, _), _ = handed(join, "ensemble", "a", "b")
    (_, new, _), nothing = handed(join, "ensemble", "a", "b", "-o", "c")
    (_, old, _), notes = handed(join, "ensemble", "a", "b", "--output", "c")
    assert (default, new, old) == ("ensemble.parquet", "c", "c")
    assert (nothing, len(notes)) == ([], 1)


def test_table_of_predict(handed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    opened = SimpleNamespace(config=SimpleNamespace(data=SimpleNamespace(crop=None)), window=None)
    monkeypatch.setattr("augforge.train.run.TrainingRun.open", lambda folder: opened)
    function = "augforge.train.prediction.predict.predict"
    (*_, default), _ = handed(function, "predict", "run", "images")
    (*_, new), nothing = handed(function, "predict", "run", "images", "--out", "c")
    (*_, old), notes = handed(function, "predict", "run", "images", "--output", "c")
    assert (default, new, old) == ("predictions.parquet", "c", "c")
    assert (nothing, len(notes)) == ([], 1)


@pytest.mark.parametrize("command", [("train",), ("evaluate", "run"), ("tune-thresholds", "run"), ("crossval",)])
def test_no_dataset_is_wrong_usage(command: tuple[str, ...]) -> None:
    assert "DATASET" in invoke(*command, code=2).stderr
