"""Shards: ordinary Parquet, payloads whole at known offsets, cut where the content says so."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augforge.cache.work import Payload, payload_digest
from augforge.errors import DatasetError
from augforge.store.cutting import SHARD_PIXELS, cut_shards, mean_rows
from augforge.store.shard import (
    ROW_GROUP_BYTES,
    SCHEMA,
    Shard,
    ShardPlan,
    ShardRow,
    plan_shard,
    write_shard,
)


def plan_shards(rows: Sequence[ShardRow], encoding: str) -> list[ShardPlan]:
    """The shards of rows, as a build cuts and plans them."""
    return [plan_shard(split, part, encoding) for split, part in cut_shards(rows)]


def row(file: Path, number: int, image: bytes = b"image", masks: bytes = b"masks", pixels: int = 64) -> ShardRow:
    """A row whose payload is written to a file of its own, once for equal bytes."""
    path = file / f"{hashlib.sha256(image + b'|' + masks).hexdigest()}.bin"
    if not path.exists():
        path.write_bytes(image + masks)
    columns = {
        "id": hashlib.sha256(str(number).encode()).hexdigest()[:32],
        "name": f"ID{number:03d}/é-{number}",
        "group": f"ID{number:03d}",
        "split": "train",
        "image": f"{number}.png",
        "known": b"\xff\x01",
        "width": pixels,
        "height": pixels,
        "label": [0.25, 0.75] if number % 2 else None,
        "lineage": '{"steps":[]}',
        "metadata": "{}",
    }
    payload = Payload(str(path), 0, len(image), len(image), len(masks))
    return ShardRow(columns, payload, payload_digest(image, masks))


def write(folder: Path, rows: Sequence[ShardRow]) -> tuple[Shard, Path]:
    shard = write_shard(ShardPlan("train", tuple(rows), "key"), folder)
    return shard, folder / shard.path


@pytest.fixture
def noise() -> bytes:
    return random.Random(7).randbytes(3_000_000)


def test_any_tool_reads_a_shard(tmp_path: Path) -> None:
    rows = [row(tmp_path, i, b"i" * (i + 1), b"m" * (50 - i)) for i in range(40)]
    shard, path = write(tmp_path, rows)
    names = [r.columns["name"] for r in rows]
    assert pq.read_table(path).column("name").to_pylist() == names
    lazy = pl.scan_parquet(path)
    assert lazy.select("name").collect()["name"].to_list() == names
    frame = lazy.collect()
    assert frame["image"].struct.field("bytes").to_list() == [b"i" * (i + 1) for i in range(40)]
    assert frame["masks"].to_list() == [b"m" * (50 - i) for i in range(40)]
    assert frame["label"].to_list()[:2] == [None, [0.25, 0.75]]
    assert (shard.rows, shard.bytes) == (40, path.stat().st_size)
    assert shard.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert shard.path == f"shards/train-{shard.sha256[:16]}.parquet"
    assert [file.name for file in (tmp_path / "shards").iterdir()] == [path.name]


def test_types_are_exactly_those_of_the_schema(tmp_path: Path) -> None:
    schema = pq.read_schema(write(tmp_path, [row(tmp_path, 1)])[1])
    assert schema.remove_metadata().equals(SCHEMA.remove_metadata())
    assert schema.field("image").type == pa.struct({"bytes": pa.binary(), "path": pa.string()})
    assert schema.field("masks").type == pa.binary()
    assert schema.field("width").type == pa.int32()
    assert json.loads(schema.metadata[b"huggingface"])["info"]["features"]["image"] == {"_type": "Image"}
    assert set(json.loads(schema.metadata[b"huggingface"])["info"]["features"]) == set(schema.names)
    assert b"ARROW:schema" not in schema.metadata


def test_payload_lies_at_the_stated_offsets(tmp_path: Path, noise: bytes) -> None:
    pieces = [(noise[i : i + 1 + 997 * i], noise[-1 - 13 * i :]) for i in range(1, 60)]
    shard, path = write(tmp_path, [row(tmp_path, i, *piece) for i, piece in enumerate(pieces)])
    data = path.read_bytes()
    found = [(data[a : a + b], data[c : c + d]) for a, b, c, d in shard.offsets]
    assert found == pieces


def test_payload_pages_are_plain_and_uncompressed(tmp_path: Path, noise: bytes) -> None:
    _, path = write(tmp_path, [row(tmp_path, i, noise[:100_000], b"0" * 9000) for i in range(30)])
    metadata = pq.read_metadata(path)
    columns = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
    by_name = {column.path_in_schema: column for column in columns}
    for name in ("image.bytes", "masks"):
        assert by_name[name].compression == "UNCOMPRESSED"
        assert set(by_name[name].encodings) <= {"PLAIN", "RLE"}  # RLE: the definition levels
        assert not by_name[name].has_dictionary_page
        assert by_name[name].statistics is None  # they would hold whole images
    assert by_name["lineage"].compression == "ZSTD"


def test_row_groups_hold_about_four_megabytes(tmp_path: Path, noise: bytes) -> None:
    _, path = write(tmp_path, [row(tmp_path, i, noise[: 200_000 + i], b"") for i in range(60)])
    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    assert all(0.9 * ROW_GROUP_BYTES < size < 1.1 * ROW_GROUP_BYTES for size in sizes[:-1])
    assert len(sizes) == 3


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([2 << 20, 2 << 20, 1, 5], [2, 2]),
        ([2 << 20, (2 << 20) + 1, 5], [1, 2]),
        ([4 << 20, 2 << 20, 2 << 20, 4 << 20, 1], [1, 2, 1, 1]),
        ([1, 4 << 20, 5 << 20, 1], [1, 1, 1, 1]),
    ],
)
def test_row_groups_hold_four_megabytes_at_most(
    tmp_path: Path, noise: bytes, sizes: Sequence[int], groups: Sequence[int]
) -> None:
    """Image and masks together, to the byte: where a group ends decides the shard's bytes, and so the version."""
    pieces = [((noise * 2)[: size // 2], (noise * 2)[: size - size // 2]) for size in sizes]
    _, path = write(tmp_path, [row(tmp_path, i, *piece) for i, piece in enumerate(pieces)])
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == groups


def test_small_columns_have_statistics(tmp_path: Path) -> None:
    """With them a reader passes over row groups that hold nothing it looks for."""
    rows = [row(tmp_path, i) for i in range(7)]
    metadata = pq.read_metadata(write(tmp_path, rows)[1])
    columns = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
    found = {column.path_in_schema: column.statistics for column in columns}
    for name in ("id", "name", "width"):
        values = [r.columns[name] for r in rows]
        assert (found[name].min, found[name].max) == (min(values), max(values))


def test_a_dataset_folder_that_does_not_exist_is_made(tmp_path: Path) -> None:
    assert write(tmp_path / "new/dataset", [row(tmp_path, 1)])[1].exists()


def test_a_large_row_is_a_row_group_of_its_own(tmp_path: Path, noise: bytes) -> None:
    shard, path = write(tmp_path, [row(tmp_path, i, noise + bytes([i]), noise) for i in range(3)])
    assert pq.read_metadata(path).num_row_groups == 3
    assert len(shard.offsets) == 3


def test_tens_of_thousands_of_tiny_rows(tmp_path: Path) -> None:
    """Arrow breaks a column into pages after 20,000 rows; offsets must hold all the same."""
    rows = [row(tmp_path, i, b"i" * 30, b"m" * 9) for i in range(20_500)]
    shard, path = write(tmp_path, rows)
    data = path.read_bytes()
    assert all((data[a : a + b], data[c : c + d]) == (b"i" * 30, b"m" * 9) for a, b, c, d in shard.offsets)


@pytest.mark.parametrize("column", ["image", "masks"])
def test_flipped_payload_byte_fails_the_page_checksum(tmp_path: Path, noise: bytes, column: str) -> None:
    shard, path = write(tmp_path, [row(tmp_path, i, noise[:5000], noise[:700]) for i in range(5)])
    data = bytearray(path.read_bytes())
    data[shard.offsets[3][0 if column == "image" else 2] + 99] ^= 1
    path.write_bytes(data)
    pq.read_table(path, columns=[column])  # unseen without verification
    with pytest.raises(OSError, match="CRC checksum"):
        pq.read_table(path, columns=[column], page_checksum_verification=True)


def test_damaged_payload_is_an_error(tmp_path: Path) -> None:
    damaged = row(tmp_path, 5, b"abcdef", b"ghi")
    Path(damaged.payload.file).write_bytes(b"abcdefgHi")
    with pytest.raises(DatasetError, match=rf"ID005/é-5 in {damaged.payload.file} are damaged"):
        write(tmp_path, [row(tmp_path, 1), damaged])
    assert list((tmp_path / "shards").iterdir()) == []


def test_truncated_payload_is_an_error(tmp_path: Path) -> None:
    short = row(tmp_path, 5, b"abcdef", b"ghi")
    Path(short.payload.file).write_bytes(b"abcdefg")
    with pytest.raises(DatasetError, match="cut off"):
        write(tmp_path, [short])


def test_same_rows_give_the_same_file_and_other_columns_another(tmp_path: Path) -> None:
    rows = [row(tmp_path, i) for i in range(9)]
    first, _ = write(tmp_path, rows)
    assert write(tmp_path, rows)[0] == first
    rows[4].columns["metadata"] = '{"age":7}'
    assert write(tmp_path, rows)[0].sha256 != first.sha256


# ---- cuts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "rows"), [(2048, 8), (1024, 32), (512, 128), (64, 8192), (16, 8192), (8192, 1)])
def test_mean_rows_follow_the_pixels(side: int, rows: int) -> None:
    assert mean_rows([side * side] * 3) == rows


def test_mean_rows_are_the_nearest_power_of_two() -> None:
    """The smaller one if both are as near; of the median image."""
    powers = [1 << i for i in range(14)]
    for pixels in (*range(5000, 200_000, 997), *range(200_000, 90_000_000, 99_991)):
        assert mean_rows([pixels]) == min(powers, key=lambda power: (abs(power - SHARD_PIXELS / pixels), power))
    assert mean_rows([SHARD_PIXELS // 3]) == 4
    assert mean_rows([2 * SHARD_PIXELS // 3 + 1]) == 1
    assert mean_rows([1, SHARD_PIXELS // 8, 10**9]) == 8


def plans(rows: Sequence[ShardRow]) -> dict[str, list[str]]:
    return {plan.key: [r.id for r in plan.rows] for plan in plan_shards(rows, "png")}


def test_mean_length_of_shards(tmp_path: Path) -> None:
    sizes = [len(part) for part in plans([row(tmp_path, i, pixels=2048) for i in range(4000)]).values()]
    assert 7 < sum(sizes) / len(sizes) < 9.2


def test_shards_are_sorted_by_id(tmp_path: Path) -> None:
    rows = [row(tmp_path, i, pixels=2048) for i in range(200)]
    order = [i for part in plans(rows).values() for i in part]
    assert order == sorted(r.id for r in rows)
    assert plans(rows[::-1]) == plans(rows)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(data=st.data())
def test_another_sample_changes_few_shards(tmp_path: Path, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 150))
    rows = [row(tmp_path, i, pixels=2048) for i in range(count)]
    before, after = plans(rows), plans([*rows, row(tmp_path, data.draw(st.integers(1000, 9999)), pixels=2048)])
    assert len(after.keys() - before.keys()) <= 2
    assert len(before.keys() - after.keys()) <= 1


def test_splits_do_not_share_shards(tmp_path: Path) -> None:
    rows = [row(tmp_path, i) for i in range(50)]
    for r in rows[::3]:
        r.columns["split"] = "val"
    made = list(plan_shards(rows, "png"))
    assert all({r.columns["split"] for r in plan.rows} == {plan.split} for plan in made)
    assert [plan.split for plan in made] == ["train", "val"]


def test_encoding_is_part_of_a_plan(tmp_path: Path) -> None:
    rows = [row(tmp_path, 1)]
    assert next(iter(plan_shards(rows, "png"))).key != next(iter(plan_shards(rows, "jpeg-95"))).key
