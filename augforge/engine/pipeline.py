"""Stage after stage: plan, run what is not known, decide the filters; then see that every sample has its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from augforge.engine import execute
from augforge.engine.findings import features_key
from augforge.engine.judge import Judge
from augforge.engine.outcome import Outcome, Pool
from augforge.engine.worker import Input, Job, Result, Shop, Unreadable, batches, load_input, run_batch
from augforge.errors import PlanError, TaskError
from augforge.lineage import Lineage
from augforge.planning.identity import Leaf
from augforge.planning.plan import check_names, common_metadata, cut_stages, plan_stage, task_leaves
from augforge.planning.rows import Row, Stage, Task
from augforge.planning.steps import Step
from augforge.progress import Progress, Silent
from augforge.recipe.recipe import Verdict
from augforge.sample import Sample
from augforge.sources import Records, Refused
from augforge.store.codec import Encoding

PNG = Encoding.png()
FAILURES_SHOWN = 10
BATCH_PIXELS = 1 << 25
"""Pixels of a batch, about: what is lost when a build is killed, and what one row of the progress bar stands for."""


class Pipeline:
    """Runs a recipe's stages over a source's rows.

    Args:
        shop: what all jobs share.
        steps: the recipe's.
        encoding: of the finished samples.
        records: of the source samples.
        pool: what is at hand; what is made is added.
        review: a person's verdicts by source sample name.
        jobs: processes.
        progress: is told how far it is.
    """

    def __init__(
        self,
        shop: Shop,
        steps: Sequence[Step],
        encoding: Encoding,
        records: Records,
        pool: Pool,
        review: Mapping[str, Verdict] | None = None,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> None:
        self._shop, self._encoding, self._records, self._pool = shop, encoding, records, pool
        self._stages = cut_stages(steps)
        self._review = review or {}
        self._jobs, self._progress = jobs, progress or Silent()
        self._judge: Judge
        self._ran: list[Stage] = []
        self._tasks: dict[str, tuple[Task, Stage]] = {}
        self._fresh: set[str] = set()

    def run(self, rows: list[Row], dry: bool = False, encode: bool = True) -> Outcome:
        """Take the source's rows through every stage.

        Args:
            rows: of the source.
            dry: run nothing: take as many rows as a task may at most make where its result is not known.
            encode: see that every final sample has its bytes.

        Raises:
            TaskError: tasks failed; what was finished is kept.
            PlanError: recipe and samples do not fit together, or no sample can be read.
        """
        check_names(rows)
        refused: dict[str, Refused] = {}
        while True:
            try:
                return self._through(rows, refused, dry, encode)
            except Unreadable as found:
                refused |= {row.name: row for row in found.refused}

    def _through(self, rows: list[Row], refused: Mapping[str, Refused], dry: bool, encode: bool) -> Outcome:
        """One run through the stages, without the rows that cannot be read. Raises Unreadable where there are more."""
        self._judge = judge = Judge(self._shop, self._pool.ledger, self._review)
        self._ran, self._tasks = [], {}
        readable = [row for row in judge.reviewed(rows) if row.name not in refused]
        if refused and not readable:
            raise PlanError(f"no sample of the source can be read, such as {next(iter(refused.values())).detail}")
        outcome = Outcome(
            readable,
            rejected=judge.rejected,
            refused=tuple(refused.values()),
            findings=judge.findings,
            fitted=judge.fitted,
        )
        for stage in self._stages:
            outcome.tables.append(outcome.rows)
            outcome.rows = self._stage(stage, outcome, dry)
        if encode and not dry:
            self._ensure([(row, self._encoding) for row in outcome.rows], "encode")
        outcome.counts.exact = outcome.counts.exact and judge.complete
        return outcome

    def load(self, row: Row) -> Sample:
        """A sample of any table of the run. Raises SourceError where its file cannot be read any more."""
        self._ensure([(row, PNG)] if row.task is not None else [], "load")
        return load_input(self._shop, self._input(row)).sample

    def _stage(self, stage: Stage, outcome: Outcome, dry: bool) -> list[Row]:
        stage, acts = self._prepared(stage, outcome.rows)
        passed, tasks = plan_stage(stage, outcome.rows, self._shop.seed, self._judge.weigh, acts)
        unknown = [task for task in tasks if not self._pool.ledger.has("task", task.id)]
        self._fresh |= {task.id for task in unknown}
        self._ran.append(stage)
        self._tasks |= {task.id: (task, stage) for task in tasks}
        if not dry:
            self._run_tasks(stage, unknown, self._stage_encoding(stage))
        rows = list(passed)
        for task in tasks:
            made = self._made(task, outcome)
            rows += made
            counted = outcome.counts.made if task.id in self._fresh else outcome.counts.reused
            counted.update((row.step, row.split) for row in made if row.id != task.inputs[0].id)
        check_names(rows)
        if not dry:
            self._measure(stage.measures, rows)
        for step in stage.filters:
            rows = self._judge.filter(step, rows)
        return rows

    def _prepared(self, stage: Stage, rows: Sequence[Row]) -> tuple[Stage, Callable[[Step, Row], bool]]:
        """The stage with its first op fitted, if it asks for that, and which rows each step acts on."""
        if stage.head is not None:
            stage = replace(stage, head=self._judge.fit(stage.head, rows))
        elif stage.chain:
            stage = replace(stage, chain=(self._judge.fit(stage.chain[0], rows), *stage.chain[1:]))
        first = stage.head or next(iter(stage.chain), None)
        chosen = self._judge.fulfilling(first, rows) if first is not None else set()
        return stage, lambda step, row: row.split in step.on and (step.where is None or row.name in chosen)

    def _stage_encoding(self, stage: Stage) -> Encoding:
        return self._encoding if stage.index == len(self._stages) - 1 and not stage.measures else PNG

    def _made(self, task: Task, outcome: Outcome) -> list[Row]:
        """Rows of a task's result; of what it will make at most, where the result is not known (dry runs)."""
        result = self._pool.ledger.get("task", task.id)
        anchor = task.inputs[0]
        inherited = replace(
            anchor,
            groups=tuple(sorted({group for row in task.inputs for group in row.groups})),
            metadata=common_metadata(task.inputs),
            parents=tuple(row.name for row in task.inputs),
            tags=tuple(dict.fromkeys(tag for row in task.inputs for tag in row.tags)),
            task=task.id,
        )
        if result is None:
            leaves = task_leaves(task, self._shop.seed)
            outcome.counts.exact = outcome.counts.exact and all(leaf.exact for leaf in leaves)
            return [_foreseen(leaf, inherited) for leaf in leaves]
        for rejection in result["rejected"]:
            outcome.rejected.append({**rejection, "split": anchor.split, "group": anchor.group, "detail": ""})
        return [self._row(made, anchor, inherited) for made in result["outputs"]]

    def _row(self, made: dict[str, Any], anchor: Row, inherited: Row) -> Row:
        if made["id"] == anchor.id:
            return anchor
        return replace(
            inherited,
            name=made["name"],
            id=made["id"],
            width=made["width"],
            height=made["height"],
            lineage=Lineage.from_json(made["lineage"]),
            step=made["lineage"]["steps"][-1]["step"],
        )

    def _measure(self, steps: Sequence[Step], rows: Sequence[Row]) -> None:
        missing = [
            (row, todo)
            for row in rows
            if (todo := tuple(s for s in steps if not self._pool.ledger.has("features", features_key(s.bound, row.id))))
        ]
        self._ensure([(row, PNG) for row, _ in missing if row.task is not None], "make again to measure")
        self._run([Job(None, (self._input(row),), None, measures=todo) for row, todo in missing], "measure")

    def _run_tasks(self, stage: Stage, tasks: Sequence[Task], encoding: Encoding, label: str = "") -> None:
        self._ensure([(row, PNG) for task in tasks for row in task.inputs if row.task is not None], "make again")
        final = stage.index == len(self._stages) - 1
        self._run(
            [
                Job(task, tuple(map(self._input, task.inputs)), encoding, final and self._missing(task), stage.measures)
                for task in tasks
            ],
            label or f"stage {stage.index + 1}/{len(self._stages)}",
        )

    def _missing(self, task: Task) -> bool:
        return (task.inputs[0].id, str(self._encoding)) not in self._pool.payloads

    def _input(self, row: Row) -> Input:
        if row.task is None:
            return Input(row, record=self._records.by_name(row.name))
        facts = self._pool.facts(row.id, PNG)
        return Input(row, payload=self._pool.payloads[row.id, str(PNG)], facts=facts)

    def _has(self, row: Row, encoding: Encoding) -> bool:
        return (row.id, str(encoding)) in self._pool.payloads and self._pool.has_facts(row.id, encoding)

    def _ensure(self, needed: Iterable[tuple[Row, Encoding]], label: str) -> None:
        """See that each row's payload is at hand in an encoding; make again what is not."""
        missing = {(row.id, str(enc)): (row, enc) for row, enc in needed if not self._has(row, enc)}
        again: dict[tuple[int, Encoding], dict[str, Task]] = {}
        jobs = []
        for row, encoding in missing.values():
            if row.task is None or (encoding != PNG and self._has(row, PNG)):
                jobs.append(Job(None, (self._input(row),), encoding))
            else:
                task, stage = self._tasks[row.task]
                again.setdefault((stage.index, encoding), {})[task.id] = task
        self._run(jobs, label)
        for (index, encoding), tasks in again.items():
            self._run_tasks(self._ran[index], list(tasks.values()), encoding, label)

    def _run(self, jobs: Sequence[Job], label: str) -> None:
        if not jobs:
            return
        self._progress.start(label, len(jobs))
        failures, unreadable = [], []
        size = self._batch_size(jobs)
        work = [(self._shop, batch) for batch in batches(jobs, size)]
        for result in execute.run(run_batch, work, self._jobs):
            self._take(result)
            failures += result.failures
            unreadable += result.unreadable
            if len(failures) >= FAILURES_SHOWN:
                break
        if failures:
            raise TaskError(_told(failures))
        if unreadable:
            raise Unreadable(unreadable)

    def _take(self, result: Result) -> None:
        self._pool.add(result.batch)
        self._progress.advance(result.jobs)

    def _batch_size(self, jobs: Sequence[Job]) -> int:
        """As many as hold BATCH_PIXELS, but enough batches to keep every worker busy to the end."""
        pixels = max(1, sum(given.row.width * given.row.height for job in jobs for given in job.inputs) // len(jobs))
        return max(1, min(BATCH_PIXELS // pixels, -(-len(jobs) // (8 * self._jobs))))


def _foreseen(leaf: Leaf, inherited: Row) -> Row:
    """The row that a task will make, as far as it is known; of the input itself where that passes."""
    step = leaf.made_by or inherited.step
    width, height = leaf.size
    return replace(inherited, name=leaf.name, id=leaf.id or leaf.name, width=width, height=height, step=step)


def _told(failures: Sequence[Any]) -> str:
    lines = [f"{failure.key} ({failure.where}): {failure.message}" for failure in failures[:FAILURES_SHOWN]]
    return f"{len(failures)} tasks failed; what was finished is kept.\n" + "\n".join(lines)
