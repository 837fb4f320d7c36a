"""Shards: ordinary Parquet files of samples, whose payloads lie whole and uncompressed at known offsets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from augforge.cache.filecache import FileCache, file_sha256
from augforge.cache.work import Payload, payload_digest
from augforge.errors import DatasetError
from augforge.keys import digest

FORMAT_VERSION = 1
ROW_GROUP_BYTES = 4 << 20
ROW_GROUP_ROWS = 16384
"""Arrow begins a new page after 20,000 rows, and a payload column must be one page; see `payload_offsets`."""
SHARD_PIXELS = 1 << 25
PAYLOAD_COLUMNS = ("image.bytes", "masks")

# `datasets` decodes the image column of its own accord where it finds exactly these types.
_FEATURES = {
    "id": {"dtype": "string", "_type": "Value"},
    "name": {"dtype": "string", "_type": "Value"},
    "group": {"dtype": "string", "_type": "Value"},
    "split": {"dtype": "string", "_type": "Value"},
    "image": {"_type": "Image"},
    "masks": {"dtype": "binary", "_type": "Value"},
    "known": {"dtype": "binary", "_type": "Value"},
    "width": {"dtype": "int32", "_type": "Value"},
    "height": {"dtype": "int32", "_type": "Value"},
    "label": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"},
    "lineage": {"dtype": "string", "_type": "Value"},
    "metadata": {"dtype": "string", "_type": "Value"},
}

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("name", pa.string()),
        pa.field("group", pa.string()),
        pa.field("split", pa.string()),
        pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])),
        pa.field("masks", pa.binary()),
        pa.field("known", pa.binary()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("label", pa.list_(pa.float32())),
        pa.field("lineage", pa.string()),
        pa.field("metadata", pa.string()),
    ],
    metadata={
        "huggingface": json.dumps({"info": {"features": _FEATURES}}),
        "augforge": json.dumps({"format": FORMAT_VERSION}),
    },
)


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A row as it will stand in a shard: every column, where to copy image and masks from, and their digest."""

    columns: dict[str, Any]
    payload: Payload
    digest: str

    @property
    def id(self) -> str:
        return str(self.columns["id"])


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The rows of a shard to be, and a key that names its content before it is made."""

    split: str
    rows: tuple[ShardRow, ...]
    key: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A finished shard: its file in the dataset's ``shards/``, and each row's payload offsets.

    Attributes:
        path: relative to the dataset.
        offsets: per row image offset, image bytes, masks offset, masks bytes.
    """

    path: str
    split: str
    rows: int
    bytes: int
    sha256: str
    offsets: tuple[tuple[int, int, int, int], ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Shard:
        return cls(**{**data, "offsets": tuple(map(tuple, data["offsets"]))})


def plan_shards(rows: Iterable[ShardRow], encoding: str) -> Iterator[ShardPlan]:
    """Cut each split's rows, sorted by id, where an id's hash says so: a changed row changes one shard.

    The mean is a power of two in rows, such that a shard holds about SHARD_PIXELS pixels.
    """
    by_split: dict[str, list[ShardRow]] = {}
    for row in rows:
        by_split.setdefault(row.columns["split"], []).append(row)
    mean = mean_rows([row.columns["width"] * row.columns["height"] for part in by_split.values() for row in part])
    for split in sorted(by_split):
        for part in _cut(sorted(by_split[split], key=lambda row: row.id), mean):
            content = [[row.columns, row.digest] for row in part]
            key = digest("shard", FORMAT_VERSION, pa.__version__, encoding, _jsonable(content))
            yield ShardPlan(split, tuple(part), key)


def mean_rows(pixels: Sequence[int]) -> int:
    """Mean rows of a shard: 8 at 2048x2048, 128 at 512x512, 8192 at 64x64; from the median picture."""
    if not pixels:
        return 1
    median = sorted(pixels)[len(pixels) // 2]
    wanted = max(1.0, min(8192.0, SHARD_PIXELS / median))
    return 1 << round(_log2(wanted))


def _log2(x: float) -> int:
    """The nearest power of two's exponent."""
    low = int(x).bit_length() - 1
    return low + (x / (1 << low) > 1.5)


def _cut(rows: Sequence[ShardRow], mean: int) -> Iterator[list[ShardRow]]:
    part: list[ShardRow] = []
    for row in rows:
        part.append(row)
        if int(row.id[-8:], 16) % mean == 0:
            yield part
            part = []
    if part:
        yield part


def _jsonable(content: Any) -> Any:
    return json.loads(json.dumps(content, default=lambda value: value.hex()))


def is_whole(path: Path, size: int) -> bool:
    """Whether a shard is there at its full size."""
    return path.exists() and path.stat().st_size == size


def is_sound(path: Path, size: int, sha256: str, cache: FileCache) -> bool:
    """Whether a shard is there with its bytes: hashed again if it was touched since it was last known to be."""
    return is_whole(path, size) and cache.get(path, "sha256", file_sha256) == sha256


def write_shard(plan: ShardPlan, folder: Path) -> Shard:
    """Copy a shard's payloads into place; the same bytes for the same rows, the file named by their digest."""
    temporary = folder / "shards" / f".{plan.split}-{plan.key}.tmp"
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as stream:
            sink = _Hashing(stream)
            _write(plan, sink)
        lengths = [(row.payload.image_bytes, row.payload.masks_bytes) for row in plan.rows]
        offsets = tuple(payload_offsets(temporary, lengths))
        path = f"shards/{plan.split}-{sink.sha.hexdigest()[:16]}.parquet"
        temporary.replace(folder / path)
    finally:
        temporary.unlink(missing_ok=True)
    return Shard(path, plan.split, len(plan.rows), sink.size, sink.sha.hexdigest(), offsets)


def _write(plan: ShardPlan, sink: _Hashing) -> None:
    small = [name for name in SCHEMA.names if name not in ("image", "masks")]
    writer = pq.ParquetWriter(
        pa.PythonFile(sink, mode="w"),
        SCHEMA,
        compression={"image.bytes": "none", "image.path": "zstd", "masks": "none", **dict.fromkeys(small, "zstd")},
        use_dictionary=False,
        column_encoding=dict.fromkeys(PAYLOAD_COLUMNS, "PLAIN"),
        write_statistics=[*(name for name in small if name != "label")],
        write_page_checksum=True,
        data_page_size=1 << 30,
        store_schema=False,
    )
    with writer:
        for group in _row_groups(plan.rows):
            writer.write_table(_table(group))
        writer.add_key_value_metadata(SCHEMA.metadata)  # without `store_schema` Arrow leaves it out


def _row_groups(rows: Sequence[ShardRow]) -> Iterator[list[ShardRow]]:
    """Consecutive rows of about ROW_GROUP_BYTES, at most ROW_GROUP_ROWS: one where a row is that large."""
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
    payloads = [_copied(row) for row in rows]
    columns = {name: [row.columns.get(name) for row in rows] for name in SCHEMA.names}
    columns["image"] = [
        {"bytes": image, "path": row.columns["image"]} for row, (image, _) in zip(rows, payloads, strict=True)
    ]
    columns["masks"] = [masks for _, masks in payloads]
    return pa.table({name: pa.array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names}, schema=SCHEMA)


def _copied(row: ShardRow) -> tuple[bytes, bytes]:
    """Encoded image and masks; DatasetError if they are no longer what was stored."""
    image, masks = row.payload.read()
    if payload_digest(image, masks) != row.digest:
        raise DatasetError(
            f"the stored bytes of {row.columns['name']} in {row.payload.file} are damaged. "
            "Build again with --no-reuse; check other copies with augforge verify"
        )
    return image, masks


class _Hashing:
    """A writable file that digests what passes through it."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.sha, self.size = stream, hashlib.sha256(), 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.sha.update(view)
        self.size += view.nbytes
        return self._stream.write(view)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self.closed = True


def payload_offsets(path: Path, lengths: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """Image offset and bytes, masks offset and bytes of each row, from the file's own structure.

    A payload column is one uncompressed PLAIN page a row group, so its values, each behind a 4-byte length, end where
    the column chunk ends.

    Args:
        path: a shard.
        lengths: image bytes and masks bytes of each row.

    Raises:
        DatasetError: the file does not hold values of these lengths at these places.
    """
    metadata = pq.read_metadata(path)
    if metadata.num_rows != len(lengths):
        raise DatasetError(f"{path} holds {metadata.num_rows} rows, expected {len(lengths)}")
    done = 0
    with path.open("rb") as stream:
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            part = lengths[done : done + group.num_rows]
            ends = {c.path_in_schema: c.data_page_offset + c.total_compressed_size for c in _chunks(group)}
            images = _offsets(stream, ends["image.bytes"], [image for image, _ in part])
            masks = _offsets(stream, ends["masks"], [mask for _, mask in part])
            for (image, mask), image_at, mask_at in zip(part, images, masks, strict=True):
                yield image_at, image, mask_at, mask
            done += group.num_rows


def _chunks(group: Any) -> Iterator[Any]:
    return (group.column(i) for i in range(group.num_columns))


def _offsets(stream: BinaryIO, end: int, lengths: Sequence[int]) -> list[int]:
    at = end - sum(4 + length for length in lengths)
    offsets = []
    for length in lengths:
        stream.seek(at)
        if int.from_bytes(stream.read(4), "little") != length:
            raise DatasetError(f"{stream.name} has no value of {length} bytes at byte {at}; the shard is damaged")
        offsets.append(at + 4)
        at += 4 + length
    return offsets
