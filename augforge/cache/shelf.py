"""A mapping that lies in a temporary database."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import ItemsView, Iterator, MutableMapping, ValuesView
from typing import TypeVar
from weakref import finalize

Value = TypeVar("Value")


class Shelf(MutableMapping[str, Value]):
    """Text to values, in the order of the keys: a million of them cost no more memory than a thousand.

    SQLite keeps the database in memory while it is small, and else in a temporary file. Values are copied in and out:
    one that is changed must be set again. Entries may be taken out, but not put in, while it is looped over.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        finalize(self, self._db.close)
        self._db.executescript(
            "PRAGMA journal_mode = OFF; CREATE TABLE shelf (key PRIMARY KEY, value) WITHOUT ROWID; BEGIN"
        )

    def __setitem__(self, key: str, value: Value) -> None:
        self._db.execute("INSERT OR REPLACE INTO shelf VALUES (?, ?)", (_bytes(key), pickle.dumps(value)))

    def __getitem__(self, key: str) -> Value:
        row = self._db.execute("SELECT value FROM shelf WHERE key = ?", (_bytes(key),)).fetchone()
        if row is None:
            raise KeyError(key)
        value: Value = pickle.loads(row[0])
        return value

    def __delitem__(self, key: str) -> None:
        if not self._db.execute("DELETE FROM shelf WHERE key = ?", (_bytes(key),)).rowcount:
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        sought = "SELECT 1 FROM shelf WHERE key = ?"
        return isinstance(key, str) and self._db.execute(sought, (_bytes(key),)).fetchone() is not None

    def __iter__(self) -> Iterator[str]:
        for (key,) in self._db.execute("SELECT key FROM shelf ORDER BY key"):
            yield _text(key)

    def setdefault(self, key: str, default: Value) -> Value:
        """The value of a key; it is ``default`` itself where the key is new."""
        added = self._db.execute("INSERT OR IGNORE INTO shelf VALUES (?, ?)", (_bytes(key), pickle.dumps(default)))
        return default if added.rowcount else self[key]

    def items(self) -> ItemsView[str, Value]:
        return _Items(self, self._db)

    def values(self) -> ValuesView[Value]:
        return _Values(self, self._db)

    def __len__(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM shelf").fetchone()[0]
        return count


def _bytes(key: str) -> bytes:
    """SQLite takes no text with lone surrogates; bytes are ordered as the characters are."""
    return key.encode("utf-8", "surrogatepass")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")


class _Items(ItemsView[str, Value]):
    """Keys and values read together, and not a query a key."""

    def __init__(self, shelf: Shelf[Value], db: sqlite3.Connection) -> None:
        super().__init__(shelf)
        self._db = db

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        for key, value in self._db.execute("SELECT key, value FROM shelf ORDER BY key"):
            yield _text(key), pickle.loads(value)


class _Values(ValuesView[Value]):
    def __init__(self, shelf: Shelf[Value], db: sqlite3.Connection) -> None:
        super().__init__(shelf)
        self._db = db

    def __iter__(self) -> Iterator[Value]:
        for (value,) in self._db.execute("SELECT value FROM shelf ORDER BY key"):
            yield pickle.loads(value)
