"""How often labels are given, and what columns of metadata hold: counted from the index, and printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text

from augforge.errors import some
from augforge.report.tables import plural, table

_MOST_VALUES = 20
"""A column of more values is told by its number of values, or by its range."""
_SHOWN = 6


def label_counts(index: pl.DataFrame, labels: Sequence[str], splits: Iterable[str]) -> list[dict[str, Any]]:
    """One dict per label: in how many samples it is given, in all and per split, and in how many it is known."""
    known = index.select("split", "label").drop_nulls("label")
    given = {split: known.filter(pl.col("split") == split)["label"].to_list() for split in splits}
    return [
        {
            "name": name,
            "samples": sum((vector[i] or 0) > 0 for vectors in given.values() for vector in vectors),
            "per_split": {split: sum((vector[i] or 0) > 0 for vector in vectors) for split, vectors in given.items()},
            "known": sum(vector[i] is not None for vectors in given.values() for vector in vectors),
        }
        for i, name in enumerate(labels)
    ]


def metadata_counts(index: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """For each column of metadata the number of samples with a value and of different values.

    A column of few values has the number of samples of each, ``values``; one of numbers has ``least`` and ``most``.
    """
    if "metadata" not in index.columns:
        return {}
    return {column.name: _column_counts(column) for column in index["metadata"].struct.unnest()}


def _column_counts(column: pl.Series) -> dict[str, Any]:
    present = column.drop_nulls()
    found: dict[str, Any] = {"samples": len(present), "different": present.n_unique() if len(present) else 0}
    if found["different"] <= _MOST_VALUES and present.dtype.is_nested() is False:
        counts = present.value_counts(sort=True).rows()
        found["values"] = {str(value): count for value, count in sorted(counts, key=lambda row: (-row[1], str(row[0])))}
    if present.dtype.is_numeric() and len(present):
        found |= {"least": present.min(), "most": present.max()}
    return found


def render_labels(labels: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print how many samples have each label, by split."""
    if not labels:
        return
    splits = [*labels[0]["per_split"]]
    shown = table("label", "labelled", "samples", *splits, right=2 + len(splits), title=plural(len(labels), "label"))
    for entry in labels:
        style = "" if entry["samples"] else "yellow"
        counts = [f"{entry['per_split'][split]:,}" for split in splits]
        shown.add_row(Text(entry["name"]), f"{entry['known']:,}", f"{entry['samples']:,}", *counts, style=style)
    console.print(shown, "", sep="\n")


def render_metadata(columns: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Print what each column of metadata holds."""
    if not columns:
        return
    shown = table("metadata", "values", "samples", right=1)
    for name, found in columns.items():
        shown.add_row(Text(name), Text(_values_text(found)), f"{found['samples']:,}")
    console.print(shown, "", sep="\n")


def _values_text(found: Mapping[str, Any]) -> str:
    if "values" in found and len(found["values"]) <= _SHOWN:
        return ", ".join(f"{value} {count:,}" for value, count in found["values"].items())
    if "least" in found:
        return f"{found['least']:g} to {found['most']:g}"
    if "values" in found:
        return some([f"{value} {count:,}" for value, count in found["values"].items()], _SHOWN)
    return plural(found["different"], "different value")
