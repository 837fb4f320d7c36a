"""The tree of a sample: from the sample to its source images, with every step and what it drew."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from toybox import tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.engine.replay import Replay
from augforge.errors import DatasetError
from augforge.lineage import compose
from augforge.report.trace import render_trace, trace_sample
from augforge.report.tree_picture import tree_picture
from augforge.sample import IDENTITY
from augforge.store.dataset import Dataset, open_dataset

STEPS = (
    "{op: resize, size: 20}",
    "{op: hflip, keep_input: true}",
    "{op: mosaic, grid: [1, 2], keep_input: true}",
    "{op: rotate, angle_range: [-30, 30], where: \"name LIKE 'mosaic/%'\", keep_input: true}",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("trace")
    tiny_hands(root / "data", (10, 60, 90, 120, 150))
    build(write_recipe(root / "recipe.yaml", root / "data", STEPS, classes="[a, b]", output="{size: 16}"), root / "out")
    return open_dataset(root / "out")


def ends(node: dict[str, Any], matrix: Any = IDENTITY) -> Iterator[tuple[str, Any]]:
    """Source images of a tree with their matrices, composed of those of the steps."""
    for step in reversed(node["steps"]):
        if len(step["placements"]) == 1:
            matrix = compose(matrix, step["placements"][0]["matrix"])
    if not node["parents"]:
        yield node["name"], matrix
    several = next((step["placements"] for step in node["steps"] if len(step["placements"]) > 1), None)
    for number, parent in enumerate(node["parents"]):
        placed = [p["matrix"] for p in several if p["name"] == parent["name"]] if several else [IDENTITY]
        yield from ends(parent, compose(matrix, placed[0])) if placed else ()
        assert number < 4


def test_trees_end_at_the_roots_with_their_matrices(dataset: Dataset) -> None:
    for name in dataset.index["name"]:
        found = trace_sample(dataset, name)
        expected = sorted((root["name"], np.round(root["matrix"], 6).tolist()) for root in found["roots"])
        assert sorted((end, np.round(matrix, 6).tolist()) for end, matrix in ends(found["tree"])) == expected, name


def test_a_tree_says_what_each_step_drew(dataset: Dataset) -> None:
    name = next(name for name in dataset.index["name"] if name.endswith("~rotate"))
    tree = trace_sample(dataset, name)["tree"]
    steps = [step["step"] for node in walk(tree) for step in node["steps"]]
    assert steps.count("mosaic") == 1
    assert {"rotate", "resize", "resize.2"} <= set(steps)
    (rotate,) = [step for node in walk(tree) for step in node["steps"] if step["step"] == "rotate"]
    assert isinstance(rotate["drawn"], (dict, list, float))
    assert tree["in_dataset"] and not tree["is_source"]
    assert all(node["is_source"] == (not node["parents"]) for node in walk(tree))


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for parent in node["parents"]:
        yield from walk(parent)


def test_text_and_picture(dataset: Dataset) -> None:
    name = next(name for name in dataset.index["name"] if name.startswith("mosaic/"))
    found = trace_sample(dataset, name)
    out = io.StringIO()
    replay = Replay(name, "equal", pixels={"recorded": "1", "stored": "1", "made": "1"}, bytes_equal=True)
    render_trace(found, replay, Console(file=out, width=80))
    text = out.getvalue()
    assert all(node["name"] in text for node in walk(found["tree"]))
    assert "Made again: equal" in text
    assert "hand-bone at" in text
    picture = tree_picture(dataset, found)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert picture.std() > 5


def test_a_replay_that_differs_is_printed_with_its_reasons(dataset: Dataset) -> None:
    found = trace_sample(dataset, dataset.index["name"][0])
    out = io.StringIO()
    pixels: dict[str, str | None] = {"recorded": "1", "stored": "1", "made": "2"}
    replay = Replay("x", "different", ["numpy was 1, and is 2"], pixels, False, False, True, 7)
    render_trace(found, replay, Console(file=out, width=200))
    assert "7 pixels of the image differ, the masks are the same" in out.getvalue()
    assert "numpy was 1, and is 2" in out.getvalue()


def test_unknown_samples_and_damaged_tables(dataset: Dataset, tmp_path: Path) -> None:
    name = dataset.index["name"][0]
    with pytest.raises(DatasetError, match=f"no sample '{name}x'.*Did you mean"):
        trace_sample(dataset, f"{name}x")
    copy = open_dataset(shutil.copytree(dataset.folder, tmp_path / "copy"))
    (copy.folder / copy.manifest.stages_path).write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"stages\.parquet is damaged"):
        trace_sample(copy, name)
