"""Building a dataset: from a recipe to a published version."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from augforge.cache.work import DamagedPayload
from augforge.catalogue import load_plugin
from augforge.engine.backends import choose_backend
from augforge.engine.comparing import compare_pictures
from augforge.engine.estimating import estimate_bytes
from augforge.engine.finished import Finished
from augforge.engine.opening import Opened, check_folder, dataset_storage, open_recipe
from augforge.engine.outcome import Outcome
from augforge.engine.pipeline import Pipeline
from augforge.engine.publish import VersionShards, commit, write_shards, write_version
from augforge.engine.registering import check_registrable
from augforge.engine.registering import register as register_dataset
from augforge.engine.sourcecache import DEFAULT_MB
from augforge.engine.starting import workers_starting
from augforge.engine.summary import Summary
from augforge.engine.unchanged import find_unchanged, remember_build
from augforge.engine.versioning import current_dataset, foresee_version
from augforge.errors import TaskError
from augforge.files import writer_lock, writing
from augforge.planning.rows import Row
from augforge.progress import Progress, Silent
from augforge.recipe.recipe import Recipe, load_recipe
from augforge.store.contents import remove_leftovers
from augforge.store.manifest import Manifest
from augforge.store.storage import Storage
from augforge.store.tables import count_reasons


def build(
    recipe: str | Path,
    out: str | Path | None = None,
    *,
    jobs: int | None = None,
    backend: str | None = None,
    address: str | None = None,
    overrides: Sequence[str] = (),
    dry_run: bool = False,
    reuse: bool = True,
    rehash: bool = False,
    register: bool = False,
    rename: bool = False,
    strict: bool = False,
    cache_mb: int = DEFAULT_MB,
    plugins: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> Summary:
    """Build the dataset that a recipe describes.

    Args:
        recipe: the YAML file.
        out: folder of the dataset, default ``datasets/<name>``; or a URL that fsspec writes to, ``s3://bucket/hands``.
        jobs: worker processes, -1 for one per core; the result is the same for any number. None is this process, or all
            workers of a cluster.
        backend, address: where they run; see `augforge.engine.backends.choose_backend`.
        overrides: ``key.path=value`` strings that change the recipe.
        dry_run: plan only, and say what would be made.
        reuse: take over what earlier versions and interrupted builds made.
        rehash: read every source file again instead of trusting its size and modification time.
        plugins: Python files that register ops or sources; they are run.
        register: enter source and dataset into ``data_manifest.yaml`` in the current folder.
        rename: build over a dataset of another name. The new version has the recipe's name, older ones keep theirs.
        strict: findings that the recipe does not accept stop the build before any work, as its own key ``strict`` says.
        cache_mb: megabytes of source samples that each worker keeps, for tasks with several inputs.
        progress: is told how far the work is.

    Raises:
        RecipeError, DatasetError: before any work.
        SourceError, PlanError: the source is broken or does not fit the recipe; mostly before any work.
        StorageError: a file cannot be written; the previous version stays whole, and what was finished is kept.
        TaskError: tasks failed; the previous version stays whole, and what was finished is kept.
    """
    started, began_ns = time.monotonic(), time.time_ns()
    loaded = _load_recipe(recipe, overrides, plugins, strict)
    if register:
        check_registrable(loaded)
    storage = dataset_storage(out, loaded.name)
    folder = storage.folder
    storage.pull()
    chosen, progress = choose_backend(jobs, backend, address), progress or Silent()
    check_folder(folder, loaded.name, rename)
    if dry_run:
        return _plan_all(loaded, storage, reuse, rehash, progress)
    with storage.named(), writer_lock(folder), writing(folder), chosen.started() as workers:
        remove_leftovers(folder)
        last = find_unchanged(loaded, folder) if reuse and not rehash and not storage.is_far else None
        if last is not None:
            summary, manifest = last
        else:
            summary, manifest = _build_all(loaded, storage, reuse, rehash, cache_mb, workers, progress)
            if not storage.is_far:
                remember_build(loaded, folder, summary, began_ns)
    summary.seconds = time.monotonic() - started
    _log(
        storage,
        loaded,
        workers,
        version=summary.version,
        made=summary.made,
        reused=summary.reused,
        seconds=round(summary.seconds, 3),
    )
    if register:
        register_dataset(loaded, manifest)
    return summary


def _load_recipe(recipe: str | Path, overrides: Sequence[str], plugins: Sequence[str | Path], strict: bool) -> Recipe:
    for plugin in plugins:
        load_plugin(plugin)
    loaded = load_recipe(recipe, overrides)
    return replace(loaded, strict=True) if strict else loaded


def _plan_all(recipe: Recipe, storage: Storage, reuse: bool, rehash: bool, progress: Progress) -> Summary:
    """List and plan, without a trace in the dataset's folder."""
    opened = open_recipe(recipe, storage, reuse=reuse, rehash=rehash, remember=False)
    pipeline = opened.pipeline(opened.recipe.steps, 1, progress)
    outcome = opened.make_samples(pipeline, dry=True)
    return _foreseen_summary(compare_pictures(opened, pipeline, outcome, dry=True), pipeline)


