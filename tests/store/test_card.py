"""The card: `datasets.load_dataset(folder)` finds the current version's shards, and no others."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toybox import toy_fixture, two_versions_fixture, write_recipe  # noqa: F401

from augforge.engine.builder import build
from augforge.store.card import dataset_card, markdown
from augforge.store.dataset import open_dataset
from augforge.store.manifest import read_manifest, versions


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``datasets.load_dataset`` that neither calls home nor writes elsewhere."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return lambda *args, **keys: datasets.load_dataset(*args, cache_dir=str(tmp_path / "hf"), **keys)


def test_card_lists_the_current_shards(toy: Path) -> None:
    manifest = read_manifest(toy)
    text = (toy / "README.md").read_text(encoding="utf-8")
    assert len(versions(toy)) == 2
    assert len(list((toy / "shards").iterdir())) > len(manifest.shards)
    stale = {path.name for path in (toy / "shards").iterdir()} - {Path(shard.path).name for shard in manifest.shards}
    assert all(shard.path in text for shard in manifest.shards)
    assert not any(name in text for name in stale)
    assert manifest.version in text
    assert manifest.recipe.text.strip() in text


def test_load_dataset_finds_the_current_shards_and_decodes_images(toy: Path, load: Any) -> None:
    loaded = load(str(toy))
    ours = open_dataset(toy)
    assert {split: part.num_rows for split, part in loaded.items()} == ours.manifest.splits
    assert set(loaded) == {"train", "val", "test"}
    for split, part in loaded.items():
        assert sorted(part["name"]) == sorted(ours.split(split).index["name"])
    row = loaded["train"][0]
    sample = ours.by_name(row["name"])
    assert row["image"].size == (sample.width, sample.height)
    assert (np.asarray(row["image"]) == sample.image).all()
    assert row["id"] in set(ours.index["id"])
    assert {row["split"] for row in loaded["val"]} == {"val"}


def test_load_dataset_decodes_a_single_shard(toy: Path, load: Any) -> None:
    shard = read_manifest(toy).shards[0]
    part = load("parquet", data_files=str(toy / shard.path), split="train")
    assert type(part.features["image"]).__name__ == "Image"
    assert part[0]["image"].size == (96, 96)
    assert part.num_rows == shard.rows


def test_card_escapes_unusual_names(tmp_path: Path, load: Any) -> None:
    from toybox import put_hand

    classes = ["a: b", "c|d", "{e}", "'f'", "# g", "-"]
    for number in (1, 2):
        put_hand(tmp_path / "data", number, np.full((9, 9), 40, np.uint8), classes)
    text = '["a: b", "c|d", "{e}", "\'f\'", "# g", "-"]'
    recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "data", classes=text, name="0.1-rc")
    build(recipe, tmp_path / "out dir")
    assert load(str(tmp_path / "out dir"))["val"].num_rows == 1
    assert read_manifest(tmp_path / "out dir").classes == classes


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("left_lung", "left_lung"),
        ("finger-1 (R)", "finger-1 (R)"),
        ("a|b", r"a\|b"),
        ("<script>&", "&lt;script&gt;&amp;"),
        ("`rm` *x* _y_", r"\`rm\` \*x\* \_y\_"),
        ("[a](http://b)", r"\[a\](http://b)"),
        ("# a\x1b[31m\nb\u202e", r"\# a\\x1b\[31m\\nb\\u202e"),
    ],
)
def test_names_form_no_markdown(name: str, text: str) -> None:
    assert markdown(name) == text


def test_a_recipe_stays_in_its_block(toy: Path) -> None:
    manifest = read_manifest(toy)
    recipe = manifest.recipe.model_copy(update={"text": "name: toy\n```\n# forged\x1b\n````\n"})
    card = dataset_card(manifest.model_copy(update={"recipe": recipe}))
    assert "\n`````yaml\nname: toy\n```\n# forged\\x1b\n````\n`````\n" in card
