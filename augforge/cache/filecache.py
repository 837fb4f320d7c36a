"""What was computed from files, such as digests, kept until a file's size, modification time or inode changes."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from errno import EINVAL
from pathlib import Path
from stat import S_ISREG
from threading import Lock
from typing import Any
from weakref import finalize

import xxhash

from augforge.cache.scratch import ScratchDatabase

_TABLES = """
CREATE TABLE facts (path, kind, stamp, value, checksum, fresh, PRIMARY KEY (path, kind)) WITHOUT ROWID;
CREATE TABLE seen (path PRIMARY KEY, stamp) WITHOUT ROWID;
"""
_STORED = "CREATE TABLE IF NOT EXISTS checked_facts (path, kind, stamp, value, checksum, PRIMARY KEY (path, kind))"


class FileCache:
    """Remembers what was computed from a file as long as the file looks untouched.

    The process works on a database of its own, which SQLite keeps in memory while it is small and in a temporary file
    otherwise: a million files need no more memory than a thousand. `save` writes what is new to ``path``, so processes
    that share the file never wait for each other.

    Args:
        path: the SQLite file; None keeps results for this process alone.
        trust: False ignores stored results and replaces them, for ``--rehash``.
    """

    def __init__(self, path: Path | None = None, *, trust: bool = True) -> None:
        self._path = path
        self._lock = Lock()
        self._fresh = 0
        self._db = ScratchDatabase()
        finalize(self, self._db.close)
        self._db.executescript(_TABLES)
        if path is not None and path.exists() and trust:
            self._load(path)

    def get(self, file: Path, kind: str, compute: Callable[[Path], Any]) -> Any:
        """``compute(file)``, or its stored result if the file is untouched.

        Args:
            file: the file that the result depends on.
            kind: what is computed, and everything else that the result depends on (versions, options).
            compute: returns something JSON-like.

        Raises:
            OSError: there is no such file, or it is no regular file.
        """
        path, stamp = str(file.absolute()), _stamp(file)
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (path, stamp))
            query = "SELECT value, checksum FROM facts WHERE path = ? AND kind = ? AND stamp = ?"
            stored = self._db.execute(query, (path, kind, stamp)).fetchone()
        # SQLite notices damage to its pages' structure, but not to what they hold: such a result is computed again.
        if stored is not None and stored[1] == _checksum(path, kind, stamp, stored[0]):
            return json.loads(stored[0])
        text = json.dumps(compute(file))
        self._store(path, kind, stamp, text)
        return json.loads(text)

    def has(self, file: Path, kind: str) -> bool:
        """Whether `get` has a stored result."""
        query = "SELECT 1 FROM facts WHERE path = ? AND kind = ? AND stamp = ?"
        with self._lock:
            return self._db.execute(query, (str(file.absolute()), kind, _stamp(file))).fetchone() is not None

    def remember(self, file: Path, kind: str, value: Any) -> None:
        """Store a result that is known without computing it, such as the digest of a file just written."""
        self._store(str(file.absolute()), kind, _stamp(file), json.dumps(value))

    def stamps(self, files: Iterable[Path]) -> tuple[tuple[str, str], ...]:
        """Path and stamp of those files that `get` was asked about in this process, as they were then."""
        query = "SELECT path, stamp FROM seen WHERE path = ?"
        with self._lock:
            found = (self._db.execute(query, (str(file.absolute()),)).fetchone() for file in files)
            return tuple(sorted((path, stamp) for path, stamp in filter(None, found)))

    def changed_files(self) -> list[str]:
        """Paths of the files that changed or vanished since `get` was asked about them in this process."""
        return changed_files(self._db.execute("SELECT path, stamp FROM seen ORDER BY path"))

    def save(self) -> None:
        """Write new results to the file. If that fails, later builds compute them again."""
        if self._path is None or not self._fresh:
            return
        rows = self._db.execute("SELECT path, kind, stamp, value, checksum FROM facts WHERE fresh")
        with suppress(OSError, sqlite3.Error):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path)) as db, db:
                db.execute(_STORED)
                db.executemany("INSERT OR REPLACE INTO checked_facts VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute("UPDATE facts SET fresh = 0 WHERE fresh")
            self._fresh = 0

    def _store(self, path: str, kind: str, stamp: str, text: str) -> None:
        with self._lock:
            row = (path, kind, stamp, text, _checksum(path, kind, stamp, text))
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?, 1)", row)
            self._fresh += 1

    def _load(self, path: Path) -> None:
        """Copy all stored results in; none if the file cannot be read.

        A damaged file is deleted. What could be read before the damage stays, and goes into a new file.
        """
        try:
            with closing(sqlite3.connect(path)) as db:
                rows = db.execute("SELECT path, kind, stamp, value, checksum FROM checked_facts")
                self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?, 0)", rows)
        except sqlite3.OperationalError:  # locked or not readable: leave it to others
            self._db.execute("DELETE FROM facts")
        except sqlite3.DatabaseError:
            self._fresh = self._db.execute("UPDATE facts SET fresh = 1").rowcount
            with suppress(OSError):
                path.unlink()


def forget_files(cache: Path, files: Iterable[Path]) -> None:
    """Delete all that a cache's file says of some shards, since they turned out to be other than their stamps say.

    Only the folder's and the file's name count, since a dataset may be reached by several paths. If the cache cannot be
    written, nothing happens.
    """
    if not cache.is_file():
        return
    with suppress(OSError, sqlite3.Error), closing(sqlite3.connect(cache)) as db, db:
        ends = [(f"{os.sep}{file.parent.name}{os.sep}{file.name}",) for file in files]
        db.executemany("DELETE FROM checked_facts WHERE substr(path, -length(?1)) = ?1", ends)


def has_stored(cache: Path, files: Iterable[tuple[Path, str, Any]]) -> bool:
    """Whether a cache's file says for each of several files, as they are now, that a kind of result has this value.

    It reads these results alone, where a `FileCache` copies all of them.
    """
    query = "SELECT value, checksum FROM checked_facts WHERE path = ? AND kind = ? AND stamp = ?"
    try:
        with closing(sqlite3.connect(f"{cache.absolute().as_uri()}?mode=ro", uri=True)) as db:
            for file, kind, value in files:
                key, text = (str(file.absolute()), kind, _stamp(file)), json.dumps(value)
                if db.execute(query, key).fetchone() != (text, _checksum(*key, text)):
                    return False
    except (OSError, sqlite3.Error):
        return False
    return True


def _checksum(*texts: Any) -> str:
    """Checksum of a stored result and of what it is stored under."""
    return xxhash.xxh3_64(repr(texts).encode("utf-8", "surrogatepass")).hexdigest()


def _stamp(file: Path | str) -> str:
    stat = os.stat(file)  # noqa: PTH116 - of a text: a Path of each file of each sample would cost more than the call
    if not S_ISREG(stat.st_mode):  # reading a pipe or a device may wait forever
        raise OSError(EINVAL, "it is no regular file", str(file))
    return f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"


def changed_files(stamps: Iterable[tuple[str, str]]) -> list[str]:
    """Paths of the files that are no longer as their stamp says, or that vanished."""
    return [path for path, stamp in stamps if not _is_unchanged(path, stamp)]


def _is_unchanged(file: str, stamp: str) -> bool:
    try:
        return _stamp(file) == stamp
    except OSError:
        return False
