"""The index: one typed row per sample, without pixels, to filter, balance and inspect with Polars."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from augforge import bitmask
from augforge.cache.parquet import read_table, write_rows
from augforge.cache.work import PLACES
from augforge.errors import DatasetError, first_line
from augforge.keys import canonical_json

_PLACEMENT_FIELDS = [
    pa.field("name", pa.string()),
    pa.field("matrix", pa.list_(pa.list_(pa.float64()))),
    pa.field("clip", pa.list_(pa.int32())),
]
_PLACEMENT = pa.struct(_PLACEMENT_FIELDS)
_ROOT = pa.struct([*_PLACEMENT_FIELDS, pa.field("size", pa.list_(pa.int32()))])
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
"""Steps, oldest first, with their drawn values and parents; roots with their matrices to the sample's pixels."""

REVIEW = pa.list_(pa.struct([pa.field(name, pa.string()) for name in ("sample", "verdict", "why")]))
"""A person's verdicts on the source images that show in a sample."""

_TEXTS = pl.List(pl.String)
EMPTY = {
    "review": pl.lit(None, pl.List(pl.Struct(dict.fromkeys(("sample", "verdict", "why"), pl.String)))),
    "overruled": pl.lit(None, _TEXTS),
    "licences": pl.lit(None, _TEXTS),
}
"""What is read for a column that says nothing of a sample of format 1."""

REJECTED = {
    "name": pl.String,
    "id": pl.String,
    "group": pl.String,
    "split": pl.String,
    "step": pl.String,
    "reason": pl.String,
    "detail": pl.String,
}
"""Columns of the table of rejected samples."""


def index_schema(classes: Sequence[str], metadata: Mapping[str, pa.DataType]) -> pa.Schema:
    """Arrow schema of an index.

    Args:
        classes: the class table; `area` and `box` are structs with a field per class.
        metadata: the `metadata_types`; `metadata` is a struct with a field per key, and left out if there are no keys.
    """
    fields = [pa.field(key, kind) for key, kind in metadata.items()]
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
            pa.field("review", REVIEW),
            pa.field("overruled", pa.list_(pa.string())),
            pa.field("licences", pa.list_(pa.string())),
            pa.field("pixel_digest", pa.string()),
            pa.field("shard", pa.string()),
            *(pa.field(name, pa.int64()) for name in PLACES),
            pa.field("payload_digest", pa.string()),
        ]
    )


def common_columns(row: Any) -> dict[str, Any]:
    """The columns of a planned row (`augforge.planning.rows.Row`) that index and stage tables share."""
    plain = ("id", "name", "group", "split", "width", "height", "parents", "tags")
    return {**{name: getattr(row, name) for name in plain}, "lineage": typed_lineage(row.lineage.to_json())}


