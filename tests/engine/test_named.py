"""Columns that a recipe's source names: a wrong one is an error with the recipe's line and the nearest name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from makedata import block, put_image, put_pixels, put_text

from augforge.engine.builder import build
from augforge.engine.summary import Summary
from augforge.errors import SourceError

TABLE = "image,patient,age\na,P1,50\nb,P2,61\n"


def run(root: Path, source: str, **options: Any) -> Summary:
    """A dry run of two images with a table of metadata; the last lines of the recipe are ``source``."""
    for name in "ab":
        put_image(root / f"data/images/{name}.png")
        put_pixels(root / f"data/masks/heart/{name}.png", block(2, 2, 9, 9))
    put_text(root / "data/people.csv", TABLE)
    recipe = put_text(
        root / "recipe.yaml", f"name: x\nsteps: []\nsource:\n  format: mask-folder\n  path: data\n{source}"
    )
    return build(recipe, root / "out", dry_run=True, **options)


@pytest.mark.parametrize("on_error", ["error", "reject"])
@pytest.mark.parametrize(
    ("table", "group", "line", "key", "hint"),
    [
        ("key: imagee", "patient", 8, "source.metadata.key", "'image'"),
        ("columns: [age, pationt]", "age", 8, "source.metadata.columns.1", "'patient'"),
        ("key: image", "pateint", 10, "source.group.column", "'patient'"),
    ],
)
def test_a_wrong_column_is_named_with_its_line(
    tmp_path: Path, table: str, group: str, line: int, key: str, hint: str, on_error: str
) -> None:
    text = f"  metadata:\n    table: people.csv\n    {table}\n  group:\n    column: {group}\n  on_error: {on_error}\n"
    with pytest.raises(SourceError) as caught:
        run(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'recipe.yaml'}:{line}: {key}: ")
    assert f"Did you mean {hint}?" in message and "problems" not in message


def test_columns_that_are_there(tmp_path: Path) -> None:
    text = "  metadata: {table: people.csv, key: image, columns: [patient]}\n  group: {column: patient}\n"
    assert run(tmp_path, text).samples == 2


def test_without_metadata_a_column_for_groups_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"recipe.yaml:6: source.group.column: .*no metadata: set source.metadata"):
        run(tmp_path, "  group: {column: patient}\n")


def test_an_empty_cell_is_no_wrong_column(tmp_path: Path) -> None:
    text = "  metadata: {table: other.csv}\n  group: {column: patient}\n"
    put_text(tmp_path / "data/other.csv", "image,patient\na,P1\nb,\n")
    with pytest.raises(SourceError, match=r"sample b .*has no 'patient' in its metadata; .*Fill the cell"):
        run(tmp_path, text)


def test_in_a_union_the_entry_is_named(tmp_path: Path) -> None:
    """Both entries name the column, of which the table of the second has another."""
    run(tmp_path, "")
    put_text(tmp_path / "data/other.csv", TABLE.replace("patient", "person"))
    lines = [
        "name: x",
        "steps: []",
        "source:",
        "  format: union",
        "  sources:",
        "    - {format: mask-folder, path: data, name: one, metadata: {table: people.csv, columns: [patient]}}",
        "    - {format: mask-folder, path: data, name: two, metadata: {table: other.csv, columns: [patient]}}",
    ]
    recipe = put_text(tmp_path / "union.yaml", "\n".join(lines))
    with pytest.raises(SourceError, match=r"union.yaml:7: source.sources.1.metadata.columns.0: .*no column 'patient'"):
        build(recipe, tmp_path / "out", dry_run=True)


def test_a_table_that_is_not_there_is_told_before_its_columns(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"people2\.csv does not exist"):
        run(tmp_path, "  metadata: {table: people2.csv}\n  group: {column: patient}\n")
