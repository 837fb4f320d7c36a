"""The cache of facts of files: what it remembers, when it computes again, and that it never stands in the way."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from augforge.cache.filecache import FileCache
from augforge.files import file_sha256


class Counter:
    """Computes a file's text in capitals, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, path: Path) -> Any:
        self.calls += 1
        return path.read_text().upper()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "image.txt"
    path.write_text("one")
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "work" / "deep" / "facts.sqlite"


def save(place: Path, file: Path, kind: str = "k") -> None:
    cache = FileCache(place)
    cache.get(file, kind, Counter())
    cache.save()


def test_remembers_in_memory(file: Path) -> None:
    cache, compute = FileCache(), Counter()
    assert [cache.get(file, "k", compute) for _ in range(3)] == ["ONE"] * 3
    assert compute.calls == 1
    cache.save()  # nowhere to save to


def test_remembers_on_disk(place: Path, file: Path) -> None:
    save(place, file)
    compute = Counter()
    assert FileCache(place).get(file, "k", compute) == "ONE"
    assert compute.calls == 0


def test_nothing_is_stored_without_save(place: Path, file: Path) -> None:
    FileCache(place).get(file, "k", Counter())
    assert not place.exists()


def test_save_without_new_results_writes_nothing(place: Path, file: Path) -> None:
    save(place, file)
    place.unlink()
    FileCache(place).save()
    assert not place.exists()


def test_results_are_separate_per_kind_and_file(place: Path, file: Path, tmp_path: Path) -> None:
    save(place, file)
    other = tmp_path / "other.txt"
    other.write_text("two")
    cache, compute = FileCache(place), Counter()
    assert cache.get(file, "other kind", compute) == "ONE"
    assert cache.get(other, "k", compute) == "TWO"
    assert compute.calls == 2
    cache.save()
    again, unused = FileCache(place), Counter()
    assert [again.get(*key, unused) for key in [(file, "k"), (file, "other kind"), (other, "k")]] == [
        "ONE",
        "ONE",
        "TWO",
    ]
    assert unused.calls == 0


def test_relative_and_absolute_paths_are_the_same_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    cache, compute = FileCache(), Counter()
    cache.get(file, "k", compute)
    cache.get(Path(file.name), "k", compute)
    assert compute.calls == 1


def grow(file: Path) -> None:
    stat = file.stat()
    file.write_text("longer")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def touch(file: Path) -> None:
    stat = file.stat()
    file.write_text("two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def replace_file(file: Path) -> None:
    """Another file of the same size and time, moved over the first: only the inode tells."""
    stat = file.stat()
    new = file.with_name("new")
    new.write_text("two")
    os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new.replace(file)


@pytest.mark.parametrize("change", [grow, touch, replace_file])
@pytest.mark.parametrize("on_disk", [False, True])
def test_computes_again_when_the_file_changed(
    place: Path, file: Path, change: Callable[[Path], None], on_disk: bool
) -> None:
    cache = FileCache(place)
    cache.get(file, "k", Counter())
    cache.save()
    change(file)
    cache, compute = FileCache(place) if on_disk else cache, Counter()
    assert cache.get(file, "k", compute) == file.read_text().upper()
    assert compute.calls == 1
    cache.save()
    after = Counter()
    FileCache(place).get(file, "k", after)
    assert after.calls == 0


def test_without_trust_results_are_computed_again_and_stored(place: Path, file: Path) -> None:
    save(place, file)
    stat = file.stat()
    file.write_text("two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # changed behind its back
    assert FileCache(place).get(file, "k", Counter()) == "ONE"
    cache, compute = FileCache(place, trust=False), Counter()
    assert cache.get(file, "k", compute) == "TWO"
    assert cache.get(file, "k", compute) == "TWO"
    assert compute.calls == 1  # once per build is enough
    cache.save()
    assert FileCache(place).get(file, "k", Counter()) == "TWO"


def test_without_trust_other_stored_results_are_kept(place: Path, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("two")
    save(place, other)
    cache = FileCache(place, trust=False)
    cache.get(file, "k", Counter())
    cache.save()
    compute = Counter()
    FileCache(place).get(other, "k", compute)
    assert compute.calls == 0


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileCache().get(tmp_path / "none", "k", Counter())


def test_a_pipe_is_an_error_instead_of_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"no regular file.*pipe"):
        FileCache().get(tmp_path / "pipe", "k", Counter())


def test_errors_are_not_remembered(file: Path) -> None:
    cache, compute = FileCache(), Counter()

    def fails(path: Path) -> Any:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        cache.get(file, "k", fails)
    assert cache.get(file, "k", compute) == "ONE" and compute.calls == 1


def test_results_are_the_same_first_and_later(place: Path, file: Path) -> None:
    """Also where JSON knows one kind of list only: what is computed now equals what is read later."""
    cache = FileCache(place)
    given = {"size": (3, 4), "nested": [(1.5, None)], "ä": "ß"}
    first = cache.get(file, "k", lambda path: given)
    assert first == cache.get(file, "k", Counter()) == {"size": [3, 4], "nested": [[1.5, None]], "ä": "ß"}
    cache.save()
    assert FileCache(place).get(file, "k", Counter()) == first


def test_returned_results_may_be_changed(file: Path) -> None:
    cache = FileCache()
    cache.get(file, "k", lambda path: {"a": [1]})["a"].append(2)
    cache.get(file, "k", Counter())["a"].append(3)
    assert cache.get(file, "k", Counter()) == {"a": [1]}


def test_values_that_are_not_json_are_refused(file: Path) -> None:
    with pytest.raises(TypeError):
        FileCache().get(file, "k", lambda path: {1, 2})


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "not a database": lambda path: path.write_bytes(b"this is no database, whatever its name" * 50),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:600]),
    "overwritten": lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * (path.stat().st_size - 100)),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_replaced(place: Path, file: Path, damage: str) -> None:
    save(place, file)
    DAMAGE[damage](place)
    cache, compute = FileCache(place), Counter()
    assert cache.get(file, "k", compute) == "ONE" and compute.calls == 1
    cache.save()
    after = Counter()
    assert FileCache(place).get(file, "k", after) == "ONE"
    assert after.calls == 0


