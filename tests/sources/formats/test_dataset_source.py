"""A dataset as a source: what chains keep, class maps, splits, and damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated_file
from toybox import annotation, edit_json, move_a_point, tiny_hands, write_recipe

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.engine.builder import build
from augforge.errors import PlanError, SourceError
from augforge.files import file_sha256
from augforge.sample import Sample
from augforge.sources.core import Listing
from augforge.sources.formats.dataset import AugforgeDataset
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import read_manifest, write_manifest

CLASSES = ("a", "b", "c")
DRAWN = ("a", "b", "absent", "c")  # `tiny_hands` leaves out every third
STEPS = ("{op: hflip, keep_input: true}",)


@pytest.fixture(name="made", scope="module")
def made_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two versions from four persons, with metadata and an image of `test` that nobody labelled."""
    root = tmp_path_factory.mktemp("chain")
    data = tiny_hands(root / "data", [10, 60, 110, 160], DRAWN)
    (data / "meta_data.csv").write_text("ID,age\n1,30\n2,41\n")
    recipe = write_recipe(root / "recipe.yaml", data, STEPS, classes="[a, b, c]")
    build(recipe, root / "first")
    edit_json(annotation(data, "ID001/image0000000000001"), move_a_point)
    build(recipe, root / "first")
    return root / "first"


@pytest.fixture(name="first")
def first_fixture(made: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "first"))


def scan(root: Path, **options: Any) -> Listing:
    return AugforgeDataset(path=str(root), **options).scan(FileCache())


def samples(root: Path, **options: Any) -> tuple[dict[str, Sample], tuple[str, ...]]:
    source = AugforgeDataset(path=str(root), **options)
    listing = source.scan(FileCache())
    return {r.name: source.load(r, listing.classes) for r in listing.records}, listing.classes


def broken(root: Path, *parts: str, **options: Any) -> None:
    with pytest.raises(SourceError) as caught:
        scan(root, **options)
    for part in parts:
        assert part in str(caught.value)


def chained(tmp_path: Path, first: Path, source: str = "", steps: str = "[]", split: str = "{}") -> Dataset:
    recipe = tmp_path / "chain.yaml"
    body = f"format: dataset, path: {json.dumps(str(first))}{source}"
    recipe.write_text(f"name: second\nsource: {{{body}}}\nsplit: {split}\nsteps: {steps}\n")
    build(recipe, tmp_path / "second")
    return open_dataset(tmp_path / "second")


def test_samples_are_the_datasets(made: Path) -> None:
    dataset = open_dataset(made)
    found, classes = samples(made)
    assert classes == CLASSES
    assert found.keys() == {sample.name for sample in dataset}
    for sample in dataset:
        mine = found[sample.name]
        np.testing.assert_array_equal(mine.image, sample.image)
        np.testing.assert_array_equal(mine.masks, sample.masks)
        assert mine.masks.flags.c_contiguous
        assert mine.known.tolist() == sample.known.tolist()
        assert (mine.group, mine.split, mine.metadata) == (sample.group, sample.split, sample.metadata)


def test_a_chain_keeps_pixels_splits_and_metadata(made: Path, tmp_path: Path) -> None:
    first, second = open_dataset(made), chained(tmp_path, made, split="{val: 0.5}")
    columns = ["name", "split", "group", "pixel_digest", "area", "metadata"]
    assert second.index.select(columns).sort("name").equals(first.index.select(columns).sort("name"))
    roots = {row["name"]: row["lineage"]["roots"][0]["name"] for row in second.index.iter_rows(named=True)}
    assert all(name == root for name, root in roots.items())


def test_nothing_new_makes_the_same_version(made: Path, tmp_path: Path) -> None:
    version = chained(tmp_path, made, steps="[{op: hflip}]").version
    assert chained(tmp_path, made, steps="[{op: hflip}]").version == version


def test_another_version(made: Path) -> None:
    current = open_dataset(made).version
    other = next(path.stem for path in (made / "versions").glob("*.yaml") if path.stem != current)
    now = {r.name: r.content for r in scan(made).records}
    before = {r.name: r.content for r in scan(made, version=other[:8]).records}
    changed = {name for name in now if now[name] != before[name]}
    assert changed == {name for name in now if name.startswith("ID001/")}
    broken(made, "has no version 'zz'", version="zz")


def test_splitting_anew(made: Path, tmp_path: Path) -> None:
    assert {r.split for r in scan(made, own_splits=False).records} == {None}
    splits = set(chained(tmp_path, made, ", own_splits: false", split="{val: [ID003]}").index["split"])
    assert splits == {"train", "val"}


def test_samples_of_several_groups_are_not_split_anew(made: Path, tmp_path: Path) -> None:
    mosaic = chained(tmp_path, made, steps="[{op: mosaic}]").folder
    assert scan(mosaic).records
    broken(mosaic, "show several groups", "own_splits: true", own_splits=False)


def test_classes_are_mapped(made: Path) -> None:
    plain, _ = samples(made)
    merged, classes = samples(made, class_map={"a": "x", "b": "x", "c": None})
    assert classes == ("x",)
    for name, sample in merged.items():
        both = bitmask.union(plain[name].masks, [0, 1])
        np.testing.assert_array_equal(bitmask.class_mask(sample.masks, 0).astype(bool), both)
        assert sample.known.tolist() == [1]
    listed, classes = samples(made, classes=["c", "new", "a"], class_map={"b": None})
    assert {tuple(bitmask.bits_to_flags(s.known, 3).tolist()) for s in listed.values()} == {(True, False, True)}
    name = next(iter(plain))
    np.testing.assert_array_equal(bitmask.class_mask(listed[name].masks, 2), bitmask.class_mask(plain[name].masks, 0))
    broken(made, "label 'b' is not in classes", classes=["a", "c"])


