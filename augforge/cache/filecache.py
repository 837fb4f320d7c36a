"""Facts of files, computed once: keyed by path, size, modification time and inode."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from errno import EINVAL
from pathlib import Path
from stat import S_ISREG
from threading import Lock
from typing import Any
from weakref import finalize

_TABLES = """
PRAGMA journal_mode = OFF;
CREATE TABLE facts (path, kind, stamp, value, fresh, PRIMARY KEY (path, kind)) WITHOUT ROWID;
CREATE TABLE seen (path PRIMARY KEY, stamp) WITHOUT ROWID;
"""


class FileCache:
    """Remembers what was computed from a file as long as the file looks untouched.

    What is known lies in a database of its own that SQLite keeps in memory while it is small, and else in a temporary
    file: a million files cost no more memory than a thousand.

    Args:
        path: the SQLite file; None keeps everything for this process.
        trust: False computes everything again (and stores it), for ``--rehash``.
    """

    def __init__(self, path: Path | None = None, *, trust: bool = True) -> None:
        self._path = path
        self._lock = Lock()
        self._fresh = 0
        self._db = sqlite3.connect("", check_same_thread=False)
        finalize(self, self._db.close)
        self._db.executescript(_TABLES)
        if path is not None and path.exists() and trust:
            self._take_over(path)

    def get(self, file: Path, kind: str, compute: Callable[[Path], Any]) -> Any:
        """``compute(file)``, or what it gave last time. The result must be JSON-like.

        Args:
            file: the file that decides the result.
            kind: what is computed, with everything else that decides it (versions, options).
        """
        path, stamp = str(file.absolute()), _stamp(file)
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (path, stamp))
            sought = "SELECT value FROM facts WHERE path = ? AND kind = ? AND stamp = ?"
            known = self._db.execute(sought, (path, kind, stamp)).fetchone()
        if known is not None:
            return json.loads(known[0])
        text = json.dumps(compute(file))
        self._keep(path, kind, stamp, text)
        return json.loads(text)

    def has(self, file: Path, kind: str) -> bool:
        """Whether `get` knows the answer already."""
        sought = "SELECT 1 FROM facts WHERE path = ? AND kind = ? AND stamp = ?"
        with self._lock:
            return self._db.execute(sought, (str(file.absolute()), kind, _stamp(file))).fetchone() is not None

    def remember(self, file: Path, kind: str, value: Any) -> None:
        """Keep a value that is known without computing it, such as the digest of a file just written."""
        self._keep(str(file.absolute()), kind, _stamp(file), json.dumps(value))

    def changed(self) -> list[str]:
        """Files that were asked about and are no longer what they were then."""
        rows = self._db.execute("SELECT path, stamp FROM seen ORDER BY path")
        return [path for path, stamp in rows if not _is(Path(path), stamp)]

    def save(self) -> None:
        """Write what is new. A cache that cannot be written costs time, never correctness."""
        if self._path is None or not self._fresh:
            return
        rows = self._db.execute("SELECT path, kind, stamp, value FROM facts WHERE fresh")
        with suppress(OSError, sqlite3.Error):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path)) as db, db:
                db.execute("CREATE TABLE IF NOT EXISTS facts (path, kind, stamp, value, PRIMARY KEY (path, kind))")
                db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", rows)
            self._db.execute("UPDATE facts SET fresh = 0 WHERE fresh")
            self._fresh = 0

    def _keep(self, path: str, kind: str, stamp: str, text: str) -> None:
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, 1)", (path, kind, stamp, text))
            self._fresh += 1

    def _take_over(self, path: Path) -> None:
        """Know the stored facts; none where the file cannot be read. A damaged one makes room for a new one."""
        try:
            with closing(sqlite3.connect(path)) as db:
                rows = db.execute("SELECT path, kind, stamp, value FROM facts")
                self._db.executemany("INSERT INTO facts VALUES (?, ?, ?, ?, 0)", rows)
        except sqlite3.OperationalError:
            self._db.execute("DELETE FROM facts")
        except sqlite3.DatabaseError:
            self._db.execute("DELETE FROM facts")
            with suppress(OSError):
                path.unlink()


def _stamp(file: Path) -> str:
    stat = file.stat()
    if not S_ISREG(stat.st_mode):  # reading a pipe or a device may wait forever
        raise OSError(EINVAL, "it is no regular file", str(file))
    return f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"


def _is(file: Path, stamp: str) -> bool:
    try:
        return _stamp(file) == stamp
    except OSError:
        return False
