"""Parquet files: written by row groups; of others, what their footer claims is checked before anything is made of it.

A file of some kilobytes may claim a billion rows, or hold one long text that each of its rows repeats.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from augforge.errors import first_line
from augforge.files import open_regular, replacing

if TYPE_CHECKING:
    import polars as pl

FREE_BYTES = 64 << 20
"""What the columns of any file may take when they are unpacked."""
FREE_ROWS = 100_000
"""Rows that any file may have. Beyond that each takes a byte at least, since names differ."""
MAX_RATIO = 100
"""How many times the file's own size they may take beyond that; texts that repeat reach a tenth of it."""
_THRIFT_BYTES = 16 << 20
_DICTIONARIES = {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}
FAULTS = (OSError, ValueError, LookupError, TypeError, MemoryError, OverflowError, pa.ArrowException)
"""What Arrow raises for a damaged or forged file."""


GROUP_ROWS = 8192
"""Rows of a table's row group: as many are in memory when it is written."""
_PART_ROWS = 1024


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write rows to a Parquet file, on disk for good, of which a row group at most is in memory.

    The same rows give the same bytes.
    """
    parts = _tables(iter(rows), schema)
    with (
        replacing(path, durable=True) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        written = 0
        while group := list(islice(parts, GROUP_ROWS // _PART_ROWS)):
            writer.write_table(pa.concat_tables(group).combine_chunks())
            written += 1
        if not written:
            writer.write_table(schema.empty_table())


def _tables(rows: Iterator[Mapping[str, Any]], schema: pa.Schema) -> Iterator[pa.Table]:
    """Small tables of the rows: as Python's own dicts, rows take ten times the memory."""
    while part := list(islice(rows, _PART_ROWS)):
        yield pa.Table.from_pylist(part, schema=schema)


def check_parquet(path: Path) -> None:
    """Raise ValueError unless a file is Parquet and, unpacked, in proportion to its size. OSError if it is missing."""
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
    most = FREE_BYTES + MAX_RATIO * size
    try:
        with _open(path) as file:
            _check_sizes(file.metadata, size, most)
            for name in _large_if_written_out(file.metadata, most):
                _check_written_out(path, name, most)
    except (pa.ArrowException, OSError) as error:  # Arrow says OSError of a footer that it cannot read
        raise ValueError(first_line(error)) from None


def read_table(path: Path) -> pl.DataFrame:
    """Read a Parquet file of others. ValueError if it is damaged or claims too much, OSError if it is missing."""
    import polars as pl  # opening a dataset checks files, and does without

    check_parquet(path)
    try:
        with path.open("rb") as stream:  # by a stream, since a folder's name may hold brackets, or be no UTF-8
            return pl.read_parquet(stream)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:  # it panics on some damage
        raise ValueError(first_line(error)) from None


def _open(path: Path, **options: Any) -> pq.ParquetFile:
    limits = {"thrift_string_size_limit": _THRIFT_BYTES, "thrift_container_size_limit": 1_000_000}
    return pq.ParquetFile(path, memory_map=True, **limits, **options)


def _check_sizes(metadata: pq.FileMetaData, size: int, most: int) -> None:
    if not 0 <= metadata.num_rows <= FREE_ROWS + size:
        raise ValueError(f"its footer claims {metadata.num_rows} rows in {size} bytes")
    total = 0
    for _, chunk in _chunks(metadata):
        if chunk.total_uncompressed_size < 0 or not 0 <= chunk.total_compressed_size <= size:
            raise ValueError(f"its footer claims {chunk.total_compressed_size} bytes for a column, of {size} in all")
        total += chunk.total_uncompressed_size
    if total > most:
        raise ValueError(f"its columns claim {total} bytes unpacked, from {size}; expected at most {most}")


def _chunks(metadata: pq.FileMetaData) -> Iterator[tuple[int, Any]]:
    """Rows of its group, and each column chunk."""
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        for column in range(group.num_columns):
            yield group.num_rows, group.column(column)


def _large_if_written_out(metadata: pq.FileMetaData, most: int) -> list[str]:
    """Columns of texts that are stored once and named by each row, and might be large if each row has its copy."""
    return list(
        dict.fromkeys(
            chunk.path_in_schema
            for rows, chunk in _chunks(metadata)
            if chunk.physical_type == "BYTE_ARRAY" and _DICTIONARIES & set(chunk.encodings)
            if "." not in chunk.path_in_schema and rows * chunk.total_uncompressed_size > most
        )
    )


def _check_written_out(path: Path, name: str, most: int) -> None:
    total = 0
    with _open(path, read_dictionary=[name]) as file:
        for group in range(file.num_row_groups):  # one after the other, since a ledger may be large as a whole
            for chunk in file.read_row_group(group, columns=[name], use_threads=False)[name].chunks:
                if not pa.types.is_dictionary(chunk.type):
                    return
                lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
                total += pc.sum(lengths).as_py() or 0
    if total > most:
        raise ValueError(f"its column '{name}' takes {total} bytes unpacked; expected at most {most}")
