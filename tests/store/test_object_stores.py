"""Datasets in an S3 store and on a web server that fail now and then: nothing is lost, nothing wrong is believed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from objectstore import STALL_SECONDS, Faults, s3_store
from toybox import MOSAIC, annotation, edit_json, move_a_point, tiny_hands, write_recipe

from augforge.engine.backends import choose_backend
from augforge.engine.builder import build
from augforge.engine.copying import copy_version
from augforge.errors import DatasetError, StorageError
from augforge.store.dataset import open_dataset
from augforge.store.manifest import read_manifest
from augforge.store.remote import Remote
from augforge.store.verify import verify
from augforge.urls import reading
from augforge.urls.reading import Range, download, list_objects, read_object, read_ranges
from augforge.urls.writing import AnotherCommit, put_file, put_object, replace_object

pytestmark = [pytest.mark.extras, pytest.mark.filterwarnings("ignore")]  # of the server's own libraries


@pytest.fixture(name="store", scope="module")
def store_fixture() -> Iterator[tuple[str, Faults]]:
    faults = Faults()
    with s3_store(faults) as url:
        yield url, faults


@pytest.fixture(name="faults")
def faults_fixture(store: tuple[str, Faults]) -> Faults:
    """The store's faults: none yet."""
    faults = store[1]
    faults.rules, faults.requests, faults.ranges = [], [], []
    return faults


@pytest.fixture(name="url")
def url_fixture(store: tuple[str, Faults], faults: Faults, tmp_path: Path) -> Iterator[str]:
    """A place of its own in the store."""
    yield f"{store[0]}/{tmp_path.name}"
    faults.rules.clear()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(name="recipe")
def recipe_fixture(tmp_path: Path) -> Path:
    data = tiny_hands(tmp_path / "data", range(10, 90, 20))
    return write_recipe(tmp_path / "recipe.yaml", data, MOSAIC, classes="[a, b]")


# ---- builds ----------------------------------------------------------------------------------------------------------


def test_a_build_to_s3_is_the_one_in_a_folder(url: str, faults: Faults, recipe: Path, tmp_path: Path) -> None:
    near = build(recipe, tmp_path / "near").version
    assert build(recipe, url).version == near
    assert verify(url, pixels=True) == []
    assert build(recipe, url).unchanged
    edit_json(annotation(tmp_path / "data", "ID001/image0000000000001"), move_a_point)
    assert build(recipe, url).version == build(recipe, tmp_path / "near").version
    assert verify(url, near, pixels=True) == []


@pytest.mark.parametrize(("fault", "method"), [("500", "PUT"), ("500", "GET"), ("cut", "GET"), ("lost", "PUT")])
def test_a_store_that_fails_now_and_then_changes_nothing(
    url: str, faults: Faults, recipe: Path, tmp_path: Path, fault: str, method: str
) -> None:
    faults.every(3, fault, method)
    assert build(recipe, url).version == build(recipe, tmp_path / "near").version
    faults.rules.clear()
    assert verify(url, pixels=True) == []


def test_a_server_that_stops_answering_is_asked_again(url: str, faults: Faults, recipe: Path) -> None:
    faults.first(2, "stall", "PUT", "/work/")
    faults.first(1, "stall", "GET", "/work/")
    started = time.monotonic()
    version = build(recipe, url).version
    assert open_dataset(url).version == version and time.monotonic() - started < 60 * STALL_SECONDS


