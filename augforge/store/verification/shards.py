"""Checking shards: their bytes, which samples damaged bytes hit, and whether their rows are those of the index."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from augforge import bitmask
from augforge.cache.parquet import check_parquet
from augforge.cache.work import PLACES, payload_digest
from augforge.errors import DatasetError, first_line
from augforge.store.index import LINEAGE, typed_lineage
from augforge.store.manifest import ShardEntry
from augforge.store.shard import payload_offsets
from augforge.store.verification.files import DatasetFiles
from augforge.store.verification.report import Fault

SMALL_COLUMNS = ("id", "name", "group", "split", "known", "width", "height", "label", "lineage", "metadata")
"""What a shard states besides the payloads."""
_UNREADABLE = (OSError, ValueError, DatasetError, pa.ArrowException)


def shard_faults(files: DatasetFiles, shard: ShardEntry, tables: Sequence[pl.DataFrame]) -> list[Fault]:
    """What is wrong with a shard.

    Args:
        files: of the dataset.
        shard: as the manifest describes it.
        tables: the rows of this shard in the index of each version that names it and whose index is right, sorted by
            id.
    """
    faults = files.byte_faults(shard.path, shard.bytes, shard.sha256)
    if faults:
        return [replace(fault, samples=tuple(_hit_samples(files.folder / shard.path, tables))) for fault in faults]
    path, shown = files.folder / shard.path, files.display_path(shard.path)
    try:
        return [fault for rows in tables for fault in _row_faults(path, shown, shard, rows)]
    except _UNREADABLE as error:
        return [Fault(shown, "wrong", f"cannot be read: {first_line(error)}", tuple(_names(tables)))]


def _names(tables: Sequence[pl.DataFrame]) -> list[str]:
    """Names of all samples, each once."""
    return list(dict.fromkeys(name for rows in tables for name in rows["name"]))


# ---- Which samples are hit -------------------------------------------------------------------------------------------


def _hit_samples(path: Path, tables: Sequence[pl.DataFrame]) -> list[str]:
    """Samples that damaged bytes hit.

    Those whose payload changed, if there are any. Otherwise the damage is beside the payloads: those of the row groups
    whose pages fail their checksums, or else, since it is in a footer or a page's header, all. All too if the file is
    missing.
    """
    if not path.is_file():  # missing, or a pipe that whoever opens it would wait for
        return _names(tables)
    rows = next(iter(tables), None)
    if rows is None:
        return _stored_names(path)
    changed = [name for name, sound in payloads_sound(path, rows) if sound is False]
    return changed or _names_in_damaged_groups(path, rows) or list(rows["name"])


def payloads_sound(path: Path, rows: pl.DataFrame) -> Iterator[tuple[str, bool | None]]:
    """Name of each sample and whether its payload is the one that was stored; None if the index has no digests."""
    if "payload_digest" not in rows.columns:
        yield from ((name, None) for name in rows["name"])
        return
    columns = ["name", "payload_digest", *PLACES]
    content = map_file(path)
    for name, digest, *place in rows.select(columns).iter_rows():
        yield name, payload_digest(*slices(content, place)) == digest


def map_file(path: Path) -> memoryview:
    """The bytes of a file, without reading them all; a file of no bytes cannot be mapped."""
    with path.open("rb") as stream:
        try:
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError:
            return memoryview(b"")


def slices(content: memoryview, place: Sequence[int]) -> tuple[Any, Any]:
    """Encoded image and masks in a shard's bytes, shorter if the file ends before they do."""
    image_offset, image_bytes, masks_offset, masks_bytes = (max(0, number or 0) for number in place)
    return content[image_offset : image_offset + image_bytes], content[masks_offset : masks_offset + masks_bytes]


def _names_in_damaged_groups(path: Path, rows: pl.DataFrame) -> list[str]:
    """Names of the samples in row groups that cannot be read; rows of a shard are sorted by id, as ``rows`` are."""
    names = list(rows["name"])
    found: list[str] = []
    first = 0
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True, memory_map=True)
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if not _is_readable(file, group):
                found += names[first : first + count]
            first += count
    except _UNREADABLE:
        return []
    return found


def _is_readable(file: pq.ParquetFile, group: int) -> bool:
    try:
        file.read_row_group(group)
    except _UNREADABLE:
        return False
    return True


