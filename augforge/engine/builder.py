"""Building a dataset: recipe and source in, stages run, a version published."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augforge.cache.work import sweep
from augforge.engine import execute
from augforge.engine.opening import check_folder, dataset_folder, open_recipe
from augforge.engine.outcome import Outcome
from augforge.engine.publish import Finished, assemble, commit, publish
from augforge.engine.registering import check_registrable, enter
from augforge.files import writer_lock
from augforge.planning.rows import Row
from augforge.progress import Progress, Silent
from augforge.recipe.recipe import Recipe, load_recipe
from augforge.store.manifest import Manifest, count_reasons

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
    if register:
        check_registrable(loaded)
    folder = dataset_folder(out, loaded.name)
    jobs, progress = execute.worker_count(jobs), progress or Silent()
    check_folder(folder, loaded.name)
    if dry_run:
        opened = open_recipe(loaded, folder, reuse=reuse, rehash=rehash, remember=False)
        at_hand = set(opened.pool.payloads)
        return _summary(Finished(opened, opened.run(opened.pipeline(loaded.steps, jobs, progress), dry=True)), at_hand)
    with writer_lock(folder):
        sweep(folder / "work")
        opened = open_recipe(loaded, folder, reuse=reuse, rehash=rehash)
        at_hand = set(opened.pool.payloads)
        finished = Finished(opened, opened.run(opened.pipeline(loaded.steps, jobs, progress)))
        summary = _summary(finished, at_hand)
        manifest = _complete(finished, summary, jobs, progress)
    summary.seconds = time.monotonic() - started
    _log(loaded, summary, jobs)
    if register:
        enter(loaded, manifest)
    return summary


def _complete(finished: Finished, summary: Summary, jobs: int, progress: Progress) -> Manifest:
    """Publish a finished build as the current version, and say so in the summary."""
    assembled = assemble(finished, jobs, progress)
    manifest = publish(finished, assembled)
    summary.dry, summary.version, summary.exact = False, manifest.version, True
    summary.bytes = sum(shard.bytes for shard in manifest.shards)
    summary.shards, summary.new_shards = len(manifest.shards), assembled.new
    summary.unchanged = commit(finished, manifest)
    return manifest


def _summary(finished: Finished, at_hand: set[tuple[str, str]]) -> Summary:
    outcome, table = finished.outcome, finished.opened.table
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
        bytes=_estimated_bytes(finished, outcome.rows),
        rejected=count_reasons(finished.rejected()),
        warnings=[*table.warnings, *finished.listing.warnings, *_emptied(table.rows, outcome.rows)],
    )


def _emptied(before: Sequence[Row], after: Sequence[Row]) -> Iterator[str]:
    for split in sorted({row.split for row in before} - {row.split for row in after}):
        yield f"split '{split}' is empty: all of its samples were rejected or moved"


def _estimated_bytes(finished: Finished, rows: Sequence[Row]) -> int:
    """Pixels to come, at the bytes per pixel of the source's own files, and ROW_BYTES a sample."""
    records = finished.listing.records
    per_pixel = sum(r.bytes for r in records) / sum(r.width * r.height for r in records)
    return round(sum(row.width * row.height for row in rows) * per_pixel) + len(rows) * ROW_BYTES


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
