"""Sweeping: the work area and what no kept version names go, the current version stays whole."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from toybox import shas, toy_fixture, two_versions_fixture  # noqa: F401

from augforge.engine.builder import build
from augforge.engine.summary import Summary
from augforge.errors import DatasetError
from augforge.files import writer_lock
from augforge.store.dataset import open_dataset
from augforge.store.gc import collect
from augforge.store.history import checkout, tag_version
from augforge.store.manifest import read_manifest, versions
from augforge.store.tables import read_rejected, read_stages
from augforge.store.verify import verify
from augforge.store.versions import removed_version


def rebuilt(two_versions: Path, toy: Path) -> Summary:
    return build(two_versions / "recipe.yaml", toy)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def old(folder: Path, days: float = 3) -> Path:
    """The folder, as if everything in it had happened days ago."""
    shift = days * 86_400
    for path in folder.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (time.time() - shift,) * 2)
    log = folder / "log.jsonl"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    for entry in entries:
        then = time.time() - shift
        entry["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(then))
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_collect_keeps_all_versions_by_default(toy: Path) -> None:
    (toy / "shards/.train-0.0123abcd.tmp").write_bytes(b"left by a kill")
    (toy / "shards/train-feedfeedfeedfeed.parquet").write_bytes(b"of no version")
    (toy / "index/feedfeedfeedfeed.parquet").write_bytes(b"of no version")
    (toy / "index/.feedfeedfeedfeed.parquet.0123abcd.tmp").write_bytes(b"left by a kill")
    (toy / "work/scratch-0123_xyz/work").mkdir(parents=True)
    (toy / "work/scratch-0123_xyz/work/batch.bin").write_bytes(b"left by a repair that was killed")
    before, kept, logged = size(toy), versions(toy), (toy / "log.jsonl").stat().st_size
    freed = collect(toy, now=True)
    assert freed["bytes"] == before - size(toy) + (toy / "log.jsonl").stat().st_size - logged > 0
    assert freed["files"] >= 5  # and the file cache
    assert versions(toy) == kept
    assert all(verify(toy, version, pixels=True) == [] for version in kept)
    assert not (toy / "shards/.train-0.0123abcd.tmp").exists()
    assert {path.name.split(".")[0] for path in (toy / "index").iterdir()} == set(kept)
    assert list((toy / "work").rglob("*")) == []


def test_nothing_younger_than_a_day_is_removed(toy: Path) -> None:
    """A build that was stopped goes on from its work area, and a training may read the version before."""
    before, current = contents(toy), read_manifest(toy).version
    (previous,) = set(versions(toy)) - {current}
    freed = collect(toy, keep=1)
    assert (freed["files"], freed["versions"], freed["recent"]["versions"]) == (0, [], [previous])
    assert contents(toy) == before
    assert freed["recent"]["files"] == collect(toy, keep=1, now=True, dry_run=True)["files"] > 3
    old(toy)
    batch = toy / "work/0123456789abcdef.json"
    batch.write_text("of a build that was stopped")
    freed = collect(toy, keep=1)
    assert freed["versions"] == [previous] and versions(toy) == [current]
    assert (freed["recent"]["files"], batch.exists(), (toy / "work/files.sqlite").exists()) == (1, True, False)


def test_a_version_counts_as_read_until_a_day_after_another_became_current(toy: Path) -> None:
    """However old its files are: who opened it an hour ago got it as the current one."""
    current = read_manifest(toy).version
    (previous,) = set(versions(toy)) - {current}
    checkout(old(toy, days=90), previous)
    assert collect(toy, keep=1)["recent"]["versions"] == [current]
    (toy / "log.jsonl").unlink()  # without the log, the time of manifest.yaml counts
    assert collect(toy, keep=1)["recent"]["versions"] == [current]
    for path in toy.glob("*.yaml"):
        os.utime(path, (0, 0))
    assert collect(toy, keep=1)["versions"] == [current] and verify(toy, pixels=True) == []


def test_a_dry_run_writes_nothing_and_says_what_gc_then_does(toy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in toy.rglob("*")}
    planned = collect(toy, keep=1, now=True, dry_run=True)
    assert {path: path.stat().st_mtime_ns for path in toy.rglob("*")} == before
    assert collect(toy, keep=1, now=True) == planned | {"dry_run": False}


@pytest.mark.parametrize("damage", ["bits", "shards", "cut", "current", "tags"])
def test_a_damaged_manifest_stops_it(toy: Path, damage: str) -> None:
    """Nobody knows then which shards it names."""
    previous = next(version for version in versions(toy) if version != read_manifest(toy).version)
    path = toy / {"current": "manifest.yaml", "tags": "tags.yaml"}.get(damage, f"versions/{previous}.yaml")
    text = path.read_text() if path.exists() else "baseline: no version\n"
    shard = next(iter(read_manifest(toy).shards)).sha256
    other = read_manifest(toy, previous).shards[0].sha256
    changed = {
        "bits": text.replace("shards:", "shardz:"),
        "shards": text.replace(other, "0" * 64),
        "cut": text[: len(text) // 2],
        "current": text.replace(shard, "0" * 64),
        "tags": text,
    }
    path.write_text(changed[damage])
    before = contents(toy)
    for dry_run in (True, False):
        with pytest.raises(DatasetError, match=re.escape(path.name)):
            collect(toy, keep=1, now=True, dry_run=dry_run)
    assert contents(toy) == before


def test_foreign_files_and_links_stay(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    precious = tmp_path / "elsewhere/train-0123456789abcdef.parquet"
    precious.write_text("precious")
    mine = [
        "notes.txt",
        "shards/notes.txt",
        "shards/train.parquet",
        "index/mine.csv",
        "versions/old.yaml",
        "work/a.txt",
        "work/scratch-notes/a.txt",
    ]
    for name in mine:
        (toy / name).parent.mkdir(exist_ok=True)
        (toy / name).write_text("mine")
    (toy / "work/folder").mkdir()
    (toy / "work/folder/0123456789abcdef.bin").write_text("mine")
    (toy / "shards/train-0123456789abcdef.parquet").symlink_to(precious)
    shutil.rmtree(toy / "work/files", ignore_errors=True)
    freed = collect(toy, keep=1, now=True)
    assert all((toy / name).read_text() == "mine" for name in [*mine, "work/folder/0123456789abcdef.bin"])
    assert precious.read_text() == "precious" and (toy / "shards/train-0123456789abcdef.parquet").is_symlink()
    stays = {*mine[1:-1], "work/scratch-notes", "work/folder", "shards/train-0123456789abcdef.parquet"}
    assert set(freed["foreign"]) == stays and len(freed["versions"]) == 1


def test_a_folder_that_is_a_link_is_left_alone(toy: Path, tmp_path: Path) -> None:
    shutil.move(toy / "work", tmp_path / "scratch")
    (toy / "work").symlink_to(tmp_path / "scratch")
    (tmp_path / "scratch/0123456789abcdef.bin").write_text("x")
    assert "work" in collect(toy, keep=1, now=True)["foreign"]
    assert (tmp_path / "scratch/0123456789abcdef.bin").exists() and verify(toy) == []


def test_a_reader_of_a_version_that_went_away_is_told(toy: Path) -> None:
    """Before its index is read, and after that; what it has mapped already can still be read."""
    current = read_manifest(toy).version
    (previous,) = set(versions(toy)) - {current}
    reader, manifest = open_dataset(toy, previous), read_manifest(toy, previous)
    collect(toy, keep=1, now=True)
    gone = {shard.path for shard in manifest.shards} - {shard.path for shard in read_manifest(toy).shards}
    said = rf"version {previous} of .* gc removed it .* There are: {current}\. "
    with pytest.raises(DatasetError, match=said):
        for i in range(len(reader)):
            reader.payload(i)
    for read in (lambda: reader.index, reader.check, lambda: read_stages(reader), lambda: read_rejected(reader)):
        with pytest.raises(DatasetError, match=said):
            read()
    assert gone and removed_version(toy, current) is None
    with pytest.raises(DatasetError, match=f"has no version '{previous}'"):
        open_dataset(toy, previous)


def test_tagged_versions_stay(toy: Path) -> None:
    current = read_manifest(toy).version
    (previous,) = set(versions(toy)) - {current}
    tag_version(toy, "baseline", previous)
    assert collect(toy, keep=1, now=True)["versions"] == []
    assert verify(toy, "baseline", pixels=True) == []


def test_collect_keeps_the_newest_versions(toy: Path) -> None:
    current, digests = read_manifest(toy).version, shas(toy)
    collect(toy, keep=1, now=True)
    assert versions(toy) == [current]
    assert verify(toy, pixels=True) == []
    assert {path.name for path in (toy / "shards").iterdir()} == {Path(s.path).name for s in read_manifest(toy).shards}
    assert shas(toy) == digests
    assert {path.name.split(".")[0] for path in (toy / "index").iterdir()} == {current}
    again = collect(toy, keep=1, now=True)
    assert (again["files"], again["bytes"]) == (0, 0)


def test_collect_keeps_the_current_version_even_if_it_is_older(two_versions: Path, toy: Path) -> None:
    current = read_manifest(toy).version
    (previous,) = set(versions(toy)) - {current}
    (toy / "manifest.yaml").write_bytes((toy / f"versions/{previous}.yaml").read_bytes())
    collect(toy, keep=1, now=True)
    assert versions(toy) == [previous]
    assert verify(toy, pixels=True) == []


def test_building_after_collect_makes_nothing_again(two_versions: Path, toy: Path) -> None:
    version = read_manifest(toy).version
    collect(toy, keep=1, now=True)
    summary = rebuilt(two_versions, toy)
    assert (summary.version, summary.made, summary.new_shards, summary.unchanged) == (version, 0, 0, True)


def test_collect_refuses_a_running_build_and_other_folders(toy: Path, tmp_path: Path) -> None:
    with writer_lock(toy), pytest.raises(DatasetError, match="another build"):
        collect(toy)
    (tmp_path / "mine/work").mkdir(parents=True)
    (tmp_path / "mine/work/precious").write_text("x")
    with pytest.raises(DatasetError, match="is no dataset"):
        collect(tmp_path / "mine")
    assert (tmp_path / "mine/work/precious").exists()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["work"]
