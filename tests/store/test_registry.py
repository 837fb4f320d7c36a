"""The registry: whose entry is whose, licences kept, broken files told with file and line; writers at once, kills."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import killing
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from augforge.errors import DatasetError
from augforge.store import registry as registry_module
from augforge.store.registry import (
    LOCK_FOLDER,
    RegisteredDataset,
    RegisteredSource,
    Registry,
    read_registry,
    update_registry,
    write_registry,
)


def source(path: str = "data/hands", digest: str = "d", **changes: object) -> RegisteredSource:
    fields = {"name": Path(path).name, "format": "hand-bone", "path": path, "digest": digest, "samples": 8}
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


def named(registry: Registry) -> dict[str, tuple[str, str]]:
    """Path and digest of the source that each dataset refers to."""
    sources = {each.name: (each.path, each.digest) for each in registry.sources}
    assert len(sources) == len(registry.sources)
    return {each.name: sources[each.source] for each in registry.datasets}


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


# ---- whose entry is whose --------------------------------------------------------------------------------------------


def test_datasets_are_replaced_by_name_and_all_is_sorted() -> None:
    registry = Registry().with_entries(source("data/z", "old", licence="MIT"), dataset("b"))
    registry = registry.with_entries(source("data/a"), dataset("a"))
    registry = registry.with_entries(source("data/z", "new", samples=9), dataset("b", version="f" * 16))
    assert [(entry.name, entry.digest, entry.licence) for entry in registry.sources] == [
        ("a", "d", None),
        ("z", "new", "MIT"),
    ]
    assert [(entry.name, entry.version) for entry in registry.datasets] == [("a", dataset().version), ("b", "f" * 16)]


def test_two_folders_of_one_name_are_two_sources() -> None:
    registry = Registry().with_entries(source("left/hands", licence="CC0-1.0"), dataset("one"))
    registry = registry.with_entries(source("right/hands", "other"), dataset("two"))
    assert [(entry.name, entry.licence) for entry in registry.sources] == [("hands", "CC0-1.0"), ("right/hands", None)]
    assert named(registry) == {"one": ("left/hands", "d"), "two": ("right/hands", "other")}
    assert registry.with_entries(source("right/hands", "other"), dataset("two")) == registry


def test_an_earlier_state_of_the_data_stays_while_datasets_refer_to_it() -> None:
    registry = Registry().with_entries(source(digest="1" * 32, licence="CC0-1.0"), dataset("one"))
    registry = registry.with_entries(source(digest="1" * 32), dataset("two"))
    registry = registry.with_entries(source(digest="2" * 32), dataset("two"))
    assert named(registry) == {"one": ("data/hands", "1" * 32), "two": ("data/hands", "2" * 32)}
    assert [(entry.name, entry.licence) for entry in registry.sources] == [
        ("hands", "CC0-1.0"),
        ("hands@11111111", "CC0-1.0"),
    ]
    registry = registry.with_entries(source(digest="2" * 32), dataset("one"))
    assert [(entry.name, entry.digest) for entry in registry.sources] == [("hands", "2" * 32)]


def test_a_stated_licence_replaces_the_old_one() -> None:
    registry = Registry().with_entries(source(licence="MIT"), dataset())
    assert registry.with_entries(source(licence="CC0-1.0"), dataset()).sources[0].licence == "CC0-1.0"


def test_the_same_data_elsewhere_has_the_same_licence() -> None:
    registry = Registry().with_entries(source(licence="MIT"), dataset())
    registry = registry.with_entries(source("elsewhere/hands"), dataset("other"))
    assert [entry.licence for entry in registry.sources] == ["MIT", "MIT"]


PATHS = st.sampled_from(["hands", "a/hands", "b/hands", "../a/hands", "s3://a/hands", "a/feet", "."])


@given(st.lists(st.tuples(PATHS, st.sampled_from("123"), st.sampled_from("xyz"))))
def test_each_dataset_refers_to_what_it_was_registered_with(registrations: list[tuple[str, str, str]]) -> None:
    registry, expected, licences = Registry(), {}, {}
    for path, digest, name in registrations:
        digest *= 32
        registry = registry.with_entries(source(path, digest, name="hands"), dataset(name))
        expected[name] = (path, digest)
        licences = {(each.path, each.digest): each.licence for each in registry.sources}
        assert named(registry) == expected
        assert set(licences) >= set(expected.values())
    assert Registry.model_validate(registry.model_dump()) == registry


def test_error_names_the_wrong_entry_of_a_registry(tmp_path: Path) -> None:
    path = tmp_path / "data_manifest.yaml"
    path.write_text("sources: []\ndatasets:\n- name: toy\n")
    with pytest.raises(DatasetError, match=rf"{path}:3: .*missing"):
        read_registry(path)


# ---- several writers, and kills --------------------------------------------------------------------------------------


def register(path: Path, name: str) -> None:
    update_registry(path, lambda registry: registry.with_entries(source(f"data/{name}", name), dataset(name)))


def register_several(path: Path, names: list[str]) -> None:
    for name in names:
        register(path, name)


def names_in(path: Path) -> list[str]:
    return [entry.name for entry in read_registry(path).datasets]


def test_registrations_at_once_lose_nothing(tmp_path: Path) -> None:
    """32 of them, by eight processes that start together."""
    path = tmp_path / "data_manifest.yaml"
    names = [f"toy-{i:02}" for i in range(32)]
    processes = [killing.SERVER.Process(target=register_several, args=(path, names[i::8])) for i in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(killing.PATIENCE)
        assert process.exitcode == 0
    assert names_in(path) == names
    assert [entry.name for entry in read_registry(path).sources] == names
    assert sorted(each.name for each in tmp_path.iterdir()) == [LOCK_FOLDER, "data_manifest.yaml"]


@pytest.mark.slow
def test_32_processes_register_at_once(tmp_path: Path) -> None:
    path = tmp_path / "data_manifest.yaml"
    names = [f"toy-{i:02}" for i in range(32)]
    processes = [killing.SERVER.Process(target=register, args=(path, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(killing.PATIENCE)
        assert process.exitcode == 0
    assert names_in(path) == names


def test_the_lock_is_waited_for_and_ignored_by_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data_manifest.yaml"
    register(path, "one")
    assert (tmp_path / LOCK_FOLDER / ".gitignore").read_text() == "*\n"
    with FileLock(tmp_path / LOCK_FOLDER / "data_manifest.yaml.lock"):
        waiting = threading.Thread(target=register, args=(path, "two"))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive() and names_in(path) == ["one"]
    waiting.join(20)
    assert names_in(path) == ["one", "two"]
    monkeypatch.setattr(registry_module, "_PATIENCE", 0.1)
    with (
        FileLock(tmp_path / LOCK_FOLDER / "data_manifest.yaml.lock"),
        pytest.raises(DatasetError, match="another process has been writing"),
    ):
        register(path, "three")


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_kill_at_any_operation_leaves_the_old_or_the_new_registry(tmp_path: Path) -> None:
    (tmp_path / "undisturbed").mkdir()
    operations = killing.run(register, tmp_path / "undisturbed/data_manifest.yaml", "new")
    assert operations and "replace data_manifest.yaml" in operations
    seen = set()
    for at in range(len(operations)):
        path = tmp_path / str(at) / "data_manifest.yaml"
        path.parent.mkdir()
        write_registry(path, Registry().with_entries(source("data/old"), dataset("old")))
        assert killing.run(register, path, "new", at=at) is None, operations[at]
        assert names_in(path) in (["old"], ["new", "old"]), operations[at]
        seen.add(len(names_in(path)))
        register(path, "later")
        assert set(names_in(path)) >= {"later", "old"}
        assert sorted(each.name for each in path.parent.iterdir()) == [LOCK_FOLDER, "data_manifest.yaml"]
    assert seen == {1, 2}
