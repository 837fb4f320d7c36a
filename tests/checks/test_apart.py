"""Where samples came from, by a plain walk over the tables; and splits that overlap, by a plain count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toybox import tiny_hands, write_recipe

from augforge.checks.apart import _in_several_splits, _origins
from augforge.engine.builder import build
from augforge.report.provenance import Provenance
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.tables import read_stages

CHAINS = {
    "plain": (),
    "one stage": ("{op: hflip, keep_input: true}",),
    "mosaics of mosaics": (
        "{op: hflip, keep_input: true}",
        "{op: mosaic, grid: [1, 2], keep_input: true}",
        "{op: rotate, angle_range: [-30, 30], keep_input: true}",
        "{op: mosaic, grid: [1, 2], keep_input: true}",
    ),
    "with a filter between": (
        "{op: mosaic, grid: [1, 2], keep_input: true}",
        "{op: min_area, pixels: 1}",
        "{op: hflip}",
        "{op: cutmix, keep_input: true}",
    ),
}


@pytest.mark.parametrize("steps", CHAINS.values(), ids=list(CHAINS))
def test_origins_are_those_that_a_walk_finds(tmp_path: Path, steps: tuple[str, ...]) -> None:
    data = tiny_hands(tmp_path / "data", (30, 60, 90, 120, 150, 180))
    recipe = write_recipe(tmp_path / "r.yaml", data, steps, classes="[a, b]", split="{val: [ID002, ID005]}")
    build(recipe, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    found = _origins(Provenance(dataset)).select("name", "split", "origin", "group")
    assert found.rows() == sorted(walk(dataset))
    assert set(found["name"]) == set(dataset.index["name"])


def walk(dataset: Dataset) -> set[tuple[str, str, str, str]]:
    """Sample, split, origin and its group: by recursion over plain dicts."""
    stages = read_stages(dataset).to_dicts()
    tables: list[dict[str, Any]] = [
        {row["name"]: row for row in stages if row["stage"] == number}
        for number in range(max((row["stage"] for row in stages), default=-1) + 1)
    ]
    finals = {row["name"]: row for row in dataset.index.to_dicts()}
    tables.append(finals)

    def sources(number: int, name: str) -> set[str]:
        row = tables[number][name]
        while number > 0 and any(other["id"] == row["id"] for other in tables[number - 1].values()):
            number -= 1  # passed on from an earlier table, under the same id
        if number == 0:
            return {name}
        return set().union(*(sources(number - 1, parent) for parent in row["parents"]))

    groups = {row["name"]: row["group"] for row in tables[0].values()}
    return {
        (name, row["split"], origin, groups[origin])
        for name, row in finals.items()
        for origin in sources(len(tables) - 1, name) | {root["name"] for root in row["lineage"]["roots"]}
    }


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["train", "val", "test"]), st.sampled_from("xyz")))


@given(ROWS)
def test_what_is_in_several_splits(rows: list[tuple[str, str, str]]) -> None:
    evidence = pl.DataFrame(rows, schema=dict.fromkeys(("group", "split", "name"), pl.String), orient="row")
    expected: dict[str, dict[str, list[str]]] = {}
    for group in sorted({row[0] for row in rows}):
        splits = sorted({row[1] for row in rows if row[0] == group})
        if len(splits) > 1:
            expected[group] = {split: sorted({row[2] for row in rows if row[:2] == (group, split)}) for split in splits}
    assert _in_several_splits(evidence, "group") == expected