def test_a_store_that_is_gone_is_an_error_that_names_it_and_the_build_goes_on_later(
    url: str, faults: Faults, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("augforge.urls.access.FIRST_PAUSE", 0.01)
    faults.every(1, "500", "PUT", "/shards/")
    with pytest.raises(StorageError, match=rf"{url}/shards/.* cannot be written .*Check the address, the network"):
        build(recipe, url)
    with pytest.raises(DatasetError):
        open_dataset(url)
    faults.rules.clear()
    summary = build(recipe, url)
    assert summary.made == 0 or summary.reused > 0  # the batches are in the store's work area
    assert verify(url, pixels=True) == []


@pytest.mark.slow
def test_workers_of_a_cluster_share_nothing_but_the_store(
    url: str, faults: Faults, recipe: Path, tmp_path: Path
) -> None:
    expected = build(recipe, tmp_path / "near").version
    summary = build(recipe, url, jobs=2, backend="dask")
    assert summary.version == expected and verify(url, pixels=True) == []
    assert not list((tmp_path / "cache").rglob("*.bin"))
    with choose_backend(2, "loky").started():
        assert build(recipe, url).unchanged


# ---- commits ---------------------------------------------------------------------------------------------------------


def test_s3_commits_by_conditional_puts_without_a_lock(url: str, faults: Faults) -> None:
    target = f"{url}/manifest.yaml"
    replace_object(target, b"1", None)
    with pytest.raises(AnotherCommit):
        replace_object(target, b"2", None)
    replace_object(target, b"2", b"1")
    with pytest.raises(AnotherCommit):
        replace_object(target, b"3", b"1")
    assert read_object(target) == b"2"
    assert not [path for _, path in faults.requests if "lock" in path]


def test_of_two_commits_at_once_one_is_refused_by_the_store_itself(
    url: str, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between comparing and writing there is a moment, in which somebody else may write."""
    target = f"{url}/manifest.yaml"
    real = reading.read_if_there
    others = iter([b"other"])

    def read_then_be_overtaken(asked: str) -> bytes | None:
        found = real(asked)
        for data in others:
            put_object(asked, data)
        return found

    monkeypatch.setattr("augforge.urls.writing.read_if_there", read_then_be_overtaken)
    with pytest.raises(AnotherCommit):
        replace_object(target, b"mine", None)
    others = iter([b"another"])
    with pytest.raises(AnotherCommit):
        replace_object(target, b"mine", b"other")
    assert read_object(target) == b"another"


def test_a_commit_whose_answer_was_lost_is_no_conflict(url: str, faults: Faults) -> None:
    faults.first(1, "lost", "PUT", "manifest.yaml")
    replace_object(f"{url}/manifest.yaml", b"1", None)
    assert read_object(f"{url}/manifest.yaml") == b"1"


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_a_download_goes_on_where_it_stopped(
    url: str, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK", 1000)
    data = np.random.default_rng(3).bytes(10_500)
    put_object(f"{url}/x", data)
    part = tmp_path / "part"
    part.write_bytes(data[:4200])
    faults.every(3, "cut")
    download(f"{url}/x", part)
    assert part.read_bytes() == data
    starts = {int(text.removeprefix("bytes=").partition("-")[0]) for text in faults.ranges}
    assert starts == {4200, 5200, 6200, 7200, 8200, 9200, 10200}


def test_what_an_earlier_download_left_of_another_object_is_not_believed(
    url: str, faults: Faults, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(recipe, url)
    dataset = open_dataset(url)
    shard = dataset.manifest.shards[0]
    copy = Remote(url).folder / shard.path
    copy.parent.mkdir(parents=True)
    copy.with_name(f".{copy.name}.{shard.sha256[:8]}.part").write_bytes(b"?" * 100)
    assert len(list(dataset)) == len(dataset)


def test_ranges_are_read_side_by_side(url: str, faults: Faults) -> None:
    data = np.random.default_rng(4).bytes(5000)
    put_object(f"{url}/x", data)
    faults.delay = 0.05
    try:
        assert read_ranges(f"{url}/x", [Range(10, 20), Range(0, 0), Range(4000, 1000)]) == [
            data[10:30],
            b"",
            data[4000:],
        ]
    finally:
        faults.delay = 0.0
    with pytest.raises(EOFError, match="100 bytes came of 200 from byte 4900"):
        read_ranges(f"{url}/x", [Range(4900, 200)])


def test_a_large_file_goes_in_parts(url: str, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGFORGE_TIMEOUT", "30")  # the server takes a while for each part
    data = np.random.default_rng(5).bytes(110 << 20)
    (tmp_path / "large").write_bytes(data)
    put_file(tmp_path / "large", f"{url}/large")
    assert sum(method == "PUT" and "partNumber" in path for method, path in faults.requests) >= 2
    assert list_objects(url) == {"large": len(data)}


def test_an_object_that_was_changed_is_noticed(url: str, faults: Faults, recipe: Path) -> None:
    version = build(recipe, url).version
    shard = open_dataset(url).manifest.shards[0]
    data = bytearray(read_object(f"{url}/{shard.path}"))
    data[len(data) // 2] ^= 1
    put_object(f"{url}/{shard.path}", bytes(data))
    with pytest.raises(DatasetError, match=rf"{url}/{shard.path} is damaged: its SHA-256 is not the manifest's"):
        list(open_dataset(url, version))
    assert verify(url)[0].startswith(f"{url}/{shard.path}")


def test_a_copy_between_stores_that_fail(url: str, faults: Faults, recipe: Path, tmp_path: Path) -> None:
    version = build(recipe, url).version
    faults.every(4, "500")
    faults.every(5, "cut", part="/shards/")
    assert copy_version(url, f"{url}-copy").version == version
    faults.rules.clear()
    assert verify(f"{url}-copy", pixels=True) == []
    copy_version(url, tmp_path / "folder")
    assert read_manifest(tmp_path / "folder") == open_dataset(url).manifest


# ---- http ------------------------------------------------------------------------------------------------------------


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_a_plain_web_server(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no ranges, and lists folders as pages."""
    monkeypatch.setattr(reading, "BLOCK", 500)
    version = build(recipe, tmp_path / "site" / "hands").version
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path / "site")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/hands"
        far, near = open_dataset(url), open_dataset(tmp_path / "site" / "hands")
        for one, other in zip(far, near, strict=True):
            np.testing.assert_array_equal(one.image, other.image)
        assert open_dataset(url, version[:6]).version == version
        assert verify(url, pixels=True) == []
        with pytest.raises(DatasetError, match="http only reads"):
            build(recipe, url)
        with pytest.raises(DatasetError, match=r"holds no manifest\.yaml"):
            open_dataset(f"{url}/none")
    finally:
        server.shutdown()
        server.server_close()
