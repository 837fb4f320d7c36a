"""Columns of metadata that a recipe leaves out are nowhere in the dataset."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from toybox import tiny_hands, write_recipe

from augforge.engine.builder import build
from augforge.errors import PlanError, RecipeError
from augforge.store.dataset import open_dataset
from augforge.store.manifest import read_manifest

NAMES = [f"ID{person:03d}" for person in (1, 2, 3)]
PRIVATE = "Born-1961-in-Ulm"


def write(tmp_path: Path, metadata: str = "", *steps: str, source: str = "") -> Path:
    """A recipe over three persons with age, sex and a secret."""
    if not (tmp_path / "data").exists():
        tiny_hands(tmp_path / "data", (10, 60, 90))
        rows = [f"{name},{30 + n},{'FM'[n % 2]},{PRIVATE}{n}\n" for n, name in enumerate(NAMES)]
        (tmp_path / "data/table.csv").write_text("ID,age,sex,birth\n" + "".join(rows))
    recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "data", steps, classes="[a, b]")
    text = recipe.read_text().replace("format: hand-bone,", f"format: hand-bone, metadata: table.csv,{source}")
    recipe.write_text(text + metadata)
    return recipe


def columns(folder: Path) -> list[str]:
    index = open_dataset(folder).index
    return sorted(index["metadata"].struct.fields) if "metadata" in index.columns else []


def test_a_dropped_column_is_in_no_file_of_the_version(tmp_path: Path) -> None:
    build(write(tmp_path, "metadata: {drop: [birth]}\n", "{op: hflip, keep_input: true}"), tmp_path / "out")
    assert columns(tmp_path / "out") == ["age", "sex"] == read_manifest(tmp_path / "out").metadata_columns
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and "work" not in path.parts]
    assert len(files) > 6
    for path in files:
        assert PRIVATE.encode() not in path.read_bytes(), path
        if path.suffix == ".parquet":
            assert PRIVATE not in str(pl.read_parquet(path).to_dicts()), path


def test_keep_names_the_only_columns_that_stay(tmp_path: Path) -> None:
    build(write(tmp_path, "metadata: {keep: [age]}\n"), tmp_path / "out")
    assert columns(tmp_path / "out") == ["age"]
    build(write(tmp_path, "metadata: {keep: []}\n"), tmp_path / "none")
    assert columns(tmp_path / "none") == [] == read_manifest(tmp_path / "none").metadata_columns


def test_the_card_names_the_columns(tmp_path: Path) -> None:
    build(write(tmp_path), tmp_path / "out")
    assert "may be personal data: age, birth, sex" in (tmp_path / "out/README.md").read_text()


def test_dropping_makes_no_sample_again(tmp_path: Path) -> None:
    before = build(write(tmp_path), tmp_path / "out")
    after = build(write(tmp_path, "metadata: {drop: [birth, age]}\n"), tmp_path / "out")
    assert (after.made, after.reused) == (0, before.samples) and after.version != before.version


@pytest.mark.parametrize("key", ["drop", "keep"])
def test_an_unknown_column_is_an_error_with_the_nearest(tmp_path: Path, key: str) -> None:
    with pytest.raises(PlanError, match=rf"metadata\.{key} names 'brith'.*Did you mean 'birth'"):
        build(write(tmp_path, f"metadata: {{{key}: [brith]}}\n"), tmp_path / "out")
    assert not (tmp_path / "out/manifest.yaml").exists()


def test_both_keys_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"r\.yaml:.*expected one of them"):
        build(write(tmp_path, "metadata: {drop: [age], keep: [sex]}\n"), tmp_path / "out")


@pytest.mark.parametrize(
    "step",
    [
        "{op: where, condition: metadata.age > 3}",
        "{op: hflip, where: 'metadata . \"age\" > 3'}",
        "{op: hflip, where: 'sum(METADATA.age) > 3'}",
    ],
)
def test_a_step_that_reads_a_dropped_column_is_an_error(tmp_path: Path, step: str) -> None:
    build(write(tmp_path, "metadata: {drop: [birth]}\n", "{op: where, condition: metadata.age > 3}"), tmp_path / "out")
    with pytest.raises(PlanError, match=r"reads metadata\.age, which the recipe's `metadata` leaves out"):
        build(write(tmp_path, "metadata: {drop: [age]}\n", step), tmp_path / "out")


def test_a_group_may_come_from_a_column_that_is_dropped(tmp_path: Path) -> None:
    source = " group: {column: sex},"
    recipe = write(tmp_path, "metadata: {drop: [sex]}\n", source=source)
    recipe.write_text(recipe.read_text().replace("split: {val: [ID002]}", "split: {val: [M]}"))
    build(recipe, tmp_path / "out")
    assert set(open_dataset(tmp_path / "out").index["group"]) == {"F", "M"}
    assert columns(tmp_path / "out") == ["age", "birth"]


def union(tmp_path: Path, first: str, second: str, *steps: str) -> Path:
    """A union that reads the three persons twice, with something more in each entry."""
    write(tmp_path)
    steps_text = "".join(f"  - {step}\n" for step in steps)
    entry = "    - {{format: hand-bone, path: {}, classes: [a, b]{}}}\n"
    entries = entry.format("data", first) + entry.format("data, name: other", second)
    source = f"name: u\nsource:\n  format: union\n  sources:\n{entries}split: {{val: 0.4}}\n"
    (tmp_path / "u.yaml").write_text(f"{source}steps: {'[]' if not steps else ''}\n{steps_text}")
    return tmp_path / "u.yaml"


def metadata_of(folder: Path) -> dict[str, set[str]]:
    """The columns that have a value, by the entry."""
    found: dict[str, set[str]] = {}
    for name, values in open_dataset(folder).index.select("name", "metadata").iter_rows():
        found.setdefault(name.split("/")[0], set()).update(key for key, value in values.items() if value is not None)
    return found


@pytest.mark.parametrize(
    "choice", ["{table: table.csv, on: group, drop: [birth, sex]}", "{table: table.csv, on: group, keep: [age]}"]
)
def test_an_entry_of_a_union_drops_columns_of_its_own(tmp_path: Path, choice: str) -> None:
    build(union(tmp_path, f", metadata: {choice}", ", metadata: table.csv"), tmp_path / "out")
    assert metadata_of(tmp_path / "out") == {"data": {"age"}, "other": {"age", "sex", "birth"}}
    assert PRIVATE + "1" in str(open_dataset(tmp_path / "out").index.to_dicts())


def test_what_an_entry_drops_without_a_table_is_what_the_format_reads(tmp_path: Path) -> None:
    build(union(tmp_path, ", metadata: {keep: []}", ", metadata: table.csv"), tmp_path / "out")
    assert metadata_of(tmp_path / "out") == {"data": set(), "other": {"age", "sex", "birth"}}


@pytest.mark.parametrize(
    ("first", "step", "message"),
    [
        (
            "{table: table.csv, on: group, drop: [brith]}",
            "",
            r"u\.yaml:5: source\.sources\.0\.metadata\.drop names 'brith'.*'birth'",
        ),
        ("{table: table.csv, on: group, drop: [age], keep: [sex]}", "", r"u\.yaml:5: .*expected one of them"),
        ("{table: table.csv, on: group, dorp: [age]}", "", r"u\.yaml:5: .*dorp"),
        (
            "{table: table.csv, on: group, drop: [age]}",
            "{op: where, condition: metadata.age > 3}",
            r"step 1 \(where\) reads metadata\.age, which `source\.sources\.0\.metadata` leaves out",
        ),
    ],
)
def test_an_entry_that_drops_what_is_not_there(tmp_path: Path, first: str, step: str, message: str) -> None:
    recipe = union(tmp_path, f", metadata: {first}", ", metadata: table.csv", *([step] if step else []))
    with pytest.raises((PlanError, RecipeError), match=message):
        build(recipe, tmp_path / "out", dry_run=True)
