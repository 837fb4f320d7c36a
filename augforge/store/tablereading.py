"""From an index file to a `SampleTable`, by Arrow, one column after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from augforge import bitmask
from augforge.cache.work import PLACES
from augforge.errors import DatasetError, first_line
from augforge.store.sampletable import Column, SampleTable, Texts, smallest

_ROWS = 1 << 15
"""Rows read at a time from a column that is wide: the areas of all classes."""


def read_sample_table(path: Path, classes: Sequence[str]) -> SampleTable:
    """Read what reading samples needs of an index.

    Raises:
        DatasetError: the file is damaged, or is no index of samples with these classes.
    """
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            return _read(file, classes)
    except _UNREADABLE as error:
        raise DatasetError(
            f"{path} cannot be read as an index ({first_line(error)}). Check the dataset: augforge verify"
        ) from None
    finally:
        pa.default_memory_pool().release_unused()


_UNREADABLE = (OSError, pa.ArrowException, ValueError, LookupError, MemoryError, TypeError, AttributeError)
"""What reading raises: columns may be missing, or of other types than an index has."""


def _read(file: pq.ParquetFile, classes: Sequence[str]) -> SampleTable:
    given = set(file.schema_arrow.names)
    if [field.name for field in file.schema_arrow.field("area").type] != list(classes):
        raise ValueError("it is about other classes than the manifest")
    return SampleTable(
        names=_texts(_column(file, "name")),
        group=_encode(_column(file, "group")),
        split=_encode(_column(file, "split")),
        shard=_encode(_column(file, "shard")),
        label=_labels(_column(file, "label")),
        metadata=_metadata(_column(file, "metadata")) if "metadata" in given else {},
        sizes=_numbers(file, ("height", "width"), np.int32),
        places=_numbers(file, PLACES, np.int64),
        known=_known(file),
        digests=_digests(_column(file, "payload_digest")) if "payload_digest" in given else None,
    )


def _column(file: pq.ParquetFile, name: str) -> pa.Array:
    table = file.read(columns=[name], use_threads=False)
    return pa.concat_arrays(table[name].chunks) if table.num_rows else table[name].combine_chunks()


def _numbers(file: pq.ParquetFile, names: tuple[str, ...], dtype: type[np.integer[Any]]) -> NDArray[Any]:
    return np.stack([_column(file, name).to_numpy().astype(dtype) for name in names], axis=1)


def _texts(array: pa.Array) -> Texts:
    _, bounds, content = array.cast(pa.large_string()).fill_null("").buffers()
    places = np.frombuffer(bounds, np.int64)[array.offset :][: len(array) + 1] if len(array) else np.zeros(1, np.int64)
    data = content.slice(int(places[0]), int(places[-1] - places[0])).to_pybytes() if len(array) and content else b""
    return Texts(data, smallest(places - places[0]))


def _encode(array: pa.Array) -> Column:
    """The column of an array of texts, numbers or booleans."""
    encoded = array.dictionary_encode()
    values = encoded.dictionary
    is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    codes = encoded.indices.fill_null(-1).to_numpy()
    return Column(smallest(codes), _texts(values) if is_text else values.to_numpy(zero_copy_only=False))


def _labels(array: pa.ListArray) -> Column:
    """The column of label vectors, which are all of one length."""
    lengths = array.value_lengths().drop_null().unique().to_pylist()
    if len(lengths) > 1:
        raise ValueError(f"label vectors of {lengths[0]} and of {lengths[1]} entries")
    values = array.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    width = lengths[0] if lengths else 0
    present = array.is_valid().to_numpy(zero_copy_only=False)
    codes = np.full(len(array), -1, np.int64)
    if not width:
        codes[present] = 0
        return Column(smallest(codes), np.zeros((1, 0), np.float32))
    count, content = len(values) // width, pa.py_buffer(values)
    rows = pa.FixedSizeBinaryArray.from_buffers(pa.binary(4 * width), count, [None, content])
    encoded = rows.dictionary_encode()
    codes[present] = encoded.indices.to_numpy()
    vectors = np.frombuffer(b"".join(encoded.dictionary.to_pylist()), np.float32).reshape(-1, width)
    return Column(smallest(codes), vectors)


def _metadata(array: pa.StructArray) -> dict[str, Column]:
    return {field.name: _encode(values) for field, values in zip(array.type, array.flatten(), strict=True)}


def _known(file: pq.ParquetFile) -> NDArray[np.uint8]:
    """Which classes are known, as bits: those whose area is no null."""
    classes = file.schema_arrow.field("area").type.num_fields
    parts = [np.empty((0, bitmask.plane_count(classes)), np.uint8)]
    for batch in file.iter_batches(_ROWS, columns=["area"], use_threads=False):
        flags = [area.is_valid().to_numpy(zero_copy_only=False) for area in batch.column(0).flatten()]
        parts.append(bitmask.flags_to_bits(np.stack(flags, axis=-1)))
    return np.concatenate(parts)


def _digests(array: pa.Array) -> NDArray[np.uint64]:
    """32 hexadecimal digits of each sample as two numbers."""
    content = bytes.fromhex("".join(_texts(array)))
    return np.frombuffer(content, ">u8").reshape(-1, 2).astype(np.uint64)
