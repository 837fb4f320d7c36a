"""From a finished table to a dataset version: shards, index, stages, rejections; then manifest and card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import augforge
from augforge.cache.work import remove_batch
from augforge.catalogue import origin_of
from augforge.engine import execute
from augforge.engine.findings import finding_entries
from augforge.engine.finished import Finished, Place, index_rows, shard_columns, stage_rows
from augforge.engine.jobs import library_check
from augforge.engine.opening import storage_of_workers
from augforge.errors import DatasetError
from augforge.files import file_sha256, temporary_path, writing
from augforge.keys import digest
from augforge.planning.rows import Row
from augforge.progress import Progress
from augforge.recipe.recipe import Recipe, verdicts_json
from augforge.sources.licences import Licence
from augforge.store import index as index_store
from augforge.store.cutting import cut_shards
from augforge.store.manifest import (
    FORMAT_VERSION,
    FileEntry,
    LicenceEntry,
    Manifest,
    RecipeEntry,
    ReviewEntry,
    ShardEntry,
    SourceEntry,
    read_manifest,
    rejected_digest,
    table_path,
    tags_digest,
    version_of,
)
from augforge.store.shard import Shard, ShardPlan, ShardRow, plan_shard, write_shard
from augforge.store.sides import SidesEntry
from augforge.store.storage import Storage, open_storage
from augforge.store.tables import count_reasons


class VersionShards:
    """The shards of a version, by split and in the order of their rows' ids, and how many of them were written anew."""

    def __init__(self) -> None:
        self.entries: list[ShardEntry] = []
        self.new = 0
        self._offsets: list[NDArray[np.int64]] = []

    def add(self, shard: Shard) -> None:
        """Note the next shard. Its offsets are kept as an array, which takes a tenth of their tuples."""
        self.entries.append(
            ShardEntry(path=shard.path, split=shard.split, rows=shard.rows, bytes=shard.bytes, sha256=shard.sha256)
        )
        self._offsets.append(np.array(shard.offsets, np.int64))

    def places(self, split: str) -> Iterator[Place]:
        """Path of the shard and offsets of the payload of each sample of a split, in the order of the ids."""
        for entry, offsets in zip(self.entries, self._offsets, strict=True):
            for image_at, image_bytes, masks_at, masks_bytes in offsets.tolist() if entry.split == split else ():
                yield entry.path, image_at, image_bytes, masks_at, masks_bytes


_WAVE_ROWS = 1 << 15
"""Rows of shards that are planned at a time, and written by all workers: so many are in memory with all they hold."""


def write_shards(finished: Finished, jobs: int, progress: Progress) -> VersionShards:
    """Write the shards that do not exist yet; the others are taken as they are if their digest is right."""
    written, place = VersionShards(), storage_of_workers(finished.opened.storage).place
    for wave in _waves(cut_shards(finished.outcome.rows)):
        done: dict[str, Shard] = {}
        order: list[str] = []
        missing: list[tuple[ShardPlan, str]] = []
        for split, rows in wave:
            plan = plan_shard(split, [_shard_row(finished, row) for row in rows], str(finished.encoding))
            order.append(plan.key)
            known = _find_shard(finished, plan.key)
            if known is None:
                missing.append((plan, place))
            else:
                done[plan.key] = known
        done |= _write_missing(finished, missing, jobs, progress)
        for key in order:
            written.add(done[key])
        written.new += len(missing)
    return written


def _waves(cuts: Iterator[tuple[str, list[Row]]]) -> Iterator[list[tuple[str, list[Row]]]]:
    """Shards by waves of about `_WAVE_ROWS` rows."""
    wave: list[tuple[str, list[Row]]] = []
    for cut in cuts:
        wave.append(cut)
        if sum(len(rows) for _, rows in wave) >= _WAVE_ROWS:
            yield wave
            wave = []
    if wave:
        yield wave


