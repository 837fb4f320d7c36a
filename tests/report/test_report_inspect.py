"""Inspect: the index's numbers are those of the decoded samples, and people can read them in 80 columns."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from makedata import put_image, put_text
from rich.console import Console
from toybox import with_index

from augforge import bitmask
from augforge.engine.builder import build
from augforge.phantom import write_phantom
from augforge.report import show
from augforge.report.inspect import inspect, render_inspect
from augforge.sources.class_lists import CLASS_LISTS
from augforge.store.dataset import Dataset, open_dataset

RECIPE = """\
name: tiny
source:
  format: hand-bone
  path: phantom
  classes: [Radius, finger-1, never-seen]
  class_map: {CLASS_MAP}
split: {val: 0.5}
steps:
  - {op: hflip, keep_input: true}
"""


def write_recipe(path: Path) -> Path:
    left_out = {name: None for name in CLASS_LISTS["hand-bone"] if name not in ("Radius", "finger-1")}
    path.write_text(RECIPE.replace("{CLASS_MAP}", json.dumps(left_out)))
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("inspect")
    write_phantom(folder / "phantom", persons=2, size=96, seed=7, test_persons=1)
    build(write_recipe(folder / "tiny.yaml"), folder / "tiny")
    return open_dataset(folder / "tiny")


@pytest.fixture(scope="module")
def report(dataset: Dataset) -> dict[str, Any]:
    return inspect(dataset)


def render_text(report: dict[str, Any], width: int = 80) -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    render_inspect(report, console)
    return console.export_text()


def test_class_counts_are_those_of_the_pixels(dataset: Dataset, report: dict[str, Any]) -> None:
    expected: dict[str, Any] = {name: {"samples": Counter(), "pixels": 0, "known": 0} for name in dataset.classes}
    for sample in dataset:
        known = bitmask.bits_to_flags(sample.known, 3)
        for c, mask in enumerate(bitmask.to_masks(sample.masks, 3)):
            entry = expected[dataset.classes[c]]
            entry["samples"][sample.split] += bool(mask.any())
            entry["pixels"] += int(mask.sum())
            entry["known"] += bool(known[c])
    assert [entry["name"] for entry in report["classes"]] == ["Radius", "finger-1", "never-seen"]
    for entry in report["classes"]:
        by_hand = expected[entry["name"]]
        assert entry["per_split"] == by_hand["samples"]
        assert entry["samples"] == sum(by_hand["samples"].values())
        assert entry["pixels"] == by_hand["pixels"]
        assert entry["known"] == by_hand["known"] == (0 if entry["name"] == "never-seen" else 6)
    assert report["classes"][0]["samples"] == 6
    assert report["classes"][2]["samples"] == report["classes"][2]["pixels"] == 0


def test_counts(dataset: Dataset, report: dict[str, Any]) -> None:
    assert report["samples"] == 8
    assert list(report["splits"].items()) == [("train", 4), ("val", 2), ("test", 2)]
    assert report["groups"] == 3
    assert report["steps"] == {"": 6, "hflip": 2}
    assert report["sizes"] == [{"width": 96, "height": 96, "channels": 1, "dtype": "uint8", "samples": 8}]
    assert report["bytes"] == sum((dataset.folder / shard["path"]).stat().st_size for shard in report["shards"])
    assert sum(shard["rows"] for shard in report["shards"]) == 8
    assert report["recipe"]["text"].startswith("name: tiny")
    assert report["tags"] == {} and report["rejected"] == {}


def test_report_is_json(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report)) == report


def test_counts_of_a_part_of_a_dataset(dataset: Dataset) -> None:
    part = inspect(dataset.where(pl.col("split") == "test"))
    assert part["samples"] == 2
    assert part["splits"] == {"test": 2}
    assert [entry["known"] for entry in part["classes"]] == [0, 0, 0]
    nothing = inspect(dataset.where(pl.col("name") == ""))
    assert nothing["samples"] == 0 and nothing["classes"][0]["samples"] == 0
    assert "tiny" in render_text(nothing)


def test_tags_are_counted(dataset: Dataset) -> None:
    tags = pl.Series("tags", [["metal"], ["metal", "dark"], *[[]] * 6])
    tagged = with_index(dataset, dataset.index.with_columns(tags))
    report = inspect(tagged)
    assert report["tags"] == {"dark": 1, "metal": 2}
    assert "dark 1, metal 2" in render_text(report)


def test_report_for_people(report: dict[str, Any]) -> None:
    text = render_text(report)
    before, _, recipe = text.partition("Recipe ")
    assert max(map(len, before.splitlines())) <= 80
    assert report["recipe"]["text"].rstrip() in recipe  # as it was written, for copying out of a pipe
    for fact in (
        report["version"],
        "train 4  val 2  test 2",
        "96 x 96",
        "source 6, hflip 2",
        "Labelled in no sample: never-seen",
        "Nothing was rejected",
        report["shards"][0]["path"],
        "op: hflip",
    ):
        assert fact in text


def test_rejections_labels_and_many_shards(report: dict[str, Any]) -> None:
    shards = [{**report["shards"][0], "path": f"shards/train-{i:016}.parquet"} for i in range(30)]
    changed = {
        **report,
        "rejected": {"metal: ring [bright]": 3, "source: no annotation: none": 1},
        "labels": ["left", "right"],
        "fitted": {"metal": 0.5},
        "shards": shards,
    }
    text = render_text(changed)
    for fact in ("ring [bright]", "no annotation: none", "left, right", "metal 0.5", "and 18 more"):
        assert fact in text


def test_unlabelled_classes_are_mentioned(report: dict[str, Any]) -> None:
    classes = [{**entry, "known": 0, "samples": 0, "pixels": 0} for entry in report["classes"]]
    assert "Labelled in no sample: Radius, finger-1, never-seen" in render_text({**report, "classes": classes})


def test_splits_by_class_and_of_what_a_share_is(report: dict[str, Any]) -> None:
    lines = [line.split() for line in render_text(report).splitlines()]
    assert any(line[:7] == ["class", "labelled", "samples", "train", "val", "test", "share"] for line in lines)
    assert any(line[:6] == ["Radius", "6", "6", "4", "2", "0"] for line in lines)
    assert "share: of all pixels of classes" in render_text(report)


def test_labels_and_metadata_are_counted(tmp_path: Path) -> None:
    rows = {"cat/a": "f,3", "cat/b": "m,40", "dog/c": "f,7"}
    for name in rows:
        put_image(tmp_path / f"data/{name}.png")
    put_text(tmp_path / "data/rows.csv", "name,sex,age\n" + "\n".join(f"{name},{row}" for name, row in rows.items()))
    source = {"format": "image-folder", "path": "data", "metadata": "rows.csv"}
    recipe = {"name": "x", "source": source, "split": {"val": ["dog/c"]}, "steps": []}
    put_text(tmp_path / "recipe.yaml", json.dumps(recipe))
    build(tmp_path / "recipe.yaml", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    report = inspect(dataset)
    assert report["label_counts"] == [
        {"name": "cat", "samples": 2, "per_split": {"train": 2, "val": 0}, "known": 3},
        {"name": "dog", "samples": 1, "per_split": {"train": 0, "val": 1}, "known": 3},
    ]
    assert report["metadata"]["sex"] == {"samples": 3, "different": 2, "values": {"f": 2, "m": 1}}
    assert report["metadata"]["age"]["least"] == 3 and report["metadata"]["age"]["most"] == 40
    text = render_text(report)
    assert "f 2, m 1" in text and "unlabelled" not in text and "1 class" not in text
    assert json.loads(json.dumps(report)) == report


def test_a_sheet_of_labels_does_not_call_them_unlabelled() -> None:
    row = {"name": "a", "split": "train", "step": "", "tags": [], "area": {}, "label": [0.0, 1.0]}
    assert [text for text, _ in show._caption(row, ("cat", "dog"))[1]] == ["train", "source", "dog"]
    assert "unlabelled" in [text for text, _ in show._caption({**row, "label": None}, ("cat", "dog"))[1]]
