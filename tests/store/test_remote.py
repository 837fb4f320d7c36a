"""Datasets behind URLs: the same samples, each file fetched once and checked, versions, and failures."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from toybox import annotation, edit_json, move_a_point, tiny_hands, write_recipe

from augforge.cache.filecache import FileCache
from augforge.engine.builder import build
from augforge.errors import DatasetError, MissingExtra, SourceError
from augforge.files import file_sha256, is_url
from augforge.sources.formats.dataset import AugforgeDataset
from augforge.store.copies import cache_folder
from augforge.store.dataset import open_dataset
from augforge.store.gc import collect
from augforge.store.manifest import FileEntry, Manifest, read_manifest, write_manifest
from augforge.store.remote import Remote, shard_locations
from augforge.store.verify import verify


@pytest.fixture(name="made", scope="module")
def made_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two versions."""
    root = tmp_path_factory.mktemp("remote")
    data = tiny_hands(root / "data", [10, 60, 110], ("a", "b"))
    recipe = write_recipe(root / "recipe.yaml", data, ("{op: hflip, keep_input: true}",), classes="[a, b]")
    build(recipe, root / "toy")
    edit_json(annotation(data, "ID001/image0000000000001"), move_a_point)
    build(recipe, root / "toy")
    return root / "toy"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(name="url")
def url_fixture(made: Path) -> Iterator[str]:
    """The dataset in memory."""
    files = fsspec.filesystem("memory")
    files.put(str(made), "/data/toy", recursive=True)
    yield "memory://data/toy"
    files.rm("/data", recursive=True)


def fetched_files(url: str) -> list[str]:
    folder = Remote(url).folder
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.suffix != ".lock")


def assert_same(url: str, made: Path, version: str | None = None) -> None:
    """The samples behind the URL are those in the folder."""
    far, near = open_dataset(url, version), open_dataset(made, version)
    assert far.version == near.version and far.index.equals(near.index)
    for one, other in zip(far, near, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.masks, other.masks)


def test_is_url() -> None:
    assert is_url("s3://bucket/x") and not is_url("datasets/x") and not is_url(Path("s3://bucket/x"))


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("AUGFORGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/augforge")
    assert Remote("s3://b/toy/").folder == Remote("s3://b/toy").folder != Remote("s3://c/toy").folder


def test_samples(url: str, made: Path) -> None:
    assert_same(url, made)
    assert_same(f"file://{made}/", made)


def test_only_what_is_needed_is_fetched(url: str) -> None:
    dataset = open_dataset(url)
    index = f"index/{dataset.version}.parquet"
    assert fetched_files(url) == [index, "manifest.yaml"]
    sample = dataset.where(pl.col("split") == "val")[0]
    assert sample.split == "val"
    assert [place.partition("-")[0] for place in fetched_files(url)] == [index, "manifest.yaml", "shards/val"]


def test_shards_are_fetched_once(url: str, made: Path) -> None:
    assert_same(url, made)
    fsspec.filesystem("memory").rm("/data/toy/shards", recursive=True)
    assert_same(url, made)


