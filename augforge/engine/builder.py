"""Building a dataset: from a recipe to a published version."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from augforge.cache.work import DamagedPayload, Payload
from augforge.catalogue import load_plugin
from augforge.engine import execute
from augforge.engine.comparing import compare_pictures
from augforge.engine.estimating import estimate_bytes
from augforge.engine.findings import Accepted
from augforge.engine.finished import Finished
from augforge.engine.opening import Opened, check_folder, dataset_folder, open_recipe
from augforge.engine.outcome import Outcome
from augforge.engine.pipeline import Pipeline
from augforge.engine.publish import VersionShards, commit, write_shards, write_version
from augforge.engine.registering import check_registrable
from augforge.engine.registering import register as register_dataset
from augforge.engine.sourcecache import DEFAULT_MB
from augforge.engine.starting import workers_starting
from augforge.engine.versioning import current_dataset, foresee_version
from augforge.errors import TaskError
from augforge.files import writer_lock, writing
from augforge.planning.rows import Row
from augforge.progress import Progress, Silent
from augforge.recipe.recipe import Recipe, load_recipe
from augforge.sources.listing import Finding
from augforge.store.contents import remove_leftovers
from augforge.store.log import append_entry
from augforge.store.manifest import Manifest
from augforge.store.tables import count_reasons


@dataclass
class Summary:
    """What a build did; for a dry run, what it would do.

    Attributes:
        samples, splits: of the finished dataset. In a dry run a sample that a filter may move counts in both splits.
        steps: for each step its op and, for each split, how many samples it made and how many were reused.
        made, reused: finished samples that were encoded anew, and that were copied from earlier builds.
        exact: False if the numbers are "at most", because pixels decide.
        bytes: of the shards; an estimate for a dry run.
        version: what was built. For a dry run what would be, or empty text if that is not known.
        version_note: why it is not known: ``depends on pixels`` that are still to be made.
        rejected: counts by ``step: reason``.
        unchanged: whether the version was already the current one; None for a dry run that cannot know it.
        findings: what is implausible about source and splits, each with kind, names, message and remedy.
        accepted: the findings that the recipe accepts, each with its reason, ``why``.
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
    unchanged: bool | None = False
    seconds: float = 0.0
    version_note: str = ""
    findings: list[Finding] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)


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
    rename: bool = False,
    strict: bool = False,
    cache_mb: int = DEFAULT_MB,
    plugins: Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> Summary:
    """Build the dataset that a recipe describes.

    Args:
        recipe: the YAML file.
        out: folder of the dataset, default ``datasets/<name>``.
        jobs: worker processes, -1 for one per core; the result is the same for any number.
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
    started = time.monotonic()
    for plugin in plugins:
        load_plugin(plugin)
    loaded = load_recipe(recipe, overrides)
    loaded = replace(loaded, strict=True) if strict else loaded
    if register:
        check_registrable(loaded)
    folder = dataset_folder(out, loaded.name)
    jobs, progress = execute.worker_count(jobs), progress or Silent()
    check_folder(folder, loaded.name, rename)
    if dry_run:
        opened = open_recipe(loaded, folder, reuse=reuse, rehash=rehash, remember=False)
        reusable = dict(opened.pool.payloads)
        pipeline = opened.pipeline(opened.recipe.steps, jobs, progress)
        outcome = opened.make_samples(pipeline, dry=True)
        return _foreseen_summary(compare_pictures(opened, pipeline, outcome, dry=True), pipeline, reusable)
    with writer_lock(folder), writing(folder):
        remove_leftovers(folder)
        try:
            # A first build has work for them; of a later one that is not known before it is planned.
            with workers_starting(1 if (folder / "manifest.yaml").exists() else jobs):
                opened = open_recipe(loaded, folder, reuse=reuse, rehash=rehash)
            opened = replace(opened, cache_bytes=cache_mb << 20)
            reusable = dict(opened.pool.payloads)  # taken now, since the build adds what it makes to the pool
            finished, written = _make(opened, jobs, progress)
        except TaskError as error:
            _log(folder, loaded, jobs, failures=[asdict(failure) for failure in error.failures])
            raise
        summary = _summary(finished, reusable)
        manifest = _publish(finished, written, summary)
        remove_leftovers(folder)  # again: workers of a build that was killed live for a moment longer than it did
    summary.seconds = time.monotonic() - started
    _log(
        folder,
        loaded,
        jobs,
        version=summary.version,
        made=summary.made,
        reused=summary.reused,
        seconds=round(summary.seconds, 3),
    )
    if register:
        register_dataset(loaded, manifest)
    return summary


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


def _foreseen_summary(finished: Finished, pipeline: Pipeline, reusable: dict[tuple[str, str], Payload]) -> Summary:
    """The summary of a dry run: with the version that would come of it, if that is known."""
    summary, found = _summary(finished, reusable), foresee_version(finished, current_dataset(finished))
    summary.bytes = estimate_bytes(finished, pipeline)
    summary.version, summary.unchanged, summary.version_note = found.version or "", found.unchanged, found.note
    return summary


def _summary(finished: Finished, reusable: dict[tuple[str, str], Payload]) -> Summary:
    outcome, table = finished.outcome, finished.opened.table
    keys = [(row.id, str(finished.encoding)) for row in outcome.rows]
    reused = sum(key in reusable and finished.pool.payloads.get(key) == reusable[key] for key in keys)
    return Summary(
        name=finished.recipe.name,
        version="",
        folder=str(finished.folder),
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


def _log(folder: Path, recipe: Recipe, jobs: int, **entries: Any) -> None:
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
    append_entry(folder, line)