def test_what_is_not_known_stays_unknown(tmp_path: Path) -> None:
    data = tiny_hands(tmp_path / "data", [10, 60], DRAWN)
    shutil.move(data / "train/DCM/ID002", data / "test/DCM/ID002")
    shutil.rmtree(data / "train/outputs_json/ID002")
    build(write_recipe(tmp_path / "r.yaml", data, split="{}", classes="[a, b, c]"), tmp_path / "first")
    found, _ = samples(tmp_path / "first", class_map={"a": "x", "b": "x"})
    assert sorted(sample.known.tolist() for sample in found.values()) == [[0], [3]]
    assert sorted(sample.split for sample in found.values()) == ["test", "train"]


def test_a_step_that_kept_its_inputs_is_repeated(made: Path, tmp_path: Path) -> None:
    steps = "[{op: hflip, keep_input: true}]"
    with pytest.raises(PlanError, match="more than one sample"):
        chained(tmp_path, made, steps=steps)
    names = chained(tmp_path, made, ", separator: +", steps).index["name"].to_list()
    ours = [name for name in names if name.startswith("ID003/")]
    start = "ID003/image0000000000003"
    assert sorted(ours) == [start, f"{start}+hflip", f"{start}+hflip~hflip", f"{start}~hflip"]


# ---- damage ----------------------------------------------------------------------------------------------------------


def test_no_dataset(tmp_path: Path) -> None:
    broken(tmp_path, "holds no manifest.yaml")


def test_a_damaged_shard(first: Path) -> None:
    shard = first / open_dataset(first).manifest.shards[0].path
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 255
    shard.write_bytes(data)
    broken(first, str(shard), "SHA-256")
    listing = scan(first, on_error="reject")
    index = open_dataset(first).index
    lost = index.filter(pl.col("shard") == f"shards/{shard.name}")["name"].to_list()
    assert {r.name for r in listing.refused} == {*lost, f"shards/{shard.name}"}
    assert len(listing.records) == index.height - len(lost)


def test_a_missing_shard(first: Path) -> None:
    shard = first / open_dataset(first).manifest.shards[0].path
    shard.unlink()
    broken(first, str(shard), "cannot be read")


def test_a_changed_index(first: Path) -> None:
    index = first / open_dataset(first).manifest.index_path
    pl.read_parquet(index).with_columns(split=pl.lit("train")).write_parquet(index)
    broken(first, str(index), "SHA-256")
    index.write_bytes(b"x")
    broken(first, str(index))
    index.unlink()
    broken(first, str(index), "is missing")


def test_a_manifest_without_all_its_shards(first: Path) -> None:
    """Cut at a line it is YAML still, and what it no longer names would be missing in silence."""
    path = first / "manifest.yaml"
    lines = path.read_text().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if line.lstrip().startswith("- "))
    path.write_text("".join(lines[:last]))
    for on_error in ("error", "reject"):
        broken(first, str(first), "manifest is damaged", on_error=on_error)


def test_an_index_of_other_shards(first: Path) -> None:
    manifest = read_manifest(first)
    index = first / manifest.index_path
    pl.read_parquet(index).with_columns(shard=pl.lit("shards/x.parquet")).write_parquet(index)
    write_manifest(first, manifest.model_copy(update={"index_sha256": file_sha256(index)}))
    broken(first, "index names shards/x.parquet", on_error="reject")


def test_a_broken_manifest(first: Path) -> None:
    (first / "manifest.yaml").write_text("format: 99\n")
    broken(first, str(first / "manifest.yaml"), "format 99")


@pytest.mark.parametrize("damage", ["cut", "gone", "changed"])
def test_damage_after_the_listing(first: Path, damage: str) -> None:
    source = AugforgeDataset(path=str(first))
    listing = source.scan(FileCache())
    record = listing.records[0]
    shard = first / record.data["place"][0]
    data = bytearray(shard.read_bytes())
    if damage == "changed":
        for offset, length in (record.data["place"][1:3], record.data["place"][3:]):
            data[offset : offset + length] = bytes(length)
    shard.unlink() if damage == "gone" else shard.write_bytes(data[: len(data) if damage == "changed" else 8])
    with pytest.raises(SourceError, match=shard.name) as caught:
        source.load(record, listing.classes)
    assert record.name in str(caught.value)


@given(data=st.data())
@settings(max_examples=60, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_mutation_crashes(made: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Files that are read, changed or cut: the same samples or an error that names the dataset."""
    root = tmp_path / "mutated"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(made, root, ignore=shutil.ignore_patterns("work"))
    read = [root / "manifest.yaml", *root.glob("shards/*"), root / open_dataset(made).manifest.index_path]
    path = data.draw(st.sampled_from(sorted(read)))
    path.write_bytes(data.draw(mutated_file(path)))
    source = AugforgeDataset(path=str(root), on_error=data.draw(st.sampled_from(["error", "reject"])))
    try:
        listing = source.scan(FileCache())
        for record in listing.records:
            source.load(record, listing.classes)
    except SourceError as error:
        assert str(root) in str(error)


def test_ignore_is_known_where_anything_is(made: Path) -> None:
    found, classes = samples(made, classes=["a", "b", "c", "ignore"])
    flags = {name: bitmask.bits_to_flags(sample.known, len(classes)).tolist() for name, sample in found.items()}
    assert set(map(tuple, flags.values())) == {(True, True, True, True)}
    partly, classes = samples(made, classes=["a", "other", "ignore"], class_map={"b": None, "c": None})
    flags = {name: bitmask.bits_to_flags(sample.known, len(classes)).tolist() for name, sample in partly.items()}
    assert set(map(tuple, flags.values())) == {(True, False, True)}
