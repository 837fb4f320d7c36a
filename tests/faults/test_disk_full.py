"""Full or read-only disks, quotas and missing rights: a clean error, the old version whole, the same result later.

On a small tmpfs where that can be mounted (root on Linux); by a limit on files' sizes, and by raising what the system
would, everywhere.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from recorder import Operation, before_each_operation
from smalldisk import disk_fixture, fails, kilobytes, resize  # noqa: F401
from toybox import MOSAIC, edit_json, move_a_point, tiny_hands, write_recipe

from augforge.cache.filecache import FileCache
from augforge.engine.builder import build
from augforge.errors import StorageError
from augforge.export import export
from augforge.files import writing
from augforge.phantom import write_phantom
from augforge.store.dataset import open_dataset
from augforge.store.gc import collect
from augforge.store.manifest import read_manifest
from augforge.store.verify import verify

LEVELS = [40, 70, 100, 130, 160, 190, 220]
ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES]


@pytest.fixture(name="recipe", scope="module")
def recipe_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source")
    data = tiny_hands(root / "data", LEVELS, ["a", "b"])
    return write_recipe(root / "recipe.yaml", data, MOSAIC, classes="[a, b]")


@pytest.fixture(name="finished", scope="module")
def finished_fixture(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "out"
    build(recipe, folder)
    return folder


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_build_on_a_disk_of_any_size(disk: Path, recipe: Path, finished: Path, jobs: int) -> None:
    """From one that holds nothing to one that holds all: each fails cleanly, and the next goes on where it was."""
    version, full = read_manifest(finished).version, kilobytes(finished)
    sizes = range(8, 4 * full, 12) if jobs == 1 else [24, 48, 72, 400]
    failed = 0
    for size in sizes:
        assert resize(disk, f"{size}k", remount="remount,")
        if not fails(lambda: build(recipe, disk / "out", jobs=jobs), disk):
            break
        failed += 1
        assert not (disk / "out/manifest.yaml").exists() or verify(disk / "out", pixels=True) == []
    assert resize(disk, "64m", remount="remount,")
    assert build(recipe, disk / "out", jobs=jobs).version == version
    assert failed > (5 if jobs == 1 else 0) and verify(disk / "out", pixels=True) == []
    assert list((disk / "out").rglob(".*.tmp")) == []


def test_the_old_version_stays_whole_on_a_full_disk(disk: Path, recipe: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(recipe.parent / "data", tmp_path / "data"))
    own = write_recipe(tmp_path / "recipe.yaml", data, MOSAIC, classes="[a, b]")
    old = build(own, disk / "out").version
    edit_json(next(iter(sorted(data.rglob("*.json")))), move_a_point)
    new = build(own, tmp_path / "elsewhere").version
    used = kilobytes(disk / "out")
    failed = 0
    for more in range(0, 4 * used, 16):
        assert resize(disk, f"{used + more}k", remount="remount,")
        if not fails(lambda: build(own, disk / "out"), disk):
            break
        failed += 1
        assert verify(disk / "out", old, pixels=True) == [] and verify(disk / "out", pixels=True) == []
    assert failed > 1 and read_manifest(disk / "out").version == new and old != new


def test_a_read_only_disk(disk: Path, recipe: Path, finished: Path) -> None:
    shutil.copytree(finished, disk / "out")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert fails(lambda: build(recipe, disk / "out"), disk)
    assert fails(lambda: build(recipe, disk / "new"), disk)
    assert fails(lambda: collect(disk / "out"), disk)
    assert fails(lambda: export(open_dataset(disk / "out"), disk / "exported", "coco"), disk)
    assert fails(lambda: write_phantom(disk / "hands", persons=1, size=64), disk)
    assert verify(disk / "out", pixels=True) == []


@pytest.mark.parametrize("to", ["coco", "webdataset", "mask-folder", "csv"])
def test_an_export_on_a_full_disk(disk: Path, finished: Path, tmp_path: Path, to: str) -> None:
    export(open_dataset(finished), tmp_path / "whole", to)
    full = kilobytes(tmp_path / "whole")
    for size in (4, 12, full // 2, full - 4):
        assert resize(disk, f"{size}k", remount="remount,")
        assert fails(lambda: export(open_dataset(finished), disk / "exported", to), disk)
        assert list(disk.iterdir()) == []


def test_sample_data_on_a_full_disk(disk: Path) -> None:
    assert resize(disk, "64k", remount="remount,")
    with pytest.raises(StorageError, match=r"hands/.*\.(png|json|xlsx|csv) cannot be written: No space left.*is full"):
        write_phantom(disk / "hands", persons=3, size=64)
    assert list(disk.iterdir()) == []


def test_the_command_line_says_it_in_a_line(disk: Path, recipe: Path, finished: Path) -> None:
    """Exit code 1 and no traceback."""
    assert resize(disk, "40k", remount="remount,")
    commands: tuple[list[object], ...] = (
        ["build", recipe, "-o", disk / "out"],
        ["export", finished, "--to", "coco", "-o", disk / "coco"],
    )
    for command in commands:
        done = subprocess.run([sys.executable, "-m", "augforge", *map(str, command)], capture_output=True, text=True)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "cannot be written: No space left on device" in done.stderr.replace("\n", " ")


# ---- without a disk of its own ---------------------------------------------------------------------------------------


def raising(code: int, at: int) -> tuple[list[Operation], Callable[[Operation], None]]:
    """A hook that fails as the system does: a failing open names its file, a failing sync does not."""
    seen: list[Operation] = []

    def hook(operation: Operation) -> None:
        seen.append(operation)
        if len(seen) > at and operation.kind != "unlink":  # a full disk stays full, but files can be removed
            names = () if operation.kind == "fsync" else (str(operation.path),)
            raise OSError(code, os.strerror(code), *names)

    return seen, hook


@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
def test_any_operation_may_fail(tmp_path: Path, recipe: Path, finished: Path, code: int) -> None:
    count, hook = raising(code, 10**9)
    with before_each_operation(hook):
        build(recipe, tmp_path / "counted")
    for at in range(ERRORS.index(code), len(count), 13):
        _, hook = raising(code, at)
        folder = tmp_path / f"out{at}"
        with before_each_operation(hook):
            assert fails(lambda folder=folder: build(recipe, folder), folder)  # type: ignore[misc]
        assert not (folder / "manifest.yaml").exists() or verify(folder, pixels=True) == []
        assert build(recipe, folder).version == read_manifest(finished).version


LIMITED = """
import resource, sys
from augforge.cache.shelf import Shelf
from augforge.cache.filecache import FileCache
from augforge.errors import StorageError
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
file = Path(sys.argv[1])
file.write_text("x")
def shelf():
    kept = Shelf()
    for i in range(1000):
        kept[str(i)] = str(i) * 20000
