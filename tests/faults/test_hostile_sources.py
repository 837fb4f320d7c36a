"""Hostile sources: a clear error, or a dataset like any other; soon, and with nothing written outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostilecommands import commands_fixture  # noqa: F401
from hostilesources import SOURCES
from watching import Commands, check, contents

QUICK = ("coco-rle-size", "parquet-repeated", "odd-brackets")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in SOURCES if name not in QUICK]
ODD = [name for name in SOURCES if name.startswith("odd-")]
"""Odd names, but sound data: they build."""


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_every_command_is_safe(name: str, commands: Commands, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "data").mkdir(parents=True)
    source = SOURCES[name](root / "data")
    out = root / ("out[1]*" if name in ODD else "out")
    (root / "recipe.yaml").write_text(f"name: toy\nsource: {source}\nsteps: [{{op: hflip, keep_input: true}}]\n")
    rejecting = source.removesuffix("}") + ', "on_error": "reject"}'
    (root / "rejecting.yaml").write_text(f"name: toy\nsource: {rejecting}\nsteps: []\n")
    before = contents(tmp_path, [out])
    orders: list[list[str | Path]] = [
        ["build", "recipe.yaml", "-o", out / "toy", "--dry-run"],
        ["build", "recipe.yaml", "-o", out / "toy"],
        ["build", "rejecting.yaml", "-o", out / "other"],
        ["inspect", out / "toy"],
        ["log", out / "toy"],
        ["show", out / "toy", "-o", out / "show.png"],
        ["verify", out / "toy", "--pixels"],
        ["diff", out / "toy", out / "other"],
        *(["export", out / "toy", "--to", to, "-o", out / to] for to in ("coco", "mask-folder", "yolo")),
    ]
    found = commands.run(*orders, folder=root)
    check(orders, found)
    if name in ODD:
        assert all(seen.code == 0 for seen in found), found
    assert contents(tmp_path, [out]) == before


def test_names_are_shown_escaped(commands: Commands, tmp_path: Path) -> None:
    """In the terminal, in JSON and in the card."""
    source = SOURCES["odd-names"](tmp_path / "data")
    (tmp_path / "recipe.yaml").write_text(f"name: toy\nsource: {source}\nsteps: []\n")
    orders = [
        ["build", "recipe.yaml", "-o", "toy"],
        ["inspect", "toy"],
        ["show", "toy", "x"],
        ["inspect", "toy", "--json"],
    ]
    _, inspected, shown, as_json = commands.run(*orders, folder=tmp_path)
    for text in (inspected.text, shown.text):
        assert r"a\x1b[2J" in text and r"\x9b31m\u202egpj.exe\nerror: all is well" in text
    assert r"a\u001b[2J" in as_json.text and r"\u009b31m\u202egpj.exe\nerror" in as_json.text
    card = (tmp_path / "toy/README.md").read_text(encoding="utf-8")
    assert r"a\\x1b\[2J" in card and not set(card) & set("\x1b\x9b\u202e")
