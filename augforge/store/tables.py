"""The tables of a version besides its index, samples between stages and rejected ones; and how versions are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from augforge.cache.parquet import read_table
from augforge.errors import DatasetError, first_line
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.index import REJECTED
from augforge.store.versions import is_table_intact, removed_version


def split_place(text: str) -> tuple[str, str | None]:
    """Folder or URL of a dataset and the version in it: ``FOLDER``, ``FOLDER@VERSION``, ``s3://bucket/toy@baseline``.

    A folder that exists is never cut at an ``@`` in its name.
    """
    folder, at, version = text.rpartition("@")
    if not at or not folder or not version or "/" in version or Path(text).expanduser().exists():
        return text, None
    return folder, version


def open_place(text: str) -> Dataset:
    """Open ``FOLDER``, ``FOLDER@VERSION`` or the same of a URL; see `split_place`.

    Raises:
        DatasetError: there is no dataset, or no such version.
        MissingExtra: the package that reads such URLs is not installed.
    """
    return open_dataset(*split_place(text))


def read_stages(dataset: Dataset) -> pl.DataFrame:
    """The samples between the stages of a version; DatasetError if the file is missing or damaged."""
    remote, manifest = dataset.remote, dataset.manifest
    path = remote.fetch_stages(manifest) if remote else _intact_table(dataset, manifest.stages_path)
    return _read(path, ("stage", "id", "name", "parents", "lineage"))


def read_rejected(dataset: Dataset) -> pl.DataFrame:
    """The rejected samples of a version; DatasetError if the file is missing or damaged."""
    remote, manifest = dataset.remote, dataset.manifest
    path = remote.fetch_rejected(manifest) if remote else _intact_table(dataset, manifest.rejected_path)
    return _read(path, tuple(REJECTED))


def _intact_table(dataset: Dataset, place: str) -> Path:
    """Path of a table of a folder; DatasetError if it is there, but not with the digest that the manifest states."""
    path = dataset.folder / place
    removed = None if path.exists() else removed_version(dataset.folder, dataset.version)
    if removed is not None:
        raise removed
    if path.exists() and not is_table_intact(dataset.folder, dataset.manifest, place):
        raise DatasetError(
            f"{path} is damaged: its SHA-256 is not the manifest's. Check: augforge verify {dataset.folder}; repair: "
            f"augforge repair {dataset.folder}"
        )
    return path


def _read(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        table = read_table(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({first_line(error)}). Build the dataset again") from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DatasetError(f"{path} has no column {', '.join(missing)}, so it is damaged. Build the dataset again")
    return table


def count_reasons(rejected: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Number of rejections per ``step: reason``, sorted by it."""
    return dict(sorted(Counter(f"{row['step']}: {row['reason']}" for row in rejected).items()))
