"""Which version a build would give, as far as that can be known before any pixel is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from augforge.cache.work import Payload
from augforge.engine.finished import Finished, shard_columns
from augforge.planning.rows import Row
from augforge.store import index as index_store
from augforge.store.cutting import cut_shards
from augforge.store.dataset import Dataset, open_dataset
from augforge.store.manifest import ShardEntry, rejected_digest, tags_digest, version_of
from augforge.store.shard import ShardRow, plan_shard

_NOWHERE = Payload("", 0, 0, 0, 0)
DEPENDS = "depends on pixels"
"""Why the version is not known: shards are named by their bytes, and some of these are still to be made."""


@dataclass(frozen=True, slots=True)
class NextVersion:
    """What is known of the version that a build would give.

    Attributes:
        version: the version, or None if it depends on pixels that are still to be made.
        unchanged: whether it is the current version; None if that is not known.
        note: why the version is not known; empty if it is.
    """

    version: str | None
    unchanged: bool | None
    note: str = ""


def current_dataset(finished: Finished) -> Dataset | None:
    """The current version of the dataset that is planned; None if there is none. DatasetError if it is damaged."""
    there = (finished.folder / "manifest.yaml").exists()
    return open_dataset(finished.opened.storage.place) if there else None


def foresee_version(finished: Finished, before: Dataset | None) -> NextVersion:
    """The version that a planned build would give.

    It is a digest of the shards' SHA-256 and of what is planned. So it is known if the ledger holds a shard for each
    planned one, or if everything that decides the bytes of shards is as in the current version.

    Args:
        finished: a plan, after a dry run.
        before: the current version of its dataset, or None.
    """
    if not finished.outcome.counts.exact:
        return NextVersion(None, None if before is not None else False, DEPENDS)
    shards = _known_shards(finished)
    if shards is not None:
        version = version_with(finished, shards)
        return NextVersion(version, before is not None and version == before.version)
    if before is None or not _decides_as(before, finished):
        return NextVersion(None, False, DEPENDS)
    if finished.opened.libraries == before.manifest.made_by:
        version = version_with(finished, before.manifest.shards)
        return NextVersion(version, version == before.version)
    return NextVersion(None, None, DEPENDS)


def version_with(finished: Finished, shards: list[ShardEntry]) -> str:
    """The version of a build with these shards."""
    tags = tags_digest((row.name, row.tags) for row in finished.outcome.rows)
    listing = finished.listing
    return version_of(listing.classes, listing.labels, shards, rejected_digest(finished.rejected()), tags)


def _known_shards(finished: Finished) -> list[ShardEntry] | None:
    """The planned shards as earlier builds wrote them; None if one of them is not known."""
    rows, ledger = finished.outcome.rows, finished.pool.ledger
    if not all(finished.pool.has_facts(row.id, finished.encoding) for row in rows):
        return None
    found = []
    for split, part in cut_shards(rows):
        plan = plan_shard(split, [_shard_row(finished, row) for row in part], str(finished.encoding))
        shard = ledger.get("shard", plan.key)
        if shard is None:
            return None
        found.append(ShardEntry(**{name: shard[name] for name in ShardEntry.model_fields}))
    return found


def _shard_row(finished: Finished, row: Row) -> ShardRow:
    """A row of a shard that is only planned: where the payload lies does not matter, and it may be gone."""
    return ShardRow(shard_columns(finished, row), _NOWHERE, finished.pool.facts(row.id, finished.encoding)["payload"])


def _decides_as(before: Dataset, finished: Finished) -> bool:
    """Whether a plan has the samples, tags, rejections and tables of a version; if not, it gives another version."""
    manifest, rows = before.manifest, finished.outcome.rows
    return (
        tags_digest((row.name, row.tags) for row in rows) == manifest.tags_digest
        and rejected_digest(finished.rejected()) == manifest.rejected_digest
        and [*finished.listing.classes] == manifest.classes
        and [*finished.listing.labels] == manifest.labels
        and str(finished.encoding) == manifest.encoding
        and _planned_rows(rows) == _stored_rows(before)
    )


def _planned_rows(rows: Sequence[Row]) -> dict[str, tuple[Any, ...]]:
    """What shards hold of each planned sample besides what its id decides, by its name."""
    metadata = index_store.metadata_columns([row.metadata or {} for row in rows])
    return {
        row.name: (row.id, row.split, row.group, _present(values)) for row, values in zip(rows, metadata, strict=True)
    }


def _stored_rows(before: Dataset) -> dict[str, tuple[Any, ...]]:
    """The same of the samples of a version."""
    columns = [name for name in ("name", "id", "split", "group", "metadata") if name in before.index.columns]
    return {
        row["name"]: (row["id"], row["split"], row["group"], _present(row.get("metadata")))
        for row in before.index.select(columns).iter_rows(named=True)
    }


def _present(values: Any) -> dict[str, Any]:
    """Metadata without empty entries."""
    return {key: value for key, value in (values or {}).items() if value is not None}
