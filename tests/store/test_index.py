"""The index: typed, sorted, the same bytes for the same rows, and refused where it is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from indexwriting import write_index

from augforge import bitmask
from augforge.errors import DatasetError
from augforge.store.index import class_columns, metadata_columns, read_index


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"{number * 7919 % 97:032x}",
        "name": f"sample-{number}",
        "group": "g",
        "split": "train",
        "step": "",
        "groups": ["g"],
        "parents": [],
        "tags": [],
        "width": 4,
        "height": 3,
        "channels": 1,
        "dtype": "uint8",
        "label": None,
        "area": {"a": 5, "b": None},
        "box": {"a": [0, 0, 2, 2], "b": None},
        "lineage": {"steps": [], "roots": []},
        "pixel_digest": "d",
        "shard": "shards/x.parquet",
        "image_offset": 1,
        "image_bytes": 2,
        "masks_offset": 3,
        "masks_bytes": 4,
        **changes,
    }


def test_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    rows = [row(i) for i in range(30)]
    write_index(tmp_path / "a", rows, ["a", "b"])
    write_index(tmp_path / "b", rows[::-1], ["a", "b"])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_index(tmp_path / "a")["id"].is_sorted()


def test_classes_are_struct_fields_and_unknown_is_null(tmp_path: Path) -> None:
    write_index(tmp_path / "index", [row(1), row(2, area={"a": 0, "b": 7})], ["a", "b"])
    index = read_index(tmp_path / "index")
    assert index.schema["area"] == pl.Struct({"a": pl.Int64, "b": pl.Int64})
    assert index.filter(pl.col("area").struct.field("b") > 0)["name"].to_list() == ["sample-2"]
    assert index.filter(pl.col("name") == "sample-1")["area"].to_list() == [{"a": 5, "b": None}]


def test_unknown_classes_have_no_area_and_absent_ones_no_box() -> None:
    known = bitmask.select_bits([0, 1], 3)
    facts = {
        "known": known.tobytes().hex(),
        "areas": np.array([4, 0, 9]).tolist(),
        "boxes": [[0, 0, 2, 2], [0, 0, 0, 0], [1, 1, 3, 3]],
    }
    assert class_columns(facts, ["a", "b", "c"]) == {
        "area": {"a": 4, "b": 0, "c": None},
        "box": {"a": [0, 0, 2, 2], "b": None, "c": None},
    }


@pytest.mark.parametrize(
    ("values", "dtype", "read"),
    [
        ([1, 2, None], pl.Int64, [1, 2, None]),
        ([1, 2.5, None], pl.Float64, [1.0, 2.5, None]),
        ([True, False, None], pl.Boolean, [True, False, None]),
        (["x", None, "z"], pl.String, ["x", None, "z"]),
        ([1, "x", None], pl.String, ["1", "x", None]),
        ([True, 1, None], pl.String, ["true", "1", None]),
        ([[1, 2], {"k": 1}, None], pl.String, ["[1, 2]", '{"k": 1}', None]),
        ([None, None, None], pl.String, [None, None, None]),
    ],
)
def test_metadata_columns_are_typed_if_all_values_agree(
    tmp_path: Path, values: list[Any], dtype: Any, read: list[Any]
) -> None:
    metadata = metadata_columns([{"key": value} for value in values])
    write_index(tmp_path / "index", [row(i, id=f"{i}", metadata=found) for i, found in enumerate(metadata)], ["a", "b"])
    column = read_index(tmp_path / "index")["metadata"].struct.field("key")
    assert column.dtype == dtype
    assert column.to_list() == read


def test_missing_metadata_keys_are_null(tmp_path: Path) -> None:
    metadata = [{"age": 7}, {}, {"sex": "F"}]
    write_index(tmp_path / "index", [row(i, id=f"{i}", metadata=found) for i, found in enumerate(metadata)], ["a", "b"])
    assert read_index(tmp_path / "index")["metadata"].to_list() == [
        {"age": 7, "sex": None},
        {"age": None, "sex": None},
        {"age": None, "sex": "F"},
    ]


def test_no_rows_and_many_classes(tmp_path: Path) -> None:
    names = [f"class.{i} [µ]" for i in range(256)]
    write_index(tmp_path / "empty", [], names)
    assert read_index(tmp_path / "empty").height == 0
    full = row(1, area=dict.fromkeys(names, 3), box={name: [0, 0, 1, 1] for name in names})
    write_index(tmp_path / "full", [full], names)
    assert read_index(tmp_path / "full")["area"][0] == dict.fromkeys(names, 3)


def test_error_names_a_damaged_index(tmp_path: Path) -> None:
    path = tmp_path / "index.parquet"
    write_index(path, [row(1)], ["a", "b"])
    whole = path.read_bytes()
    for damaged in (b"", b"PAR1", whole[:-30], whole[: len(whole) // 2], b"x" * 100):
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match=str(path)):
            read_index(path)
    pq.write_table(pq.read_table(_write_one(path)).drop_columns(["shard", "width"]), path)
    with pytest.raises(DatasetError, match="has no column width, shard"):
        read_index(path)


def test_no_flipped_bit_of_an_index_is_anything_but_an_error_or_unseen(tmp_path: Path) -> None:
    """Polars panics on some of them, with an exception that `except Exception` lets through."""
    path = tmp_path / "index.parquet"
    write_index(path, [row(number) for number in range(3)], ["a", "b"])
    whole = path.read_bytes()
    refused = 0
    for at in np.random.default_rng(3).integers(0, 8 * len(whole), 150):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        try:
            read_index(path)
        except DatasetError:
            refused += 1
    assert refused > 30


def _write_one(path: Path) -> Path:
    write_index(path, [row(1)], ["a", "b"])
    return path