def _build_all(
    recipe: Recipe, storage: Storage, reuse: bool, rehash: bool, cache_mb: int, jobs: int, progress: Progress
) -> tuple[Summary, Manifest]:
    """List, make and publish. What was finished before a task failed is kept, and the log says what failed."""
    try:
        # A first build has work for them; of a later one that is not known before it is planned.
        with workers_starting(1 if (storage.folder / "manifest.yaml").exists() else jobs):
            opened = open_recipe(recipe, storage, reuse=reuse, rehash=rehash)
        opened = replace(opened, cache_bytes=cache_mb << 20)
        finished, written = _make(opened, jobs, progress)
    except TaskError as error:
        _log(storage, recipe, jobs, failures=[asdict(failure) for failure in error.failures])
        raise
    summary = _summary(finished)
    manifest = _publish(finished, written, summary)
    remove_leftovers(storage.folder)  # again: workers of a build that was killed live for a moment longer than it did
    return summary, manifest


def _make(opened: Opened, jobs: int, progress: Progress) -> tuple[Finished, VersionShards]:
    """Make the samples and write the shards.

    A stored sample that turns out to be damaged only now is made again. Each round forgets one file, so this ends.
    """
    while True:
        pipeline = opened.pipeline(opened.recipe.steps, jobs, progress)
        finished = compare_pictures(opened, pipeline, opened.make_samples(pipeline))
        try:
            return finished, write_shards(finished, jobs, progress)
        except DamagedPayload as damage:
            opened.pool.forget(damage.file)


def _publish(finished: Finished, written: VersionShards, summary: Summary) -> Manifest:
    """Publish a finished build as the current version, and say so in the summary."""
    manifest = write_version(finished, written)
    summary.dry, summary.version, summary.exact = False, manifest.version, True
    summary.bytes = sum(shard.bytes for shard in manifest.shards)
    summary.shards, summary.new_shards = len(manifest.shards), written.new
    summary.unchanged = commit(finished, manifest)
    return manifest


def _foreseen_summary(finished: Finished, pipeline: Pipeline) -> Summary:
    """The summary of a dry run: with the version that would come of it, if that is known."""
    summary, found = _summary(finished), foresee_version(finished, current_dataset(finished))
    summary.bytes = estimate_bytes(finished, pipeline)
    summary.version, summary.unchanged, summary.version_note = found.version or "", found.unchanged, found.note
    return summary


def _summary(finished: Finished) -> Summary:
    outcome, table, encoding = finished.outcome, finished.opened.table, str(finished.encoding)
    reused = sum(finished.pool.payloads.is_earlier((row.id, encoding)) for row in outcome.rows)
    return Summary(
        name=finished.recipe.name,
        version="",
        folder=finished.opened.storage.place,
        dry=True,  # as for a dry run; `_publish` fills in what only a written version has
        samples=len(outcome.rows),
        splits=dict(sorted(Counter(split for row in outcome.rows for split in row.splits).items())),
        steps=_step_counts(finished.recipe, outcome),
        made=len(outcome.rows) - reused,
        reused=reused,
        exact=outcome.counts.exact,
        bytes=0,  # `_publish` and `_foreseen_summary` fill it in
        rejected=count_reasons(finished.rejected()),
        warnings=[
            *table.warnings,
            *finished.listing.warnings,
            *outcome.warnings,
            *_warn_of_empty_splits(table.rows, outcome.rows),
        ],
        findings=list(finished.findings.open),
        accepted=list(finished.findings.accepted),
    )


def _warn_of_empty_splits(before: Sequence[Row], after: Sequence[Row]) -> Iterator[str]:
    for split in sorted({row.split for row in before} - {row.split for row in after}):
        yield f"split '{split}' is empty: all of its samples were rejected or moved"


def _step_counts(recipe: Recipe, outcome: Outcome) -> list[dict[str, Any]]:
    def of(counts: Counter[tuple[str, str]], wanted: str) -> dict[str, int]:
        return {split: count for (label, split), count in sorted(counts.items()) if label == wanted}

    return [
        {
            "step": step.index,
            "op": step.bound.label,
            "made": of(outcome.counts.made, step.bound.label),
            "reused": of(outcome.counts.reused, step.bound.label),
        }
        for step in recipe.steps
    ]


def _log(storage: Storage, recipe: Recipe, jobs: int, **entries: Any) -> None:
    """Append to the log what a version does not record: time, recipe's path, overrides, duration.

    A failed build has `failures` with tracebacks, and no version.
    """
    line = {
        "version": None,
        "recipe": str(recipe.path),
        "source": recipe.source.path,
        "overrides": dict(recipe.overrides),
        "jobs": jobs,
        **entries,
    }
    storage.append_log(line)
