"""Datasets and samples in notebooks: what is shown is what they hold, names are text, and slices are datasets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toybox import two_versions_fixture
from webpages import HOSTILE, parse, with_hostile_names

from augforge import bitmask
from augforge.report.notebook import class_names
from augforge.report.overlay import overlay
from augforge.report.show import contact_sheet
from augforge.sample import Sample
from augforge.store.dataset import Dataset, open_dataset

__all__ = ["two_versions_fixture"]


@pytest.fixture(scope="module", name="dataset")
def dataset_fixture(two_versions: Path) -> Dataset:
    return open_dataset(two_versions / "toy")


def test_a_slice_is_a_dataset_of_its_samples(dataset: Dataset) -> None:
    names = list(dataset.index["name"])
    for part in (slice(2, 5), slice(None, None, 7), slice(-3, None), slice(5, 2), slice(None, None, -1)):
        taken = dataset[part]
        assert [sample.name for sample in taken] == names[part] == list(taken.index["name"])
    assert dataset[2:9][3].name == names[5]
    assert "3 samples" in repr(dataset[:3])


def test_a_dataset_shows_its_counts_and_some_samples(dataset: Dataset) -> None:
    page = parse(dataset._repr_html_())
    assert f"{len(dataset)} samples" in page.text and dataset.version in page.text
    assert len(page.all("figure")) == 8 and len(page.all("script")) == 0
    shown = dataset[:2]
    assert len(parse(shown._repr_html_()).all("figure")) == 2
    assert parse(dataset[:0]._repr_html_()).all("figure") == []


def test_a_sample_shows_its_classes(dataset: Dataset) -> None:
    sample = dataset[0]
    page = parse(sample._repr_html_())
    areas, _ = bitmask.areas_and_boxes(sample.masks, len(dataset.classes))
    assert len(page.all("path")) == np.count_nonzero(areas)
    assert sample.name in page.text and f"{sample.width} x {sample.height}" in page.text


def test_hostile_names_stay_text_in_notebooks(dataset: Dataset) -> None:
    hostile = with_hostile_names(dataset)
    for html in (hostile._repr_html_(), hostile.by_name(f"{HOSTILE[0]} 0")._repr_html_()):
        page = parse(html)
        assert not page.all("script") and HOSTILE[0] in page.text
        assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
        assert not re.search(r"(src|href)=.?http", html)


def test_pictures_are_those_of_show(dataset: Dataset) -> None:
    assert np.array_equal(np.asarray(dataset.show(6, "train")), contact_sheet(dataset, limit=6, split="train"))
    sample = dataset[1]
    assert np.array_equal(np.asarray(sample.plot(dataset.classes, legend=False)), overlay(sample, dataset.classes))
    assert sample.plot(dataset.classes).width >= sample.width
    assert sample.plot().size == sample.plot([f"class {c}" for c in range(29)]).size


def test_classes_have_numbers_where_nobody_names_them() -> None:
    planes = bitmask.from_masks(np.stack([np.eye(8, dtype=np.uint8), np.zeros((8, 8), np.uint8)]))
    sample = Sample("a", np.zeros((8, 8), np.uint8), planes, bitmask.all_bits(2), "g", "train")
    assert class_names(sample) == ("class 0", "class 1")


def test_readers_of_samples_load_nothing_that_draws() -> None:
    code = (
        "import sys, augforge.store.dataset; print([m for m in sys.modules if 'augforge.report' in m or m == 'jinja2'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