def test_copies_take_no_more_space_than_the_ceiling(url: str, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = sorted(read_manifest(made).shards, key=lambda shard: shard.path)
    monkeypatch.setenv("AUGFORGE_CACHE_GB", str((shards[0].bytes + shards[1].bytes) / 2e9))
    remote = Remote(url)
    first, second = (remote.fetch_shard(shard.path, shard.sha256, shard.bytes) for shard in shards[:2])
    assert first.exists() and second.exists()  # both were used a moment ago
    second.unlink()
    os.utime(first, (0, 0))
    remote.fetch_shard(shards[1].path, shards[1].sha256, shards[1].bytes)
    assert second.exists() and not first.exists()
    assert_same(url, made)
    monkeypatch.setenv("AUGFORGE_CACHE_GB", "much")
    with pytest.raises(DatasetError, match="AUGFORGE_CACHE_GB is 'much'; expected a number of gigabytes"):
        remote.fetch_shard(shards[1].path, shards[1].sha256, shards[1].bytes)


@pytest.mark.parametrize("size", ["same", "cut"])
def test_a_damaged_copy_is_fetched_again(url: str, made: Path, size: str) -> None:
    def damage() -> None:
        for copy in (Remote(url).folder / "shards").glob("*.parquet"):
            data = copy.read_bytes()
            copy.write_bytes(data[:-9] if size == "cut" else data[:-9] + b"?" * 9)

    assert_same(url, made)
    damage()
    source = AugforgeDataset(path=url)
    listing = source.scan(FileCache())
    assert len(listing.records) == len(open_dataset(made))
    damage()
    assert source.load(listing.records[0], listing.classes).name == listing.records[0].name
    assert_same(url, made)


def test_error_names_a_copy_that_cannot_be_fetched_again(url: str) -> None:
    source = AugforgeDataset(path=url)
    listing = source.scan(FileCache())
    for copy in (source.root / "shards").glob("*.parquet"):
        copy.write_bytes(bytes(copy.stat().st_size))
    with pytest.raises(DatasetError, match=rf"{source.root}/shards/.*delete {source.root}, and it is fetched again"):
        list(open_dataset(url, check=False))
    fsspec.filesystem("memory").rm("/data/toy/shards", recursive=True)
    with pytest.raises(SourceError, match=rf"{source.root}/shards/.*{url} holds no shards/"):
        source.load(listing.records[0], listing.classes)
    with pytest.raises(DatasetError, match=f"{url} holds no shards/"):
        list(open_dataset(url))


def test_another_version(url: str, made: Path) -> None:
    current = open_dataset(made).version
    other = next(path.stem for path in (made / "versions").glob("*.yaml") if path.stem != current)
    assert_same(url, made, other[:8])
    with pytest.raises(DatasetError, match=r"memory://data/toy has no version 'zz'"):
        open_dataset(url, "zz")


def test_a_new_version_is_seen(url: str, made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    first = f"file://{copy}"
    current = open_dataset(first).version
    other = next(path for path in (copy / "versions").glob("*.yaml") if path.stem != current)
    shutil.copy(other, copy / "manifest.yaml")
    assert open_dataset(first).version == other.stem


@pytest.mark.parametrize("place", ["manifest.yaml", "index", "shards"])
def test_errors_for_missing_and_damaged_files(made: Path, tmp_path: Path, place: str) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    url = f"file://{copy}"
    path = copy / place
    for file in [path] if path.is_file() else list(path.iterdir()):
        file.write_bytes(b"x: ")
    with pytest.raises(DatasetError, match=r"format None|SHA-256"):
        list(open_dataset(url))
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(DatasetError, match=rf"{url} holds no {place}"):
        list(open_dataset(url))


def test_error_names_the_url_of_a_damaged_manifest(made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    with (copy / "manifest.yaml").open("a") as stream:
        stream.write("strange: 1\n")
    with pytest.raises(DatasetError, match=rf"^file://{copy}/manifest.yaml:.*strange") as caught:
        open_dataset(f"file://{copy}")
    assert str(cache_folder()) not in str(caught.value)


@pytest.mark.parametrize("place", ["../x", "/x", "shards/../../x", "..\\x"])
def test_a_manifest_cannot_lead_out_of_the_cache(made: Path, tmp_path: Path, place: str) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    shard = read_manifest(copy).shards[0].path
    manifest = copy / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace(shard, place))
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(SourceError, match="leaves the dataset"):
        AugforgeDataset(path=f"file://{copy}").scan(FileCache())


def test_unreadable_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match=r"nosuch://x/manifest.yaml cannot be read.*Check the address"):
        open_dataset("nosuch://x")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtra, match=r"s3fs.*augforge\[s3\]"):
        open_dataset("s3://bucket/x")


# ---- verify, files, gc -----------------------------------------------------------------------------------------------


