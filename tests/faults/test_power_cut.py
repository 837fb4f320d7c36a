"""A power cut: a copy of the disk's content, taken at a moment of a build, holds a dataset that is whole.

The build runs on an ext4 file system in an image file. What the kernel has handed to the loop device is in that file,
and what it still keeps in memory is not; so a copy of the file is the disk as a power cut would leave it, and mounting
the copy replays ext4's journal as a restart does. Copies are taken when the manifest gets its name, when the build
returns, and before each fsync and rename in between.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from recorder import Operation, before_each_operation
from toybox import MOSAIC, edit_json, move_a_point, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.store.manifest import read_manifest
from augforge.store.verify import verify

pytestmark = pytest.mark.slow
MEGABYTES = 24


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    run("mount", "-o", "loop,commit=300", image, place)  # ext4 by itself writes all every 5 seconds, which hides faults
    try:
        yield place
    finally:
        run("umount", place)


@pytest.fixture(name="disk")
def disk_fixture(tmp_path: Path) -> Path:
    """An empty ext4 file system in a file; the test is skipped where none can be made and mounted."""
    missing = [program for program in ("mkfs.ext4", "mount", "losetup") if shutil.which(program) is None]
    if os.name != "posix" or os.geteuid() != 0 or missing:
        pytest.skip(f"needs root, and {', '.join(missing) or 'loop devices'}: a file system of its own is cut off")
    image = tmp_path / "disk.img"
    with image.open("wb") as stream:
        stream.truncate(MEGABYTES << 20)
    try:
        run("mkfs.ext4", "-q", image)
        with mounted(image, tmp_path / "probe"):
            pass
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs loop devices and ext4, but: {error.stderr.strip()}")
    return image


def recipe_of(tmp_path: Path) -> Path:
    data = tiny_hands(tmp_path / "data", [40, 80, 120, 160, 200], ["a", "b"])
    return write_recipe(tmp_path / "recipe.yaml", data, MOSAIC, classes="[a, b]")


def cut(image: Path, copy: Path) -> None:
    """What is on the disk at this moment."""
    run("cp", "--sparse=always", image, copy)


def state_after_restart(copy: Path, place: Path) -> str | None:
    """The version that is current after a restart, which has to be whole; None if there is none."""
    with mounted(copy, place) as disk:
        folder = disk / "out"
        if not (folder / "manifest.yaml").exists():
            return None
        assert verify(folder, pixels=True) == []
        version = read_manifest(folder).version
        assert read_manifest(folder, version) == read_manifest(folder)
        return version


def test_a_dataset_is_whole_after_a_power_cut_behind_the_build(tmp_path: Path, disk: Path) -> None:
    recipe = recipe_of(tmp_path)
    with mounted(disk, tmp_path / "disk") as place:
        summary = build(recipe, place / "out")
        cut(disk, tmp_path / "copy.img")
    assert state_after_restart(tmp_path / "copy.img", tmp_path / "copy") == summary.version
    with mounted(tmp_path / "copy.img", tmp_path / "copy") as place:
        again = build(recipe, place / "out")
    assert (again.version, again.unchanged, again.made) == (summary.version, True, 0)


def test_a_power_cut_at_any_moment_leaves_the_old_or_the_new_version(tmp_path: Path, disk: Path) -> None:
    recipe = recipe_of(tmp_path)
    cuts: list[Path] = []

    def cut_before(operation: Operation) -> None:
        if operation.kind in ("fsync", "replace") and tmp_path / "disk" in operation.path.parents:
            cuts.append(tmp_path / f"cut{len(cuts)}.img")
            cut(disk, cuts[-1])

    with mounted(disk, tmp_path / "disk") as place:
        old = build(recipe, place / "out").version
        edit_json(next((tmp_path / "data").rglob("*.json")), move_a_point)
        with before_each_operation(cut_before):
            new = build(recipe, place / "out").version
    found = [state_after_restart(copy, tmp_path / "copy") for copy in cuts]
    assert len(cuts) > 15 and old != new
    assert set(found) == {old, new}
    assert found == sorted(found, key=lambda version: version == new), "once it is there, the new version stays"


def test_the_cut_shows_what_was_not_synced(tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without syncs of the shards the same cut loses them: the test above can fail."""
    recipe = recipe_of(tmp_path)
    monkeypatch.setattr("augforge.store.shard.sync_file", lambda path: None)
    with mounted(disk, tmp_path / "disk") as place:
        build(recipe, place / "out")
        cut(disk, tmp_path / "copy.img")
    with mounted(tmp_path / "copy.img", tmp_path / "copy") as place:
        shards = [place / "out" / shard.path for shard in read_manifest(place / "out").shards]
        assert all(shard.stat().st_size == 0 for shard in shards)