def test_a_database_with_other_tables_is_ignored_and_kept(place: Path, file: Path) -> None:
    place.parent.mkdir(parents=True)
    with closing(sqlite3.connect(place)) as db, db:
        db.execute("CREATE TABLE facts (something)")
        db.execute("INSERT INTO facts VALUES ('else')")
    save(place, file)
    with closing(sqlite3.connect(place)) as db:
        assert db.execute("SELECT something FROM facts").fetchall() == [("else",)]


@pytest.mark.parametrize("kind", ["a folder", "below a file"])
def test_an_unwritable_path_is_no_error(tmp_path: Path, file: Path, kind: str) -> None:
    place = tmp_path if kind == "a folder" else file / "facts.sqlite"
    save(place, file)
    assert FileCache(place).get(file, "k", Counter()) == "ONE"
    assert file.read_text() == "one"


def test_a_locked_cache_is_no_error(place: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(place, file)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **more: connect(path, timeout=0.01, **more))
    with closing(connect(place)) as db:
        db.execute("BEGIN EXCLUSIVE")
        save(place, file, "other")
    compute = Counter()
    FileCache(place).get(file, "k", compute)
    assert compute.calls == 0  # it was kept


def test_unsaved_results_are_saved_next_time(tmp_path: Path, file: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    cache = FileCache(blocked / "facts.sqlite")
    cache.get(file, "k", Counter())
    cache.save()
    blocked.unlink()
    cache.save()
    compute = Counter()
    FileCache(blocked / "facts.sqlite").get(file, "k", compute)
    assert compute.calls == 0


def test_two_writers_share_a_cache(place: Path, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("two")
    one, two = FileCache(place), FileCache(place)
    one.get(file, "k", Counter())
    two.get(other, "k", Counter())
    one.save()
    two.save()
    compute = Counter()
    assert [FileCache(place).get(path, "k", compute) for path in (file, other)] == ["ONE", "TWO"]
    assert compute.calls == 0


def test_threads_may_share_a_cache(tmp_path: Path, place: Path) -> None:
    files = [tmp_path / f"{i}.txt" for i in range(60)]
    for i, path in enumerate(files):
        path.write_text(f"file {i}")
    cache = FileCache(place)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda path: cache.get(path, "k", Counter()), files))
    assert found == [f"FILE {i}" for i in range(60)]
    cache.save()
    compute = Counter()
    again = FileCache(place)
    assert [again.get(path, "k", compute) for path in files] == found and compute.calls == 0


def test_file_sha256(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"", b"abc", bytes(range(256)) * 9000):  # beyond two blocks
        path.write_bytes(content)
        assert file_sha256(path) == hashlib.sha256(content).hexdigest()
