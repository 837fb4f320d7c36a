"""Hostile recipes, training configurations, registries and review files: clear errors, soon."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from hostilecommands import commands_fixture  # noqa: F401
from hostilerecipes import RECIPES, write_recipe
from toybox import tiny_hands
from watching import Commands, check, contents

QUICK = ("bomb", "group-evil", "where-many-terms", "where-file")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in RECIPES if name not in QUICK]
FINE = {"number-128-bits", "class-escapes", "where-regex-evil", "path-root", "where-number"}
"""Those that may build: they are odd, but no harm."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hands(tmp_path_factory.mktemp("data") / "data", [40, 90, 200])


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_every_command_is_safe(name: str, data: Path, commands: Commands, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(data, root / "data")
    write_recipe(root, RECIPES[name])
    before = contents(tmp_path, [root / "out"])
    orders: list[list[str | Path]] = [
        ["build", "recipe.yaml", "-o", "out/toy", "--dry-run"],
        ["build", "recipe.yaml", "-o", "out/toy"],
        ["explain", "recipe.yaml", "-o", "out/toy"],
        ["outliers", "recipe.yaml", "out/toy"],
        ["train", "--config", "recipe.yaml", "--show-config"],
    ]
    found = commands.run(*orders, folder=root)
    check(orders, found)
    if name not in FINE:
        assert all(seen.code == 1 and "error: " in seen.text for seen in found[:2]), found
    assert contents(tmp_path, [root / "out"]) == before


def test_errors_of_yaml_name_the_line(data: Path, commands: Commands, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    for name in ("bomb", "deep-flow", "deep-block", "number-hex", "number-long", "number-infinite", "key-twice"):
        write_recipe(tmp_path, RECIPES[name])
        (seen,) = commands.run(["build", "recipe.yaml"], folder=tmp_path)
        assert re.match(r"error: recipe.yaml:\d+: ", seen.text), seen
