"""Writes an index of rows in any order, as a build writes those of its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augforge.store import index as index_store


def write_index(path: Path, rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    types = index_store.metadata_types(row.get("metadata") or {} for row in rows)
    index_store.write_index(path, sorted(rows, key=lambda row: str(row["id"])), classes, types)
