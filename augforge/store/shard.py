"""Shards: ordinary Parquet files of samples, whose payloads lie whole and uncompressed at known offsets.

A payload is the encoded image and the encoded masks of a sample. Its bytes are copied into the shard as they are, and
the index records where they lie, so that a reader slices them out of a memory map without a Parquet library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from augforge.cache.filecache import FileCache
from augforge.cache.work import Payload
from augforge.errors import DatasetError
from augforge.files import file_sha256, make_folder, sync_file, temporary_path, writing
from augforge.keys import canonical_json, digest_of_texts

SHARD_FORMAT = 1
"""Version of the shards' own form. It did not change with format 2 of datasets, so their versions share shards."""
ROW_GROUP_BYTES = 4 << 20
ROW_GROUP_ROWS = 16384
"""Below the 20,000 rows after which Arrow begins a new page: a payload column must be one; see `payload_offsets`."""
PAYLOAD_COLUMNS = ("image.bytes", "masks")


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """An Arrow type as the library `datasets` describes it; the only struct here is the image."""
    if pa.types.is_struct(kind):
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": {"float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}  # Arrow calls float32 float


_COLUMNS = {
    "id": pa.string(),
    "name": pa.string(),
    "group": pa.string(),
    "split": pa.string(),
    "image": pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]),
    "masks": pa.binary(),
    "known": pa.binary(),
    "width": pa.int32(),
    "height": pa.int32(),
    "label": pa.list_(pa.float32()),
    "lineage": pa.string(),
    "metadata": pa.string(),
}
SCHEMA = pa.schema(
    list(_COLUMNS.items()),
    metadata={
        # With exactly these types, `datasets` decodes the image column without being told to.
        "huggingface": json.dumps({"info": {"features": {name: _feature(kind) for name, kind in _COLUMNS.items()}}}),
        "augforge": json.dumps({"format": SHARD_FORMAT}),
    },
)


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A row of a shard to be written.

    Attributes:
        columns: values of all columns of `SCHEMA` but ``masks``; ``image`` is the image's file name.
        payload: where to copy the encoded image and masks from.
        digest: `payload_digest` of both, checked when they are copied.
    """

    columns: dict[str, Any]
    payload: Payload
    digest: str

    @property
    def id(self) -> str:
        """The sample's id, 32 hexadecimal digits."""
        return str(self.columns["id"])

    @property
    def split(self) -> str:
        """The sample's split."""
        return str(self.columns["split"])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return (self.columns["width"], self.columns["height"])


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The rows of a shard to be written, and a key: a digest of all that decides its bytes, known before they are."""

    split: str
    rows: tuple[ShardRow, ...]
    key: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A finished shard.

    Attributes:
        path: of its file, relative to the dataset: ``shards/<split>-<digest>.parquet``.
        split: of all its rows.
        rows: their number.
        bytes: size of the file.
        sha256: of the file.
        offsets: of each row: image offset, image bytes, masks offset, masks bytes.
    """

    path: str
    split: str
    rows: int
    bytes: int
    sha256: str
    offsets: tuple[tuple[int, int, int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """The shard as the ledger keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Shard:
        """The shard of what `to_json` gave."""
        return cls(**{**data, "offsets": tuple(map(tuple, data["offsets"]))})


def plan_shard(split: str, rows: Sequence[ShardRow], encoding: str) -> ShardPlan:
    """A shard of these rows, and its key; ``encoding`` is that of the payloads, and enters the key."""
    content = (canonical_json([{**row.columns, "known": row.columns["known"].hex()}, row.digest]) for row in rows)
    parts = ("shard", SHARD_FORMAT, pa.__version__, encoding)
    return ShardPlan(split, tuple(rows), digest_of_texts(*map(canonical_json, parts), f"[{','.join(content)}]"))


def is_intact(path: Path, size: int, sha256: str, cache: FileCache) -> bool:
    """Whether a shard exists with this size and SHA-256; it is hashed again only if it was touched since last time."""
    return path.exists() and path.stat().st_size == size and cache.get(path, "sha256", file_sha256) == sha256


def write_shard(plan: ShardPlan, folder: Path) -> Shard:
    """Write a shard below ``folder``, the dataset's: payloads are copied, and the file is named by its digest.

    The same rows give the same bytes. They are on disk when the function returns, the name only after `sync_folder`.
    DamagedPayload if a payload is damaged, StorageError if there is no space.
    """
    # Not by `replacing`, since only the finished file tells the shard's name.
    temporary = temporary_path(folder / "shards" / f"{plan.split}-{plan.key}")
    with writing(temporary):
        make_folder(temporary.parent)
        try:
            _write_parquet(plan, temporary)
            lengths = [(row.payload.image_bytes, row.payload.masks_bytes) for row in plan.rows]
            offsets = tuple(payload_offsets(temporary, lengths))
            size, sha256 = temporary.stat().st_size, file_sha256(temporary)
            path = f"shards/{plan.split}-{sha256[:16]}.parquet"
            sync_file(temporary)
            temporary.replace(folder / path)
        finally:
            temporary.unlink(missing_ok=True)
    return Shard(path, plan.split, len(plan.rows), size, sha256, offsets)


def _write_parquet(plan: ShardPlan, path: Path) -> None:
    small = [name for name in SCHEMA.names if name not in ("image", "masks")]
    writer = pq.ParquetWriter(
        path,
        SCHEMA,
        compression={"image.bytes": "none", "image.path": "zstd", "masks": "none", **dict.fromkeys(small, "zstd")},
        use_dictionary=False,
        column_encoding=dict.fromkeys(PAYLOAD_COLUMNS, "PLAIN"),
        write_statistics=[name for name in small if name != "label"],
        write_page_checksum=True,
        data_page_size=1 << 30,  # one page per row group, which `payload_offsets` relies on
        store_schema=False,  # a copy of SCHEMA in Arrow's own form; readers get the types from Parquet's
    )
    with writer:
        for group in _row_groups(plan.rows):
            writer.write_table(_table(group))
        writer.add_key_value_metadata(SCHEMA.metadata)  # without `store_schema` Arrow leaves it out


def _row_groups(rows: Sequence[ShardRow]) -> Iterator[list[ShardRow]]:
    """Consecutive rows of about ROW_GROUP_BYTES, at most ROW_GROUP_ROWS; a larger row is a group of its own."""
    group: list[ShardRow] = []
    size = 0
    for row in rows:
        length = row.payload.image_bytes + row.payload.masks_bytes
        if group and (size + length > ROW_GROUP_BYTES or len(group) == ROW_GROUP_ROWS):
            yield group
            group, size = [], 0
        group.append(row)
        size += length
    if group:
        yield group


def _table(rows: Sequence[ShardRow]) -> pa.Table:
    payloads = [row.payload.read_checked(row.digest, row.columns["name"]) for row in rows]
    columns = {name: [row.columns.get(name) for row in rows] for name in SCHEMA.names}
    columns["image"] = [
        {"bytes": image, "path": row.columns["image"]} for row, (image, _) in zip(rows, payloads, strict=True)
    ]
    columns["masks"] = [masks for _, masks in payloads]
    return pa.table({name: pa.array(columns[name], kind) for name, kind in _COLUMNS.items()}, schema=SCHEMA)


def payload_offsets(path: Path, lengths: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """Image offset and bytes, masks offset and bytes of each row, from the file's own structure.

    A payload column is one uncompressed PLAIN page per row group. Its values, each behind a 4-byte length, therefore
    end where the column chunk ends, and are found by counting back from there.

    Args:
        path: of a shard.
        lengths: image bytes and masks bytes of each row.

    Raises:
        DatasetError: the file has no values of these lengths at these offsets.
    """
    metadata = pq.read_metadata(path)
    if metadata.num_rows != len(lengths):
        raise DatasetError(f"{path} holds {metadata.num_rows} rows, expected {len(lengths)}")
    first = 0
    with path.open("rb") as stream:
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            part = lengths[first : first + group.num_rows]
            chunks = [group.column(i) for i in range(group.num_columns)]
            ends = {chunk.path_in_schema: chunk.data_page_offset + chunk.total_compressed_size for chunk in chunks}
            images = _value_offsets(stream, ends["image.bytes"], [image for image, _ in part])
            masks = _value_offsets(stream, ends["masks"], [mask for _, mask in part])
            for (image, mask), image_at, mask_at in zip(part, images, masks, strict=True):
                yield image_at, image, mask_at, mask
            first += group.num_rows


def _value_offsets(stream: BinaryIO, end: int, lengths: Sequence[int]) -> list[int]:
    """Offsets of the values of a column chunk that ends at ``end``; DatasetError if a stored length differs."""
    at = end - sum(4 + length for length in lengths)
    offsets = []
    for length in lengths:
        stream.seek(at)
        if int.from_bytes(stream.read(4), "little") != length:
            raise DatasetError(f"{stream.name} has no value of {length} bytes at byte {at}; the shard is damaged")
        offsets.append(at + 4)
        at += 4 + length
    return offsets
