"""Label quality: the soft minimum, the table that a recipe joins, and the drops that a person is asked about."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from toybox import made, rejected

from augforge.errors import TrainError
from augforge.phantom import write_phantom
from augforge.recipe.recipe import load_recipe
from augforge.train.study.quality import (
    TABLE,
    class_quality,
    least_derived,
    propose_drops,
    softmin,
    source_table,
    write_table,
)


def test_soft_minimum_lies_between_minimum_and_mean() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 1000)
    assert scores.min() < softmin(scores) < scores.mean()
    assert softmin(scores, 1e-3) == pytest.approx(scores.min(), abs=2e-3)
    assert softmin(scores, 1e6) == pytest.approx(scores.mean(), abs=1e-5)
    assert softmin(np.full((4, 5), 0.25)) == pytest.approx(0.25)
    assert np.isnan(softmin(np.array([])))
    # by hand, at temperature 0.1: weights e^5 and e^1
    assert softmin(np.array([0.5, 0.9])) == pytest.approx((0.5 * math.e**5 + 0.9 * math.e) / (math.e**5 + math.e))


def test_quality_falls_with_every_kind_of_wrong_label() -> None:
    true = np.zeros((60, 80), np.uint8)
    true[20:40, 20:50] = 1
    seen = np.where(true, 0.9, 0.1).astype(np.float32)
    labels = {"missing": np.zeros_like(true), "moved": np.roll(true, 6, axis=1), "invented": true.copy()}
    labels["invented"][50:55, 60:70] = 1
    right = class_quality(seen, true)
    assert right == pytest.approx(0.9)
    wrong = {name: class_quality(seen, mask) for name, mask in labels.items()}
    assert all(quality < right - 0.3 for quality in wrong.values())
    assert wrong["missing"] < wrong["invented"]
    # a small part of the image decides: the mean would hardly move
    assert np.where(labels["invented"], seen, 1 - seen).mean() > 0.89


def test_ignored_pixels_do_not_count() -> None:
    mask = np.zeros((10, 10), np.uint8)
    seen = np.full((10, 10), 0.1, np.float32)
    seen[:3] = 1.0
    ignore = np.zeros((10, 10), bool)
    ignore[:3] = True
    assert class_quality(seen, mask, ignore) == pytest.approx(0.9)
    assert class_quality(seen, mask) < 0.2
    assert np.isnan(class_quality(seen, mask, np.ones((10, 10), bool)))


ROWS = [  # source, name, class, quality, dice
    ("a/1", "a/1", "x", 0.9, 0.95),
    ("a/1", "a/1", "y", 0.3, 0.5),
    ("a/1", "a/1~rotate", "x", 0.1, 0.1),
    ("a/1", "a/1~rotate", "y", 0.1, 0.1),
    ("b/1", "b/1~window@0,0", "x", 0.8, 1.0),
    ("b/1", "b/1~window@0,0", "y", None, None),
    ("b/1", "b/1~window@8,0", "x", 0.6, 0.8),
    ("b/1", "b/1~window@8,0", "y", None, None),
    ("c/1", "c/1", "x", None, None),
    ("c/1", "c/1", "y", None, None),
]


@pytest.fixture
def samples() -> pl.DataFrame:
    return pl.DataFrame(ROWS, ["source", "name", "class", "quality", "dice"], orient="row")


def test_source_table(samples: pl.DataFrame) -> None:
    """Copies beside an original do not count, windows all do, and what nobody labelled has no row."""
    assert least_derived(samples)["name"].unique().sort().to_list() == [
        "a/1",
        "b/1~window@0,0",
        "b/1~window@8,0",
        "c/1",
    ]
    table = source_table(samples)
    assert table.schema == pl.Schema(TABLE)
    assert table["name"].to_list() == ["a/1", "b/1"]  # the worst first
    first, second = table.rows(named=True)
    assert first["quality"] == pytest.approx(softmin(np.array([0.9, 0.3])))
    assert first["dice"] == pytest.approx(0.725)
    assert (first["worst_class"], first["worst_quality"], first["worst_dice"]) == ("y", 0.3, 0.5)
    assert second["quality"] == pytest.approx(0.7)
    assert second["dice"] == pytest.approx(0.9)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quality") / "data"
    write_phantom(folder, persons=3, size=64, seed=3)
    return folder


@pytest.fixture
def table(data: Path) -> pl.DataFrame:
    names = sorted(f"{path.parent.name}/{path.stem}" for path in (data / "train/DCM").rglob("*.png"))
    qualities = np.linspace(0.1, 0.9, len(names))
    rows = [
        (name, quality, quality, "Ulna", quality / 2, quality) for name, quality in zip(names, qualities, strict=True)
    ]
    return pl.DataFrame(rows, TABLE, orient="row").sample(fraction=1, shuffle=True, seed=1)


def test_a_recipe_drops_by_the_table(tmp_path: Path, data: Path, table: pl.DataFrame) -> None:
    write_table(table, tmp_path / "label_quality.csv")
    condition = "{op: where, condition: metadata.quality > 0.5}"
    join = f"{{table: '{tmp_path / 'label_quality.csv'}', on: name}}"
    _, dataset = made(tmp_path, data, [condition], classes=f"hand-bone, metadata: {join}", split="{}")
    good = table.filter(pl.col("quality") > 0.5)
    assert 0 < good.height < table.height
    assert set(dataset.index["name"]) == set(good["name"])
    kept = dict(zip(good["name"], good["quality"], strict=True))
    for row in dataset.index.iter_rows(named=True):
        assert row["metadata"]["quality"] == pytest.approx(kept[row["name"]], abs=1e-6)
        assert row["metadata"]["worst_class"] == "Ulna"


def test_a_review_drops_what_was_proposed(tmp_path: Path, data: Path, table: pl.DataFrame) -> None:
    names = propose_drops(table, tmp_path / "review.yaml", 2)
    assert names == sorted(table["name"])[:2]
    recipe = tmp_path / "recipe.yaml"
    _, dataset = made(tmp_path, data, [], split="{}")
    assert set(names) <= set(dataset.index["name"])
    recipe.write_text(recipe.read_text(encoding="utf-8") + "review: review.yaml\n", encoding="utf-8")
    review = load_recipe(recipe).review
    assert {name: verdict.verdict for name, verdict in review.items()} == dict.fromkeys(names, "drop")
    assert review[names[0]].why == "label quality 0.100, out-of-fold Dice 0.100; worst Ulna, Dice 0.100"
    from augforge.engine.builder import build

    build(recipe, tmp_path / "out")
    assert set(rejected(tmp_path / "out")["name"]) == set(names)


def test_more_than_there_is(tmp_path: Path, table: pl.DataFrame) -> None:
    with pytest.raises(TrainError, match="7 images to propose, but only 6"):
        propose_drops(table, tmp_path / "review.yaml", 7)
