"""What publishing leaves in the work area, and what it writes into the index."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from toybox import ids, made, tiny_hands

from augforge.store.manifest import read_manifest


def held(folder: Path) -> set[str]:
    """Ids of the samples whose payloads lie in the work area."""
    return {key for path in (folder / "work").glob("*.json") for key, *_ in json.loads(path.read_text())["payloads"]}


def test_intermediate_payloads_outlive_publishing(tmp_path: Path) -> None:
    """Of 20 mirrored images some become mosaics and some pass: a batch holds both, and only the latter are in shards.

    The former are not made again when only the mosaic changes, so a batch that holds one of them must stay.
    """
    tiny_hands(tmp_path / "data", range(10, 250, 12))
    recipe = {"split": "{}", "classes": "[a, b]"}
    _, dataset = made(tmp_path, tmp_path / "data", ("{op: hflip}", "{op: mosaic, grid: [1, 2], p: 0.5}"), **recipe)
    folder = tmp_path / "out"
    stages = pl.read_parquet(folder / f"index/{read_manifest(folder).version}.stages.parquet")
    mirrored = set(stages.filter(pl.col("stage") == 1)["id"])
    published = set(ids(folder).values())
    assert len(mirrored) == len(dataset) == 20
    assert len(mirrored - published) > 3
    assert len(mirrored & published) > 3
    assert mirrored - published <= held(folder)


def test_what_is_in_shards_leaves_the_work_area(tmp_path: Path) -> None:
    tiny_hands(tmp_path / "data", range(10, 250, 12))
    made(tmp_path, tmp_path / "data", ("{op: hflip, keep_input: true}",), split="{}", classes="[a, b]")
    assert held(tmp_path / "out") == set()


@pytest.mark.parametrize(
    ("steps", "output", "expected"),
    [
        ((), "{}", {""}),
        ((), "{size: 20}", {""}),
        (("{op: resize, size: 20}",), "{}", {"resize"}),
        (("{op: resize, size: 10}",), "{size: 20}", {"resize"}),
        (("{op: hflip}",), "{size: 20}", {"hflip"}),
        (("{op: resize, size: 10}", "{op: hflip, keep_input: true}"), "{size: 20}", {"resize", "hflip"}),
    ],
)
def test_the_step_in_the_index_is_the_last_of_the_recipes_steps(
    tmp_path: Path, steps: tuple[str, ...], output: str, expected: set[str]
) -> None:
    """The resize of `output.size` acts on all alike, so it says nothing of how a sample was made."""
    tiny_hands(tmp_path / "data", (50, 100))
    _, dataset = made(tmp_path, tmp_path / "data", steps, output=output, split="{}", classes="[a, b]")
    assert set(dataset.index["step"]) == expected