@pytest.fixture(name="there")
def there_fixture(made: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged, that is read by its URL."""
    return Path(shutil.copytree(made, tmp_path / "there"))


def far(there: Path) -> str:
    return f"file://{there}"


def change(path: Path) -> None:
    """Another byte in the middle, the size kept."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("end", ["", "/"])
def test_intact_remote_dataset_has_no_problems(url: str, made: Path, end: str) -> None:
    done: list[int] = []
    assert verify(url + end, pixels=True, advance=done.append) == []
    assert len(done) == len(read_manifest(made).shards)
    other = next(path.stem for path in (made / "versions").glob("*.yaml") if path.stem != open_dataset(made).version)
    assert verify(url, other) == []


@pytest.mark.parametrize("damage", [change, lambda path: path.write_bytes(b"PAR1"), Path.unlink])
def test_problem_names_the_url_of_a_damaged_shard(there: Path, damage: Callable[[Path], object]) -> None:
    shards = read_manifest(there).shards
    damage(there / shards[0].path)
    (problem,) = verify(far(there), pixels=True)
    assert far(there) in problem and shards[0].path in problem
    assert str(cache_folder()) not in problem
    assert shards[1].path in fetched_files(far(there)) and shards[0].path not in fetched_files(far(there))


def test_a_damaged_copy_is_not_blamed_on_the_remote(there: Path) -> None:
    assert verify(far(there)) == []
    copies = [Remote(far(there)).folder / shard.path for shard in read_manifest(there).shards]
    change(copies[0])
    copies[1].write_bytes(b"")
    change(Remote(far(there)).folder / read_manifest(there).index_path)
    change(Remote(far(there)).folder / read_manifest(there).rejected_path)
    assert verify(far(there), pixels=True) == []
    assert [file_sha256(copy) for copy in copies] == [shard.sha256 for shard in read_manifest(there).shards]


def test_missing_and_truncated_remote_shards_are_found_despite_a_copy(there: Path) -> None:
    assert verify(far(there)) == []
    first, second = (shard.path for shard in read_manifest(there).shards[:2])
    (there / first).unlink()
    (there / second).write_bytes(b"x")
    gone, cut = verify(far(there))
    assert gone.startswith(f"{far(there)}/{first}: is missing")
    assert cut.startswith(f"{far(there)}/{second}: has 1 bytes, the manifest says ")


def forged_index(manifest: Manifest, path: Path) -> dict[str, Any]:
    """What a manifest states of an index that was changed."""
    sha256 = file_sha256(path)
    new = {manifest.index_path: FileEntry(path=manifest.index_path, bytes=path.stat().st_size, sha256=sha256)}
    return {"index_sha256": sha256, "files": [new.get(entry.path, entry) for entry in manifest.files]}


def test_content_of_remote_files_is_checked(there: Path) -> None:
    """Manifest, index and rejections that agree in their digests, and not in what they say."""
    manifest = read_manifest(there)
    path = there / manifest.index_path
    index = pl.read_parquet(path)
    name = index["name"][0]
    first = pl.int_range(pl.len()) == 0
    lied = index.with_columns(group=pl.when(first).then(pl.lit("x")).otherwise("group"), pixel_digest=pl.lit("0"))
    pq.write_table(lied.to_arrow().cast(pq.read_schema(path)), path)
    changes = {**forged_index(manifest, path), "samples": 99, "rejected": {"metal: ring": 2}}
    write_manifest(there, manifest.model_copy(update=changes))
    problems = verify(far(there), pixels=True)
    assert sum(line.startswith(f"{far(there)}/manifest.yaml: ") for line in problems) == 2
    shard = index["shard"][0]
    assert any(line.startswith(f"{far(there)}/{shard}: row") and f"({name}) is not what" in line for line in problems)
    assert any(f"the decoded pixels of {name} are not those that were stored" in line for line in problems)
    (there / manifest.rejected_path).unlink()
    assert f"{far(there)}/{manifest.rejected_path}: is missing" in verify(far(there))


def test_problem_names_the_url_of_an_undecodable_sample(there: Path) -> None:
    manifest = read_manifest(there)
    path = there / manifest.index_path
    index = pl.read_parquet(path).with_columns(width=pl.lit(5, pl.Int32))
    pq.write_table(index.to_arrow().cast(pq.read_schema(path)), path)
    write_manifest(there, manifest.model_copy(update=forged_index(manifest, path)))
    problems = [line for line in verify(far(there), pixels=True) if "cannot be decoded" in line]
    assert len(problems) == index.height
    assert all(line.startswith(f"{far(there)}/shards/") and str(cache_folder()) not in line for line in problems)


def test_a_damaged_remote_index_is_found(there: Path) -> None:
    manifest = read_manifest(there)
    change(there / manifest.index_path)
    (problem,) = verify(far(there))
    assert problem.startswith(f"{far(there)}/{manifest.index_path}: ")


def test_shard_locations(there: Path) -> None:
    shards = [shard.path for shard in read_manifest(there).shards]
    assert shard_locations(f"{far(there)}/") == [f"{far(there)}/{shard}" for shard in shards]
    assert shard_locations(there) == [f"{there}/{shard}" for shard in shards]
    assert fetched_files(far(there)) == ["manifest.yaml"]
    old = next(path.stem for path in (there / "versions").glob("*.yaml") if path.stem != read_manifest(there).version)
    assert shard_locations(far(there), old) != shard_locations(far(there))


def test_collect_refuses_a_url(url: str) -> None:
    with pytest.raises(DatasetError, match=rf"{url} is a URL, and gc takes folders.*{Remote(url).folder}"):
        collect(url)


# ---- as a source -----------------------------------------------------------------------------------------------------


def test_a_dataset_behind_a_url_as_source(url: str, made: Path, tmp_path: Path) -> None:
    far = AugforgeDataset(path=url).scan(FileCache())
    near = AugforgeDataset(path=str(made)).scan(FileCache())
    assert [record.content for record in far.records] == [record.content for record in near.records]
    recipe = tmp_path / "chain.yaml"
    recipe.write_text(f"name: second\nsplit: {{}}\nsource: {{format: dataset, path: '{url}'}}\n")
    build(recipe, tmp_path / "second")
    assert len(open_dataset(tmp_path / "second")) == len(near.records)


def test_a_source_fetches_missing_copies_again(url: str) -> None:
    source = AugforgeDataset(path=url)
    listing = source.scan(FileCache())
    shutil.rmtree(source.root)
    assert source.load(listing.records[0], listing.classes).name == listing.records[0].name


def test_a_source_rejects_damaged_shards(made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    shard = read_manifest(copy).shards[0]
    (copy / shard.path).write_bytes(b"x")
    source = AugforgeDataset(path=f"file://{copy}")
    with pytest.raises(SourceError, match=f"{shard.path} is damaged"):
        source.scan(FileCache())
    listing = source.model_copy(update={"on_error": "reject"}).scan(FileCache())
    assert {row.reason for row in listing.refused} == {"damaged shard"}
    assert len(listing.refused) == shard.rows + 1 and listing.records


# ---- S3 --------------------------------------------------------------------------------------------------------------


@pytest.mark.extras
def test_s3(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a server of the S3 protocol on this machine."""
    from moto import server

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    running.start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        files.mkdir("bucket")
        for path in sorted(path for path in made.rglob("*") if path.is_file() and "work" not in path.parts):
            files.put_file(str(path), f"bucket/toy/{path.relative_to(made).as_posix()}")
        assert_same("s3://bucket/toy", made)
        assert len(AugforgeDataset(path="s3://bucket/toy").scan(FileCache()).records) == len(open_dataset(made))
        assert verify("s3://bucket/toy") == []
        files.pipe_file("bucket/toy/" + read_manifest(made).shards[0].path, b"PAR1")
        assert verify("s3://bucket/toy")[0].startswith(shard_locations("s3://bucket/toy")[0])
        with pytest.raises(DatasetError, match=r"s3://bucket/none holds no manifest.yaml"):
            open_dataset("s3://bucket/none")
    finally:
        running.stop()
