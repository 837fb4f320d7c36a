"""Performing jobs in batches, in one process or several, and taking what they made into the pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from augforge.engine import execute
from augforge.engine.jobs import MAX_FAILURES, BatchResult, Job, WorkerContext, library_check, raise_problems
from augforge.engine.outcome import Pool
from augforge.progress import Progress

Perform = Callable[[tuple[WorkerContext, Sequence[Job]]], BatchResult]

BATCH_PIXELS = 1 << 25
"""Rough number of pixels in a batch: what a killed build loses, and how far the progress bar moves at a time."""


def perform_jobs(
    perform: Perform,
    context: WorkerContext,
    pool: Pool,
    jobs: Sequence[Job],
    label: str,
    processes: int,
    progress: Progress,
) -> None:
    """Perform jobs in batches, and take their results into the pool.

    Args:
        perform: what a worker does with a batch.
        context: what all jobs share.
        pool: is added to.
        jobs: if there are none, nothing happens.
        label: of the work, for the progress.
        processes: how many work at it.
        progress: is told how far the work is.

    Raises:
        TaskError: jobs failed; no more are begun once MAX_FAILURES have.
        UnreadableSamples: source samples could not be read, and no job failed otherwise.
        DamagedPayloads: stored samples are damaged, and nothing else went wrong.
    """
    if not jobs:
        return
    progress.start(label, len(jobs))
    failures, unreadable, damaged = [], [], []
    performed, size = 0, _batch_size(jobs, processes)
    batches = [(context, jobs[start : start + size]) for start in range(0, len(jobs), size)]
    check = library_check(context.libraries)
    for result in execute.map_unordered(perform, batches, processes, _name_batch, check):
        pool.add(result.take_batch())
        progress.advance(result.job_count)
        performed += result.job_count
        failures += result.failures
        unreadable += result.unreadable
        damaged += result.damaged
        if len(failures) >= MAX_FAILURES:
            break
    raise_problems(failures, unreadable, damaged, all_tried=performed == len(jobs))


def _batch_size(jobs: Sequence[Job], processes: int) -> int:
    """Jobs per batch: about BATCH_PIXELS of input, but 8 batches per worker or more, to keep all of them busy."""
    pixels = max(1, sum(given.row.width * given.row.height for job in jobs for given in job.inputs) // len(jobs))
    return max(1, min(BATCH_PIXELS // pixels, -(-len(jobs) // (8 * processes))))


def _name_batch(batch: tuple[WorkerContext, Sequence[Job]]) -> str:
    """What a message calls a batch: its first sample, and how many more there are."""
    _, jobs = batch
    return jobs[0].sample_name if len(jobs) == 1 else f"{jobs[0].sample_name} and {len(jobs) - 1} more"
