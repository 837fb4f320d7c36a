"""Damage to what a build may reuse costs what is damaged: the result is the same, down to the index's digest."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from recorder import Operation, before_each_operation
from toybox import edit_json, move_a_point, tiny_hands, write_recipe

from augforge.cache.filecache import FileCache
from augforge.engine.builder import build
from augforge.engine.summary import Summary
from augforge.store.codec import Encoding
from augforge.store.manifest import read_manifest
from augforge.store.verify import verify

LEVELS = [40, 70, 100, 130, 160, 190, 220]
STEPS = ("{op: hflip, keep_input: true}", "{op: mosaic}")  # flips stay in the work area, as no shard holds them


@dataclass
class Left:
    """What a build finds: a folder that an earlier one left, and the result that is expected of it."""

    recipe: Path
    folder: Path
    version: str
    index_sha256: str


def stop_at_the_commit(operation: Operation) -> None:
    if operation.target is not None and operation.target.name == "manifest.yaml":
        raise KeyboardInterrupt


@pytest.fixture(name="stopped", scope="module")
def stopped_fixture(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """All batches lie in the work area, and there is no version yet."""
    root = tmp_path_factory.mktemp("stopped")
    data = tiny_hands(root / "data", LEVELS, ["a", "b"])
    recipe = write_recipe(root / "recipe.yaml", data, STEPS, classes="[a, b]")
    with pytest.raises(KeyboardInterrupt), before_each_operation(stop_at_the_commit):
        build(recipe, root / "out")
    shutil.rmtree(root / "out/versions")  # as if it had been stopped before any of the version was written
    shutil.rmtree(root / "out/shards")
    return expected_of(recipe, root)


@pytest.fixture(name="older", scope="module")
def older_fixture(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """There is a version, whose data was edited since."""
    root = tmp_path_factory.mktemp("older")
    data = tiny_hands(root / "data", LEVELS, ["a", "b"])
    recipe = write_recipe(root / "recipe.yaml", data, STEPS, classes="[a, b]")
    build(recipe, root / "out")
    edit_json(next(iter(sorted(data.rglob("*.json")))), move_a_point)
    return expected_of(recipe, root)


def expected_of(recipe: Path, root: Path) -> Left:
    build(recipe, root / "undisturbed")
    manifest = read_manifest(root / "undisturbed")
    return Left(recipe, root / "out", manifest.version, manifest.index_sha256)


def flip_a_bit(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def check_after(left: Left, tmp_path: Path, damage: Callable[[Path], None]) -> Summary:
    """Damage a copy, build, compare."""
    folder = Path(shutil.copytree(left.folder, tmp_path))
    damage(folder)
    summary = build(left.recipe, folder)
    manifest = read_manifest(folder)
    assert (manifest.version, manifest.index_sha256) == (left.version, left.index_sha256)
    assert verify(folder, pixels=True) == []
    return summary


FLIPS = {
    "stopped": ("work/*.json", "work/*.bin", "work/files.sqlite"),
    "older": ("index/*.ledger.parquet", "index/????????????????.parquet", "work/*.bin", "work/*.json", "shards/*"),
}


@pytest.mark.parametrize(("scene", "pattern"), [(scene, pattern) for scene in FLIPS for pattern in FLIPS[scene]])
@pytest.mark.parametrize("count", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_a_flipped_bit(request: pytest.FixtureRequest, tmp_path: Path, scene: str, pattern: str, count: int) -> None:
    left, chance = request.getfixturevalue(scene), random.Random(f"{scene} {pattern} {count}")

    def damage(folder: Path) -> None:
        flip_a_bit(chance.choice(sorted(folder.glob(pattern))), chance)

    for number in range(count):
        check_after(left, tmp_path / str(number), damage)


@pytest.mark.parametrize("pattern", ["work/*.json", "work/*.bin", "work/files.sqlite", "index/*.ledger.parquet"])
@pytest.mark.parametrize("content", [b"", b"something else\n"])
def test_a_file_that_is_empty_or_another(older: Left, tmp_path: Path, pattern: str, content: bytes) -> None:
    def damage(folder: Path) -> None:
        for path in folder.glob(pattern):
            path.write_bytes(content)

    check_after(older, tmp_path / "out", damage)


def test_a_damaged_batch_costs_itself(stopped: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    encode = Encoding.encode

    def encode_and_count(self: Encoding, image: Any) -> bytes:
        made.append(image)
        return encode(self, image)

    monkeypatch.setattr(Encoding, "encode", encode_and_count)
    whole = check_after(stopped, tmp_path / "whole", lambda folder: None)
    assert made == [] and whole.made == 0

    def damage(folder: Path) -> None:
        path = max(sorted(folder.glob("work/*.bin")), key=lambda path: path.stat().st_size)
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    damaged = check_after(stopped, tmp_path / "damaged", damage)
    batches = len(list(stopped.folder.glob("work/*.bin")))
    assert 0 < len(made) < whole.reused and batches > 3
    assert damaged.made + damaged.reused == whole.reused


def test_damage_behind_an_unchanged_time_is_found(stopped: Left, tmp_path: Path) -> None:
    """Neither size nor time of a batch are believed: its payloads are compared when they are read."""

    def damage(folder: Path) -> None:
        for path in folder.glob("work/*.bin"):
            status = path.stat()
            flip_a_bit(path, random.Random(1))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    check_after(stopped, tmp_path / "out", damage)


def test_entries_of_a_file_cache_with_wrong_values_are_computed_again(tmp_path: Path) -> None:
    file, place = tmp_path / "image", tmp_path / "files.sqlite"
    file.write_text("x")
    cache = FileCache(place)
    cache.get(file, "name", lambda path: "right value")
    cache.save()
    data = place.read_bytes()
    assert data.count(b"right value") == 1
    place.write_bytes(data.replace(b"right value", b"wrong value"))
    assert FileCache(place).get(file, "name", lambda path: "computed again") == "computed again"


def test_what_can_be_read_of_a_damaged_file_cache_is_kept(tmp_path: Path) -> None:
    place, files = tmp_path / "files.sqlite", [tmp_path / f"image{i:03d}" for i in range(300)]
    cache = FileCache(place)
    for file in files:
        file.write_text("x" * 100)
        cache.get(file, "text", lambda path: path.read_text() * 5)
    cache.save()
    data = bytearray(place.read_bytes())
    middle = len(data) // 4096 // 2 * 4096
    data[middle : middle + 4096] = bytes(4096)
    place.write_bytes(data)
    computed: list[Path] = []
    damaged = FileCache(place)

    def compute(path: Path) -> str:
        computed.append(path)
        return path.read_text() * 5

    for file in files:
        damaged.get(file, "text", compute)
    damaged.save()
    assert 0 < len(computed) <= len(files)
    again = FileCache(place)
    assert all(again.has(file, "text") for file in files)
