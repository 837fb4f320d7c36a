"""dataset[i].lineage: what the index says, typed, and read only when it is asked for."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_sample
from toybox import MOSAIC, made, tiny_hands

from augforge.errors import DatasetError
from augforge.report.trace import trace_sample
from augforge.store import lineages
from augforge.store.dataset import Dataset, open_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("lineages")
    tiny_hands(folder / "data", (10, 60, 90, 120))
    return made(folder, folder / "data", (*MOSAIC, "{op: rotate, angle_range: [-9, 9]}"), classes="[a, b]")[1]


def test_it_says_what_the_index_says(dataset: Dataset) -> None:
    for sample, row in zip(dataset, dataset.index.iter_rows(named=True), strict=True):
        found = sample.lineage
        assert found.parents == tuple(row["parents"] or ())
        assert [root.to_json() for root in found.roots] == row["lineage"]["roots"]
        for step, stored in zip(found.steps, row["lineage"]["steps"], strict=True):
            assert (step.step, step.op) == (stored["step"], stored["op"])
            assert json.dumps(step.drawn) == (stored["drawn"] or "null")
            assert step.notes.get("angle_deg") == stored["angle_deg"]
            assert [placed.name for placed in step.inputs] == [parent["name"] for parent in stored["parents"]]


def test_it_agrees_with_trace(dataset: Dataset) -> None:
    name = next(name for name in dataset.index["name"] if name.startswith("mosaic/"))
    tree: dict[str, Any] = trace_sample(dataset, name)["tree"]
    found = dataset.by_name(name).lineage
    assert found.parents == tuple(parent["name"] for parent in tree["parents"])
    assert [step.step for step in found.steps] == [step["step"] for step in tree["steps"]]


def test_a_root_leads_from_source_pixels_to_the_samples(dataset: Dataset) -> None:
    name = next(name for name in dataset.index["name"] if name.endswith("~hflip~rotate"))
    (root,) = dataset.by_name(name).lineage.roots
    centre = np.array(root.matrix) @ [(root.size[0] - 1) / 2, (root.size[1] - 1) / 2, 1]
    np.testing.assert_allclose(centre, [(root.size[0] - 1) / 2, (root.size[1] - 1) / 2], atol=1)


def test_nothing_is_read_before_and_a_sample_stays_small(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(lineages, "_read_lineages", lambda index, _: read.append(index))
    sample = dataset[0]
    assert len(pickle.dumps(sample.read_lineage)) < 720 and read == []
    with pytest.raises(TypeError):
        _ = sample.lineage
    assert len(read) == 1


def test_it_survives_pickling_and_belongs_to_the_stored_sample_alone(dataset: Dataset) -> None:
    sample = pickle.loads(pickle.dumps(dataset.split("train")[1]))
    assert sample.lineage == dataset.by_name(sample.name).lineage
    with pytest.raises(ValueError, match="was not read from a dataset"):
        _ = sample.derive(sample.image, sample.masks).lineage
    with pytest.raises(ValueError, match="was not read from a dataset"):
        _ = make_sample().lineage


def test_a_damaged_index_is_an_error(dataset: Dataset, tmp_path: Path) -> None:
    opened = open_dataset(dataset.folder)
    sample = opened[0]
    path = dataset.folder / dataset.manifest.index_path
    content = path.read_bytes()
    lineages._read_lineages.cache_clear()
    path.write_bytes(content[:-100])
    try:
        with pytest.raises(DatasetError, match=r"is damaged: its SHA-256|cannot be read"):
            _ = sample.lineage
    finally:
        path.write_bytes(content)
