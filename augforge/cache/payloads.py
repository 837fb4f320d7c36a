"""Where encoded samples lie, for all samples of a build: a table on disk if it is large."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from weakref import finalize

from augforge.cache.scratch import ScratchDatabase
from augforge.cache.work import Payload

Key = tuple[str, str]
"""Sample id and encoding."""

_TABLES = """
CREATE TABLE files (number INTEGER PRIMARY KEY, file UNIQUE);
CREATE TABLE payloads (id, encoding, file, a, b, c, d, earlier, PRIMARY KEY (id, encoding)) WITHOUT ROWID;
BEGIN
"""
_ONE = "SELECT files.file, a, b, c, d FROM payloads JOIN files ON files.number = payloads.file"


class Payloads:
    """Payloads by sample id and encoding. Those of earlier builds are told from what this one adds.

    A mapping in what it offers, but for views: it may have millions of entries.
    """

    def __init__(self) -> None:
        self._db = ScratchDatabase(isolation_level=None)
        finalize(self, self._db.close)
        self._db.executescript(_TABLES)
        self._numbers: dict[str, int] = {}

    def __contains__(self, key: Key) -> bool:
        return self._db.execute("SELECT 1 FROM payloads WHERE id = ? AND encoding = ?", key).fetchone() is not None

    def __getitem__(self, key: Key) -> Payload:
        row = self._db.execute(f"{_ONE} WHERE id = ? AND encoding = ?", key).fetchone()
        if row is None:
            raise KeyError(key)
        return Payload(*row)

    def __len__(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM payloads").fetchone()[0]
        return count

    def update(self, payloads: Mapping[Key, Payload] | Iterable[tuple[Key, Payload]], earlier: bool = False) -> None:
        """Add payloads; those with a key that is there already take its place.

        Args:
            payloads: by sample id and encoding.
            earlier: whether they were made by an earlier build.
        """
        items = payloads.items() if isinstance(payloads, Mapping) else payloads
        rows = ((*key, self._number(p.file), *_place(p), earlier) for key, p in items)
        self._db.executemany("INSERT OR REPLACE INTO payloads VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def is_earlier(self, key: Key) -> bool:
        """Whether there is such a payload, and an earlier build made it."""
        query = "SELECT earlier FROM payloads WHERE id = ? AND encoding = ?"
        row: tuple[int] | None = self._db.execute(query, key).fetchone()
        return row == (1,)

    def of_file(self, file: str) -> Iterator[Key]:
        """Sample id and encoding of all payloads in a file."""
        query = "SELECT id, encoding FROM payloads WHERE file = ?"
        return iter(self._db.execute(query, (self._numbers.get(file),)).fetchall())

    def forget(self, file: str) -> None:
        """Drop all payloads of a file."""
        self._db.execute("DELETE FROM payloads WHERE file = ?", (self._numbers.get(file),))

    def _number(self, file: str) -> int:
        number = self._numbers.get(file)
        if number is None:
            number = self._numbers[file] = len(self._numbers)
            self._db.execute("INSERT INTO files VALUES (?, ?)", (number, file))
        return number


def _place(payload: Payload) -> tuple[int, int, int, int]:
    return payload.image_offset, payload.image_bytes, payload.masks_offset, payload.masks_bytes
