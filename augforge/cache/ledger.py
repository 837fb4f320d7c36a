"""What earlier builds found out, kept by key, so that nothing is worked out twice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from augforge.files import replacing
from augforge.keys import canonical_json

Entry = tuple[str, str, Any]
"""Kind, key, JSON-like value."""


class Ledger:
    """A table of kind, key and JSON value.

    Kinds: ``task`` (what a task made), ``facts`` (what is known of a sample's pixels), ``features`` (what a filter
    measured), ``shard`` (which file holds which rows). Keys are digests of everything that decides the value, so an
    entry is true for ever. What a build neither reads nor writes is left out when it saves.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], str] = {}
        self._used: set[tuple[str, str]] = set()

    def get(self, kind: str, key: str) -> Any:
        """The value, or None."""
        text = self._values.get((kind, key))
        if text is None:
            return None
        self._used.add((kind, key))
        return json.loads(text)

    def has(self, kind: str, key: str) -> bool:
        return (kind, key) in self._values

    def put(self, entries: Iterable[Entry], used: bool = True) -> None:
        """Add entries; those of earlier builds count as unused until they are asked for."""
        for kind, key, value in entries:
            self._values[kind, key] = canonical_json(value)
            if used:
                self._used.add((kind, key))

    def load(self, path: Path) -> None:
        """Add a saved ledger's entries; they count as unused."""
        columns = pq.ParquetFile(path).read().to_pydict()
        self._values |= zip(zip(columns["kind"], columns["key"], strict=True), columns["value"], strict=True)

    def save(self, path: Path) -> None:
        """Write the entries this build used, sorted."""
        keys = sorted(self._used)
        table = pa.table(
            {
                "kind": pa.array([kind for kind, _ in keys], pa.string()),
                "key": pa.array([key for _, key in keys], pa.string()),
                "value": pa.array([self._values[key] for key in keys], pa.string()),
            }
        )
        with replacing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
