"""What a Parquet file claims is checked before it is read."""

from __future__ import annotations

import struct
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augforge.cache.parquet import check_parquet, read_table


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
