"""Building a dataset: recipe and source in, stages run, a version published."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augforge import execute
from augforge.errors import DatasetError, PlanError
from augforge.keys import digest
from augforge.lineage import Lineage
from augforge.ops import Context
from augforge.pipeline import Outcome, Pipeline, Pool, Progress, Silent
from augforge.plan import Row
from augforge.publish import Finished, assemble, commit, is_whole, publish
from augforge.recipe import Recipe, load_recipe
from augforge.sources import Listing, Record
from augforge.splits import assign_splits
from augforge.store.codec import made_by
from augforge.store.filecache import FileCache
from augforge.store.files import locked
from augforge.store.index import read_index
from augforge.store.manifest import Manifest, read_manifest, reasons, versions
from augforge.store.registry import REGISTRY, RegisteredDataset, RegisteredSource, read_registry, write_registry
from augforge.store.work import Payload, read_batches, sweep
from augforge.worker import Shop

OWN_FILES = {"work", "shards", "index", "versions", "README.md", ".lock"}
"""What a build that never came to its manifest may leave in a dataset's folder."""

ROW_BYTES = 1000
"""What a sample takes in a shard beside its image, about: masks, lineage, names. It matters where images are small."""


@dataclass
class Summary:
    """What a build did; for a dry run, what it would do.

    Attributes:
        samples, splits: of the finished dataset.
        steps: per step its op and, per split, how many samples it made and how many were at hand.
        made, reused: finished samples encoded anew, and copied as they were.
        exact: False if the numbers are "at most", because pixels decide.
        bytes: of the shards; an estimate for a dry run.
        rejected: counts by ``step: reason``.
        unchanged: the version was the current one already.
    """

    name: str
    version: str
    folder: str
    dry: bool
    samples: int
    splits: dict[str, int]
    steps: list[dict[str, Any]]
    made: int
    reused: int
    exact: bool
    bytes: int
    rejected: dict[str, int]
    shards: int = 0
    new_shards: int = 0
    warnings: list[str] = field(default_factory=list)
    unchanged: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A source's rows with ids and splits, their records by id, and warnings."""

    rows: list[Row]
    records: dict[str, Record]
    warnings: list[str]


def build(
    recipe: str | Path,
    out: str | Path | None = None,
    *,
    jobs: int = 1,
    overrides: Sequence[str] = (),
    dry_run: bool = False,
    reuse: bool = True,
    rehash: bool = False,
    register: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Build the dataset that a recipe describes.

    Args:
        recipe: the YAML file.
        out: folder of the dataset, default ``datasets/<name>``.
        jobs: worker processes, -1 for one a core; the result is the same for any number.
        overrides: ``key.path=value`` strings that change the recipe.
        dry_run: plan only, and say what would be made.
        reuse: take over what earlier versions and interrupted builds left.
        rehash: read every source file again instead of trusting its size and modification time.
        register: enter source and dataset into ``data_manifest.yaml`` in the current folder.
        progress: is told how far it is.

    Raises:
        RecipeError, SourceError, PlanError: before any work.
        TaskError: tasks failed; the previous version stays whole, and what was finished is kept.
    """
    started = time.monotonic()
    loaded = load_recipe(recipe, overrides)
    folder = Path(out) if out is not None else Path("datasets") / loaded.name
    _check_folder(folder, loaded.name)
    if dry_run:
        return _build(loaded, folder, execute.worker_count(jobs), True, reuse, rehash, progress or Silent())[0]
    with locked(folder):
        sweep(folder / "work")
        summary, manifest = _build(
            loaded, folder, execute.worker_count(jobs), False, reuse, rehash, progress or Silent()
        )
    summary.seconds = time.monotonic() - started
    _log(loaded, summary, jobs)
    if register and manifest is not None:
        _register(loaded, manifest)
    return summary


def _build(
    recipe: Recipe, folder: Path, jobs: int, dry: bool, reuse: bool, rehash: bool, progress: Progress
) -> tuple[Summary, Manifest | None]:
    listing = _scan(recipe, folder, dry, rehash)
    table = source_table(listing, recipe)
    libraries = made_by()
    pool = _pool(folder, libraries) if reuse else Pool()
    at_hand = set(pool.payloads)
    shop = Shop(recipe.source, listing.classes, listing.labels, recipe.seed, folder / "work", libraries)
    pipeline = Pipeline(shop, recipe.steps, recipe.output.encoding, table.records, pool, recipe.review, jobs, progress)
    outcome = pipeline.run(table.rows, dry)
    finished = Finished(folder, recipe, listing, table.rows, outcome, pool, libraries)
    summary = _summary(finished, table, at_hand)
    if dry:
        return summary, None
    assembled = assemble(finished, jobs, progress)
    manifest = publish(finished, assembled)
    summary.dry, summary.version, summary.exact = False, manifest.version, True
    summary.bytes = sum(shard.bytes for shard in manifest.shards)
    summary.shards, summary.new_shards = len(manifest.shards), assembled.new
    summary.unchanged = commit(finished, manifest)
    return summary, manifest


def _scan(recipe: Recipe, folder: Path, dry: bool, rehash: bool) -> Listing:
    cache = FileCache(folder / "work" / "files.sqlite", trust=not rehash)
    listing = recipe.source.scan(cache)
    if not dry or folder.exists():
        cache.save()
    for step in recipe.steps:
        step.bound.params.check(Context(listing.classes, listing.labels))
    return listing


def _check_folder(folder: Path, name: str) -> None:
    """A dataset's folder is new, empty, left by an interrupted build, or holds that dataset."""
    if (folder / "manifest.yaml").exists():
        other = read_manifest(folder).name
        if other != name:
            raise DatasetError(f"{folder} holds dataset '{other}', not '{name}'. Choose another folder with --out")
    elif folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= OWN_FILES):
        raise DatasetError(f"{folder} is no empty folder and holds no dataset. Choose another folder with --out")