def _find_shard(finished: Finished, key: str) -> Shard | None:
    """The shard of a plan, if it is there and has its digest."""
    known = finished.pool.ledger.get("shard", key)
    if known is None:
        return None
    sound = finished.opened.storage.has(known["path"], known["bytes"], known["sha256"], finished.opened.files)
    return Shard.from_json(known) if sound else None


def _write_missing(
    finished: Finished, missing: Sequence[tuple[ShardPlan, str]], jobs: int, progress: Progress
) -> dict[str, Shard]:
    """Write shards, and enter them into the ledger; each by the key of its plan."""
    if missing:
        progress.start("shards", len(missing))
    done: dict[str, Shard] = {}
    check = library_check(finished.opened.libraries)
    for key, shard in execute.map_unordered(_write_shard, missing, jobs, _name_shard, check):
        done[key] = shard
        finished.pool.ledger.put([("shard", key, shard.to_json())])
        if (finished.folder / shard.path).exists():
            finished.opened.files.remember(finished.folder / shard.path, "sha256", shard.sha256)
        progress.advance(1)
    return done


def _write_shard(arguments: tuple[ShardPlan, str]) -> tuple[str, Shard]:
    plan, place = arguments
    storage = open_storage(place)
    shard = write_shard(plan, storage.folder)
    storage.deliver(shard.path)
    return plan.key, shard


def _name_shard(arguments: tuple[ShardPlan, str]) -> str:
    return f"the shard with {arguments[0].rows[0].columns['name']}"


def _shard_row(finished: Finished, row: Row) -> ShardRow:
    digest = finished.pool.facts(row.id, finished.encoding)["payload"]
    return ShardRow(shard_columns(finished, row), finished.pool.payloads[row.id, str(finished.encoding)], digest)


def write_version(finished: Finished, written: VersionShards) -> Manifest:
    """Write everything of the new version except the manifest, and return the manifest."""
    entries = written.entries
    classes, labels = finished.listing.classes, finished.listing.labels
    rejected = finished.rejected()
    tags = tags_digest((row.name, row.tags) for row in finished.outcome.rows)
    version = version_of(classes, labels, entries, rejected_digest(rejected), tags)
    tables = _write_tables(finished, version, written, rejected)
    rows, recipe = finished.outcome.rows, finished.recipe
    return Manifest(
        format=FORMAT_VERSION,
        name=recipe.name,
        version=version,
        samples=len(rows),
        splits=dict(sorted(Counter(row.split for row in rows).items())),
        classes=list(classes),
        labels=list(labels),
        metadata_columns=sorted({name for row in rows for name in row.metadata or ()}),
        encoding=str(finished.encoding),
        source=SourceEntry(
            format=recipe.source.format,
            digest=finished.opened.table.digest,
            samples=len(finished.opened.table.rows),
        ),
        fitted=finished.outcome.fitted,
        rejected=count_reasons(rejected),
        rejected_digest=rejected_digest(rejected),
        tags_digest=tags,
        ops={step.bound.name: step.bound.op.version for step in recipe.steps},
        plugins=_plugins(recipe),
        augforge=augforge.__version__,
        made_by=finished.opened.libraries,
        index_sha256=tables[0].sha256,
        recipe=RecipeEntry(digest=recipe.digest, text=recipe.text, overrides=_recorded_overrides(recipe)),
        review=_review_entry(recipe),
        licences=_licence_entries(finished),
        findings=finding_entries(finished.findings, recipe.source),
        sides=SidesEntry.model_validate(finished.listing.sides.to_json()),
        files=tables,
        shards=entries,
    )


def _write_tables(
    finished: Finished, version: str, written: VersionShards, rejected: Sequence[Mapping[str, Any]]
) -> list[FileEntry]:
    """Write index, rejected samples, stages and ledger of a version."""
    types = index_store.metadata_types(row.metadata or {} for row in finished.outcome.rows)
    rows, classes = index_rows(finished, written.places, types), finished.listing.classes
    writers: dict[str, Callable[[Path], None]] = {
        "index": lambda path: index_store.write_index(path, rows, classes, types),
        "rejected": lambda path: index_store.write_rejected(path, rejected),
        "stages": lambda path: index_store.write_stages(path, stage_rows(finished.outcome)),
        "ledger": finished.pool.ledger.save,
    }
    before = _manifests_of(finished.folder, version)
    return [_write_table(finished.opened.storage, version, table, write, before) for table, write in writers.items()]


