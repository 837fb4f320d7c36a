"""A few samples taken through a recipe in memory, to be looked at: what comes into each step, and what goes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from augforge.cache.filecache import FileCache
from augforge.cache.ledger import Ledger
from augforge.engine.jobs import JobInput, UnreadableSamples, WorkerContext
from augforge.engine.judge import Judge
from augforge.engine.measuring import StepError, features_key, measure_features
from augforge.engine.opening import dataset_folder, list_source
from augforge.engine.outcome import output_row
from augforge.engine.sides import settle_steps
from augforge.engine.sourcetable import source_table
from augforge.engine.worker import TracedSample, ledger_entry, load_input, run_task
from augforge.errors import PlanError, nearest
from augforge.keys import hash64
from augforge.planning.plan import cut_stages, plan_stage
from augforge.planning.rows import Row, Task, inherited_row
from augforge.planning.steps import Step
from augforge.recipe.recipe import Recipe, load_recipe
from augforge.sample import Sample
from augforge.sources import Listing

_MOST_AFTER, _POOL, _TABLE = 4, 6, 24
"""Outputs of one call that are shown, source samples that are loaded, and rows that go on after each step, at least."""


@dataclass(frozen=True)
class Shown:
    """What a step did to one sample.

    Attributes:
        before: its inputs, the anchor first.
        after: what it made, some of it; empty if it dropped the sample.
        made: how many samples it made.
        note: what chance decided, or what a filter said.
    """

    before: tuple[Sample, ...]
    after: tuple[Sample, ...]
    made: int
    note: str = ""


@dataclass(frozen=True)
class StepShown:
    """A step with examples.

    Attributes:
        step: the step.
        shown: what it did to samples; empty if it acts on none of them.
        note: why nothing is shown, or what is to be known of what is.
    """

    step: Step
    shown: tuple[Shown, ...]
    note: str = ""


@dataclass(frozen=True)
class Preview:
    """A recipe with examples of its steps.

    Attributes:
        recipe: with what ``--set`` changed.
        classes: the class table.
        labels: the names of the entries of label vectors.
        sources: the source samples that are shown.
        steps: all steps, or the one that was asked for.
        total: how many samples the source has.
    """

    recipe: Recipe
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    sources: tuple[Sample, ...]
    steps: tuple[StepShown, ...]
    total: int


def preview_recipe(
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    names: Sequence[str] = (),
    samples: int = 3,
    seed: int = 0,
    step: int | None = None,
) -> Preview:
    """Take a few source samples through a recipe's steps, in memory; nothing is written.

    The steps act as in a build, with the same chance for the same names. What a step finds out about the whole training
    set, such as a filter's threshold, it finds here from the few samples alone; partners are drawn from them too.

    Args:
        path: the recipe.
        overrides: ``key.path=value`` strings that change it.
        names: the source samples to show; without any, some of train are chosen by their hash.
        samples: how many to choose.
        seed: another one chooses others.
        step: only this step, counted from 1.

    Raises:
        RecipeError, SourceError, PlanError: as in a build; or there is no such step or sample.
    """
    recipe = load_recipe(path, overrides)
    if step is not None and not 1 <= step <= len(recipe.steps):
        raise PlanError(f"--step {step}: the recipe has {len(recipe.steps)} steps; expected 1 to {len(recipe.steps)}")
    listing = list_source(recipe, FileCache(dataset_folder(None, recipe.name) / "work" / "files.sqlite"))
    recipe = settle_steps(recipe, listing)
    rows = source_table(listing, recipe).rows
    asked = max([samples, len(names), *(each.bound.inputs for each in recipe.steps)])
    chosen = _choose(rows, names, max(asked, _POOL), seed)
    trial = _Trial(recipe, listing, len(names) or samples, {row.name: i for i, row in enumerate(chosen)}, bool(names))
    trial.load(chosen)
    sources = tuple(trial.sample(row) for row in trial.rows[: trial.count])
    done = [trial.take(each) for each in recipe.steps[:step]]
    return Preview(
        recipe, listing.classes, listing.labels, sources, tuple(done if step is None else done[-1:]), len(rows)
    )


def _choose(rows: Sequence[Row], names: Sequence[str], count: int, seed: int) -> list[Row]:
    """The rows of the names, then others in the order of their hashes: those of train first."""
    by_name = {row.name: row for row in rows}
    for name in names:
        if name not in by_name:
            raise PlanError(f"the source has no sample '{name}'.{nearest(name, by_name)}")
    rest = sorted(rows, key=lambda row: (row.split != "train", hash64("preview", seed, row.name)))
    found = dict.fromkeys([*names, *(row.name for row in rest)])
    return [by_name[name] for name in found][:count]


@dataclass
class _Trial:
    """Samples on their way through the steps.

    Attributes:
        recipe: with its steps settled.
        listing: of the source.
        count: how many samples are shown.
        order: the place of each source sample among those that were chosen.
        named: whether a person chose them.
        rows: the table as it is now.
        items: the samples of all tables, by their ids.
        ledger: features that were measured.
    """

    recipe: Recipe
    listing: Listing
    count: int
    order: Mapping[str, int]
    named: bool
    rows: list[Row] = field(default_factory=list)
    items: dict[str, TracedSample] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        self.context = WorkerContext(
            self.recipe.source, self.listing.classes, self.listing.labels, self.recipe.seed, Path(), {}
        )
        self.judge = Judge(self.context, self.ledger, self.recipe.review)

    def load(self, rows: Iterable[Row]) -> None:
        """Read source samples; those that cannot be read are left out. Raises PlanError if none can be read."""
        for row in self.judge.apply_review(list(rows)):
            try:
                self.items[row.id] = load_input(
                    self.context, JobInput(row, record=self.listing.records.by_name(row.name))
                )
            except UnreadableSamples:
                continue
            self.rows.append(row)
        if not self.rows:
            raise PlanError("none of the samples that were chosen can be shown. Choose others with --seed, or by name")

    def sample(self, row: Row) -> Sample:
        """The sample of a row."""
        return self.items[row.id].sample

    def take(self, step: Step) -> StepShown:
        """Take the table through one step."""
        try:
            return self._filter(step) if step.bound.op.role == "filter" else self._make(step)
        except StepError as error:
            raise PlanError(f"step {step.index} ({error}): {error.__cause__}") from error
        except PlanError as error:
            return StepShown(step, (), f"not on so few samples: {error}")

    def _filter(self, step: Step) -> StepShown:
        """What a filter says of samples; it decides from these few alone."""
        self._measure([step], self.rows)
        before, found = list(self.rows), len(self.judge.findings)
        self.rows = self.judge.filter(step, before)
        said = {finding.row.id: f"{finding.outcome}: {finding.flag.reason}" for finding in self.judge.findings[found:]}
        kept = {row.id for row in self.rows}
        first = sorted(before, key=lambda row: (not self.named and row.id not in said, self._place(row)))[: self.count]
        shown = [
            Shown((self.sample(row),), (self.sample(row),) if row.id in kept else (), 1, said.get(row.id, "kept"))
            for row in first
        ]
        if not self.rows:
            self.rows = before  # all were dropped, but the steps that follow are to be seen
        few = f"decided from {len(before)} samples; augforge outliers shows what it finds in all"
        return StepShown(step, tuple(shown), few if step.bound.needs_fitting or not step.bound.op.decides_alone else "")

    def _make(self, step: Step) -> StepShown:
        """What a step makes of samples."""
        first, *_ = [stage for stage in cut_stages([step]) if stage.first is not None]
        self._measure([step, *step.probes], self.rows)
        step = self.judge.fit(step, self.rows)
        stage = replace(first, head=step) if first.head else replace(first, chain=(step,))
        acts, joins = self.judge.choices(step, self.rows)
        untouched, tasks = plan_stage(stage, self.rows, self.context.seed, self.judge.weigh, acts, joins)
        made = [(task, self._run(task)) for task in self._chosen(tasks)]
        shown = [self._shown(task, rows) for task, rows in made[: self.count]]
        self.rows = self._going_on(untouched, [rows for _, rows in made])
        told = "" if shown else "acts on none of these samples"
        return StepShown(step, tuple(shown), told)

    def _chosen(self, tasks: Sequence[Task]) -> list[Task]:
        """Tasks to run: those of different anchors first, and no more than the table is to hold."""
        turns: Counter[int] = Counter()
        order = []
        for task in tasks:
            place = self._place(task.inputs[0])
            order.append((turns[place], place, task))
            turns[place] += 1
        return [task for *_, task in sorted(order, key=lambda each: each[:2])][:_TABLE]

    def _place(self, row: Row) -> int:
        """The place among those chosen of the source sample that a row shows, or shows first."""
        return self.order[row.lineage.roots[0].name]

    def _run(self, task: Task) -> list[Row]:
        """The rows of what a task makes; the samples are kept."""
        items = [self.items[row.id] for row in task.inputs]
        made = [item for item in run_task(self.context, task, items, Counter()) if isinstance(item, TracedSample)]
        self.items |= {item.id: item for item in made}
        inherited = inherited_row(task)
        return [output_row(ledger_entry(item), task.inputs[0], inherited) for item in made]

    def _shown(self, task: Task, rows: Sequence[Row]) -> Shown:
        anchor = task.inputs[0]
        new = [row for row in rows if row.id != anchor.id]
        after = [self.sample(row) for row in new[:_MOST_AFTER]]
        before = tuple(self.sample(row) for row in task.inputs)
        note = _drawn_text(new[0].lineage.steps[-1].get("drawn")) if new else "unchanged" if rows else "made nothing"
        return Shown(before, tuple(after or map(self.sample, rows[:1])), len(new), note)

    def _going_on(self, untouched: Sequence[Row], made: Sequence[Sequence[Row]]) -> list[Row]:
        """The next table: what steps made first, one of each call in turn, so that few rows show many things."""
        turns = [[row] for row in untouched] + [list(rows) for rows in made]
        mixed = [rows[i] for i in range(max(map(len, turns), default=0)) for rows in reversed(turns) if i < len(rows)]
        unique = list({row.id: row for row in mixed}.values())
        return unique[: max(_TABLE, self.count)]

    def _measure(self, steps: Iterable[Step], rows: Iterable[Row]) -> None:
        """Measure what steps decide, weigh or fit by."""
        needed = [step for step in steps if step.bound.needs_features]
        for row in rows:
            for step in needed:
                key = features_key(step.bound, row.id)
                if not self.ledger.has("features", key):
                    found = measure_features(step.bound, self.sample(row), self.context.op_context(step.bound))
                    self.ledger.put([("features", key, dict(found))])


def _drawn_text(drawn: Any) -> str:
    """What chance decided, in a few words."""
    if isinstance(drawn, Mapping):
        return ", ".join(f"{key} {_drawn_text(value)}" for key, value in drawn.items() if value is not None)
    if isinstance(drawn, float):
        return f"{drawn:.3g}"
    if isinstance(drawn, list | tuple):
        return f"[{', '.join(map(_drawn_text, drawn[:4]))}{', ...' if len(drawn) > 4 else ''}]"
    return "" if drawn is None else str(drawn)
