"""From a finished table to a dataset version: shards, index, stages, rejections; then manifest and card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import augforge
from augforge.cache.work import remove_batch
from augforge.catalogue import origin_of
from augforge.engine import execute
from augforge.engine.opening import Opened
from augforge.engine.outcome import Outcome, Pool
from augforge.files import file_sha256
from augforge.keys import canonical_json, digest
from augforge.planning.rows import Row
from augforge.progress import Progress
from augforge.recipe.recipe import Recipe
from augforge.sources import Listing, Refused
from augforge.store import index as index_store
from augforge.store.card import write_card
from augforge.store.codec import Encoding
from augforge.store.manifest import (
    FORMAT_VERSION,
    FileEntry,
    Manifest,
    RecipeEntry,
    ShardEntry,
    SourceEntry,
    count_reasons,
    read_manifest,
    rejected_digest,
    tags_digest,
    version_of,
    write_manifest,
)
from augforge.store.shard import Shard, ShardPlan, ShardRow, is_intact, plan_shards, write_shard


@dataclass(frozen=True, slots=True)
class Finished:
    """A build whose samples are all made; their payloads and facts are in the pool."""

    opened: Opened
    outcome: Outcome

    @property
    def folder(self) -> Path:
        """The dataset's folder."""
        return self.opened.folder

    @property
    def recipe(self) -> Recipe:
        """The recipe that was built."""
        return self.opened.recipe

    @property
    def listing(self) -> Listing:
        """What the source holds."""
        return self.opened.listing

    @property
    def pool(self) -> Pool:
        """Where payloads and facts of the samples are."""
        return self.opened.pool

    @property
    def encoding(self) -> Encoding:
        """How the samples are stored."""
        return self.recipe.output.encoding

    def rejected(self) -> list[dict[str, Any]]:
        """Rows of the rejected table: what steps rejected and what the source refused, sorted."""
        rows = [*refused_rows([*self.listing.refused, *self.outcome.refused]), *self.outcome.rejected]
        return sorted(rows, key=lambda row: (row["name"], row["step"]))


@dataclass(frozen=True, slots=True)
class VersionShards:
    """The shards of a version in order, each with its plan, and how many of them were written anew."""

    shards: tuple[tuple[ShardPlan, Shard], ...]
    new: int


def refused_rows(refused: Iterable[Refused]) -> list[dict[str, Any]]:
    """What the source refused, as rows of the rejected table with the step ``source``."""
    return [
        {"name": r.name, "id": "", "group": "", "split": "", "step": "source", "reason": r.reason, "detail": r.detail}
        for r in refused
    ]


def write_shards(finished: Finished, jobs: int, progress: Progress) -> VersionShards:
    """Write the shards that do not exist yet; the others are taken as they are if their digest is right."""
    plans = list(plan_shards((_shard_row(finished, row) for row in finished.outcome.rows), str(finished.encoding)))
    done: dict[str, Shard] = {}
    for plan in plans:
        known = finished.pool.ledger.get("shard", plan.key)
        if known is None:
            continue
        path = finished.folder / known["path"]
        if is_intact(path, known["bytes"], known["sha256"], finished.opened.files):
            done[plan.key] = Shard.from_json(known)
    missing = [(plan, finished.folder) for plan in plans if plan.key not in done]
    if missing:
        progress.start("shards", len(missing))
    for key, shard in execute.map_unordered(_write_shard, missing, jobs):
        done[key] = shard
        finished.pool.ledger.put([("shard", key, shard.to_json())])
        finished.opened.files.remember(finished.folder / shard.path, "sha256", shard.sha256)
        progress.advance(1)
    return VersionShards(tuple((plan, done[plan.key]) for plan in plans), len(missing))


def _write_shard(arguments: tuple[ShardPlan, Path]) -> tuple[str, Shard]:
    plan, folder = arguments
    return plan.key, write_shard(plan, folder)


def _shard_row(finished: Finished, row: Row) -> ShardRow:
    facts = finished.pool.facts(row.id, finished.encoding)
    columns = {
        "id": row.id,
        "name": row.name,
        "group": row.group,
        "split": row.split,
        "image": f"{row.name}.{finished.encoding.format}",
        "known": bytes.fromhex(facts["known"]),
        "width": row.width,
        "height": row.height,
        "label": facts["label"],
        "lineage": canonical_json(row.lineage.to_json()),
        "metadata": canonical_json(dict(row.metadata or {})),
    }
    return ShardRow(columns, finished.pool.payloads[row.id, str(finished.encoding)], facts["payload"])