def source_table(listing: Listing, recipe: Recipe) -> SourceTable:
    """Ids, splits and lineage of what a source listed.

    Raises:
        PlanError: nothing usable, or splits that cannot be.
    """
    if not listing.records:
        raise PlanError(f"the source at {recipe.source.path} holds no usable sample; {len(listing.refused)} refused")
    open_groups = {record.group for record in listing.records if record.split is None}
    fixed = {record.group: record.split for record in listing.records if record.split is not None}
    both = sorted(open_groups & set(fixed))
    if both:
        raise PlanError(
            f"group '{both[0]}' stands in the source's own {fixed[both[0]]} part and outside it ({len(both)} such "
            "groups): it would be on both sides. Rename the groups, or leave one part out"
        )
    splits, warnings = assign_splits(open_groups, recipe.split)
    table = SourceTable([], {}, warnings)
    for record in listing.records:
        row = _source_row(record, listing, recipe, record.split or splits[record.group])
        table.rows.append(row)
        table.records[row.id] = record
    return table


def _source_row(record: Record, listing: Listing, recipe: Recipe, split: str) -> Row:
    adapter = f"{recipe.source.format}@{recipe.source.adapter_version}"
    return Row(
        name=record.name,
        id=digest("source", record.name, record.content, listing.classes, listing.labels, adapter),
        group=record.group,
        split=split,
        width=record.width,
        height=record.height,
        lineage=Lineage.of_source(record.name, record.width, record.height),
        groups=(record.group,),
        metadata=record.metadata,
    )


def _pool(folder: Path, libraries: dict[str, str]) -> Pool:
    """What earlier versions and interrupted builds left, as far as the same libraries made it."""
    pool = Pool()
    for version in versions(folder):
        manifest = read_manifest(folder, version)
        ledger = folder / "index" / f"{version}.ledger.parquet"
        if manifest.made_by == libraries and ledger.exists() and (folder / manifest.index_path).exists():
            pool.ledger.load(ledger)
            _add_shards(pool, folder, manifest)
    for batch in read_batches(folder / "work", libraries):
        pool.add(batch)
    return pool


def _add_shards(pool: Pool, folder: Path, manifest: Manifest) -> None:
    whole = {shard.path for shard in manifest.shards if is_whole(folder / shard.path, shard.bytes)}
    columns = ["id", "shard", "image_offset", "image_bytes", "masks_offset", "masks_bytes"]
    for sample_id, shard, *place in read_index(folder / manifest.index_path).select(columns).iter_rows():
        if shard in whole:
            pool.payloads[sample_id, manifest.encoding] = Payload(str(folder / shard), *place)


def _summary(finished: Finished, table: SourceTable, at_hand: set[tuple[str, str]]) -> Summary:
    outcome = finished.outcome
    reused = sum((row.id, str(finished.encoding)) in at_hand for row in outcome.rows)
    return Summary(
        name=finished.recipe.name,
        version="",
        folder=str(finished.folder),
        dry=True,
        samples=len(outcome.rows),
        splits=dict(sorted(Counter(row.split for row in outcome.rows).items())),
        steps=_step_counts(finished.recipe, outcome),
        made=len(outcome.rows) - reused,
        reused=reused,
        exact=outcome.counts.exact,
        bytes=_estimated_bytes(table, outcome.rows),
        rejected=reasons(finished.rejected()),
        warnings=[*table.warnings, *finished.listing.warnings],
    )


def _estimated_bytes(table: SourceTable, rows: Sequence[Row]) -> int:
    """Pixels to come, at the bytes per pixel of the source's own files, and ROW_BYTES a sample."""
    pixels = sum(row.width * row.height for row in table.rows)
    per_pixel = sum(record.bytes for record in table.records.values()) / pixels
    return round(sum(row.width * row.height for row in rows) * per_pixel) + len(rows) * ROW_BYTES


def _step_counts(recipe: Recipe, outcome: Outcome) -> list[dict[str, Any]]:
    def of(counts: Counter[tuple[int, str]], wanted: int) -> dict[str, int]:
        return {split: count for (index, split), count in sorted(counts.items()) if index == wanted}

    return [
        {
            "step": step.index,
            "op": step.bound.label,
            "made": of(outcome.counts.made, step.index),
            "reused": of(outcome.counts.reused, step.index),
        }
        for step in recipe.steps
    ]


def _log(recipe: Recipe, summary: Summary, jobs: int) -> None:
    """Append what is no part of the version: when, from where, with which overrides, how long."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "version": summary.version,
        "recipe": str(recipe.path),
        "source": recipe.source.path,
        "overrides": dict(recipe.overrides),
        "made": summary.made,
        "reused": summary.reused,
        "jobs": jobs,
        "seconds": round(summary.seconds, 3),
    }
    with (Path(summary.folder) / "log.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def _register(recipe: Recipe, manifest: Manifest) -> None:
    path, name = Path(REGISTRY), Path(recipe.source.path).resolve().name
    source = RegisteredSource(
        name=name,
        format=manifest.source.format,
        path=_relative(recipe.source.path),
        digest=manifest.source.digest,
        samples=manifest.source.samples,
    )
    dataset = RegisteredDataset(
        name=manifest.name,
        recipe=_relative(recipe.path),
        recipe_digest=manifest.recipe.digest,
        source=name,
        version=manifest.version,
        splits=manifest.splits,
    )
    write_registry(path, read_registry(path).having(source, dataset))


def _relative(path: str | Path) -> str:
    """A path as the registry holds it, relative to its folder and with slashes; a URL as it is."""
    return str(path) if "://" in str(path) else Path(os.path.relpath(path)).as_posix()