def _stored_names(path: Path) -> list[str]:
    """Names of a shard's samples by the shard itself, as far as it can be read."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True, memory_map=True)
        return [str(name) for name in file.read(columns=["name"])["name"].to_pylist()]
    except _UNREADABLE:
        return []


# ---- Rows of a sound shard against the index -------------------------------------------------------------------------


def _row_faults(path: Path, shown: str, shard: ShardEntry, rows: pl.DataFrame) -> Iterator[Fault]:
    check_parquet(path)
    file = pq.ParquetFile(path, page_checksum_verification=True, memory_map=True)
    stored = file.read(columns=list(SMALL_COLUMNS)).to_pylist()
    indexed = {row["id"]: row for row in rows.to_dicts()}
    for position, row in enumerate(stored):
        expected = indexed.get(row["id"])
        if expected is None:
            yield Fault(shown, "wrong", f"row {position} ({row['name']}) is not in the index", (row["name"],))
        elif differing := _differing_columns(row, expected):
            message = f"row {position} ({row['name']}) is not what the index says: {', '.join(differing)}"
            yield Fault(shown, "wrong", message, (row["name"],))
    missing = [row["name"] for key, row in indexed.items() if key not in {row["id"] for row in stored}]
    yield from (Fault(shown, "wrong", f"sample {name} is missing", (name,)) for name in missing)
    if len(stored) != shard.rows:
        yield Fault(shown, "wrong", f"has {len(stored)} rows, the manifest says {shard.rows}", tuple(rows["name"]))
    displaced = list(_offset_faults(path, shown, file, [indexed.get(row["id"]) for row in stored]))
    yield from displaced
    named = {*missing, *(name for fault in displaced for name in fault.samples)}
    for name, sound in payloads_sound(path, rows):
        if sound is False and name not in named:
            yield Fault(shown, "wrong", f"the index's payload digest of {name} is not that of its bytes", (name,))


def _differing_columns(row: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Columns of a shard's row that the index contradicts."""
    plain = [name for name in ("name", "group", "split", "width", "height", "label") if row[name] != expected[name]]
    known = bitmask.bits_to_flags(np.frombuffer(row["known"], np.uint8), len(expected["area"]))
    others = {
        "known": known.tolist() == [area is not None for area in expected["area"].values()],
        "lineage": _typed(row["lineage"]) == expected["lineage"],
        "metadata": _is_same_metadata(json.loads(row["metadata"]), expected.get("metadata") or {}),
    }
    return plain + [name for name, same in others.items() if not same]


def _typed(lineage: str) -> Any:
    """A lineage as the index has it: absent fields are null."""
    return pa.array([typed_lineage(json.loads(lineage))], LINEAGE).to_pylist()[0]


def _is_same_metadata(stored: Mapping[str, Any], indexed: Mapping[str, Any]) -> bool:
    """Whether values agree; a column of mixed types is text in the index."""
    return all(
        value == stored.get(key) or (isinstance(value, str) and value == json.dumps(stored.get(key)))
        for key, value in indexed.items()
    ) and all(key in indexed for key, value in stored.items() if value is not None)


def _offset_faults(
    path: Path, shown: str, file: pq.ParquetFile, expected: Sequence[Mapping[str, Any] | None]
) -> Iterator[Fault]:
    """Samples whose payloads do not lie where the index says."""
    stated = [row and tuple(row[name] for name in PLACES) for row in expected]
    if all(stated) and _lie_there(path, [place for place in stated if place]):
        return
    lengths = [
        (len(row["image"]["bytes"]), len(row["masks"]))
        for batch in file.iter_batches(batch_size=16, columns=["image", "masks"])
        for row in batch.to_pylist()
    ]
    for row, place, found in zip(expected, stated, payload_offsets(path, lengths), strict=True):
        if row and place != found:
            message = f"the index's offsets of {row['name']} are wrong: {place}, found {found}"
            yield Fault(shown, "wrong", message, (row["name"],))


def _lie_there(path: Path, places: Sequence[tuple[int, int, int, int]]) -> bool:
    try:
        return list(payload_offsets(path, [(place[1], place[3]) for place in places])) == list(places)
    except (DatasetError, OSError, ValueError):
        return False