def _manifests_of(folder: Path, version: str) -> list[Manifest]:
    """The manifests of a version that is there already: the current one, and its copy, which may differ."""
    found = []
    for place in (None, version):
        with suppress(DatasetError):
            found.append(read_manifest(folder, place))
    return [manifest for manifest in found if manifest.version == version]


def _write_table(
    storage: Storage, version: str, table: str, write: Callable[[Path], None], before: Sequence[Manifest]
) -> FileEntry:
    """Write a table of a version, and say what the manifest has to say of it.

    A version may be there already, and have another table: the same samples with a review, or a licence, that came
    later. Then the new table gets a name of its own, and the old one stays for whoever reads it, until `augforge gc`.
    Only a table that is not what a manifest says of it is replaced.
    """
    folder, path = storage.folder, table_path(version, table)
    new = temporary_path(folder / path)
    with writing(new):
        try:
            write(new)
            sha256 = file_sha256(new)
            stated = {entry.sha256 for manifest in before if (entry := manifest.file_entry(path)) is not None}
            there = (folder / path).exists()
            if sha256 not in stated and (stated or (there and file_sha256(folder / path) != sha256)):
                path = table_path(version, table, sha256[:8])
            new.replace(folder / path)
        finally:
            new.unlink(missing_ok=True)
    storage.deliver(path)
    return FileEntry(path=path, bytes=(folder / path).stat().st_size, sha256=sha256)


def _recorded_overrides(recipe: Recipe) -> dict[str, Any]:
    """What ``--set`` changed, but for the source's path: the same data elsewhere gives the same manifest."""
    return {key: value for key, value in sorted(recipe.overrides.items()) if key != "source.path"}


def _licence_entries(finished: Finished) -> list[LicenceEntry]:
    """The licences of the samples, sorted by their keys."""
    samples = Counter(key for row in finished.outcome.rows for key in row.licences)
    known = finished.listing.licences
    return [
        LicenceEntry(licence=key, samples=count, **known.get(key, Licence(name=key)).model_dump())
        for key, count in sorted(samples.items())
    ]


def _review_entry(recipe: Recipe) -> ReviewEntry | None:
    if recipe.review_text is None:
        return None
    return ReviewEntry(digest=digest(verdicts_json(recipe.review)), text=recipe.review_text)


def _plugins(recipe: Recipe) -> dict[str, str]:
    """The origin of each op and source that comes from a plugin, by its name."""
    origins = {step.bound.name: step.bound.op.origin for step in recipe.steps}
    origins[recipe.source.format] = origin_of(type(recipe.source).__module__)
    return {name: origin for name, origin in sorted(origins.items()) if origin}


def commit(finished: Finished, manifest: Manifest) -> bool:
    """Write the manifest, which makes the version the current one; then the card, and clear up.

    The order is a promise. The manifest comes when all that it names is on disk; the card, which only lists what the
    manifest says, comes after it, so that it never names shards of a version that does not exist yet; and the work
    batches that the shards now hold go last, when the version can no longer be lost.

    Returns:
        Whether the version was already the current one.
    """
    path = finished.folder / "manifest.yaml"
    unchanged = path.exists() and read_manifest(finished.folder).version == manifest.version
    finished.opened.storage.commit(manifest)
    finished.opened.files.save()
    # A batch of intermediate samples stays: no shard holds them, and the next build may need their pixels.
    stored, encoding = {row.id for row in finished.outcome.rows}, str(finished.encoding)
    for batch in finished.pool.batches:
        payloads = finished.pool.payloads.of_file(batch.payload_file or "")
        if all(id in stored and found == encoding for id, found in payloads):
            remove_batch(batch)
    return unchanged
