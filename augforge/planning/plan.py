"""From steps and a table of samples to tasks: pure functions, no pixels, no files.

Steps are cut into stages. A stage begins with an op of several inputs, with one that is fitted on the table, or with a
step that chooses its rows by a condition; the one-input ops after it are fused into the same task; filters end it,
because they decide over a whole table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from augforge.errors import PlanError
from augforge.keys import canonical_json, digest_of_texts
from augforge.planning.identity import (
    Expected,
    drawn_copies,
    expect_of_call,
    expect_samples,
    input_passes,
    metadata_read,
    op_identity_text,
    seed_if_random,
)
from augforge.planning.partners import Partners
from augforge.planning.rows import Row, Stage, Task, common_metadata
from augforge.planning.steps import Step


def cut_stages(steps: Sequence[Step]) -> tuple[Stage, ...]:
    """Group steps into stages."""
    # Stage 0 may hold no op: filters that come first, and what the next stage needs, are measured on the source's rows.
    stages = [Stage(0, None, (), ())]
    for step in steps:
        last, op = stages[-1], step.bound.op
        if op.role == "filter":
            stages[-1] = replace(last, filters=(*last.filters, step))
        elif step.bound.inputs > 1:
            stages.append(Stage(len(stages), step, (), ()))
        elif last.filters or step.bound.needs_fitting or step.where is not None:
            stages.append(Stage(len(stages), None, (step,), ()))
        else:
            stages[-1] = replace(last, chain=(*last.chain, step))
    return tuple(_with_measures(stages))


def _with_measures(stages: Sequence[Stage]) -> Iterator[Stage]:
    """Note in each stage which steps need features of its samples: its filters, and the next stage's first op."""
    for stage, following in zip(stages, [*stages[1:], None], strict=True):
        first = following.first if following else None
        needed = [*stage.filters, *((first, *first.probes) if first else ())]
        yield replace(stage, measuring_steps=tuple(step for step in needed if step.bound.needs_features))


def plan_stage(
    stage: Stage,
    rows: Sequence[Row],
    seed: int,
    weigh: Callable[[Step, Row], float],
    acts: Callable[[Step, Row], bool] = lambda step, row: row.split in step.on,
    joins: Callable[[Step, Row], bool] | None = None,
    tell: Callable[[str], None] = lambda message: None,
) -> tuple[list[Row], list[Task]]:
    """Split a table into the rows that pass a stage untouched, and the tasks for the others.

    Args:
        stage: its ops already fitted, if they need fitting.
        rows: the table.
        seed: the recipe's.
        weigh: how likely a step's op draws a row as partner.
        acts: whether a step acts on a row; others pass it untouched.
        joins: whether a step may draw a row as partner; by default those that it acts on.
        tell: is told of samples for which nothing is made, since there are too few partners.

    Raises:
        PlanError: a split holds fewer samples than an op takes, and its parameters do not say what to do then.
    """
    going_on: list[Row] = list(rows)
    calls: list[tuple[tuple[Row, ...], int]] = []
    if stage.head:
        going_on, calls = _group_inputs(stage.head, rows, seed, weigh, acts, joins or acts, tell)
    untouched, tasks = [], []
    for row in going_on:
        chain = _acting(stage.chain, row, acts)
        if _changes(row, chain, seed):
            tasks.append(_task((row,), None, 0, chain, seed))
        else:
            untouched.append(row)
    tasks += [_task(inputs, stage.head, copy, _acting(stage.chain, inputs[0], acts), seed) for inputs, copy in calls]
    return untouched, tasks


def _acting(chain: Sequence[Step], row: Row, acts: Callable[[Step, Row], bool]) -> tuple[Step, ...]:
    found = tuple(step for step in chain if acts(step, row))
    return tuple(chain) if len(found) == len(chain) else found  # the same tuple for all tasks of most tables


def _changes(row: Row, chain: Sequence[Step], seed: int) -> bool:
    if not (row.foreseen or any(drawn_copies(step, seed, row.name) for step in chain)):
        return False  # as most rows of a split that no step acts on; counting what is made takes ten times as long
    expected = expect_samples(row.name, row.id, row.size, chain, seed, row.metadata, certain=not row.foreseen)
    return [sample.id for sample in expected.samples] != [row.id]


def _task(inputs: tuple[Row, ...], head: Step | None, copy: int, chain: tuple[Step, ...], seed: int) -> Task:
    steps = [head, *chain] if head else list(chain)
    identities = ",".join(_step_text(step, seed) for step in steps)
    inputs_key = [[row.name, row.id, metadata_read(steps, row.metadata)] for row in inputs]
    id = digest_of_texts('"task"', f"[{identities}]", canonical_json(inputs_key), canonical_json(copy))
    return Task(id, inputs, head, copy, chain)


