"""The manifest: what makes a version, and reading one back or refusing it with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from augforge.errors import DatasetError
from augforge.store.manifest import (
    FORMAT_VERSION,
    Manifest,
    RecipeEntry,
    ShardEntry,
    SourceEntry,
    read_manifest,
    rejected_digest,
    version_of,
    versions,
    write_manifest,
)
from augforge.store.tables import count_reasons

SHARDS = [
    ShardEntry(path=f"shards/train-{letter * 16}.parquet", split="train", rows=3, bytes=99, sha256=letter * 64)
    for letter in "abc"
]
REJECTED = [
    {"name": "x", "id": "1", "group": "g", "split": "train", "step": "metal", "reason": "ring", "detail": "score 3"},
    {"name": "y", "id": "2", "group": "g", "split": "train", "step": "metal", "reason": "ring", "detail": ""},
    {"name": "z", "id": "", "group": "", "split": "", "step": "source", "reason": "no image", "detail": "a/b.json"},
]


def manifest(**changes: object) -> Manifest:
    version = version_of(["a", "b"], [], SHARDS, rejected_digest(REJECTED))
    fields = {
        "format": FORMAT_VERSION,
        "name": "toy",
        "version": version,
        "samples": 9,
        "splits": {"train": 9},
        "classes": ["a", "b"],
        "labels": [],
        "encoding": "png",
        "source": SourceEntry(format="hand-bone", digest="d", samples=9),
        "fitted": {"metal": {"threshold": 0.25, "by": [1, None]}},
        "rejected": count_reasons(REJECTED),
        "rejected_digest": rejected_digest(REJECTED),
        "ops": {"hflip": 1},
        "made_by": {"numpy": "2"},
        "index_sha256": "0" * 64,
        "recipe": RecipeEntry(digest="e", text="name: toy  # é\n\n\tsteps: |\n  x\n"),
        "shards": SHARDS,
    }
    return Manifest.model_validate({**fields, **changes})


def test_round_trip(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    assert read_manifest(tmp_path) == manifest()
    assert read_manifest(tmp_path, manifest().version[:4]) == manifest()
    assert versions(tmp_path) == [manifest().version]
    assert manifest().expected_version() == manifest().version


def test_texts_that_look_like_numbers_round_trip(tmp_path: Path) -> None:
    """Digests of digits alone, or like 1e5, must come back as text."""
    tricky = {"name": "1e5", "encoding": "no", "index_sha256": "1e5" + "0" * 61, "classes": ["1", "null", "on", "0x1f"]}
    write_manifest(tmp_path, manifest(**tricky, version="12345678901234e5"))
    assert read_manifest(tmp_path) == manifest(**tricky, version="12345678901234e5")


def test_version_depends_on_content_alone() -> None:
    whole = version_of(["a", "b"], ["l"], SHARDS, "r")
    assert version_of(["a", "b"], ["l"], SHARDS[::-1], "r") == whole
    moved = [shard.model_copy(update={"path": "elsewhere", "rows": 7}) for shard in SHARDS]
    assert version_of(["a", "b"], ["l"], moved, "r") == whole
    others = [
        version_of(["b", "a"], ["l"], SHARDS, "r"),
        version_of(["a", "b"], ["m"], SHARDS, "r"),
        version_of(["a"], ["b", "l"], SHARDS, "r"),
        version_of(["a", "b"], ["l"], SHARDS[:2], "r"),
        version_of(["a", "b"], ["l"], SHARDS, "s"),
    ]
    assert len({whole, *others}) == 6


def test_rejected_digest_does_not_depend_on_order() -> None:
    assert rejected_digest(REJECTED[::-1]) == rejected_digest(REJECTED)
    assert rejected_digest(REJECTED[1:]) != rejected_digest(REJECTED)
    assert count_reasons(REJECTED) == {"metal: ring": 2, "source: no image": 1}


def test_error_without_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no manifest.yaml.*augforge build"):
        read_manifest(tmp_path)


def test_unknown_version_names_the_nearest(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    with pytest.raises(DatasetError, match=f"no version 'zzz'.*{manifest().version}"):
        read_manifest(tmp_path, "zzz")
    write_manifest(tmp_path, manifest(version=manifest().version[:3] + "0" * 13))
    with pytest.raises(DatasetError, match="several versions that begin with"):
        read_manifest(tmp_path, manifest().version[:2])


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest(format=99))
    with pytest.raises(DatasetError, match="of format 99, this augforge reads format 1 and 2"):
        read_manifest(tmp_path)


def test_error_names_file_and_line_of_a_damaged_manifest(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    path = tmp_path / "manifest.yaml"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace("samples: 9\nsplits", "samples: nine\nsplits"), encoding="utf-8")
    with pytest.raises(DatasetError, match=rf"{path}:4: samples: expected .*number, got 'nine'"):
        read_manifest(tmp_path)
    path.write_text(whole + "surprise: 1\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="surprise: unknown key"):
        read_manifest(tmp_path)
    path.write_text(whole[: len(whole) // 2], encoding="utf-8")
    with pytest.raises(DatasetError, match=str(path)):
        read_manifest(tmp_path)
