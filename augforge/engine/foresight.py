"""Which tasks of a plan would run, and why: compared with the current version. Nothing is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from augforge.engine.changes import RecipeSteps, changed_options, changed_steps
from augforge.engine.measuring import features_key
from augforge.engine.opening import Opened
from augforge.engine.outcome import Outcome
from augforge.engine.pipeline import PNG, Pipeline
from augforge.errors import DatasetError
from augforge.planning.identity import output_name
from augforge.planning.rows import Row, Stage, Task
from augforge.planning.steps import Step
from augforge.store.codec import Encoding
from augforge.store.dataset import Dataset
from augforge.store.tables import read_stages

Reason = tuple[str, str, str]
"""Kind (``source``, ``step``, ``missing`` and so on), which one, and in what way."""


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """A task that a build would perform.

    Attributes:
        work: ``run`` (its result is not known), ``again`` (it is known, but the pixels are gone), ``encode`` (pixels
            are at hand, but not as they are to be stored) or ``measure``.
        step: label of its last step; of the measuring step; empty if a source image is encoded as it is.
        sample: name of the sample that it is for.
        reasons: why; one or more.
    """

    work: str
    step: str
    sample: str
    reasons: tuple[Reason, ...]


_NEW: Reason = ("new", "", "there is no dataset yet")


@dataclass(frozen=True)
class _Before:
    """What the current version says of its samples.

    Attributes:
        sources: id by name, of source samples.
        parents, labels: of the last sample of each name: names of its parents, and labels of its steps.
        shards: the shard of each finished sample, by id.
    """

    sources: dict[str, str]
    parents: dict[str, list[str]]
    labels: dict[str, list[str]]
    shards: dict[str, str]

    @classmethod
    def of(cls, dataset: Dataset) -> _Before:
        """Those of a version; without its table of samples between stages, what the index alone says."""
        try:
            stages = read_stages(dataset)
        except DatasetError:
            stages = dataset.index.clear().with_columns(stage=0)
        rows: list[tuple[Any, ...]] = []
        labels = pl.col("lineage").struct.field("steps").list.eval(pl.element().struct.field("step"))
        for table in (stages.sort("stage"), dataset.index):
            rows += table.select("name", "parents", labels).iter_rows()
        return cls(
            dict(stages.filter(stages["stage"] == 0).select("name", "id").iter_rows()),
            {name: list(parents or ()) for name, parents, _ in rows},
            {name: list(steps or ()) for name, _, steps in rows},
            dict(dataset.index.select("id", "shard").iter_rows()),
        )


class Planner:
    """Finds the tasks of a plan that would run, with their reasons."""

    def __init__(self, opened: Opened, pipeline: Pipeline, outcome: Outcome, before: Dataset | None) -> None:
        self.opened, self.outcome, self.dataset = opened, outcome, before
        self.stages, self.tasks, self.new = pipeline.plan
        self.before = _Before.of(before) if before else None
        self.again: dict[str, tuple[Reason, ...]] = {}
        self.known: dict[str, tuple[Reason, ...]] = {}

    def work(self) -> Iterator[PlannedWork]:
        """All tasks: those whose results are not known, then what they and the finished samples need besides."""
        new = [self.tasks[id] for id in self.new if id in self.tasks]
        yield from (PlannedWork("run", *_name_of(task), self.reasons(task)) for task, _ in new)
        for task, _ in new:
            self.need_inputs(task)
        stored = [row for row in self.outcome.rows if row.task not in self.new]
        encoded = [row for row in stored if self.need(row, self.opened.recipe.output.encoding)]
        yield from (PlannedWork("again", *_name_of(self.tasks[id][0]), why) for id, why in self.again.items())
        yield from (PlannedWork("encode", row.step, row.name, self.encoding_reasons(row)) for row in encoded)
        for stage, rows in zip(self.stages, [*self.outcome.tables[1:], self.outcome.rows], strict=True):
            yield from self.measures(stage, rows)

    # ---- why a task's result is not known ----

    def reasons(self, task: Task) -> tuple[Reason, ...]:
        """Why a task would run: its own steps, its partners, and what changed in its inputs."""
        if self.before is None:
            return (_NEW,)
        if self.libraries:
            return (self.libraries,)
        if task.id not in self.known:
            found = [*self.own_reasons(task), *(reason for row in task.inputs for reason in self.row_reasons(row))]
            missing: Reason = ("missing", "", "its result is not in the records of any version")
            self.known[task.id] = tuple(dict.fromkeys(found)) or (missing,)
        return self.known[task.id]

    def own_reasons(self, task: Task) -> Iterator[Reason]:
        """What changed in a task itself: its steps, steps that are gone, or other partners."""
        assert self.before is not None
        labels = [step.bound.label for step in (*([task.head] if task.head else []), *task.chain)]
        yield from (("step", label, self.changes[label]) for label in labels if label in self.changes)
        gone = self.gone_steps(task.inputs[0].name)
        yield from (("step", label, "is gone") for label in gone)
        changed = gone or any(label in self.changes for label in labels)
        if task.head is not None and not changed:
            before = self.before.parents.get(output_name(task.head, task.inputs[0].name, task.copy))
            if before is not None and before != [row.name for row in task.inputs]:
                yield ("partners", task.head.bound.label, "other partners are drawn")

    def gone_steps(self, name: str) -> list[str]:
        """Steps that the current version has in samples of this name, and the recipe no longer has."""
        assert self.before is not None
        present = {step.bound.label for step in self.opened.recipe.steps}
        return [label for label in dict.fromkeys(self.before.labels.get(name, ())) if label not in present]

    def row_reasons(self, row: Row) -> Iterable[Reason]:
        """Why an input is not what it was: the reasons of the task that would make it, or of its source."""
        assert self.before is not None
        if row.task is not None:
            return self.reasons(self.tasks[row.task][0]) if row.task in self.new else ()
        before = self.before.sources.get(row.name)
        if before == row.id:
            return ()
        if before is None:
            return [("source", row.name, "is new")]
        return [self.options or ("source", row.name, "image or annotation changed")]

    @cached_property
    def libraries(self) -> Reason | None:
        """The libraries that decide pixels and have other versions now: then nothing is reused."""
        assert self.dataset is not None
        before, now = self.dataset.manifest.made_by, self.opened.libraries
        names = [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]
        texts = [f"{name} {before.get(name) or 'none'} -> {now.get(name) or 'none'}" for name in names]
        return ("library", ", ".join(names), "; ".join(texts)) if texts else None

    @cached_property
    def recipes(self) -> tuple[RecipeSteps, RecipeSteps]:
        """What decides the samples of the current version, and of the plan."""
        assert self.dataset is not None
        manifest, listing = self.dataset.manifest, self.opened.listing
        tables = {"classes": listing.classes, "labels": listing.labels}
        # If measurements are missing, nothing is fitted yet; then the values are taken to stay what they are.
        kept = {} if self.outcome.counts.exact else manifest.fitted
        after = RecipeSteps.of_recipe(self.opened.recipe, tables, {**kept, **self.outcome.fitted})
        return RecipeSteps.of_version(self.dataset.folder, manifest, set), after

    @cached_property
    def changes(self) -> Mapping[str, str]:
        """What is different about each step, by its label."""
        before, after = self.recipes
        return changed_steps(after, before)

    @cached_property
    def options(self) -> Reason | None:
        """What changes every source sample."""
        text = changed_options(*self.recipes)
        return ("options", "source", text) if text else None

    # ---- pixels that are needed and gone ----

    def need(self, row: Row, encoding: Encoding) -> bool:
        """Note the tasks that would run again because a sample's pixels are gone; whether it would only be encoded."""
        if self.is_available(row, encoding):
            return False
        if row.task is None or (encoding != PNG and self.is_available(row, PNG)):
            return True
        if row.task not in self.new and row.task not in self.again:
            self.again[row.task] = (self.missing_reason(row),)
            self.need_inputs(self.tasks[row.task][0])
        return False

    def need_inputs(self, task: Task) -> None:
        """Note the tasks that would run again for the inputs of a task; source images are read anyway."""
        for row in task.inputs:
            if row.task is not None:
                self.need(row, PNG)

    def is_available(self, row: Row, encoding: Encoding) -> bool:
        """Whether a sample's pixels and facts are at hand in an encoding."""
        pool = self.opened.pool
        return (row.id, str(encoding)) in pool.payloads and pool.has_facts(row.id, encoding)

    def missing_reason(self, row: Row) -> Reason:
        """Where a sample's pixels are gone from."""
        shard = self.before.shards.get(row.id) if self.before else None
        if shard is not None and self.same_encoding:
            return ("missing", shard, "the shard is damaged or gone")
        return ("missing", "", "its pixels are needed, and no shard and no work file holds them")

    @property
    def same_encoding(self) -> bool:
        """Whether samples are stored as in the current version."""
        return self.dataset is not None and self.dataset.manifest.encoding == str(self.opened.recipe.output.encoding)

    def encoding_reasons(self, row: Row) -> tuple[Reason, ...]:
        """Why a finished sample would be encoded, though its pixels are at hand."""
        if self.before is None or self.dataset is None:
            return (_NEW,)
        if self.libraries:
            return (self.libraries,)
        if row.id in self.before.shards and not self.same_encoding:
            change = f"{self.dataset.manifest.encoding} -> {self.opened.recipe.output.encoding}"
            return (("encoding", "output", change),)
        if row.id in self.before.shards:
            return (self.missing_reason(row),)
        found = tuple(self.row_reasons(row)) or tuple(("step", label, "is gone") for label in self.gone_steps(row.name))
        return found or (("passing", row.step, "the sample was not passed on or was rejected before"),)

    def measures(self, stage: Stage, rows: Sequence[Row]) -> Iterator[PlannedWork]:
        """Samples of which a filter or another step lacks measurements; those of new tasks are measured by them."""
        ledger = self.opened.pool.ledger
        for step in stage.measuring_steps:
            for row in rows:
                if row.task not in self.new and not ledger.has("features", features_key(step.bound, row.id)):
                    yield PlannedWork("measure", step.bound.label, row.name, self.measuring_reasons(step, row))

    def measuring_reasons(self, step: Step, row: Row) -> tuple[Reason, ...]:
        """Why a sample would be measured."""
        if self.before is None:
            return (_NEW,)
        if self.libraries:
            return (self.libraries,)
        label = step.bound.label
        if label in self.changes:
            return (("step", label, self.changes[label]),)
        return tuple(self.row_reasons(row)) or (("missing", "", "no measurement is recorded"),)


def _name_of(task: Task) -> tuple[str, str]:
    """The label of a task's last step, and the name of the sample that it makes first."""
    head = task.head
    last = task.chain[-1] if task.chain else head
    name = task.inputs[0].name if head is None else output_name(head, task.inputs[0].name, task.copy)
    return ("" if last is None else last.bound.label), name
