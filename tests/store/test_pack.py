"""Packing: one version in an archive that unpacks to a dataset, the same bytes each time, nothing damaged in it."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import fsspec
import pytest
from toybox import MOSAIC, tiny_hands, toy_fixture, two_versions_fixture, write_recipe  # noqa: F401

from augforge.engine.builder import build
from augforge.errors import AugforgeError, DatasetError
from augforge.files import file_sha256
from augforge.report.difference import compare_versions
from augforge.report.inspect import inspect
from augforge.store import pack as packing
from augforge.store.archive import archive_file
from augforge.store.contents import version_files
from augforge.store.dataset import open_dataset
from augforge.store.gc import collect
from augforge.store.history import history, tag_version
from augforge.store.manifest import read_manifest, versions
from augforge.store.pack import pack
from augforge.store.tags import read_tags
from augforge.store.verify import verify


def unpack(archive: Path, target: Path) -> Path:
    """Extracted with the filter that refuses what could harm: links, absolute paths, devices, owners."""
    with tarfile.open(archive) as opened:
        opened.extractall(target, filter="data")
    (folder,) = target.iterdir()
    return folder


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def previous(folder: Path) -> str:
    (found,) = set(versions(folder)) - {read_manifest(folder).version}
    return found


@pytest.mark.parametrize("which", ["current", "previous"])
def test_a_pack_is_a_dataset_of_one_version(two_versions: Path, toy: Path, tmp_path: Path, which: str) -> None:
    old = previous(toy)
    tag_version(toy, "baseline", old)
    tag_version(toy, "release-1")
    (toy / "notes.txt").write_text("private")
    done = pack(toy, tmp_path / "toy.tar", "baseline" if which == "previous" else None)
    folder = unpack(tmp_path / "toy.tar", tmp_path / "unpacked")
    version = old if which == "previous" else read_manifest(toy).version
    manifest = read_manifest(folder)
    assert (folder.name, manifest.version, versions(folder)) == ("toy", version, [version])
    assert files(folder) == {*version_files(manifest), "manifest.yaml", "README.md", "tags.yaml"}
    assert read_tags(folder) == {"baseline" if which == "previous" else "release-1": version}
    assert verify(folder, pixels=True) == []
    assert compare_versions(open_dataset(toy, version), open_dataset(folder))["equal"]
    assert [entry.version for entry in history(folder).entries] == [version]
    assert f"Version `{version}`" in (folder / "README.md").read_text()
    if which == "current":  # the data is as it was for this version
        summary = build(two_versions / "recipe.yaml", folder)
        assert (summary.version, summary.made, summary.new_shards, summary.unchanged) == (version, 0, 0, True)
    sizes = [path.stat().st_size for path in map(folder.joinpath, [*files(folder)]) if path.name != "log.jsonl"]
    assert done.files == len(version_files(manifest)) + 3 and done.bytes <= sum(sizes)
    assert (done.version, done.samples, done.unchecked) == (version, manifest.samples, [])


def test_the_same_version_gives_the_same_archive(toy: Path, tmp_path: Path) -> None:
    """Wherever the dataset lies, whoever owns it, whenever its files were copied, and to whatever it is written."""
    first = pack(toy, tmp_path / "one.tar")
    copy = Path(shutil.copytree(toy, tmp_path / "elsewhere", copy_function=shutil.copyfile))
    (copy / "shards").chmod(0o700)
    stream = io.BytesIO()
    second = pack(copy, stream)
    assert stream.getvalue() == (tmp_path / "one.tar").read_bytes()
    assert first.archive_sha256 == second.archive_sha256 == file_sha256(tmp_path / "one.tar")
    assert first.archive_bytes == (tmp_path / "one.tar").stat().st_size
    assert asdict(first) | {"path": "-"} == asdict(second)
    with tarfile.open(tmp_path / "one.tar") as opened:
        members = opened.getmembers()
    assert members[-1].name == "toy/manifest.yaml"
    facts = {(each.uid, each.gid, each.uname, each.gname, each.mtime, each.mode) for each in members}
    assert facts == {(0, 0, "", "", 315_532_800, 0o644)}


@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_a_damaged_dataset_is_not_packed(toy: Path, tmp_path: Path, how: str) -> None:
    """The damaged file is named, and no archive appears; one that was there stays."""
    manifest = read_manifest(toy)
    (tmp_path / "out.tar").write_text("an older archive")
    for name in [manifest.shards[-1].path, manifest.index_path, manifest.stages_path, manifest.ledger_path]:
        path = toy / name
        data = path.read_bytes()
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        path.unlink() if how == "missing" else path.write_bytes(flipped if how == "flipped" else data[:-1])
        with pytest.raises(DatasetError, match=path.name):
            pack(toy, tmp_path / "out.tar")
        assert (tmp_path / "out.tar").read_text() == "an older archive"
        assert [each.name for each in tmp_path.glob(".*")] == []
        path.write_bytes(data)
    pack(toy, tmp_path / "out.tar")


def test_an_archive_that_was_cut_off_holds_no_dataset(toy: Path, tmp_path: Path) -> None:
    pack(toy, tmp_path / "out.tar")
    cut = tmp_path / "cut.tar"
    cut.write_bytes((tmp_path / "out.tar").read_bytes()[:-20_480])
    with tarfile.open(cut) as opened, pytest.raises(tarfile.ReadError):
        opened.extractall(tmp_path / "cut", filter="data")
    assert not (tmp_path / "cut/toy/manifest.yaml").exists()


def test_what_it_refuses_and_what_it_clears_away(toy: Path, tmp_path: Path) -> None:
    for name, said in (("a.tar.gz", r"a\.tar\.gz would be a compressed .* Name it a\.tar"), ("", "is a folder")):
        with pytest.raises(AugforgeError, match=said):
            pack(toy, tmp_path / name)
    left = tmp_path / ".out.tar.0123abcd.tmp"
    left.write_text("of a pack that was killed")
    with archive_file(tmp_path / "out.tar") as stream:
        assert not left.exists() and stream.write(b"half")
        with pytest.raises(AugforgeError, match="another process is writing"):
            pack(toy, tmp_path / "out.tar")
    pack(toy, tmp_path / "new/folder/out.tar")
    assert [path.name for path in (tmp_path / "new/folder").iterdir()] == ["out.tar"]


def test_metadata_that_goes_along_is_named(tmp_path: Path) -> None:
    recipe = write_recipe(
        tmp_path / "recipe.yaml", tiny_hands(tmp_path / "data", (9, 60, 99)), MOSAIC, classes="[a, b]"
    )
    build(recipe, tmp_path / "out")
    assert pack(tmp_path / "out", io.BytesIO()).metadata == []
    assert "personal" not in (tmp_path / "out/README.md").read_text()
    (tmp_path / "ages.csv").write_text("ID,age,sex\n" + "".join(f"ID00{i},4{i},f\n" for i in (1, 2, 3)))
    text = recipe.read_text().replace("classes: [a, b]}", "classes: [a, b], metadata: ../ages.csv}")
    recipe.write_text(text)
    build(recipe, tmp_path / "out")
    assert pack(tmp_path / "out", io.BytesIO()).metadata == ["age", "sex"]
    assert read_manifest(tmp_path / "out").metadata_columns == ["age", "sex"]
    assert "may be personal data: age, sex." in (tmp_path / "out/README.md").read_text()


@pytest.fixture(name="url")
def url_fixture(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AUGFORGE_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.put(str(toy), "/packed/toy", recursive=True)
    yield "memory://packed/toy"
    memory.rm("/packed", recursive=True)


def test_a_dataset_behind_a_url(toy: Path, url: str, tmp_path: Path) -> None:
    for version in (None, previous(toy)):
        here, there = tmp_path / f"here-{version}.tar", tmp_path / f"there-{version}.tar"
        pack(toy, here, version)
        pack(url, there, version)
        assert here.read_bytes() == there.read_bytes()


def test_a_version_that_gc_removes_meanwhile(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, prepared = previous(toy), packing._prepared

    def removing(*arguments: object) -> Iterator[object]:
        yield from (each for i, each in enumerate(prepared(*arguments)) if i != 2 or collect(toy, keep=1, now=True))  # type: ignore[arg-type]

    monkeypatch.setattr(packing, "_prepared", removing)
    with pytest.raises(DatasetError, match=rf"{old} .* gc removed it .* There are: {read_manifest(toy).version}\. "):
        pack(toy, tmp_path / "out.tar", old)
    assert not (tmp_path / "out.tar").exists()


@pytest.mark.skipif(os.name != "posix", reason="pipes by name are POSIX")
def test_it_streams(toy: Path, tmp_path: Path) -> None:
    """Into a pipe, which cannot seek."""
    pack(toy, tmp_path / "file.tar")
    reading, writing = os.pipe()
    received: list[bytes] = []

    def receive() -> None:
        with os.fdopen(reading, "rb") as stream:
            received.append(stream.read())

    thread = threading.Thread(target=receive)
    thread.start()
    with os.fdopen(writing, "wb") as stream:
        pack(toy, stream)
    thread.join()
    assert received == [(tmp_path / "file.tar").read_bytes()]


def test_inspect_tells_what_takes_space(toy: Path, tmp_path: Path) -> None:
    (toy / "notes.txt").write_bytes(b"x" * 1000)
    (toy / "work/0123456789abcdef.bin").write_bytes(b"x" * 100_000)
    (toy / "work/link").symlink_to(toy / "shards", target_is_directory=True)
    sizes = inspect(open_dataset(toy))["on_disk"]
    total = sum(path.lstat().st_size for path in toy.rglob("*") if path.is_file() and not path.is_symlink())
    assert sum(sizes.values()) == total
    assert sizes["work"] >= 100_000 and sizes["rest"] == 1000 + (toy / "log.jsonl").stat().st_size
    assert sizes["version"] == pack(toy, tmp_path / "out.tar").bytes
    freed = collect(toy, keep=1, now=True)["bytes"]
    assert freed == sizes["other_versions"] + sizes["work"]
    rest = 1000 + (toy / "log.jsonl").stat().st_size  # which notes what gc did
    assert inspect(open_dataset(toy))["on_disk"] == sizes | {"other_versions": 0, "work": 0, "rest": rest}
