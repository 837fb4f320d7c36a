"""Sizes, places and names in an index that somebody forged with its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from forging import Forgery
from hostiledatasets import jpeg, png
from pydantic import ValidationError
from toybox import toy_fixture, two_versions_fixture  # noqa: F401

from augforge.errors import DatasetError
from augforge.store.codec import check_image_size, decode_image
from augforge.store.cutting import cut_shards
from augforge.store.dataset import open_dataset
from augforge.store.manifest import Manifest, read_manifest
from augforge.store.shard import ShardRow


@pytest.mark.parametrize(
    ("values", "fact"),
    [
        ({"split": "../../stolen"}, r"has the split '\.\./\.\./stolen'; expected train, val, test"),
        ({"split": None}, "has rows without split"),
        ({"name": None}, "has rows without name"),
        ({"name": "x" * 5000}, "has a name of 5000 bytes"),
        ({"shard": "../../x.parquet"}, "names the shard"),
        ({"shard": "shards/../x.parquet"}, "names the shard"),
        ({"width": 10**9, "height": 10**9}, "has an image of 1000000000000000000 pixels"),
        ({"width": 0}, "has an image of width 0"),
        ({"height": -7}, "has an image of height -7"),
        ({"image_offset": -1}, "has image_offset -1"),
        ({"masks_bytes": 2**62}, f"has masks_bytes {2**62}"),
    ],
)
def test_impossible_values(toy: Path, values: dict[str, Any], fact: str) -> None:
    forged = Forgery(toy)
    forged.first_row(**values)
    forged.finish()
    with pytest.raises(DatasetError, match=fact):
        open_dataset(toy)


def test_two_samples_of_one_name(toy: Path) -> None:
    forged = Forgery(toy)
    forged.rows(lambda row: row.update(name="same"))
    forged.finish()
    with pytest.raises(DatasetError, match="has two samples of one name"):
        open_dataset(toy)


@pytest.mark.parametrize(
    ("column", "fact"),
    [(pl.lit(1).alias("name"), "in column name"), (pl.lit("24").alias("width"), "in column width")],
)
def test_other_types(toy: Path, column: pl.Expr, fact: str) -> None:
    forged = Forgery(toy)
    forged.frame(lambda index: index.with_columns(column))
    forged.finish()
    with pytest.raises(DatasetError, match=fact):
        open_dataset(toy)


def test_other_classes(toy: Path) -> None:
    forged = Forgery(toy)
    forged.manifest["classes"][0] = "other"
    forged.finish()
    with pytest.raises(DatasetError, match=r"has the classes .* in column area, the manifest"):
        open_dataset(toy)


def test_an_image_of_another_size_is_not_decoded(toy: Path) -> None:
    forged = Forgery(toy)
    forged.append_payload("image", png(100_000, 100_000, 0))
    forged.finish()
    dataset = open_dataset(toy)
    first = dataset.index.with_row_index("row").filter(pl.col("shard") == forged.manifest["shards"][0]["path"])["row"][
        0
    ]
    with pytest.raises(DatasetError, match="the image's header says 100000x100000 pixels, the index"):
        dataset[first]


def test_size_of_a_header() -> None:
    check_image_size(png(48, 32, 0), 32, 48)
    check_image_size(memoryview(jpeg(65_500, 7)), 7, 65_500)
    for data in (b"", b"\xff\xd8\xff\xe0", b"II*\0" + bytes(50), jpeg(5, 5)[:20]):
        with pytest.raises(ValueError, match="no image that OpenCV can decode"):
            decode_image(data, (5, 5))


@pytest.mark.parametrize(
    "change",
    [
        {"splits": {"../../stolen": 28}},
        {"splits": {"train": -1}},
        {"samples": 10**18},
        {"version": "../../outside"},
        {"version": "0" * 15},
        {"name": "../x"},
        {"name": "x\ny"},
        {"classes": ["a", "a"]},
        {"classes": [str(i) for i in range(257)]},
        {"index_sha256": "0" * 63 + "\n"},
    ],
)
def test_impossible_manifests(toy: Path, change: dict[str, Any]) -> None:
    data = read_manifest(toy).model_dump()
    with pytest.raises(ValidationError):
        Manifest.model_validate({**data, **change})


@pytest.mark.parametrize(
    "change", [{"split": "/tmp/x"}, {"path": "shards/a/../b.parquet"}, {"path": "shards/a\n.parquet"}, {"rows": -1}]
)
def test_impossible_shards(toy: Path, change: dict[str, Any]) -> None:
    data = read_manifest(toy).model_dump()
    data["shards"][0].update(change)
    with pytest.raises(ValidationError):
        Manifest.model_validate(data)


def test_no_shard_of_an_unknown_split_is_planned() -> None:
    row = ShardRow({"id": "0" * 32, "split": "../x", "width": 1, "height": 1}, None, "")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"a sample in the split '\.\./x'; expected train, val, test"):
        list(cut_shards([row]))
