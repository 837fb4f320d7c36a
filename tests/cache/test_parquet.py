"""What a Parquet file claims is checked before it is read."""

from __future__ import annotations

import struct
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augforge.cache.parquet import check_parquet, read_table, write_rows


def put(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path, compression="zstd")
    return path


def test_an_ordinary_file(tmp_path: Path) -> None:
    path = put(tmp_path / "a[1]*.parquet", pa.table({"name": [f"sample {i}" for i in range(5000)], "x": range(5000)}))
    assert read_table(path).equals(pl.DataFrame({"name": [f"sample {i}" for i in range(5000)], "x": range(5000)}))


def test_more_rows_than_bytes(tmp_path: Path) -> None:
    path = put(tmp_path / "a.parquet", pa.table({"x": pa.nulls(2_000_000, pa.string())}))
    with pytest.raises(ValueError, match="claims 2000000 rows in"):
        check_parquet(path)


def test_a_text_that_unpacks_to_much(tmp_path: Path) -> None:
    path = put(tmp_path / "a.parquet", pa.table({"x": ["y" * 100_000_000]}))
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="bytes unpacked, from"):
        check_parquet(path)


def test_a_text_that_each_row_repeats(tmp_path: Path) -> None:
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["y" * 100_000]))
    path = put(tmp_path / "a.parquet", pa.table({"name": repeated, "x": [str(i) for i in range(20_000)]}))
    with pytest.raises(ValueError, match="column 'name' takes 2000000000 bytes unpacked"):
        check_parquet(path)
    put(path, pa.table({"name": pa.array(["some text"] * 20_000)}))
    check_parquet(path)


@pytest.mark.parametrize("footer", [0, 7, 1 << 20, 0xFFFFFFFF])
def test_a_footer_of_another_size(tmp_path: Path, footer: int) -> None:
    path = put(tmp_path / "a.parquet", pa.table({"x": [1, 2]}))
    path.write_bytes(path.read_bytes()[:-8] + struct.pack("<I", footer) + b"PAR1")
    with pytest.raises(ValueError, match=r"\w"):
        read_table(path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.parquet")


@pytest.mark.parametrize("count", [0, 1, 1024, 3000, 8192, 20_000])
def test_rows_are_written_by_row_groups(count: int, tmp_path: Path) -> None:
    """Up to a row group, the file is the one that Arrow writes of the whole table."""
    boxes = pa.list_(pa.list_(pa.int32()))
    schema = pa.schema([("name", pa.string()), ("boxes", boxes), ("at", pa.struct({"x": pa.float64()}))])
    rows = [
        {"name": f"{i % 97}", "boxes": [[i, j] for j in range(i % 4)] if i % 5 else None, "at": {"x": i / 7}}
        for i in range(count)
    ]
    write_rows(tmp_path / "rows", iter(rows), schema)
    whole = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(whole, tmp_path / "whole", compression="zstd", write_page_checksum=True)
    file = pq.ParquetFile(tmp_path / "rows")
    assert file.read().to_pylist() == rows
    assert file.metadata.num_row_groups == max(1, -(-count // 8192))
    assert (count > 8192) or (tmp_path / "rows").read_bytes() == (tmp_path / "whole").read_bytes()
