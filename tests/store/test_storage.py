"""Datasets that are written to URLs: the same versions as in a folder, commits that notice each other, and refusals."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from objectstore import clear_memory
from toybox import MOSAIC, annotation, edit_json, move_a_point, tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.errors import DatasetError
from augforge.store.dataset import open_dataset
from augforge.store.manifest import read_manifest
from augforge.store.storage import UrlStorage, open_storage
from augforge.store.verify import verify
from augforge.urls.reading import list_objects, read_if_there
from augforge.urls.writing import LOCK_SECONDS, AnotherCommit, put_object, replace_object


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(name="url", params=["memory", "file"])
def url_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place where there is nothing yet."""
    if request.param == "file":
        yield f"file://{tmp_path}/far/hands"
    else:
        yield "memory://far/hands"
        clear_memory()


@pytest.fixture(name="data")
def data_fixture(tmp_path: Path) -> Path:
    return tiny_hands(tmp_path / "data", range(10, 110, 20))


@pytest.fixture(name="recipe")
def recipe_fixture(tmp_path: Path, data: Path) -> Path:
    return write_recipe(tmp_path / "recipe.yaml", data, MOSAIC, classes="[a, b]")


def test_a_dataset_at_a_url_is_the_one_in_a_folder(url: str, recipe: Path, data: Path, tmp_path: Path) -> None:
    near, far = tmp_path / "near", url + "/"
    for _ in range(2):
        summary, expected = build(recipe, far), build(recipe, near)
        assert (summary.version, summary.folder, summary.unchanged) == (expected.version, url, False)
        objects = list_objects(url)
        stored = {path.relative_to(near).as_posix() for path in near.rglob("*") if path.is_file()}
        assert set(objects) == {name for name in stored if not name.startswith((".lock", "work/"))}
        for name in set(objects) - {"log.jsonl"}:
            assert read_if_there(f"{url}/{name}") == (near / name).read_bytes()
        assert verify(far, pixels=True) == []
        edit_json(annotation(data, "ID001/image0000000000001"), move_a_point)
    assert len((read_if_there(f"{url}/log.jsonl") or b"").splitlines()) == 2


def test_only_what_changed_is_made_on_another_machine(
    url: str, recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(recipe, url)
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "another machine"))
    again = build(recipe, url)
    assert (again.made, again.reused, again.unchanged) == (0, first.samples, True)
    edit_json(annotation(data, "ID001/image0000000000001"), move_a_point)
    edited, expected = build(recipe, url, dry_run=True), build(recipe, tmp_path / "near")
    assert 0 < edited.made < first.samples
    assert build(recipe, url).version == expected.version


def test_no_shard_stays_on_this_machine(url: str, recipe: Path) -> None:
    build(recipe, url)
    folder = open_storage(url).folder
    assert read_manifest(folder).shards and list((folder / "shards").iterdir()) == []


def test_somebody_who_commits_meanwhile_is_noticed(url: str, recipe: Path, data: Path, tmp_path: Path) -> None:
    build(recipe, url)
    slow = open_storage(url)
    slow.pull()
    edit_json(annotation(data, "ID001/image0000000000001"), move_a_point)
    new = build(recipe, url).version
    with pytest.raises(DatasetError, match=rf"{url}: another command has made another version current.*run it again"):
        slow.commit(read_manifest(slow.folder, build(recipe, tmp_path / "near").version))
    assert open_dataset(url).version == new


def test_a_place_that_holds_something_else_is_refused(url: str, recipe: Path) -> None:
    put_object(f"{url}/notes.txt", b"mine")
    with pytest.raises(DatasetError, match=rf"{url} is not empty and holds no dataset, but notes.txt. Choose another"):
        build(recipe, url)
    assert list(list_objects(url)) == ["notes.txt"]


def test_what_cannot_be_written_is_refused_before_any_work(recipe: Path) -> None:
    for url in ("https://example.org/hands", "github://a:b@main/hands"):
        with pytest.raises(DatasetError, match=rf"{url} cannot be written: .*such as s3://bucket/hands, or a folder"):
            build(recipe, url)


# ---- commits ---------------------------------------------------------------------------------------------------------


def test_an_object_is_replaced_only_if_it_is_the_one_that_was_read(url: str) -> None:
    target = f"{url}/manifest.yaml"
    replace_object(target, b"1", None)
    for before in (None, b"0"):
        with pytest.raises(AnotherCommit):
            replace_object(target, b"2", before)
    replace_object(target, b"2", b"1")
    assert list_objects(url) == {"manifest.yaml": 1}


def lock(url: str, age: float) -> None:
    note = {"user": "anna", "host": "far", "pid": 12, "since": time.time() - age, "token": "x"}
    put_object(f"{url}/manifest.yaml.lock", json.dumps(note).encode())


def test_a_lock_says_whose_it_is(url: str) -> None:
    lock(url, 5)
    with pytest.raises(DatasetError, match=r"manifest.yaml.lock: anna on far, process 12 commits at this moment"):
        replace_object(f"{url}/manifest.yaml", b"1", None)
    put_object(f"{url}/manifest.yaml.lock", b"damaged")
    with pytest.raises(DatasetError, match=r"somebody commits at this moment.*delete this object"):
        replace_object(f"{url}/manifest.yaml", b"1", None)
    assert list(list_objects(url)) == ["manifest.yaml.lock"]


def test_a_lock_that_was_left_behind_is_taken_over(url: str) -> None:
    lock(url, LOCK_SECONDS + 60)
    replace_object(f"{url}/manifest.yaml", b"1", None)
    assert list(list_objects(url)) == ["manifest.yaml"]


def test_the_mirror_forgets_versions_that_are_gone(url: str, recipe: Path) -> None:
    version = build(recipe, url).version
    storage = UrlStorage(url)
    for name in list_objects(url):
        fsspec.core.url_to_fs(url)[0].rm_file(fsspec.core.url_to_fs(f"{url}/{name}")[1])
    storage.pull()
    assert not (storage.folder / "manifest.yaml").exists()
    assert build(recipe, url).version == version and verify(url) == []
