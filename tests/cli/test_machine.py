"""--json: whatever ends a command, standard error holds JSON lines alone, and the last one has a code that stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toybox import tiny_hands, write_recipe

from augforge import errors
from augforge.cli import app as cli
from augforge.cli import machine
from augforge.cli.everywhere import COMMON
from augforge.engine import builder
from augforge.engine.jobs import Failure

Run = Callable[..., tuple[int, str, list[dict[str, Any]]]]
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.AugforgeError) and kind is not errors.MissingExtra
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the entry point with --json: exit code, standard output, and the objects on standard error."""
    monkeypatch.setattr(COMMON, "json", False)
    monkeypatch.setattr(COMMON, "debug", False)
    monkeypatch.setattr(COMMON, "told", False)

    def go(*arguments: str | Path) -> tuple[int, str, list[dict[str, Any]]]:
        monkeypatch.setattr(sys, "argv", ["augforge", *map(str, arguments), "--json"])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, [json.loads(line) for line in printed.err.splitlines()]

    return go


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def build(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(builder, "build", build)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_code(run: Run, monkeypatch: pytest.MonkeyPatch, kind: type[errors.AugforgeError]) -> None:
    raising(monkeypatch, kind('r.yaml:12: a "fact"\nand more'))
    code, out, lines = run("build", "r.yaml")
    assert (code, out, len(lines)) == (1, "", 1)
    found = lines[0]["error"]
    assert (found["code"], found["file"], found["line"]) == (kind.code, "r.yaml", 12)
    assert found["message"] == 'r.yaml:12: a "fact"\nand more'


def test_codes_differ() -> None:
    codes = [errors.MissingExtra.code, *(kind.code for kind in KINDS)]
    assert len(set(codes)) == len(codes) and all(code.isidentifier() and code.islower() for code in codes)


def test_a_recipe_error_names_file_and_line(run: Run, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "data", ["{op: hflop}"])
    code, _, (line,) = run("build", recipe)
    assert code == 1 and line["error"]["code"] == "recipe_error"
    assert (line["error"]["file"], line["error"]["line"]) == (str(recipe), 7)


def test_failed_tasks_are_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = Failure("a", "hflip", "no", "Traceback ...")
    raising(monkeypatch, errors.TaskError("1 task failed", [failure]))
    _, _, (line,) = run("build", "r.yaml")
    assert line["error"]["failures"] == [{"sample": "a", "step": "hflip", "message": "no"}]
    _, _, (line,) = run("build", "r.yaml", "--debug")
    assert "Traceback ..." in line["error"]["traceback"]


@pytest.mark.parametrize("arguments", [["build"], ["nothing"], ["build", "--nope", "x"], ["inspect", "a", "b"]])
def test_a_wrong_command_line(run: Run, arguments: list[str]) -> None:
    code, out, (line,) = run(*arguments)
    assert (code, out, line["error"]["code"]) == (2, "", "usage_error")


def test_a_file_that_cannot_be_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, PermissionError(13, "Permission denied", "x.yaml"))
    code, _, (line,) = run("build", "r.yaml")
    assert (code, line["error"]["code"]) == (1, "file_error") and "x.yaml: Permission denied" in line["error"][
        "message"
    ]


def test_a_fault_of_augforge(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ZeroDivisionError("oh"))
    code, _, (line,) = run("build", "r.yaml")
    assert (code, line["error"]["code"], line["error"]["message"]) == (1, "internal_error", "ZeroDivisionError: oh")
    assert "Traceback" in line["error"]["traceback"]


def test_an_interruption_anywhere(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    code, _, (line,) = run("build", "r.yaml")
    assert (code, line["error"]["code"]) == (130, "interrupted") and "what was finished is kept" in str(line)
    monkeypatch.setattr(COMMON, "told", False)
    monkeypatch.setattr(cli, "app", lambda **_: (_ for _ in ()).throw(KeyboardInterrupt))
    code, _, (line,) = run("inspect", "x")
    assert (code, line["error"]["code"]) == (130, "interrupted")


def test_notices_are_lines_of_their_own(run: Run, tmp_path: Path) -> None:
    tiny_hands(tmp_path / "data", (10, 60))
    recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "data", ["{op: min_area, pixels: 1}"], classes="[a, b]")
    code, out, lines = run("outliers", recipe, tmp_path / "out", "--output", tmp_path / "sheet.png")
    assert code == 0 and json.loads(out)["samples"] == 2
    assert [list(line) for line in lines] == [["notice"], ["notice"]] and "sheet.png" in lines[1]["notice"]


def test_warnings_of_libraries_are_notices(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: Any, **__: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        raise errors.PlanError("no")

    monkeypatch.setattr(builder, "build", build)
    _, _, lines = run("build", "r.yaml")
    assert [list(line) for line in lines] == [["notice"], ["error"]] and lines[0]["notice"] == "old"


def test_a_finding_is_a_result_and_no_error(run: Run, tmp_path: Path) -> None:
    tiny_hands(tmp_path / "data", (10, 60))
    run("build", write_recipe(tmp_path / "r.yaml", tmp_path / "data", classes="[a, b]"), "-o", tmp_path / "out")
    next((tmp_path / "out/shards").iterdir()).write_bytes(b"broken")
    code, out, lines = run("verify", tmp_path / "out")
    assert (code, json.loads(out)["ok"], lines) == (1, False, [])


def test_a_shell_sees_the_same(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "augforge", "inspect", str(tmp_path / "none"), "--json"]
    done = subprocess.run(program, capture_output=True, text=True, env={**os.environ})
    assert (done.returncode, done.stdout) == (1, "")
    assert json.loads(done.stderr)["error"]["code"] == "dataset_error"


def test_what_comes_after_two_dashes_is_no_option() -> None:
    assert machine.wants_json(["build", "--json", "r.yaml"])
    assert not machine.wants_json(["build", "--", "--json"]) and not machine.wants_json(["inspect", "json"])