def class_columns(facts: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """`area` (pixels) and `box` (x0, y0, x1, y1, half-open) of a sample, by class.

    Both are null for a class that is not known; the box is null for an absent class too.

    Args:
        facts: ``known`` as hexadecimal bits, ``areas`` and ``boxes`` of all classes.
        classes: the class table.
    """
    bits = np.frombuffer(bytes.fromhex(facts["known"]), np.uint8)
    known = bitmask.bits_to_flags(bits, len(classes))
    area, box = facts["areas"], facts["boxes"]
    return {
        "area": {name: area[i] if known[i] else None for i, name in enumerate(classes)},
        "box": {name: box[i] if known[i] and area[i] else None for i, name in enumerate(classes)},
    }


def typed_lineage(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON-like lineage in the form of `LINEAGE`.

    Drawn values and notes differ from op to op, so they become JSON text; the angle of a rotation is a column too.
    """
    return {"steps": [_typed_step(step) for step in lineage["steps"]], "roots": lineage["roots"]}


def _typed_step(step: Mapping[str, Any]) -> dict[str, Any]:
    text = {key: json.dumps(step[key]) for key in ("drawn", "notes") if key in step}
    return {**step, **text, "angle_deg": step.get("notes", {}).get("angle_deg")}


def plain_lineage(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """`typed_lineage` undone."""
    return {"steps": [_plain_step(step) for step in lineage["steps"]], "roots": [dict(r) for r in lineage["roots"]]}


def _plain_step(step: Mapping[str, Any]) -> dict[str, Any]:
    stated = {key: value for key, value in step.items() if value is not None and key != "angle_deg"}
    return {**stated, **{key: json.loads(stated[key]) for key in ("drawn", "notes") if key in stated}}


def image_path(name: str, encoding: str) -> str:
    """The path that a shard gives an image: the sample's name, with the encoding's suffix if all images have it."""
    kind = encoding.partition("-")[0]
    return name if kind == "keep" else f"{name}.{kind}"


def shard_columns(row: Mapping[str, Any], encoding: str) -> dict[str, Any]:
    """What the shard says of a sample besides its payload, from its row of the index.

    Metadata of mixed types is text in the index, and so it is here, though the shard has it as it was.
    """
    known = bitmask.flags_to_bits(np.array([area is not None for area in row["area"].values()]))
    metadata = {key: value for key, value in (row.get("metadata") or {}).items() if value is not None}
    return {
        **{name: row[name] for name in ("id", "name", "group", "split", "width", "height", "label")},
        "image": image_path(row["name"], encoding),
        "known": known.tobytes(),
        "lineage": canonical_json(plain_lineage(row["lineage"])),
        "metadata": canonical_json(metadata),
    }


def write_index(
    path: Path, rows: Iterable[Mapping[str, Any]], classes: Sequence[str], metadata: Mapping[str, pa.DataType]
) -> None:
    """Write index rows, which come sorted by id; ``metadata`` are the `metadata_types` of all of them."""
    write_rows(path, rows, index_schema(classes, metadata))


_SINCE_FORMAT_2 = ("payload_digest", *EMPTY)
"""Columns that the index of a dataset of format 1 lacks."""


def read_index(path: Path) -> pl.DataFrame:
    """Read an index; DatasetError if the file is damaged or is no index."""
    try:
        index = read_table(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({first_line(error)}). Build the dataset again") from None
    missing = [name for name in index_schema((), {}).names if name not in {*index.columns, *_SINCE_FORMAT_2}]
    if missing:
        raise DatasetError(f"{path} has no column {', '.join(missing)}, so it is no index. Build the dataset again")
    if not _is_lineage(pq.ParquetFile(path).schema_arrow.field("lineage").type) or _has_nulls(index):
        raise DatasetError(f"{path} has rows without groups, parents, tags or lineage. Build the dataset again")
    return index.with_columns(empty.alias(name) for name, empty in EMPTY.items() if name not in index.columns)


def _is_lineage(kind: pa.DataType) -> bool:
    return _plain(kind) == _plain(LINEAGE)


def _plain(kind: pa.DataType) -> str:
    """A type's name, the same for the variants that Arrow and Polars write."""
    return re.sub(r"large_|\b(element|item)(?=:)", "", str(kind))


def _has_nulls(index: pl.DataFrame) -> bool:
    """Whether a row lacks what every row has, if only as an empty list."""
    whole = [pl.col(name).is_null().any() for name in ("groups", "parents", "tags", "lineage")]
    parts = [pl.col("lineage").struct.field(name).is_null().any() for name in ("steps", "roots")]
    return any(index.select(pl.any_horizontal(*whole, *parts)).row(0))


def write_rejected(path: Path, rejected: Iterable[Mapping[str, Any]]) -> None:
    """Write the table of rejected samples; rows have the columns of `REJECTED`."""
    schema = pa.schema([pa.field(name, pa.string()) for name in REJECTED])
    write_rows(path, rejected, schema)


def write_stages(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the samples between stages.

    The index names the parents of a sample; this table says what the parents themselves were made of.
    """
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
    write_rows(path, rows, schema)


def metadata_types(rows: Iterable[Mapping[str, Any]]) -> dict[str, pa.DataType]:
    """The Arrow type of each column of metadata, sorted: boolean or number if all values are, text otherwise."""
    kinds: dict[str, set[type]] = {}
    for row in rows:
        for key, value in row.items():
            kinds.setdefault(key, set()).update(() if value is None else (type(value),))
    return {key: _column_type(kinds[key]) for key in sorted(kinds)}


def _column_type(kinds: Set[type]) -> pa.DataType:
    for accepted, kind in (({bool}, pa.bool_()), ({int}, pa.int64()), ({int, float}, pa.float64())):
        if kinds and kinds <= accepted:
            return kind
    return pa.string()


def metadata_columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Metadata of all samples, to fit `index_schema`: in columns of mixed types every value becomes text."""
    types = metadata_types(rows)
    return [metadata_column(row, types) for row in rows]


def metadata_column(row: Mapping[str, Any], types: Mapping[str, pa.DataType]) -> dict[str, Any]:
    """Metadata of a sample, to fit the `metadata_types` of all."""
    return {key: _as_text(value) if types[key] == pa.string() else value for key, value in row.items()}


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
