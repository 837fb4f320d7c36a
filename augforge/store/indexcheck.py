"""Whether an index can be what it says, before anything is made of the sizes, places and names in it.

A digest in the manifest shows damage. This is for a dataset that somebody forged together with its manifest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from augforge.cache.parquet import FAULTS, check_parquet
from augforge.cache.work import PLACES
from augforge.errors import DatasetError, first_line, shorten
from augforge.sample import SPLITS
from augforge.store.manifest import Manifest
from augforge.store.values import SHARD_PATH

MAX_PIXELS = 1 << 30
"""Of an image; OpenCV decodes no more."""
MAX_TEXT = 4096
"""Most bytes of a name, an id or a path."""
_MAX_PLACE = 1 << 48
_TEXTS = ("id", "name", "group", "split", "shard")
_SIZES = ("width", "height")


def check_columns(path: Path) -> None:
    """Raise DatasetError unless an index has its columns, of their types, whatever is in them."""
    try:
        check_parquet(path)
        with pq.ParquetFile(path, memory_map=True) as file:
            problem = next(_schema_problems(file.schema_arrow, None), None)
    except FAULTS as error:
        problem = f"cannot be read ({first_line(error)})"
    if problem:
        raise DatasetError(f"{path} {problem}, so it is no index. Get the dataset again, or build it")


def check_index(path: Path, manifest: Manifest) -> None:
    """Raise DatasetError unless the sizes, places and names in an index are possible ones.

    Whether they are the right ones is what `augforge.store.verify` finds out.
    """
    try:
        check_parquet(path)
        with pq.ParquetFile(path, memory_map=True) as file:
            problems = [*_schema_problems(file.schema_arrow, manifest.classes)]
            if not problems:
                problems = [*_value_problems(file.read(columns=[*_TEXTS, *_SIZES, *PLACES], use_threads=False))]
    except FAULTS as error:
        problems = [f"cannot be read ({first_line(error)})"]
    if problems:
        raise DatasetError(
            f"{path} {problems[0]}, so it is damaged or forged. Get the dataset again from where it came, or build it"
        )


def _schema_problems(schema: pa.Schema, classes: Sequence[str] | None) -> Iterator[str]:
    wanted = {
        **dict.fromkeys(_TEXTS, (pa.types.is_string, pa.types.is_large_string)),
        **dict.fromkeys([*_SIZES, *PLACES], (pa.types.is_integer,)),
        **dict.fromkeys(["area", "box"], (pa.types.is_struct,)),
        **dict.fromkeys(["groups", "parents", "tags"], (_is_list_of_texts,)),
        "label": (pa.types.is_list, pa.types.is_large_list),
        "lineage": (pa.types.is_struct,),
        **({"metadata": (pa.types.is_struct,)} if "metadata" in schema.names else {}),
    }
    for name, kinds in wanted.items():
        if name not in schema.names:
            yield f"has no column {name}"
        elif not any(is_kind(schema.field(name).type) for is_kind in kinds):
            yield f"holds {shorten(str(schema.field(name).type))} in column {name}"
    for name in ("area", "box"):
        if classes is not None and name in schema.names and pa.types.is_struct(schema.field(name).type):
            found = [field.name for field in schema.field(name).type]
            if sorted(found) != sorted(classes):
                yield f"has the classes {shorten(found)} in column {name}, the manifest {shorten(list(classes))}"


def _is_list_of_texts(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(is_list and (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)))


def _value_problems(table: pa.Table) -> Iterator[str]:
    for name in table.column_names:
        if table[name].null_count:
            yield f"has rows without {name}"
            return
    for name in _TEXTS:
        _, longest = _range(pc.binary_length(table[name]))
        if longest > MAX_TEXT:
            yield f"has a {name} of {longest} bytes; expected at most {MAX_TEXT}"
    yield from _name_problems(table)
    yield from _size_problems(table)
    yield from _place_problems(table)


def _name_problems(table: pa.Table) -> Iterator[str]:
    splits = set(table["split"].unique().to_pylist())
    if not splits <= set(SPLITS):
        yield f"has the split {shorten(sorted(splits - set(SPLITS))[0])}; expected {', '.join(SPLITS)}"
    stray = [path for path in table["shard"].unique().to_pylist() if not re.fullmatch(SHARD_PATH, path)]
    if stray:
        yield f"names the shard {shorten(stray[0])}; expected shards/NAME.parquet"
    if len(table["name"].unique()) != table.num_rows:
        yield "has two samples of one name"


def _size_problems(table: pa.Table) -> Iterator[str]:
    width, height = (table[name].cast(pa.int64()) for name in _SIZES)
    for name, column in (("width", width), ("height", height)):
        low, high = _range(column)
        if low < 1 or high > MAX_PIXELS:
            yield f"has an image of {name} {low if low < 1 else high}"
            return
    most = _range(pc.multiply(width, height))[1]
    if most > MAX_PIXELS:
        yield f"has an image of {most} pixels; expected at most {MAX_PIXELS}"


def _place_problems(table: pa.Table) -> Iterator[str]:
    for name in PLACES:
        low, high = _range(table[name])
        if low < 0 or high > _MAX_PLACE:
            yield f"has {name} {low if low < 0 else high}; expected a place in a shard"


def _range(column: pa.ChunkedArray) -> tuple[int, int]:
    """The smallest and the largest number; 1 and 1 for none."""
    found = pc.min_max(column).as_py()
    return (1, 1) if found["min"] is None else (found["min"], found["max"])
