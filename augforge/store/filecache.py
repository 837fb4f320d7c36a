"""Facts of files, computed once: keyed by path, size, modification time and inode."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any


class FileCache:
    """Remembers what was computed from a file as long as the file looks untouched.

    Args:
        path: the SQLite file; None keeps everything in memory.
        trust: False computes everything again (and stores it), for ``--rehash``.
    """

    def __init__(self, path: Path | None = None, *, trust: bool = True) -> None:
        self._path = path
        self._trust = trust
        self._facts: dict[tuple[str, str], tuple[str, str]] = {}
        self._fresh: dict[tuple[str, str], tuple[str, str]] = {}
        self._seen: dict[str, str] = {}
        if path is not None and path.exists() and trust:
            self._facts = _read(path)

    def get(self, file: Path, kind: str, compute: Callable[[Path], Any]) -> Any:
        """``compute(file)``, or what it gave last time. The result must be JSON-like.

        Args:
            file: the file that decides the result.
            kind: what is computed, with everything else that decides it (versions, options).
        """
        key = (str(file.absolute()), kind)
        stamp = self._seen[key[0]] = _stamp(file)
        known = self._facts.get(key)
        if known is not None and known[0] == stamp:
            return json.loads(known[1])
        text = json.dumps(compute(file))
        self._facts[key] = self._fresh[key] = (stamp, text)
        return json.loads(text)

    def remember(self, file: Path, kind: str, value: Any) -> None:
        """Keep a value that is known without computing it, such as the digest of a file just written."""
        key = (str(file.absolute()), kind)
        self._facts[key] = self._fresh[key] = (_stamp(file), json.dumps(value))

    def changed(self) -> list[str]:
        """Files that were asked about and are no longer what they were then."""
        return sorted(file for file, stamp in self._seen.items() if not _is(Path(file), stamp))

    def save(self) -> None:
        """Write what is new. A cache that cannot be written costs time, never correctness."""
        if self._path is None or not self._fresh:
            return
        rows = [(*key, *value) for key, value in self._fresh.items()]
        with suppress(OSError, sqlite3.Error):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path)) as db, db:
                db.execute("CREATE TABLE IF NOT EXISTS facts (path, kind, stamp, value, PRIMARY KEY (path, kind))")
                db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", rows)
            self._fresh.clear()


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    state = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def _stamp(file: Path) -> str:
    stat = file.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"


def _is(file: Path, stamp: str) -> bool:
    try:
        return _stamp(file) == stamp
    except OSError:
        return False


def _read(path: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """The stored facts; none where the file cannot be read: it is a cache. A damaged one makes room for a new one."""
    try:
        with closing(sqlite3.connect(path)) as db:
            rows = db.execute("SELECT path, kind, stamp, value FROM facts").fetchall()
    except sqlite3.OperationalError:
        return {}
    except sqlite3.DatabaseError:
        with suppress(OSError):
            path.unlink()
        return {}
    return {(file, kind): (stamp, value) for file, kind, stamp, value in rows}
