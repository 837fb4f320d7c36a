"""Flipped bits in every file of a dataset: `verify` finds each one and names the sample where a single one is hit.

`repair` then makes the file again, byte for byte.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from toybox import tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.engine.repair import repair
from augforge.store.dataset import open_dataset
from augforge.store.history import tag_version
from augforge.store.manifest import read_manifest, versions
from augforge.store.verification.report import Fault
from augforge.store.verify import check_dataset


@dataclass(frozen=True)
class Spot:
    """A byte of a file, and the sample whose payload it belongs to, if it is part of one."""

    file: str
    at: int
    sample: str | None


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions with rejected samples, metadata, stages, and a tag."""
    root = tmp_path_factory.mktemp("flips")
    data = tiny_hands(root / "data", [30, 60, 90, 120, 150, 250])
    for seed in ("1", "2"):
        steps = [
            "{op: hflip, keep_input: true}",
            "{op: where, condition: \"name <> 'ID003/image0000000000003'\"}",
            "{op: mosaic, keep_input: true}",
        ]
        recipe = write_recipe(root / f"{seed}.yaml", data, steps, seed=int(seed), classes="[a, b]")
        build(recipe, root / "toy")
    tag_version(root / "toy", "first", versions(root / "toy")[0])
    assert len(versions(root / "toy")) == 2
    return root / "toy"


def checked_files(folder: Path) -> list[Path]:
    """All that `verify --all` covers."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [p for p in files if "work" not in p.relative_to(folder).parts and p.name not in (".lock", "log.jsonl")]


def payloads(folder: Path) -> dict[str, list[tuple[int, int, str]]]:
    """Begin, end and sample of every payload, by shard."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for version in versions(folder):
        for row in open_dataset(folder, version).index.iter_rows(named=True):
            for part in ("image", "masks"):
                start = row[f"{part}_offset"]
                found.setdefault(row["shard"], []).append((start, start + row[f"{part}_bytes"], row["name"]))
    return found


def spots(folder: Path, count: int, seed: int) -> Iterator[Spot]:
    """Bytes to flip: the files take turns, so that small ones are hit as often as large ones."""
    chance, files, places = random.Random(seed), checked_files(folder), payloads(folder)
    for number in range(count):
        path = files[number % len(files)]
        name, at = path.relative_to(folder).as_posix(), chance.randrange(path.stat().st_size)
        sample = next((sample for start, end, sample in places.get(name, ()) if start <= at < end), None)
        yield Spot(name, at, sample)


def flip(path: Path, at: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(bytes(data))


def repair_flips(whole: Path, tmp_path: Path, count: int, seed: int) -> None:
    folder, failed = Path(shutil.copytree(whole, tmp_path / "toy")), []
    # Of these there is one copy in a folder: tags, and the manifest of an older version.
    single = [
        "tags.yaml",
        *(f"versions/{name}.yaml" for name in versions(whole) if name != read_manifest(whole).version),
    ]
    for number, spot in enumerate(spots(whole, count, seed)):
        flip(folder / spot.file, spot.at, number % 8)
        found = repair(folder, every=True, mirror=str(whole) if spot.file in single else None)
        if found.faults or found.repaired != [spot.file] or not is_same(whole / spot.file, folder / spot.file):
            failed.append((spot, found))
            shutil.copy2(whole / spot.file, folder / spot.file)
    assert not failed
    assert check_dataset(folder, every=True, pixels=True).ok


def is_same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


def is_named(spot: Spot, fault: Fault) -> bool:
    """Whether a fault names the sample that was hit, and for any damage of a shard some samples and versions."""
    if spot.sample is not None:
        return fault.samples == (spot.sample,)
    return not spot.file.startswith("shards/") or bool(fault.samples and fault.versions)


def find_flips(whole: Path, tmp_path: Path, count: int, seed: int) -> None:
    folder, missed, unnamed = Path(shutil.copytree(whole, tmp_path / "toy")), [], []
    for number, spot in enumerate(spots(whole, count, seed)):
        flip(folder / spot.file, spot.at, number % 8)
        faults = [fault for fault in check_dataset(folder, every=True).faults if fault.file == spot.file]
        if not faults:
            missed.append(spot)
        elif not is_named(spot, faults[0]):
            unnamed.append(spot)
        shutil.copy2(whole / spot.file, folder / spot.file)
    assert not missed
    assert not unnamed
    assert check_dataset(folder, every=True, pixels=True).ok


def test_every_file_is_covered(whole: Path) -> None:
    names = {path.relative_to(whole).parts[0] for path in checked_files(whole)}
    assert names == {"manifest.yaml", "tags.yaml", "README.md", "versions", "index", "shards"}
    assert read_manifest(whole).rejected


def test_flipped_bits_are_found(whole: Path, tmp_path: Path) -> None:
    find_flips(whole, tmp_path, 60, seed=1)


def test_flipped_bits_are_repaired(whole: Path, tmp_path: Path) -> None:
    repair_flips(whole, tmp_path, 16, seed=3)


@pytest.mark.slow
def test_two_hundred_flipped_bits_are_repaired(whole: Path, tmp_path: Path) -> None:
    repair_flips(whole, tmp_path, 200, seed=4)


@pytest.mark.slow
def test_five_hundred_flipped_bits_are_found(whole: Path, tmp_path: Path) -> None:
    find_flips(whole, tmp_path, 500, seed=2)
