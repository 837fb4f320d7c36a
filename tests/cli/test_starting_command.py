"""`augforge init` and `augforge build FOLDER` as people and machines use them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from layouts import coco_one_file, two_sets
from typer.testing import CliRunner

from augforge.cli import app as cli
from augforge.cli import starting
from augforge.cli.everywhere import COMMON
from augforge.errors import SourceError


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(COMMON, "json", False)


def run(*arguments: str, text: str = "") -> str:
    result = CliRunner().invoke(cli.app, arguments, input=text, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_init_tells_what_it_found() -> None:
    coco_one_file(Path("mine"))
    told = run("init", "mine")
    assert "format      coco: instances.json has COCO's lists" in told
    assert "6 samples, 2 classes" in told
    assert "wrote mine.yaml. Next: augforge preview mine.yaml" in told


def test_init_to_standard_output_is_the_recipe_alone() -> None:
    coco_one_file(Path("mine"))
    assert run("init", "mine", "-o", "-").startswith("# yaml-language-server: $schema=")
    assert not Path("mine.yaml").exists()


def test_init_for_machines() -> None:
    coco_one_file(Path("mine"))
    found = json.loads(run("init", "mine", "--json"))
    assert (found["recipe"], found["format"], found["samples"], found["groups"]) == ("mine.yaml", "coco", 6, 6)
    assert found["classes"] == ["cat", "dog"]
    assert found["text"] == Path("mine.yaml").read_text()


def test_a_terminal_is_asked_which_set_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    two_sets(Path("nuts"))
    monkeypatch.setattr(starting, "_may_ask", lambda: True)
    told = run("init", "nuts", text="9\n2\nmine\n")
    assert "1  nuts/coco: coco, 6 samples, 2 classes" in told
    assert "Name of the dataset [nuts-labelme]" in told
    assert "wrote mine.yaml" in told
    assert Path("mine.yaml").read_text().count("name: mine") == 1


@pytest.mark.parametrize("option", ["--yes", "--json"])
def test_nobody_is_asked_with(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    two_sets(Path("nuts"))
    monkeypatch.setattr(starting, "_may_ask", lambda: True)
    monkeypatch.setattr(typer, "prompt", None)
    with pytest.raises(SourceError, match="holds 2 data sets"):
        run("init", "nuts", option)


def test_nobody_is_asked_in_ci_or_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("CI", raising=False)
    assert starting._may_ask()
    monkeypatch.setenv("CI", "true")
    assert not starting._may_ask()
    monkeypatch.delenv("CI")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    assert not starting._may_ask()


def test_a_folder_is_built_and_a_dry_run_writes_nothing() -> None:
    coco_one_file(Path("mine"))
    told = run("build", "mine", "--dry-run")
    assert "dry run" in told
    assert [path.name for path in Path().iterdir()] == ["mine"]
    run("build", "mine")
    assert Path("mine.yaml").is_file()
    assert Path("datasets/mine/manifest.yaml").is_file()
