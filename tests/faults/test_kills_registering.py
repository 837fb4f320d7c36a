"""Kills of a build that registers: the registry is the old or the new one, and the same command then ends well."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import killing
import pytest
from toybox import MOSAIC, edit_json, move_a_point, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.store.manifest import read_manifest
from augforge.store.registry import LOCK_FOLDER, read_registry

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")


@dataclass(frozen=True)
class World:
    """A folder with a registered dataset whose data was edited since; and the versions before and after."""

    root: Path
    before: str
    after: str


def register(root: Path) -> None:
    os.chdir(root)
    build("recipe.yaml", "out", register=True)


@pytest.fixture(name="world", scope="module")
def world_fixture(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("registering") / "world"
    tiny_hands(root / "data", [40, 70, 100], ["a", "b"])
    write_recipe(root / "recipe.yaml", Path("data"), MOSAIC[:1], classes="[a, b]", split="{val: [ID002]}")
    assert killing.run(register, root)
    edit_json(next(iter(sorted((root / "data").rglob("*.json")))), move_a_point)
    edited = shutil.copytree(root, root.parent / "edited")
    assert killing.run(register, edited)
    return World(root, registered(root), registered(edited))


def registered(root: Path) -> str:
    (entry,) = read_registry(root / "data_manifest.yaml").datasets
    return entry.version


def attempt(world: World, place: Path, at: int) -> None:
    shutil.copytree(world.root, place)
    assert killing.run(register, place, at=at) is None
    assert registered(place) in (world.before, world.after)
    assert killing.run(register, place) is not None
    assert registered(place) == world.after == read_manifest(place / "out").version
    found = {path.name for path in place.iterdir()}
    assert found == {LOCK_FOLDER, "data", "data_manifest.yaml", "out", "recipe.yaml"}


def operations(world: World, place: Path) -> list[str]:
    shutil.copytree(world.root, place)
    found = killing.run(register, place)
    assert found and found.count("replace data_manifest.yaml") == 1
    return found


def test_kills_around_the_registration(world: World, tmp_path: Path) -> None:
    names = operations(world, tmp_path / "undisturbed")
    replaced = names.index("replace data_manifest.yaml")
    for at in (replaced, replaced + 1):
        attempt(world, tmp_path / str(at), at)


@pytest.mark.slow
def test_kills_at_every_operation_after_the_commit_and_at_some_before(world: World, tmp_path: Path) -> None:
    names = operations(world, tmp_path / "undisturbed")
    commit = names.index("replace manifest.yaml")
    for at in [*range(0, commit, max(1, commit // 8)), *range(commit, len(names))]:
        attempt(world, tmp_path / str(at), at)
