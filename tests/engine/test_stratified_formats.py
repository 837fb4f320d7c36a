"""Splits that match the shares of classes, over every format: counted in the datasets that are built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from makedata import put_text
from sourcecontract import SourceExample
from sourceexamples import EXAMPLES

from augforge.engine.builder import build
from augforge.store.dataset import open_dataset

BOX = (2, 2, 9, 9)
FORMATS = [example for example in EXAMPLES if example.format not in ("datumaro", "hand-bone", "union")]


@pytest.mark.parametrize("example", FORMATS, ids=lambda example: example.format)
def test_each_split_gets_its_share_of_every_class(example: SourceExample, tmp_path: Path) -> None:
    """Thirty samples, ten of a rare class: a share of 0.4 gets four of these, and eight of the others."""
    names = [f"p{i:02d}/one" if example.patient else f"p{i:02d}" for i in range(30)]
    example.make(tmp_path / "data", {name: {"lung" if i % 3 else "heart": BOX} for i, name in enumerate(names)})
    options = {"path": "data", "format": example.format, "own_splits": False, **example.options}
    split = {"val": 0.4, "stratify": "class", "tolerance": 0.01, "compare": "bytes"}
    recipe = put_text(
        tmp_path / "recipe.yaml", json.dumps({"name": "x", "source": options, "split": split, "steps": []})
    )
    summary = build(recipe, tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    val = {"heart": 0, "lung": 0}
    for area, label in dataset.index.filter(dataset.index["split"] == "val").select("area", "label").iter_rows():
        values = area if label is None else dict(zip(dataset.labels, label, strict=True))
        for name in val:
            val[name] += bool(values.get(name))
    assert val == {"heart": 4, "lung": 8} and summary.splits["val"] == 12
    assert not [found for found in summary.findings if "share" in found.kind]
