"""Copying versions between folders and URLs: what is missing, checked, and in an order that survives a stop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from objectstore import clear_memory
from toybox import MOSAIC, annotation, edit_json, move_a_point, tiny_hands, write_recipe

from augforge.engine import copying
from augforge.engine.builder import build
from augforge.engine.copying import copy_version
from augforge.errors import DatasetError
from augforge.store.dataset import open_dataset
from augforge.store.history import checkout, delete_tag, history, list_tags, tag_version
from augforge.store.manifest import read_manifest
from augforge.store.storage import open_storage
from augforge.store.verify import verify

Places = tuple[str, str]


@pytest.fixture(name="made", scope="module")
def made_fixture(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A dataset, and its two versions in the order in which they were built; the first has a tag."""
    root = tmp_path_factory.mktemp("made")
    data = tiny_hands(root / "data", range(10, 130, 20))
    recipe = write_recipe(root / "recipe.yaml", data, MOSAIC, classes="[a, b]")
    first = build(recipe, root / "hands").version
    tag_version(root / "hands", "baseline")
    edit_json(annotation(data, "ID001/image0000000000001"), move_a_point)
    return root / "hands", first, build(recipe, root / "hands").version


@pytest.fixture(name="places", params=["folder-folder", "folder-url", "url-folder", "url-url"])
def places_fixture(
    request: pytest.FixtureRequest, made: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Places]:
    """Where the dataset lies, and where nothing lies yet."""
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))
    source, target = request.param.split("-")
    files = fsspec.filesystem("memory")
    files.put(str(made[0]), "/near/hands", recursive=True)
    yield (
        str(made[0]) if source == "folder" else "memory://near/hands",
        str(tmp_path / "copy") if target == "folder" else "memory://far/copy",
    )
    clear_memory()


def test_a_copy_is_the_version_and_the_next_one_takes_what_is_new(places: Places, made: tuple[Path, str, str]) -> None:
    source, target = places
    _, first, second = made
    done = copy_version(source, target, first)
    assert (done.version, done.copied_files, done.unchanged) == (first, done.files, False)
    assert verify(target, pixels=True) == [] and list_tags(target) == {"baseline": first}
    done = copy_version(source, target)
    shared = {s.path for s in read_manifest(made[0], first).shards} & {s.path for s in read_manifest(made[0]).shards}
    assert (done.version, done.files - done.copied_files) == (second, len(shared)) and shared
    assert open_dataset(target).version == second
    assert verify(target, pixels=True) == [] and verify(target, first, pixels=True) == []
    again = copy_version(source, target)
    assert (again.copied_files, again.copied_bytes, again.unchanged) == (0, 0, True)
    assert [entry.version for entry in history(target).entries if entry.kind == "checkout"] == [second, first]


def test_a_copy_that_was_stopped_goes_on(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = places
    real, done = copying._copy, list[str]()

    def stop_after_two(*arguments: Any) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        real(*arguments)
        done.append(arguments[1].path)

    monkeypatch.setattr(copying, "_copy", stop_after_two)
    monkeypatch.setattr(copying, "TRANSFERS", 1)
    with pytest.raises(KeyboardInterrupt):
        copy_version(source, target)
    with pytest.raises(DatasetError):  # nothing is current before everything is there
        open_dataset(target)
    monkeypatch.setattr(copying, "_copy", real)
    summary = copy_version(source, target)
    assert summary.copied_files == summary.files - 2
    assert verify(target, pixels=True) == []


def change_a_byte(place: str, path: str) -> None:
    files, there = fsspec.core.url_to_fs(f"{place}/{path}")
    data = bytearray(files.cat_file(there))
    data[len(data) // 2] ^= 1
    files.pipe_file(there, bytes(data))


def test_a_damaged_file_is_not_copied(places: Places, made: tuple[Path, str, str], tmp_path: Path) -> None:
    source, target = places
    if source == str(made[0]):
        source = str(tmp_path / "damaged")
        copy_version(made[0], source)
    shard = read_manifest(made[0]).shards[0].path
    change_a_byte(source, shard)
    with pytest.raises(DatasetError, match=rf"{source}/{shard} is (missing or )?damaged"):
        copy_version(source, target)
    with pytest.raises(DatasetError):
        open_dataset(target)


def test_check_replaces_what_is_damaged_at_the_target(places: Places, made: tuple[Path, str, str]) -> None:
    source, target = places
    copy_version(source, target)
    change_a_byte(target, read_manifest(made[0]).shards[0].path)
    assert copy_version(source, target).copied_files == 0
    assert copy_version(source, target, check=True).copied_files == 1
    assert verify(target, pixels=True) == []


def test_another_dataset_is_not_copied_over(made: tuple[Path, str, str], tmp_path: Path) -> None:
    data = tiny_hands(tmp_path / "data", [10, 60])
    build(write_recipe(tmp_path / "recipe.yaml", data, classes="[a, b]", name="other"), tmp_path / "other")
    with pytest.raises(DatasetError, match=r"other holds dataset 'other', not 'toy'"):
        copy_version(made[0], tmp_path / "other")
    assert read_manifest(tmp_path / "other").name == "other"


# ---- commands on a URL -----------------------------------------------------------------------------------------------


def test_checkout_and_tags_at_a_url(
    made: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))
    (_, first, second), url = made, "memory://far/hands"
    try:
        copy_version(made[0], url, first)
        copy_version(made[0], url)
        assert checkout(url, "baseline").version == first
        assert open_dataset(url).version == first and verify(url, pixels=True) == []
        assert tag_version(url, "newer", second[:8]) == second
        assert list_tags(url) == {"baseline": first, "newer": second}
        assert delete_tag(url, "baseline") == first and open_dataset(url, "newer").version == second
        with pytest.raises(DatasetError, match=rf"^{url} has no tag 'baseline'"):
            delete_tag(url, "baseline")
        with pytest.raises(DatasetError, match=rf"^{url} has no version 'abcdef'"):
            checkout(url, "abcdef")
        fsspec.filesystem("memory").rm_file(f"/far/hands/{read_manifest(made[0]).shards[0].path}")
        with pytest.raises(DatasetError, match=rf"cannot be made current: {url}/shards/.* is missing"):
            checkout(url, "newer")
        assert open_dataset(url).version == first
        assert open_storage(url).place == url
    finally:
        clear_memory()
