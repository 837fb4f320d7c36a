"""A mapping in a temporary database, for tables that may outgrow memory."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import ItemsView, Iterator, MutableMapping, ValuesView
from typing import TypeVar
from weakref import finalize

from augforge.cache.scratch import ScratchDatabase

Value = TypeVar("Value")


class Shelf(MutableMapping[str, Value]):
    """A mapping from text to values, iterated in the order of the keys.

    SQLite keeps the database in memory while it is small and in a temporary file otherwise, so a million entries need
    no more memory than a thousand. Values are pickled in and out: a value that was changed must be set again. While
    iterating, entries may be deleted, but not added.
    """

    def __init__(self) -> None:
        self._db = ScratchDatabase(isolation_level=None)
        finalize(self, self._db.close)
        self._db.executescript("CREATE TABLE shelf (key PRIMARY KEY, value) WITHOUT ROWID; BEGIN")

    def __setitem__(self, key: str, value: Value) -> None:
        self._db.execute("INSERT OR REPLACE INTO shelf VALUES (?, ?)", (_bytes(key), pickle.dumps(value)))

    def __getitem__(self, key: str) -> Value:
        row = self._db.execute("SELECT value FROM shelf WHERE key = ?", (_bytes(key),)).fetchone()
        if row is None:
            raise KeyError(key)
        value: Value = pickle.loads(row[0])  # noqa: S301  (our own temporary file)
        return value

    def __delitem__(self, key: str) -> None:
        if not self._db.execute("DELETE FROM shelf WHERE key = ?", (_bytes(key),)).rowcount:
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        query = "SELECT 1 FROM shelf WHERE key = ?"
        return isinstance(key, str) and self._db.execute(query, (_bytes(key),)).fetchone() is not None

    def __iter__(self) -> Iterator[str]:
        for (key,) in self._db.execute("SELECT key FROM shelf ORDER BY key"):
            yield _text(key)

    def setdefault(self, key: str, default: Value) -> Value:
        """The value of a key; ``default`` itself, which is stored, if the key is new."""
        added = self._db.execute("INSERT OR IGNORE INTO shelf VALUES (?, ?)", (_bytes(key), pickle.dumps(default)))
        return default if added.rowcount else self[key]

    def items(self) -> ItemsView[str, Value]:
        """Keys and values, read with one query."""
        return _Items(self, self._db)

    def values(self) -> ValuesView[Value]:
        """Values in the order of their keys, read with one query."""
        return _Values(self, self._db)

    def __len__(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM shelf").fetchone()[0]
        return count


def _bytes(key: str) -> bytes:
    """A key as SQLite stores it: it takes no text with lone surrogates. Bytes sort as the characters do."""
    return key.encode("utf-8", "surrogatepass")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")


class _Items(ItemsView[str, Value]):
    """Keys and values read together; the inherited one would run a query per key."""

    def __init__(self, shelf: Shelf[Value], db: sqlite3.Connection) -> None:
        super().__init__(shelf)
        self._db = db

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        for key, value in self._db.execute("SELECT key, value FROM shelf ORDER BY key"):
            yield _text(key), pickle.loads(value)  # noqa: S301  (our own temporary file)


class _Values(ValuesView[Value]):
    def __init__(self, shelf: Shelf[Value], db: sqlite3.Connection) -> None:
        super().__init__(shelf)
        self._db = db

    def __iter__(self) -> Iterator[Value]:
        for (value,) in self._db.execute("SELECT value FROM shelf ORDER BY key"):
            yield pickle.loads(value)  # noqa: S301  (our own temporary file)
