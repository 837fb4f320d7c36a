"""Kills: whenever a command is killed, versions stay whole, and the same command then ends as if nothing had been.

By default 20 kills, at operations on files that were chosen over the whole run and around the commit; the
slow tests take 175 more, at every kind of moment.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import killing
import pytest
from toybox import MOSAIC, edit_json, move_a_point, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.export import export
from augforge.store.dataset import open_dataset
from augforge.store.history import checkout, tag_version
from augforge.store.manifest import read_manifest, versions
from augforge.store.pack import pack
from augforge.store.verify import verify

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
LEVELS = [40, 70, 100, 130, 160, 190, 220]


@dataclass
class World:
    """A recipe whose data was edited after `old` was built, and what undisturbed commands give."""

    recipe: Path
    old: Path
    versions: tuple[str, str]  # of the old data, and of the new
    exported: dict[str, bytes]
    packed: bytes
    operations: dict[Any, list[str]] = field(default_factory=dict)


@pytest.fixture(name="world", scope="module")
def world_fixture(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    data = tiny_hands(root / "data", LEVELS, ["a", "b"])
    recipe = write_recipe(root / "recipe.yaml", data, MOSAIC, classes="[a, b]")
    old = build(recipe, root / "old").version
    edit_json(next(iter(sorted(data.rglob("*.json")))), move_a_point)
    new = build(recipe, root / "new").version
    export(open_dataset(root / "old"), root / "exported", "coco")
    pack(root / "old", root / "packed.tar")
    packed = (root / "packed.tar").read_bytes()
    return World(recipe, root / "old", (old, new), tree(root / "exported"), packed)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def temporary_files(folder: Path) -> list[Path]:
    return list(folder.rglob(".*.tmp"))


def check_versions(folder: Path, allowed: Sequence[str]) -> None:
    """Every version that has a manifest is whole, and the current one is one of those that are allowed."""
    if (folder / "manifest.yaml").exists():
        assert read_manifest(folder).version in allowed
        for version in (None, *versions(folder)):
            assert verify(folder, version, pixels=True) == []


# ---- what is killed --------------------------------------------------------------------------------------------------


class FirstBuild:
    """A build into a new folder."""

    def __init__(self, world: World, place: Path, jobs: int = 1) -> None:
        self.world, self.folder, self.jobs = world, place / "out", jobs

    def command(self) -> tuple[Any, ...]:
        return killing.build, self.world.recipe, self.folder, self.jobs

    def check_after_kill(self) -> None:
        check_versions(self.folder, self.world.versions[1:])

    def check_at_end(self) -> None:
        assert read_manifest(self.folder).version == self.world.versions[1]
        check_versions(self.folder, self.world.versions)
        assert temporary_files(self.folder) == []


class Rebuild(FirstBuild):
    """A build over an older version."""

    def __init__(self, world: World, place: Path, jobs: int = 1) -> None:
        super().__init__(world, place, jobs)
        shutil.copytree(world.old, self.folder)

    def check_after_kill(self) -> None:
        check_versions(self.folder, self.world.versions)
        assert verify(self.folder, self.world.versions[0], pixels=True) == []


class Collect(Rebuild):
    """gc of a dataset of two versions that keeps the newer one."""

    def __init__(self, world: World, place: Path, jobs: int = 1) -> None:
        super().__init__(world, place, jobs)
        build(world.recipe, self.folder)

    def command(self) -> tuple[Any, ...]:
        return killing.gc, self.folder

    def check_after_kill(self) -> None:
        check_versions(self.folder, self.world.versions[1:])

    def check_at_end(self) -> None:
        super().check_at_end()
        assert versions(self.folder) == [self.world.versions[1]]
        named = {Path(shard.path).name for shard in read_manifest(self.folder).shards}
        assert {path.name for path in (self.folder / "shards").iterdir()} == named


class CollectTagged(Collect):
    """The same of a dataset whose older version has a tag and is the current one."""

    def __init__(self, world: World, place: Path, jobs: int = 1) -> None:
        super().__init__(world, place, jobs)
        tag_version(self.folder, "baseline", world.versions[0])
        checkout(self.folder, "baseline")

    def check_after_kill(self) -> None:
        check_versions(self.folder, self.world.versions[:1])
        assert verify(self.folder, "baseline", pixels=True) == []

    def check_at_end(self) -> None:
        self.check_after_kill()
        assert versions(self.folder) == [self.world.versions[0]] and temporary_files(self.folder) == []


class CheckOut(Rebuild):
    """The older version is made current again."""

    def __init__(self, world: World, place: Path, jobs: int = 1) -> None:
        super().__init__(world, place, jobs)
        build(world.recipe, self.folder)

    def command(self) -> tuple[Any, ...]:
        return killing.checkout, self.folder, self.world.versions[0]

    def check_at_end(self) -> None:
        assert read_manifest(self.folder).version == self.world.versions[0]
        card = (self.folder / "README.md").read_text()
        assert self.world.versions[0] in card and self.world.versions[1] not in card
        build(self.world.recipe, self.folder)  # no temporary file outlives it
        super().check_at_end()


class Repair(Rebuild):
    """A repair of a shard, a table, a manifest and the card of the newer version."""

    def __init__(self, world: World, place: Path, jobs: int = 1) -> None:
        super().__init__(world, place, jobs)
        build(world.recipe, self.folder)
        self.whole, manifest = self.contents(), read_manifest(self.folder)
        for name in (manifest.shards[0].path, manifest.stages_path, "manifest.yaml"):
            data = bytearray(self.whole[name])
            data[len(data) // 2] ^= 1
            (self.folder / name).write_bytes(data)
        (self.folder / "README.md").unlink()
        self.damaged = self.contents()

    def contents(self) -> dict[str, bytes]:
        found = tree(self.folder)
        own = (name for name in found if not name.startswith("work/") and name not in (".lock", "log.jsonl"))
        return {name: found[name] for name in own if not name.endswith(".tmp")}

    def command(self) -> tuple[Any, ...]:
        return killing.repair, self.folder

    def check_after_kill(self) -> None:
        """Each file is as it was before, or as it was before the damage."""
        for name, data in self.contents().items():
            assert data in (self.damaged.get(name), self.whole[name]), name

    def check_at_end(self) -> None:
        assert self.contents() == self.whole
        assert list((self.folder / "work").glob("scratch-*")) == temporary_files(self.folder) == []


class Export(FirstBuild):
    """An export into a new folder."""

    def command(self) -> tuple[Any, ...]:
        return killing.export, self.world.old, self.folder

    def check_after_kill(self) -> None:
        assert not self.folder.exists() or tree(self.folder) == self.world.exported

    def check_at_end(self) -> None:
        assert tree(self.folder) == self.world.exported
        assert [path.name for path in self.folder.parent.iterdir()] == [self.folder.name]


class ExportInPlace(Export):
    """An export into a folder that exists, such as a mount point: its files are moved one by one."""

    def __init__(self, world: World, place: Path, jobs: int = 1) -> None:
        super().__init__(world, place, jobs)
        self.folder.mkdir()

    def check_after_kill(self) -> None:
        pass  # some of the files may be there; the same command removes and writes them


class Pack(Export):
    """A pack into a new archive."""

    def __init__(self, world: World, place: Path, jobs: int = 1) -> None:
        super().__init__(world, place, jobs)
        self.folder = place / "out.tar"

    def command(self) -> tuple[Any, ...]:
        return killing.pack, self.world.old, self.folder

    def check_after_kill(self) -> None:
        assert not self.folder.exists() or self.folder.read_bytes() == self.world.packed

    def check_at_end(self) -> None:
        assert self.folder.read_bytes() == self.world.packed
        assert [path.name for path in self.folder.parent.iterdir()] == [self.folder.name]


SCENES: dict[str, type[FirstBuild]] = {
    "first": FirstBuild,
    "over": Rebuild,
    "gc": Collect,
    "gc tagged": CollectTagged,
    "checkout": CheckOut,
    "export": Export,
    "export in place": ExportInPlace,
    "pack": Pack,
    "repair": Repair,
}
"""What is killed, by name. A new scene is a class, a line here, and one in each of QUICK and MANY."""


def operations(world: World, scene: str, jobs: int, place: Path) -> list[str]:
    """The operations of an undisturbed run."""
    if (scene, jobs) not in world.operations:
        folder = place / "undisturbed"
        folder.mkdir()
        found = killing.run(*SCENES[scene](world, folder, jobs).command())
        assert found
        world.operations[scene, jobs] = found
    return world.operations[scene, jobs]


def attempt(world: World, scene: str, jobs: int, place: Path, **kill: Any) -> bool:
    """Kill, check, run again, check; whether the kill came before the end."""
    place.mkdir()
    scratch = place.with_name(f"{place.name}.scratch")
    scratch.mkdir()
    trial = SCENES[scene](world, place, jobs)
    killed = killing.run(*trial.command(), scratch=scratch, **kill) is None
    trial.check_after_kill()
    if killed or not isinstance(trial, Export):  # a finished export's folder is not empty, and refused
        assert killing.run(*trial.command(), scratch=scratch) is not None
    trial.check_at_end()
    check_empty(scratch)
    return killed


def check_empty(scratch: Path) -> None:
    """Nothing is left in the system's temporary folder; joblib's helper may need a moment to clear up there."""
    end = time.monotonic() + 10
    while any(scratch.iterdir()) and time.monotonic() < end:
        time.sleep(0.1)
    assert list(scratch.rglob("*")) == []


def spread(names: Sequence[str], count: int) -> list[int]:
    """Numbers of operations over the whole run, and half of them around the commit if there is one."""
    commit = next((i for i, name in enumerate(names) if name == "replace manifest.yaml"), None)
    near = [] if commit is None else [commit, commit + 1, commit - 1, commit + 2, commit - 3, commit + 5]
    near = [i for i in near if 0 <= i < len(names)][: count // 2]
    evenly = (round((i + 0.5) * len(names) / (count - len(near))) for i in range(count - len(near)))
    return sorted({*near, *(min(i, len(names) - 1) for i in evenly)})


# ---- the kills -------------------------------------------------------------------------------------------------------

QUICK = [
    ("first", 1, 3),
    ("first", 2, 1),
    ("over", 1, 3),
    ("over", 2, 1),
    ("gc", 1, 2),
    ("gc tagged", 1, 1),
    ("checkout", 1, 1),
    ("export", 1, 1),
    ("pack", 1, 1),
    ("repair", 1, 2),
]
MANY = [
    ("first", 1, 12),
    ("first", 2, 6),
    ("over", 1, 12),
    ("over", 2, 6),
    ("gc", 1, 8),
    ("gc tagged", 1, 8),
    ("checkout", 1, 8),
    ("export", 1, 6),
    ("pack", 1, 6),
    ("repair", 1, 12),
]


@pytest.mark.parametrize(("scene", "jobs", "count"), [*QUICK, ("export in place", 1, 2)])
def test_kills_at_chosen_operations(world: World, tmp_path: Path, scene: str, jobs: int, count: int) -> None:
    names = operations(world, scene, jobs, tmp_path)
    for at in spread(names, count):
        assert attempt(world, scene, jobs, tmp_path / str(at), at=at), f"operation {at}: {names[at]}"


@pytest.mark.slow
@pytest.mark.parametrize(("scene", "jobs", "count"), [*MANY, ("export in place", 1, 12)])
def test_more_kills_at_chosen_operations(world: World, tmp_path: Path, scene: str, jobs: int, count: int) -> None:
    test_kills_at_chosen_operations(world, tmp_path, scene, jobs, count)


@pytest.mark.slow
@pytest.mark.parametrize(("scene", "jobs", "count"), MANY)
def test_kills_at_random_moments(world: World, tmp_path: Path, scene: str, jobs: int, count: int) -> None:
    chance = random.Random(f"{scene} {jobs}")
    (tmp_path / "undisturbed").mkdir()
    trial = SCENES[scene](world, tmp_path / "undisturbed", jobs)
    began = time.monotonic()
    assert killing.run(*trial.command())
    longest = time.monotonic() - began
    moments = [chance.uniform(0.02, 1) * longest for _ in range(count)]
    killed = [attempt(world, scene, jobs, tmp_path / str(i), after=moment) for i, moment in enumerate(moments)]
    assert any(killed)


def test_two_kills_in_a_row(world: World, tmp_path: Path) -> None:
    names = operations(world, "over", 1, tmp_path)
    trial = Rebuild(world, tmp_path)
    for at in (len(names) // 3, len(names) // 4):
        assert killing.run(*trial.command(), at=at) is None
    trial.check_after_kill()
    killing.run(*trial.command())
    trial.check_at_end()


# ---- workers ---------------------------------------------------------------------------------------------------------

PARENT = """
import time
from augforge.engine.execute import map_unordered
from slowly import wait
if __name__ == "__main__":
    for pid in map_unordered(wait, range(100), 2):
        print(pid, flush=True)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """Idle ones too: joblib keeps its workers for minutes, with 200 MB each."""
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "slowly.py").write_text("import os, time\ndef wait(i):\n    time.sleep(0.05)\n    return os.getpid()\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path, env=environment, stdout=-1, text=True) as parent:
        assert parent.stdout is not None
        workers = {int(parent.stdout.readline()) for _ in range(30)}
        parent.kill()
    end = time.monotonic() + 5
    assert workers and parent.pid not in workers
    while any(map(is_alive, workers)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(is_alive, workers))
