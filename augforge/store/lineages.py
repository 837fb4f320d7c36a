"""Lineage of stored samples, read from the index file when somebody asks for it, and not before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augforge.errors import DatasetError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

    from augforge.lineage import SampleLineage


def read_lineage(index: str, name: str, sha256: str | None) -> SampleLineage:
    """The lineage of a sample.

    Args:
        index: path of the index file.
        name: of the sample.
        sha256: of the index file, as the manifest states it; None to believe the file as it is.

    Raises:
        DatasetError: the index is gone or damaged, or has no such sample.
    """
    import pyarrow.compute as pc

    table = _read_lineages(index, sha256)
    row = pc.index(table["name"], name).as_py()
    if row < 0:
        raise DatasetError(f"{index} has no sample '{name}'. Check: augforge verify")
    return _typed(table["lineage"][row].as_py(), table["parents"][row].as_py())


@lru_cache(maxsize=2)
def _read_lineages(index: str, sha256: str | None) -> pa.Table:
    """The columns of an index that lineage needs; kept, since who asks for one sample's asks for others'."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        data = Path(index).read_bytes()  # read once, so that what is compared is what is used
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise DatasetError(f"{index} is damaged: its SHA-256 is not the manifest's. Check: augforge verify")
        # No threads: in a forked process they may never answer.
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        return file.read(columns=["name", "parents", "lineage"], use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{index} cannot be read ({first_line(error)}). Check: augforge verify") from None


def _typed(lineage: Mapping[str, Any], parents: list[str] | None) -> SampleLineage:
    from augforge.lineage import Root, SampleLineage

    steps = tuple(map(_typed_step, lineage["steps"] or ()))
    return SampleLineage(steps, tuple(map(Root.from_json, lineage["roots"])), tuple(parents or ()))


def _typed_step(step: Mapping[str, Any]) -> Any:
    from augforge.lineage import LineageStep, PlacedInput

    return LineageStep(
        step=step["step"],
        op=step["op"],
        copy=step["copy"],
        drawn=json.loads(step["drawn"] or "null"),
        notes=json.loads(step["notes"] or "{}"),
        inputs=tuple(map(PlacedInput.from_json, step["parents"] or ())),
    )
