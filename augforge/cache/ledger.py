"""Results of earlier builds by key, so that nothing is computed twice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from augforge.cache.parquet import check_parquet
from augforge.files import replacing
from augforge.keys import canonical_json

Entry = tuple[str, str, Any]
"""Kind, key, JSON-like value."""


class Ledger:
    """A table of kind, key and JSON value.

    Kinds: ``task`` (the outputs of a task), ``facts`` (areas, boxes and digest of a sample), ``features`` (a filter's
    measurements), ``shard`` (the file that holds given rows). Keys are digests of everything that the value depends on,
    so entries never become outdated. `save` leaves out entries that the build neither read nor added.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], str] = {}
        self._used: set[tuple[str, str]] = set()

    def get(self, kind: str, key: str) -> Any:
        """The value, or None. The entry counts as used."""
        text = self._values.get((kind, key))
        if text is None:
            return None
        self._used.add((kind, key))
        return json.loads(text)

    def has(self, kind: str, key: str) -> bool:
        """Whether there is an entry; asking does not make it used."""
        return (kind, key) in self._values

    def put(self, entries: Iterable[Entry], used: bool = True) -> None:
        """Add entries. Those of earlier builds are added unused, and saved only if this build asks for them."""
        for kind, key, value in entries:
            self._values[kind, key] = canonical_json(value)
            if used:
                self._used.add((kind, key))

    def load(self, path: Path) -> None:
        """Add a saved ledger's entries; they count as unused. One of `FAULTS` is raised if the file is damaged."""
        check_parquet(path)
        columns = pq.ParquetFile(path, page_checksum_verification=True).read().to_pydict()
        self._values |= zip(zip(columns["kind"], columns["key"], strict=True), columns["value"], strict=True)

    def save(self, path: Path) -> None:
        """Write the entries that this build used, sorted by kind and key."""
        keys = sorted(self._used)
        table = pa.table(
            {
                "kind": pa.array([kind for kind, _ in keys], pa.string()),
                "key": pa.array([key for _, key in keys], pa.string()),
                "value": pa.array([self._values[key] for key in keys], pa.string()),
            }
        )
        with replacing(path, durable=True) as temporary:
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
