"""The samples of an export, from the index of a dataset, and ``samples.csv``, the table of them beside the files."""

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
from augforge.export.unlabelled import resolve_unlabelled
from augforge.store.dataset import Dataset

TABLE = "samples.csv"

_ORDER = {"train": 0, "val": 1, "test": 2}
_COLUMNS = ("name", "split", "group", "width", "height", "label", "metadata", "licences")
_FIXED = ("name", "file", "split", "group")


def prepare_job(
    dataset: Dataset, folder: Path, splits: Sequence[str], format: Format, options: Options
) -> tuple[Job, Iterator[Entry]]:
    """The job of an export and its entries, by split and then in the format's order.

    Args:
        dataset: what to export.
        folder: the folder to fill.
        splits: export only these; empty for all.
        format: the format.
        options: of the format.

    Raises:
        AugforgeError: no sample is selected, or one has unlabelled classes that the format would show as absent.
    """
    index = _select_rows(dataset, splits, format.order)
    table = index.select("row", "name", "split").to_dicts()
    selection = resolve_unlabelled(
        table, known_flags(index, dataset.classes), dataset.classes, format.marks_unlabelled, options
    )
    if not selection.rows:
        raise AugforgeError("no sample is left: none has all its classes labelled. Choose --set unknown=absent")
    chosen = [table[i]["split"] for i in selection.rows]
    kept = selection.known[selection.rows]
    job = Job(
        folder=folder,
        dataset=dataset.name,
        version=dataset.version,
        classes=dataset.classes,
        labels=dataset.labels,
        names=[table[i]["name"] for i in selection.rows],
        splits={split: chosen.count(split) for split in dict.fromkeys(chosen)},
        known={split: kept[np.array(chosen) == split].any(axis=0) for split in dict.fromkeys(chosen)},
        notes=selection.notes,
        licences={entry.licence: entry for entry in dataset.manifest.licences},
    )
    return job, _entries(dataset, index[selection.rows], kept)


def known_flags(index: pl.DataFrame, classes: Sequence[str]) -> NDArray[np.bool_]:
    """Whether somebody labelled each class in each sample: bool (N, C)."""
    areas = index["area"].struct.unnest()  # not struct.field, for which names such as * and ^a$ are patterns
    return np.stack([areas[name].rename("area").is_not_null().to_numpy() for name in classes], axis=1)


def _select_rows(dataset: Dataset, splits: Sequence[str], order: str) -> pl.DataFrame:
    for split in splits:
        dataset.split(split)  # raises an error with the nearest name
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
        row["licences"] = tuple(row["licences"] or ())
        yield Entry(**row, number=number, metadata=metadata, known=flags, image=image, frame=frame)


def write_table(job: Job, dataset: Dataset) -> None:
    """Write ``samples.csv``: name, file, split, group, labels and metadata of each sample whose image was written."""
    if not job.files:
        return
    index = dataset.index
    keys = [field.name for field in index.schema["metadata"].fields] if "metadata" in index.columns else []  # type: ignore[attr-defined]
    reserved = {*_FIXED, *job.labels}
    head = [*_FIXED, *job.labels, *(f"metadata.{key}" if key in reserved else key for key in keys)]
    order = {name: i for i, name in enumerate(job.files)}
    wanted = [name for name in ("name", "split", "group", "label", "metadata") if name in index.columns]
    rows = index.select(wanted).filter(pl.col("name").is_in(list(order)))
    with job.open_text(TABLE) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(head)
        for row in sorted(rows.iter_rows(named=True), key=lambda row: order[row["name"]]):
            writer.writerow(_table_row(row, job, keys))


def _table_row(row: Mapping[str, Any], job: Job, keys: Sequence[str]) -> list[Any]:
    labels = row["label"] or [None] * len(job.labels)
    metadata = row.get("metadata") or {}
    return [row["name"], job.files[row["name"]], row["split"], row["group"], *labels, *(metadata.get(k) for k in keys)]