def write_version(finished: Finished, written: VersionShards) -> Manifest:
    """Write everything of the new version except the manifest, and return the manifest."""
    entries = [
        ShardEntry(path=s.path, split=s.split, rows=s.rows, bytes=s.bytes, sha256=s.sha256) for _, s in written.shards
    ]
    classes, labels = finished.listing.classes, finished.listing.labels
    rejected = finished.rejected()
    tags = tags_digest((row.name, row.tags) for row in finished.outcome.rows)
    version = version_of(classes, labels, entries, rejected_digest(rejected), tags)
    stem = finished.folder / "index" / version
    index_store.write_index(stem.with_suffix(".parquet"), _index_rows(finished, written), classes)
    index_store.write_rejected(stem.with_suffix(".rejected.parquet"), rejected)
    index_store.write_stages(stem.with_suffix(".stages.parquet"), _stage_rows(finished.outcome))
    finished.pool.ledger.save(stem.with_suffix(".ledger.parquet"))
    rows, recipe = finished.outcome.rows, finished.recipe
    manifest = Manifest(
        format=FORMAT_VERSION,
        name=recipe.name,
        version=version,
        samples=len(rows),
        splits=dict(sorted(Counter(row.split for row in rows).items())),
        classes=list(classes),
        labels=list(labels),
        encoding=str(finished.encoding),
        source=SourceEntry(
            format=recipe.source.format,
            digest=digest("source", sorted(row.id for row in finished.opened.table.rows)),
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
        index_sha256=file_sha256(stem.with_suffix(".parquet")),
        recipe=RecipeEntry(digest=recipe.digest, text=recipe.text, overrides=_recorded_overrides(recipe)),
        shards=entries,
    )
    files = [_file_entry(finished.folder, path) for path in manifest.table_paths]
    return manifest.model_copy(update={"files": files})


def _recorded_overrides(recipe: Recipe) -> dict[str, Any]:
    """What ``--set`` changed, but for the source's path: the same data elsewhere gives the same manifest."""
    return {key: value for key, value in sorted(recipe.overrides.items()) if key != "source.path"}


def _file_entry(folder: Path, path: str) -> FileEntry:
    file = folder / path
    return FileEntry(path=path, bytes=file.stat().st_size, sha256=file_sha256(file))


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
    write_manifest(finished.folder, manifest)
    write_card(finished.folder, manifest)
    finished.opened.files.save()
    # A batch of intermediate samples stays: no shard holds them, and the next build may need their pixels.
    stored = {(row.id, str(finished.encoding)) for row in finished.outcome.rows}
    for batch in finished.pool.batches:
        if set(batch.payloads) <= stored:
            remove_batch(batch)
    return unchanged


def _index_rows(finished: Finished, written: VersionShards) -> list[dict[str, Any]]:
    names = ("shard", "image_offset", "image_bytes", "masks_offset", "masks_bytes")
    places = {
        row.id: dict(zip(names, (shard.path, *offsets), strict=True))
        for plan, shard in written.shards
        for row, offsets in zip(plan.rows, shard.offsets, strict=True)
    }
    rows = finished.outcome.rows
    metadata = index_store.metadata_columns([row.metadata or {} for row in rows])
    return [
        {**_index_row(finished, row), "metadata": values, **places[row.id]}
        for row, values in zip(rows, metadata, strict=True)
    ]


def _index_row(finished: Finished, row: Row) -> dict[str, Any]:
    facts = finished.pool.facts(row.id, finished.encoding)
    return {
        **index_store.common_columns(row),
        "step": _making_step(finished.recipe, row),
        "groups": row.groups,
        "channels": facts["channels"],
        "dtype": facts["dtype"],
        "label": facts["label"],
        "pixel_digest": facts["pixels"],
        "payload_digest": facts["payload"],
        **index_store.class_columns(facts, finished.listing.classes),
    }


def _making_step(recipe: Recipe, row: Row) -> str:
    """Label of the last step that changed a sample; the resize of `output.size` does not count."""
    labels = [step["step"] for step in row.lineage.steps]
    if recipe.output.size is not None and labels and labels[-1] == recipe.steps[-1].bound.label:
        labels.pop()
    return labels[-1] if labels else ""


def _stage_rows(outcome: Outcome) -> list[dict[str, Any]]:
    return [
        {"stage": stage, **index_store.common_columns(row)}
        for stage, table in enumerate(outcome.tables)
        for row in sorted(table, key=lambda row: row.name)
    ]
