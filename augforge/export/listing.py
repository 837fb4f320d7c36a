"""The samples of an export, from the index of a dataset, and the table of them that stands beside the files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augforge.errors import AugforgeError
from augforge.export.core import Entry, Format, Job, Options
from augforge.export.labelling import settle
from augforge.store.dataset import Dataset

TABLE = "samples.csv"

_ORDER = {"train": 0, "val": 1, "test": 2}
_COLUMNS = ("name", "split", "group", "width", "height", "label", "metadata")
_FIXED = ("name", "file", "split", "group")


def listed(
    dataset: Dataset, folder: Path, splits: Sequence[str], format: Format, options: Options
) -> tuple[Job, Iterator[Entry]]:
    """The job of an export, and its entries one by one: by split, then as the format wants them.

    Raises AugforgeError where nothing is chosen, or a sample cannot be held and the options do not say what then.
    """
    index = _ordered(dataset, splits, format.order)
    table = index.select("row", "name", "split").to_dicts()
    settled = settle(table, known_flags(index, dataset.classes), dataset.classes, format.holds, options)
    if not settled.rows:
        raise AugforgeError("no sample is left: none has all its classes labelled. Choose --set unknown=absent")
    chosen = [table[i]["split"] for i in settled.rows]
    kept = settled.known[settled.rows]
    job = Job(
        folder=folder,
        dataset=dataset.name,
        version=dataset.version,
        classes=dataset.classes,
        labels=dataset.labels,
        names=[table[i]["name"] for i in settled.rows],
        splits={split: chosen.count(split) for split in dict.fromkeys(chosen)},
        known={split: kept[np.array(chosen) == split].any(axis=0) for split in dict.fromkeys(chosen)},
        notes=settled.notes,
    )
    return job, _entries(dataset, index[settled.rows], kept)


def known_flags(index: pl.DataFrame, classes: Sequence[str]) -> NDArray[np.bool_]:
    """bool (N, C): which classes somebody labelled in each sample."""
    areas = index["area"].struct.unnest()  # not struct.field: Polars takes names such as * and ^a$ for patterns
    return np.stack([areas[name].rename("area").is_not_null().to_numpy() for name in classes], axis=1)


def _ordered(dataset: Dataset, splits: Sequence[str], order: str) -> pl.DataFrame:
    for split in splits:
        dataset.split(split)  # an error names the nearest
    index = dataset.index.with_row_index("row")
    part = index.filter(pl.col("split").is_in(list(splits))) if splits else index
    if part.is_empty():
        raise AugforgeError(f"{dataset.folder} has no sample to export here. Choose another split")
    rank = pl.col("split").replace_strict(_ORDER, default=len(_ORDER))
    return part.sort(rank, "split", order)


def _entries(dataset: Dataset, index: pl.DataFrame, known: NDArray[np.bool_]) -> Iterator[Entry]:
    columns = [name for name in ("row", *_COLUMNS) if name in index.columns]
    split, number = "", 0
    for row, flags in zip(index.select(columns).iter_rows(named=True), known, strict=True):
        split, number = row["split"], number + 1 if row["split"] == split else 1
        image, frame = dataset.payload(row.pop("row"))
        metadata = {key: value for key, value in (row.pop("metadata", None) or {}).items() if value is not None}
        yield Entry(**row, number=number, metadata=metadata, known=flags, image=image, frame=frame)


def write_table(job: Job, dataset: Dataset) -> None:
    """Write ``samples.csv``: name, image file, split, group, labels and metadata of every sample with a file."""
    if not job.files:
        return
    index = dataset.index
    keys = [field.name for field in index.schema["metadata"].fields] if "metadata" in index.columns else []  # type: ignore[attr-defined]
    taken = {*_FIXED, *job.labels}
    head = [*_FIXED, *job.labels, *(f"metadata.{key}" if key in taken else key for key in keys)]
    order = {name: i for i, name in enumerate(job.files)}
    wanted = [name for name in ("name", "split", "group", "label", "metadata") if name in index.columns]
    rows = index.select(wanted).filter(pl.col("name").is_in(list(order)))
    with job.path(TABLE).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(head)
        for row in sorted(rows.iter_rows(named=True), key=lambda row: order[row["name"]]):
            writer.writerow(_cells(row, job, keys))


def _cells(row: Mapping[str, Any], job: Job, keys: Sequence[str]) -> list[Any]:
    labels = row["label"] or [None] * len(job.labels)
    metadata = row.get("metadata") or {}
    return [row["name"], job.files[row["name"]], row["split"], row["group"], *labels, *(metadata.get(k) for k in keys)]
