"""Stage after stage: plan, make what is not known, apply the filters; then encode what is not stored yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from augforge.cache.filecache import FileCache
from augforge.cache.work import Payload
from augforge.engine.jobs import DamagedPayloads, Job, JobInput, UnreadableSamples, WorkerContext
from augforge.engine.judge import Chooses, Judge
from augforge.engine.measuring import features_key
from augforge.engine.outcome import Outcome, Pool, expected_row, lacks_hash, output_row
from augforge.engine.performing import perform_jobs
from augforge.engine.worker import load_input, made_by_last_steps, perform_batch
from augforge.errors import PlanError
from augforge.planning.plan import check_names, cut_stages, expect_of_task, is_foreseeable, plan_stage
from augforge.planning.rows import Row, Stage, Task, inherited_row
from augforge.planning.steps import Step
from augforge.progress import Progress, Silent
from augforge.recipe.recipe import Verdict
from augforge.sample import Sample
from augforge.sources import Records, Refused
from augforge.store.codec import Encoding

PNG = Encoding.png()
_WAVE_JOBS, _WAVE_JOBS_OF_WORKER = 8192, 512
"""Jobs that are made at a time: some 5 KB each."""


class Pipeline:
    """Takes a source's rows through a recipe's stages.

    Args:
        context: what all jobs share.
        steps: the recipe's.
        encoding: of the finished samples.
        records: of the source samples.
        files: facts of the source's files.
        pool: results and payloads of earlier work; what is made is added.
        review: a person's verdicts by source sample name.
        jobs: number of processes.
        progress: is told how far the work is.
        hashing: whether jobs that read a source sample hash its picture, so that splits can be compared.
    """

    def __init__(
        self,
        context: WorkerContext,
        steps: Sequence[Step],
        encoding: Encoding,
        records: Records,
        files: FileCache,
        pool: Pool,
        *,
        review: Mapping[str, Verdict] | None = None,
        jobs: int = 1,
        progress: Progress | None = None,
        hashing: bool = False,
    ) -> None:
        self._context, self._encoding, self._pool = context, encoding, pool
        self._records, self._files = records, files
        self._stages = cut_stages(steps)
        self._review = review or {}
        self._processes, self._progress = jobs, progress or Silent()
        self._hashing, self._hashed = hashing, set[str]()  # the ids of pictures that a job hashes
        self._judge: Judge
        self._fitted_stages: list[Stage] = []
        self._tasks: dict[str, tuple[Task, Stage]] = {}
        self._new_tasks: set[str] = set()  # kept over the rounds: what an abandoned one made is new all the same

    @property
    def plan(self) -> tuple[list[Stage], dict[str, tuple[Task, Stage]], set[str]]:
        """The stages, all tasks with their stages by id, and the ids of the tasks whose results are not known."""
        return self._fitted_stages, self._tasks, self._new_tasks

    def make_samples(self, rows: list[Row], dry: bool = False, encode: bool = True) -> Outcome:
        """Take the source's rows through every stage.

        Args:
            rows: of the source.
            dry: make nothing; if a task's result is not known, count as many rows as it may make at most.
            encode: encode every final sample that is not stored yet.

        Raises:
            TaskError: tasks failed; what was finished is kept.
            PlanError: recipe and samples do not fit together, or no sample can be read.
        """
        check_names(rows)
        refused: dict[str, Refused] = {}
        # A sample that turns out to be unreadable was already planned with: it may be a mosaic's partner, or count in
        # what a filter was fitted on. So the plan is made again without it, as if it had never been listed, and the
        # dataset is the one that a source without this file gives. What was made before stays in the pool. Each round
        # refuses one sample or more, so this ends.
        while True:
            try:
                return self._run_stages(rows, refused, dry, encode)
            except UnreadableSamples as found:
                refused |= {row.name: row for row in found.refused}
            except DamagedPayloads as found:  # likewise each round forgets one file or more
                for file in found.files:
                    self._pool.forget(file)

    def load(self, row: Row) -> Sample:
        """A sample of any table of the pipeline. Raises SourceError if its file cannot be read any more."""
        self._make_available([(row, PNG)] if row.task is not None else [], "load")
        return load_input(self._context, self.job_input(row)).sample

    def make_payload(self, row: Row) -> tuple[Payload, Any]:
        """Where a final sample lies as it is stored, and the facts of its pixels; both are made if they are missing."""
        self._make_available([(row, self._encoding)], "make again")
        return self._pool.payloads[row.id, str(self._encoding)], self._pool.facts(row.id, self._encoding)

    def hash_pictures(self, rows: Iterable[Row]) -> None:
        """Hash pictures that no job had to read, as those of a dataset that was built without it."""
        self._hashed.clear()
        lacking = [row for row in rows if lacks_hash(self._pool, row)]
        self._perform_all(
            (Job(None, (self.job_input(row),), None) for row in lacking), len(lacking), "compare pictures"
        )

    def _run_stages(self, rows: list[Row], refused: Mapping[str, Refused], dry: bool, encode: bool) -> Outcome:
        """Take the rows that can be read through every stage. Raises UnreadableSamples if more cannot be read."""
        self._judge = judge = Judge(self._context, self._pool.ledger, self._review)
        self._fitted_stages, self._tasks = [], {}
        readable = [row for row in judge.apply_review(rows) if row.name not in refused]
        if refused and not readable:
            raise PlanError(f"no sample of the source can be read, such as {next(iter(refused.values())).detail}")
        outcome = Outcome(
            readable,
            rejected=judge.rejected,
            refused=tuple(refused.values()),
            findings=judge.findings,
            fitted=judge.fitted,
            warnings=judge.warnings,
        )
        for stage in self._stages:
            outcome.tables.append(outcome.rows)
            outcome.rows = self._run_stage(stage, outcome, dry)
        if encode and not dry:
            self._make_available([(row, self._encoding) for row in outcome.rows], "encode")
        outcome.counts.exact = outcome.counts.exact and judge.complete
        return outcome

    def _run_stage(self, stage: Stage, outcome: Outcome, dry: bool) -> list[Row]:
        """The table after a stage."""
        stage, acts, joins = self._fit_stage(stage, outcome.rows)
        weigh, tell = self._judge.weigh, outcome.warnings.append
        untouched, tasks = plan_stage(stage, outcome.rows, self._context.seed, weigh, acts, joins, tell)
        outcome.counts.exact = outcome.counts.exact and is_foreseeable(stage.head, outcome.rows)
        unknown = [task for task in tasks if not self._pool.ledger.has("task", task.id)]
        self._new_tasks |= {task.id for task in unknown}
        self._fitted_stages.append(stage)
        self._tasks |= {task.id: (task, stage) for task in tasks}
        if not dry:
            self._perform_tasks(stage, unknown, self._stage_encoding(stage))
        rows = list(untouched)
        for task in tasks:
            made, by_step = self._task_rows(task, outcome)
            rows += made
            counts = outcome.counts.made if task.id in self._new_tasks else outcome.counts.reused
            counts.update({(label, split): n for label, n in by_step.items() for split in task.inputs[0].splits})
        check_names(rows)
        if not dry:
            self._measure(stage.measuring_steps, rows)
        for step in stage.filters:
            rows = self._judge.filter(step, rows)
        return rows

    def _fit_stage(self, stage: Stage, rows: Sequence[Row]) -> tuple[Stage, Chooses, Chooses]:
        """The stage with its first op fitted if it asks for that, whether a step acts on a row, and may draw it.

        Only the first op of a stage may be fitted or have a condition: `cut_stages` starts a new stage for either.
        """
        if stage.head is not None:
            stage = replace(stage, head=self._judge.fit(stage.head, rows))
        elif stage.chain:
            stage = replace(stage, chain=(self._judge.fit(stage.chain[0], rows), *stage.chain[1:]))
        return stage, *self._judge.choices(stage.first, rows)

    def _stage_encoding(self, stage: Stage) -> Encoding:
        """The final encoding for the last stage, unless its samples are measured.

        Filters then decide after it: a sample they move or keep is encoded once more if it has to be, and one they
        drop cost only the quick lossless encoding that everything else is made from.
        """
        return self._encoding if stage.index == len(self._stages) - 1 and not stage.measuring_steps else PNG

    def _task_rows(self, task: Task, outcome: Outcome) -> tuple[list[Row], Counter[str]]:
        """Rows of a task's result, and how many each step makes on the way; if it is not known, at most so many."""
        result = self._pool.ledger.get("task", task.id)
        anchor = task.inputs[0]
        inherited = inherited_row(task)
        if result is None:
            expected = expect_of_task(task, self._context.seed)
            outcome.counts.exact = outcome.counts.exact and all(sample.exact for sample in expected.samples)
            return [expected_row(sample, inherited) for sample in expected.samples], expected.made
        for rejection in result["rejected"]:
            outcome.rejected.append({**rejection, "split": anchor.split, "group": anchor.group, "detail": ""})
        made = Counter(result["made"]) if "made" in result else made_by_last_steps(result["outputs"], anchor.id)
        return [output_row(each, anchor, inherited) for each in result["outputs"]], made

    def _measure(self, steps: Sequence[Step], rows: Sequence[Row]) -> None:
        """Measure the features that the ledger does not hold yet."""
        missing = [
            (row, todo)
            for row in rows
            if (todo := tuple(s for s in steps if not self._pool.ledger.has("features", features_key(s.bound, row.id))))
        ]
        self._make_available([(row, PNG) for row, _ in missing if row.task is not None], "make again to measure")
        jobs = (Job(None, (self.job_input(row),), None, measuring_steps=todo) for row, todo in missing)
        self._perform_all(jobs, len(missing), "measure")

    def _perform_tasks(self, stage: Stage, tasks: Sequence[Task], encoding: Encoding, label: str = "") -> None:
        inputs = [(row, PNG) for task in tasks for row in task.inputs if row.task is not None]
        self._make_available(inputs, "make again")
        final = stage.index == len(self._stages) - 1
        # Only the last stage stores inputs that pass on: before it they lie in the source or already in the pool.
        jobs = (
            Job(
                task,
                tuple(map(self.job_input, task.inputs)),
                encoding,
                final and not self._has_payload(task.inputs[0], self._encoding),
                stage.measuring_steps,
            )
            for task in tasks
        )
        self._perform_all(jobs, len(tasks), label or f"stage {stage.index + 1}/{len(self._stages)}")

    def _make_available(self, needed: Iterable[tuple[Row, Encoding]], label: str) -> None:
        """See that each row's pixels are in the pool in an encoding.

        A task with a known result is not performed. The ledger then holds its outputs' rows, but their pixels may lie
        in shards of an earlier version, or be gone: the work area is a cache, and no shard holds intermediate samples.
        What is gone is made again: encoded anew from the source or from lossless pixels, else by its task. That task's
        own inputs may be gone too; `_perform_tasks` calls this for them, stage by stage up to the source.
        """
        missing = {(row.id, str(enc)): (row, enc) for row, enc in needed if not self._is_available(row, enc)}
        again: dict[tuple[int, Encoding], dict[str, Task]] = {}
        encoded = []
        for row, encoding in missing.values():
            if row.task is None or (encoding != PNG and self._is_available(row, PNG)):
                encoded.append((row, encoding))
            else:
                task, stage = self._tasks[row.task]
                again.setdefault((stage.index, encoding), {})[task.id] = task
        jobs = (Job(None, (self.job_input(row),), encoding) for row, encoding in encoded)
        self._perform_all(jobs, len(encoded), label)
        for (index, encoding), tasks in again.items():
            self._perform_tasks(self._fitted_stages[index], list(tasks.values()), encoding, label)

    def _is_available(self, row: Row, encoding: Encoding) -> bool:
        return self._has_payload(row, encoding) and self._pool.has_facts(row.id, encoding)

    def _has_payload(self, row: Row, encoding: Encoding) -> bool:
        return (row.id, str(encoding)) in self._pool.payloads

    def job_input(self, row: Row) -> JobInput:
        """How a job gets the pixels of a row: from the source, or from the pool, which must hold them."""
        if row.task is None:
            record = self._records.by_name(row.name)
            files = self._context.source.files_of(record) or ()
            return JobInput(row, record=record, stamps=self._files.stamps(files), hash_picture=self._is_to_hash(row))
        facts = self._pool.facts(row.id, PNG)
        return JobInput(row, payload=self._pool.payloads[row.id, str(PNG)], facts=facts)

    def _is_to_hash(self, row: Row) -> bool:
        """Whether the job that is being made is the one to hash a picture: of several that read it, the first is."""
        found = self._hashing and row.id not in self._hashed and lacks_hash(self._pool, row)
        self._hashed |= {row.id} if found else set()
        return found

    def _perform_all(self, jobs: Iterator[Job], count: int, label: str) -> None:
        """Perform jobs in waves: a job holds its rows and its source's record, so not all are made at once.

        Samples that turn out to be unreadable are told at the end, all together: each round plans anew.
        """
        size, unreadable = max(_WAVE_JOBS, _WAVE_JOBS_OF_WORKER * self._processes), list[Refused]()
        for start in range(0, count, size):
            part = f"{label}, part {start // size + 1} of {-(-count // size)}" if count > size else label
            try:
                self._perform(list(islice(jobs, size)), part)
            except UnreadableSamples as found:
                unreadable += found.refused
        if unreadable:
            raise UnreadableSamples(unreadable)

    def _perform(self, jobs: Sequence[Job], label: str) -> None:
        perform_jobs(perform_batch, self._context, self._pool, jobs, label, self._processes, self._progress)
