"""How samples came about, from the index: which steps they went through, and what chance drew for them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from augforge.engine.changes import RecipeSteps
from augforge.report.html.columns import BINS, MOST_VALUES, bin_edges
from augforge.report.provenance import Provenance
from augforge.report.tables import split_order
from augforge.store.dataset import Dataset
from augforge.store.tables import read_rejected

_MOST_DRAWS = 10_000
"""Draws that are read: more change no histogram visibly."""
_MOST_CHARTS = 24
_MOST_NAMES = 50


def step_facts(provenance: Provenance) -> list[dict[str, Any]]:
    """One dict for each step, in the order of the recipe: its op, and how many samples it made of what came to it.

    Samples between the stages count too, such as the parts of a mosaic that stand nowhere by themselves.
    """
    splits = provenance.made.select("id", "split")
    counts = (
        provenance.own_steps.join(splits, on="id")
        .group_by("step", "op", "split")
        .agg(pl.col("id").n_unique().alias("samples"))
    )
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for step, op, split, samples in counts.sort("step", "op", "split").iter_rows():
        found[step, op][split] = samples
    order = {step: place for place, step in enumerate(_recipe_order(provenance.dataset))}
    rows = [{"step": step, "op": op, "per_split": split_order(counted)} for (step, op), counted in found.items()]
    return sorted(rows, key=lambda row: (order.get(row["step"], len(order)), row["step"]))


def _recipe_order(dataset: Dataset) -> list[str]:
    """Labels of the steps of the recipe that a version was built from."""
    return list(RecipeSteps.of_version(dataset.folder, dataset.manifest, set).steps)


def drawn_facts(provenance: Provenance) -> list[dict[str, Any]]:
    """One dict for each value that a step drew: ``step``, ``value`` (its key), and counts between ``edges`` or by text.

    Of a large dataset, samples that are spread evenly over it are read.
    """
    steps = provenance.own_steps.drop_nulls("drawn")
    every = max(1, -(-len(steps) // _MOST_DRAWS))
    values: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for step, drawn in steps.gather_every(every).select("step", "drawn").iter_rows():
        for key, value in _leaves(json.loads(drawn), ""):
            values[step, key].append(value)
    order = {step: place for place, step in enumerate(_recipe_order(provenance.dataset))}
    found = [{"step": step, "value": key, **_summary(drawn)} for (step, key), drawn in values.items()]
    return sorted(found, key=lambda row: order.get(row["step"], len(order)))[:_MOST_CHARTS]


def _leaves(drawn: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Numbers and words of a JSON value with their keys; those of a list share one key."""
    if isinstance(drawn, Mapping):
        for name, value in drawn.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(drawn, list):
        for value in drawn:
            yield from _leaves(value, key)
    elif drawn is not None:
        yield key or "value", drawn


def _summary(values: list[Any]) -> dict[str, Any]:
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool) and np.isfinite(v)]
    if len(numbers) == len(values):
        edges = bin_edges(numbers, BINS)
        return {"edges": edges, "counts": np.histogram(numbers, edges)[0].tolist(), "values": None}
    counts = pl.Series("value", [str(value) for value in values]).value_counts(sort=True).head(MOST_VALUES)
    return {"edges": None, "counts": counts["count"].to_list(), "values": counts["value"].to_list()}


def rejected_facts(dataset: Dataset) -> list[dict[str, Any]]:
    """One dict for each step and reason that rejected samples: how many, by split, and the first names with details."""
    table = read_rejected(dataset)
    found = []
    for (step, reason), part in table.group_by("step", "reason", maintain_order=True):
        rows = part.sort("name").head(_MOST_NAMES).select("name", "group", "split", "detail").to_dicts()
        splits = dict(part.drop_nulls("split").group_by("split").len().sort("split").rows())
        found.append({"step": step, "reason": reason, "samples": len(part), "per_split": splits, "rows": rows})
    return sorted(found, key=lambda row: (-row["samples"], row["step"], row["reason"]))


def tag_facts(dataset: Dataset) -> list[dict[str, Any]]:
    """One dict for each finding of a filter that samples were kept with: the tag, how many, and the first names."""
    tagged = dataset.index.select("name", "split", "tags").explode("tags").drop_nulls("tags")
    found = [
        {
            "tag": tag,
            "samples": len(part),
            "per_split": dict(part.group_by("split").len().sort("split").rows()),
            "names": part["name"].sort().head(_MOST_NAMES).to_list(),
        }
        for (tag,), part in tagged.group_by("tags", maintain_order=True)
    ]
    return sorted(found, key=lambda row: (-row["samples"], row["tag"]))
