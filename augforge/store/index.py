"""The index: one row a sample, typed, no pixels; to filter, balance and inspect with Polars."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from augforge import bitmask
from augforge.errors import DatasetError
from augforge.files import replacing

_PLACED = [
    pa.field("name", pa.string()),
    pa.field("matrix", pa.list_(pa.list_(pa.float64()))),
    pa.field("clip", pa.list_(pa.int32())),
]
_PLACEMENT = pa.struct(_PLACED)
_ROOT = pa.struct([*_PLACED, pa.field("size", pa.list_(pa.int32()))])
_STEP = pa.struct(
    [
        pa.field("step", pa.string()),
        pa.field("op", pa.string()),
        pa.field("copy", pa.int32()),
        pa.field("drawn", pa.string()),
        pa.field("notes", pa.string()),
        pa.field("angle_deg", pa.float64()),
        pa.field("matrix", pa.list_(pa.list_(pa.float64()))),
        pa.field("parents", pa.list_(_PLACEMENT)),
    ]
)
LINEAGE = pa.struct([pa.field("steps", pa.list_(_STEP)), pa.field("roots", pa.list_(_ROOT))])

REJECTED = {
    "name": pl.String,
    "id": pl.String,
    "group": pl.String,
    "split": pl.String,
    "step": pl.String,
    "reason": pl.String,
    "detail": pl.String,
}


def index_schema(classes: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """Arrow schema of an index: `area` and `box` are structs with a field for each class, `metadata` for each key."""
    keys = sorted({key for values in metadata for key in values})
    fields = [pa.field(key, _type([values.get(key) for values in metadata])) for key in keys]
    return pa.schema(
        [
            *(pa.field(name, pa.string()) for name in ("id", "name", "group", "split", "step")),
            pa.field("groups", pa.list_(pa.string())),
            pa.field("parents", pa.list_(pa.string())),
            pa.field("tags", pa.list_(pa.string())),
            *(pa.field(name, pa.int32()) for name in ("width", "height", "channels")),
            pa.field("dtype", pa.string()),
            pa.field("label", pa.list_(pa.float32())),
            pa.field("area", pa.struct([pa.field(name, pa.int64()) for name in classes])),
            pa.field("box", pa.struct([pa.field(name, pa.list_(pa.int32())) for name in classes])),
            pa.field("lineage", LINEAGE),
            *([pa.field("metadata", pa.struct(fields))] if fields else []),
            pa.field("pixel_digest", pa.string()),
            pa.field("shard", pa.string()),
            *(pa.field(name, pa.int64()) for name in ("image_offset", "image_bytes", "masks_offset", "masks_bytes")),
        ]
    )


def common_columns(row: Any) -> dict[str, Any]:
    """What index and stage tables both say of a planned row."""
    plain = ("id", "name", "group", "split", "width", "height", "parents", "tags")
    return {**{name: getattr(row, name) for name in plain}, "lineage": typed_lineage(row.lineage.to_json())}


def class_columns(facts: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """`area` and `box` of a sample; null where a class is not known, box null where it is absent."""
    bits = np.frombuffer(bytes.fromhex(facts["known"]), np.uint8)
    known = bitmask.bits_to_flags(bits, len(classes))
    area, box = facts["areas"], facts["boxes"]
    return {
        "area": {name: area[i] if known[i] else None for i, name in enumerate(classes)},
        "box": {name: box[i] if known[i] and area[i] else None for i, name in enumerate(classes)},
    }


def typed_lineage(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """A lineage whose drawn values and notes are JSON text, since each op has others; a turn's angle is lifted out."""
    return {"steps": [_typed_step(step) for step in lineage["steps"]], "roots": lineage["roots"]}


def _typed_step(step: Mapping[str, Any]) -> dict[str, Any]:
    text = {key: json.dumps(step[key]) for key in ("drawn", "notes") if key in step}
    return {**step, **text, "angle_deg": step.get("notes", {}).get("angle_deg")}


def write_index(path: Path, rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    """Write index rows, sorted by id; the same rows give the same bytes."""
    schema = index_schema(classes, [row.get("metadata") or {} for row in rows])
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(ordered, schema=schema), temporary, compression="zstd")


def read_index(path: Path) -> pl.DataFrame:
    """The index; DatasetError if the file is damaged or is none."""
    try:
        index = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DatasetError(f"{path} cannot be read ({_first_line(error)}). Build the dataset again") from None
    missing = [name for name in index_schema((), ()).names if name not in index.columns]
    if missing:
        raise DatasetError(f"{path} has no column {', '.join(missing)}, so it is no index. Build the dataset again")
    return index


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def write_rejected(path: Path, rejected: Iterable[Mapping[str, Any]]) -> None:
    with replacing(path) as temporary:
        pl.DataFrame(list(rejected), schema=REJECTED).write_parquet(temporary)


def write_stages(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the samples between stages: what the parents in the index's lineage were themselves made of."""
    schema = pa.schema(
        [
            pa.field("stage", pa.int32()),
            *(pa.field(name, pa.string()) for name in ("id", "name", "group", "split")),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("parents", pa.list_(pa.string())),
            pa.field("tags", pa.list_(pa.string())),
            pa.field("lineage", LINEAGE),
        ]
    )
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), temporary, compression="zstd")


def _type(values: Sequence[Any]) -> pa.DataType:
    """The Arrow type of a metadata column: numbers and booleans as such where all agree, text otherwise."""
    kinds = {type(value) for value in values if value is not None}
    for accepted, kind in (({bool}, pa.bool_()), ({int}, pa.int64()), ({int, float}, pa.float64())):
        if kinds and kinds <= accepted:
            return kind
    return pa.string()


def metadata_columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Metadata whose mixed columns became text, to fit `index_schema`."""
    keys = sorted({key for row in rows for key in row})
    text = {key for key in keys if _type([row.get(key) for row in rows]) == pa.string()}
    return [{key: _text(value) if key in text else value for key, value in row.items()} for row in rows]


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
