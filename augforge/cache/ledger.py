"""Results of earlier builds by key, so that nothing is computed twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from weakref import finalize

import pyarrow as pa
import pyarrow.parquet as pq

from augforge.cache.parquet import check_parquet, write_rows
from augforge.cache.scratch import ScratchDatabase
from augforge.keys import canonical_json

Entry = tuple[str, str, Any]
"""Kind, key, JSON-like value."""

_TABLE = "CREATE TABLE entries (kind, key, value, used, PRIMARY KEY (kind, key)) WITHOUT ROWID; BEGIN"
_PUT = """INSERT INTO entries VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value, used = max(used, excluded.used)"""
_SCHEMA = pa.schema([(name, pa.string()) for name in ("kind", "key", "value")])


class Ledger:
    """A table of kind, key and JSON value, on disk if it is large (docs/adr/0031).

    Kinds: ``task`` (the outputs of a task), ``facts`` (areas, boxes and digest of a sample), ``features`` (a filter's
    measurements), ``shard`` (the file that holds given rows). Keys are digests of everything that the value depends on,
    so entries never become outdated. `save` leaves out entries that the build neither read nor added.
    """

    def __init__(self) -> None:
        self._db = ScratchDatabase(isolation_level=None)
        finalize(self, self._db.close)
        self._db.executescript(_TABLE)

    def get(self, kind: str, key: str) -> Any:
        """The value, or None. The entry counts as used."""
        query = "SELECT value, used FROM entries WHERE kind = ? AND key = ?"
        row = self._db.execute(query, (kind, key)).fetchone()
        if row is None:
            return None
        if not row[1]:
            self._db.execute("UPDATE entries SET used = 1 WHERE kind = ? AND key = ?", (kind, key))
        return json.loads(row[0])

    def has(self, kind: str, key: str) -> bool:
        """Whether there is an entry; asking does not make it used."""
        query = "SELECT 1 FROM entries WHERE kind = ? AND key = ?"
        return self._db.execute(query, (kind, key)).fetchone() is not None

    def put(self, entries: Iterable[Entry], used: bool = True) -> None:
        """Add entries. Those of earlier builds are added unused, and saved only if this build asks for them."""
        rows = ((kind, key, canonical_json(value), used) for kind, key, value in entries)
        self._db.executemany(_PUT, rows)

    def load(self, path: Path) -> None:
        """Add a saved ledger's entries; they count as unused. One of `FAULTS` is raised if the file is damaged."""
        check_parquet(path)
        for _ in _read_rows(path):
            pass  # all of it is read before any of it counts
        for rows in _read_rows(path):
            self._db.executemany(_PUT, rows)

    def save(self, path: Path) -> None:
        """Write the entries that this build used, sorted by kind and key."""
        rows = self._db.execute("SELECT kind, key, value FROM entries WHERE used ORDER BY kind, key")
        write_rows(path, (dict(zip(_SCHEMA.names, row, strict=True)) for row in rows), _SCHEMA)


def _read_rows(path: Path) -> Iterator[Iterator[tuple[str, str, str, bool]]]:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(1024, columns=_SCHEMA.names, use_threads=False):
            columns = [batch[name].to_pylist() for name in _SCHEMA.names]
            yield ((*row, False) for row in zip(*columns, strict=True))
