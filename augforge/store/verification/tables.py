"""Checking the tables beside the shards: index, rejected samples, stages and ledger."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from augforge.cache.parquet import read_table
from augforge.errors import DatasetError, first_line
from augforge.store.index import read_index
from augforge.store.indexcheck import check_columns
from augforge.store.manifest import Manifest, rejected_digest, tags_digest
from augforge.store.tables import count_reasons
from augforge.store.verification.files import DatasetFiles
from augforge.store.verification.report import Fault


def table_faults(files: DatasetFiles, manifest: Manifest) -> Iterator[Fault]:
    """Tables whose bytes are not those that were written; in format 1 only the index can be checked."""
    entries: list[tuple[str, int | None, str]]
    entries = [(entry.path, entry.bytes, entry.sha256) for entry in manifest.files]
    if manifest.file_entry(manifest.index_path) is None:
        entries.append((manifest.index_path, None, manifest.index_sha256))
    for path, size, sha256 in entries:
        for fault in files.byte_faults(path, size, sha256):
            yield Fault(fault.file, fault.kind, fault.message, versions=(manifest.version,))


def read_rows(files: DatasetFiles, manifest: Manifest) -> pl.DataFrame:
    """The rows of an index whose bytes are right, in the order of their ids; DatasetError if it is no index."""
    path = files.folder / manifest.index_path
    check_columns(path)
    return read_index(path).sort("id")


def index_faults(files: DatasetFiles, manifest: Manifest, rows: pl.DataFrame) -> Iterator[Fault]:
    """What in an index contradicts the manifest."""
    shown, own = files.display_path(manifest.index_path), (manifest.version,)
    counts = {row["split"]: row["len"] for row in rows.group_by("split").len().to_dicts()}
    if counts != manifest.splits:
        yield Fault(shown, "wrong", f"holds {counts}, the manifest says {manifest.splits}", versions=own)
    entry = manifest.file_entry(manifest.index_path)
    if entry is not None and entry.sha256 != manifest.index_sha256:
        yield Fault(shown, "wrong", "the manifest states two SHA-256 of it", versions=own)
    if tags_digest(rows.select("name", "tags").iter_rows()) != manifest.tags_digest:
        yield Fault(shown, "wrong", "its tags are not those of the manifest", versions=own)
    stray = set(rows["shard"]) - {shard.path for shard in manifest.shards}
    if stray:
        hit = tuple(rows.filter(pl.col("shard").is_in(sorted(stray)))["name"])
        message = f"names shards the manifest does not have: {', '.join(sorted(stray))}"
        yield Fault(shown, "wrong", message, hit, own)


def rejected_faults(files: DatasetFiles, manifest: Manifest) -> Iterator[Fault]:
    """What in the table of rejected samples contradicts the manifest."""
    shown, own = files.display_path(manifest.rejected_path), (manifest.version,)
    try:
        if files.remote is not None:
            files.remote.fetch_rejected(manifest)
        rejected = read_table(files.folder / manifest.rejected_path).to_dicts()
    except (DatasetError, OSError, ValueError) as error:
        yield Fault(shown, "damaged", f"cannot be read: {first_line(error)}", versions=own)
        return
    if rejected_digest(rejected) != manifest.rejected_digest:
        message = "its digest is not the manifest's; the rejected samples were changed"
        yield Fault(shown, "damaged", message, tuple(str(row.get("name")) for row in rejected), own)
    elif count_reasons(rejected) != manifest.rejected:
        message = f"rejected is {manifest.rejected}, but {manifest.rejected_path} says {count_reasons(rejected)}"
        yield Fault(files.display_path("manifest.yaml"), "wrong", message, versions=own)
