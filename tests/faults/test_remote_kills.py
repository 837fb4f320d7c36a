"""A writer to a URL that dies: before whatever operation on the store, the old version or the new one is there whole.

Each operation of a build on the store fails in turn, for good, as if the process had been killed there. Then readers
are asked, and the same command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from objectstore import clear_memory
from toybox import MOSAIC, annotation, edit_json, move_a_point, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.store.dataset import open_dataset
from augforge.store.verify import verify

URL = "memory://far/hands"


class Killed(BaseException):
    """Ends a build as a signal would: nothing catches it."""


@contextmanager
def dying(at: int | None) -> Iterator[list[str]]:
    """Let each operation that changes the store fail from number `at` on; gives their names."""
    done: list[str] = []

    def wrap(kind: str, real: Any) -> Any:
        def operation(self: Any, *arguments: Any, **options: Any) -> Any:
            if at is not None and len(done) >= at:
                raise Killed
            target = arguments[1] if kind == "put_file" else arguments[0]
            done.append(f"{kind} {target.removeprefix('/far/hands/')}")
            return real(self, *arguments, **options)

        return operation

    kinds = ("put_file", "pipe_file", "rm_file")
    with patch.multiple(MemoryFileSystem, **{kind: wrap(kind, getattr(MemoryFileSystem, kind)) for kind in kinds}):
        yield done


class World:
    """A dataset of one version, whose data was edited since, and the operations of the build that follows."""

    def __init__(self, root: Path, patch_cache: pytest.MonkeyPatch) -> None:
        patch_cache.setenv("AUGFORGE_CACHE", str(root / "cache"))
        data = tiny_hands(root / "data", range(10, 130, 20))
        self.recipe = write_recipe(root / "recipe.yaml", data, MOSAIC, classes="[a, b]")
        clear_memory()
        self.old = build(self.recipe, URL).version
        self.before = self.store()
        edit_json(annotation(data, "ID001/image0000000000001"), move_a_point)
        with dying(None) as self.operations:
            self.new = build(self.recipe, URL).version
        self.after = self.store()

    def store(self) -> dict[str, bytes]:
        return {name: file.getvalue() for name, file in MemoryFileSystem.store.items()}

    def restore(self) -> None:
        files = fsspec.filesystem("memory")
        clear_memory()
        for name, data in self.before.items():
            files.pipe_file(name, data)


@pytest.fixture(name="world", scope="module")
def world_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch_cache:
        yield World(tmp_path_factory.mktemp("world"), patch_cache)
        clear_memory()


def test_the_order_of_what_a_build_sends(world: World) -> None:
    kinds = [name.partition(" ")[2].partition("/")[0] for name in world.operations]
    ordered = [kind for number, kind in enumerate(kinds) if kind != (kinds[number - 1] if number else "")]
    commit = ["versions", "manifest.yaml.lock", "manifest.yaml", "manifest.yaml.lock", "README.md"]
    assert ordered == ["work", "shards", "index", *commit, "work", "log.jsonl.lock", "log.jsonl", "log.jsonl.lock"]
    sent = [name for name in world.operations if name.startswith("put_file work/")]
    assert [name[-4:] for name in sent] == [".bin", "json"] * (len(sent) // 2)  # a batch is finished by its JSON file


def die_at(world: World, at: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world.restore()
    monkeypatch.setattr("augforge.urls.writing.LOCK_SECONDS", 0.0)  # nobody waits here for a lock that was left behind
    with dying(at), pytest.raises(Killed):
        build(world.recipe, URL)
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "another machine"))
    found = open_dataset(URL)
    committed = world.operations.index("pipe_file manifest.yaml")
    assert found.version == (world.new if at > committed else world.old)
    # A card that still lists the old version's shards, which are there, is the one thing that may lag behind.
    assert [problem for problem in verify(URL, pixels=True) if "README.md" not in problem] == []
    assert verify(URL, world.old, pixels=True) == []
    assert build(world.recipe, URL).version == world.new
    own = {name: data for name, data in world.store().items() if "log.jsonl" not in name and "/work/" not in name}
    assert own == {name: data for name, data in world.after.items() if "log.jsonl" not in name and "/work/" not in name}
    assert verify(URL, pixels=True) == []


def numbers_around_the_commit(world: World) -> list[int]:
    committed = world.operations.index("pipe_file manifest.yaml")
    return [0, 3, committed - 6, committed - 2, committed, committed + 1, committed + 3]


@pytest.mark.parametrize("case", range(7))
def test_a_build_that_dies_leaves_whole_versions(
    world: World, case: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    die_at(world, numbers_around_the_commit(world)[case], monkeypatch, tmp_path)


@pytest.mark.slow
def test_a_build_that_dies_anywhere_leaves_whole_versions(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for at in range(len(world.operations)):
        die_at(world, at, monkeypatch, tmp_path / str(at))
