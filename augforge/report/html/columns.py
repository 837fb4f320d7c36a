"""Metadata by split and by class, from the index. Texts that differ much, as names do, are only counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from augforge.store.dataset import Dataset

MOST_VALUES = 20
"""A column of texts with more values is no category: its values may be names. Nor is one in which every other group has
a value of its own, as with names of patients who have several images each."""
BINS = 20


def metadata_facts(dataset: Dataset) -> list[dict[str, Any]]:
    """One dict per column of metadata: its kind, its values by split, and by class.

    ``kind`` is ``numbers`` (with ``edges`` and ``per_split`` counts between them, and per class the median), ``values``
    (with ``values``, ``per_split`` counts of them, and per class the counts), or ``texts`` (with nothing but numbers of
    samples and of different values).
    """
    index = dataset.index
    if "metadata" not in index.columns:
        return []
    areas = index["area"].struct.unnest()
    shown = {name: areas[name].fill_null(0) > 0 for name in dataset.classes}
    columns = index["metadata"].struct.unnest()
    return [_column_facts(column, index["group"], index["split"], shown) for column in columns]


def _column_facts(column: pl.Series, group: pl.Series, split: pl.Series, shown: dict[str, pl.Series]) -> dict[str, Any]:
    present = column.drop_nulls()
    facts: dict[str, Any] = {"name": column.name, "samples": len(present), "different": 0}
    if present.dtype.is_nested():
        return {**facts, "kind": "texts"}
    facts["different"] = present.n_unique()
    if present.dtype.is_numeric() and facts["different"] > 2:
        return {**facts, **_numbers(column, split, shown)}
    groups = group.filter(column.is_not_null()).n_unique()
    if 0 < facts["different"] <= min(MOST_VALUES, groups / 2):
        return {**facts, **_categories(column, split, shown)}
    return {**facts, "kind": "texts"}


def _numbers(column: pl.Series, split: pl.Series, shown: dict[str, pl.Series]) -> dict[str, Any]:
    values = column.cast(pl.Float64)
    finite = values.is_not_null() & values.is_finite()
    edges = bin_edges(values.filter(finite).to_list())
    per_split = {
        name: np.histogram(values.filter(finite & (split == name)).to_numpy(), edges)[0].tolist()
        for name in split.unique(maintain_order=True)
    }
    by_class = {name: values.filter(finite & here).median() for name, here in shown.items()}
    return {"kind": "numbers", "edges": edges, "per_split": per_split, "by_class": by_class}


def bin_edges(values: Sequence[float], bins: int = BINS) -> list[float]:
    """Edges of equal bins over the range of the values; whole numbers of a small range get a bin each."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if all(float(value).is_integer() for value in values) and high - low < bins:
        return [low - 0.5 + i for i in range(int(high - low) + 2)]
    if high - low <= 0 or not np.isfinite(high - low):
        return [low - 0.5, low + 0.5]
    return [float(edge) for edge in np.linspace(low, high, bins + 1)]


def _categories(column: pl.Series, split: pl.Series, shown: dict[str, pl.Series]) -> dict[str, Any]:
    texts = column.cast(pl.String)
    values = texts.drop_nulls().value_counts(sort=True).sort("count", column.name, descending=[True, False])
    names: list[str] = values[column.name].to_list()
    return {
        "kind": "values",
        "values": names,
        "per_split": {name: _count(texts.filter(split == name), names) for name in split.unique(maintain_order=True)},
        "by_class": {name: _count(texts.filter(here), names) for name, here in shown.items()},
    }


def _count(texts: pl.Series, values: Sequence[str]) -> list[int]:
    counts = dict(texts.drop_nulls().value_counts().rows())
    return [counts.get(value, 0) for value in values]
