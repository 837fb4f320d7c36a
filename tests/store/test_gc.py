"""Sweeping: the work area and what no kept version names go, the current version stays whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from toybox import shas, toy_fixture, two_versions_fixture  # noqa: F401

from augforge.engine.builder import Summary, build
from augforge.errors import DatasetError
from augforge.files import writer_lock
from augforge.store.gc import collect
from augforge.store.manifest import read_manifest, versions
from augforge.store.verify import verify


def rebuilt(two_versions: Path, toy: Path) -> Summary:
    return build(two_versions / "recipe.yaml", toy)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_collect_keeps_all_versions_by_default(toy: Path) -> None:
    (toy / "shards/.train-0.tmp").write_bytes(b"left by a kill")
    (toy / "shards/train-feedfeed.parquet").write_bytes(b"of no version")
    (toy / "index/feed.parquet").write_bytes(b"of no version")
    (toy / "index/.feed.parquet.1.tmp").write_bytes(b"left by a kill")
    before, kept = size(toy), versions(toy)
    freed = collect(toy)
    assert freed["bytes"] == before - size(toy) > 0
    assert freed["files"] >= 5  # and the file cache
    assert versions(toy) == kept
    assert all(verify(toy, version, pixels=True) == [] for version in kept)
    assert not (toy / "shards/.train-0.tmp").exists()
    assert {path.name.split(".")[0] for path in (toy / "index").iterdir()} == set(kept)
    assert list((toy / "work").rglob("*")) == []


def test_collect_keeps_the_newest_versions(toy: Path) -> None:
    current, digests = read_manifest(toy).version, shas(toy)
    collect(toy, keep=1)
    assert versions(toy) == [current]
    assert verify(toy, pixels=True) == []
    assert {path.name for path in (toy / "shards").iterdir()} == {Path(s.path).name for s in read_manifest(toy).shards}
    assert shas(toy) == digests
    assert {path.name.split(".")[0] for path in (toy / "index").iterdir()} == {current}
    again = collect(toy, keep=1)
    assert (again["files"], again["bytes"]) == (0, 0)


def test_collect_keeps_the_current_version_even_if_it_is_older(two_versions: Path, toy: Path) -> None:
    current = read_manifest(toy).version
    (old,) = set(versions(toy)) - {current}
    (toy / "manifest.yaml").write_bytes((toy / f"versions/{old}.yaml").read_bytes())
    collect(toy, keep=1)
    assert versions(toy) == [old]
    assert verify(toy, pixels=True) == []


def test_building_after_collect_makes_nothing_again(two_versions: Path, toy: Path) -> None:
    version = read_manifest(toy).version
    collect(toy, keep=1)
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
