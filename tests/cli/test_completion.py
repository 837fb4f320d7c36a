"""What the shell completes, asked as a shell asks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from toybox import made, tiny_hands
from typer.testing import CliRunner

from augforge.cli import app as cli


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    data = tiny_hands(tmp_path / "hands", [40, 80])
    made(tmp_path, data, out="datasets/toy", split="{val: [ID002]}", classes="[a, b]")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def completed(line: str) -> list[str]:
    """What bash offers at the end of a command line."""
    words = line.split(" ")
    shell = {"_AUGFORGE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(cli.app, [], prog_name="augforge", env={**os.environ, **shell})
    return result.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("augforge ops rot", ["rotate", "rotate_normalise"]),
        ("augforge sources coc", ["coco"]),
        ("augforge exports index", ["index-mask"]),
        ("augforge init --format label", ["labelme"]),
        ("augforge schema rec", ["recipe"]),
        ("augforge export datasets/toy --to yo", ["yolo"]),
        ("augforge inspect data", ["datasets/toy"]),
        ("augforge inspect datasets/t", ["datasets/toy"]),
        ("augforge show datasets/toy ID001", ["ID001/image0000000000001"]),
        ("augforge trace datasets/toy ID002", ["ID002/image0000000000002"]),
        ("augforge trace datasets/none ID002", []),
    ],
)
def test_completion(line: str, offered: list[str], here: Path) -> None:
    assert completed(line) == offered


def test_classes(here: Path) -> None:
    assert completed("augforge evaluate run datasets/toy --swap ") == ["a", "b"]