def _step_text(step: Step, seed: int) -> str:
    """Canonical JSON of what decides a step's results."""
    often = (step.p, step.copies, step.keep_input, seed_if_random(step, seed))
    return f"[{op_identity_text(step.bound)},{','.join(map(canonical_json, often))}]"


def expect_of_task(task: Task, seed: int) -> Expected:
    """What a task will make, as far as it is known before any pixel is seen."""
    row, certain = task.inputs[0], not any(given.foreseen for given in task.inputs)
    if task.head is None:
        return expect_samples(row.name, row.id, row.size, task.chain, seed, row.metadata, certain=certain)
    inputs, sizes = [(r.name, r.id) for r in task.inputs], [r.size for r in task.inputs]
    metadata = common_metadata(task.inputs)
    return expect_of_call(task.head, inputs, sizes, task.copy, task.chain, seed, metadata, certain)


def check_names(rows: Iterable[Row]) -> None:
    """Raise PlanError if two samples of a table share a name."""
    duplicates = [name for name, count in Counter(row.name for row in rows).items() if count > 1]
    if duplicates:
        raise PlanError(
            f"{len(duplicates)} names stand for more than one sample, such as '{duplicates[0]}'. Names must be unique; "
            "rename the source's samples, or give each output of an op a mark of its own"
        )


def _group_inputs(
    head: Step,
    rows: Sequence[Row],
    seed: int,
    weigh: Callable[[Step, Row], float],
    acts: Callable[[Step, Row], bool],
    joins: Callable[[Step, Row], bool],
    tell: Callable[[str], None],
) -> tuple[list[Row], list[tuple[tuple[Row, ...], int]]]:
    """The rows that go on unchanged beside the calls of an op of several inputs, and each call's inputs and copy."""
    going_on = [row for row in rows if not acts(head, row)]
    calls: list[tuple[tuple[Row, ...], int]] = []
    anchors = _by_split(row for row in rows if acts(head, row))
    candidates = _by_split(row for row in rows if joins(head, row))
    for split, members in anchors.items():
        others = candidates.get(split, [])
        if head.bound.params.when_fewer() == "refuse":
            _check_enough(head, split, len(others))
        weights = {row.name: weigh(head, row) for row in others} if head.bound.weighs_partners else None
        partners = Partners(head.bound, [row.name for row in others], seed, weights)
        named, skipped = {row.name: row for row in [*others, *members]}, []
        for row in members:
            copies = _copies_at_most(head, seed, row)
            found = [(names, copy) for copy in copies if (names := partners.of(row.name, copy)) is not None]
            calls += [(tuple(named[name] for name in names), copy) for names, copy in found]
            going_on += [row] if input_passes(head, [copy for _, copy in found]) else []
            skipped += [row.name] if len(found) < len(copies) else []
        if skipped:
            tell(_too_few(head, split, skipped, len(members)))
    return going_on, calls


def _by_split(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault("train" if row.may_move else row.split, []).append(row)
    return found


def _too_few(head: Step, split: str, skipped: Sequence[str], members: int) -> str:
    """The warning that some samples stay without partners."""
    needed = head.bound.inputs - 1
    others = f"{needed} other samples" if needed > 1 else "another sample"
    return (
        f"step {head.index} ({head.bound.label}) makes nothing for {len(skipped)} of {members} samples of split "
        f"'{split}', such as '{skipped[0]}': it joins each with {others} of this split, and too few may be drawn. "
        "Add samples, or change what chooses them"
    )


def is_foreseeable(head: Step | None, rows: Iterable[Row]) -> bool:
    """Whether the copies that an op of several inputs draws are known: not where chance hashes names still unknown."""
    return head is None or head.p in (0, 1) or not any(row.foreseen for row in rows)


def _copies_at_most(head: Step, seed: int, row: Row) -> list[int]:
    """The copies that are drawn; all of them for a row that is only foreseen, since chance hashes its name."""
    return list(range(head.copies)) if row.foreseen and head.p > 0 else drawn_copies(head, seed, row.name)


def _check_enough(head: Step, split: str, members: int) -> None:
    needed = head.bound.inputs
    if members < needed:
        fewer = ", or say what to do with `fewer`" if "fewer" in type(head.bound.params).model_fields else ""
        raise PlanError(
            f"step {head.index} ({head.bound.name}) joins {needed} samples, but split '{split}' holds {members}. "
            f"Add samples, or let the step act on other splits with `on`{fewer}"
        )