def cache():
    kept = FileCache()
    for i in range(1000):
        kept.get(file, str(i), lambda path: str(i) * 20000)
for fill in (shelf, cache):
    try:
        fill()
    except StorageError as error:
        assert "SQLITE_TMPDIR" in str(error), error
    else:
        raise SystemExit("it fits")
"""


@pytest.mark.skipif(os.name != "posix", reason="limits on files are POSIX")
def test_tables_that_outgrow_the_temporary_folder(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path / "file"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_cache_that_cannot_be_saved_costs_only_time(tmp_path: Path) -> None:
    file, kept = tmp_path / "image", tmp_path / "work" / "files.sqlite"
    file.write_text("x")
    kept.parent.write_text("no folder")
    cache = FileCache(kept)
    assert cache.get(file, "size", lambda path: path.stat().st_size) == 1
    cache.save()
    kept.parent.unlink()
    assert FileCache(kept).get(file, "size", lambda path: 2) == 2


def test_errors_of_files_elsewhere_pass(tmp_path: Path) -> None:
    for error in (OSError(errno.EACCES, "no", "/else/where"), OSError(errno.ENOENT, "no", str(tmp_path / "a"))):
        with pytest.raises(OSError, match="no") as caught, writing(tmp_path / "a"):
            raise error
        assert caught.value is error
    with pytest.raises(StorageError, match=f"^{tmp_path / 'a/b'} cannot be written"), writing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "full", str(tmp_path / "a" / "b"))
