"""The registry: entries replaced by name, licences kept, broken files told with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from augforge.errors import DatasetError
from augforge.store.registry import RegisteredDataset, RegisteredSource, Registry, read_registry, write_registry


def source(name: str = "hands", **changes: object) -> RegisteredSource:
    fields = {"name": name, "format": "hand-bone", "path": "data/hands", "digest": "d", "samples": 8}
    return RegisteredSource.model_validate({**fields, **changes})


def dataset(name: str = "toy", **changes: object) -> RegisteredDataset:
    fields = {
        "name": name,
        "recipe": "recipes/toy.yaml",
        "recipe_digest": "r",
        "source": "hands",
        "version": "0123456789012345",
        "splits": {"train": 6, "val": 2},
    }
    return RegisteredDataset.model_validate({**fields, **changes})


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "data_manifest.yaml"
    assert read_registry(path) == Registry()
    registry = Registry().with_entries(source(licence="CC0-1.0"), dataset())
    write_registry(path, registry)
    assert read_registry(path) == registry
    assert path.read_text().startswith("# Which sources and datasets this repository stands for")
    before = path.read_bytes()
    write_registry(path, read_registry(path).with_entries(source(), dataset()))
    assert path.read_bytes() == before


def test_entries_are_replaced_by_name_and_sorted() -> None:
    registry = Registry().with_entries(source("z", licence="MIT"), dataset("b")).with_entries(source("a"), dataset("a"))
    registry = registry.with_entries(source("z", digest="new", samples=9), dataset("b", version="f" * 16))
    assert [(entry.name, entry.licence) for entry in registry.sources] == [("a", None), ("z", "MIT")]
    assert registry.sources[1].digest == "new"
    assert [(entry.name, entry.version) for entry in registry.datasets] == [("a", dataset().version), ("b", "f" * 16)]


def test_a_stated_licence_replaces_the_old_one() -> None:
    registry = (
        Registry().with_entries(source(licence="MIT"), dataset()).with_entries(source(licence="CC0-1.0"), dataset())
    )
    assert registry.sources[0].licence == "CC0-1.0"


def test_error_names_the_wrong_entry_of_a_registry(tmp_path: Path) -> None:
    path = tmp_path / "data_manifest.yaml"
    path.write_text("sources: []\ndatasets:\n- name: toy\n")
    with pytest.raises(DatasetError, match=rf"{path}:3: .*missing"):
        read_registry(path)
