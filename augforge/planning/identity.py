"""Who a sample is: names, ids and chances of what steps make, known before any pixel is seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from augforge.keys import Id, digest, unit_hash
from augforge.ops.core import BoundOp, Size
from augforge.planning.steps import Step


@dataclass(frozen=True, slots=True)
class Leaf:
    """A sample that a task will make, as far as it is known before.

    Attributes:
        id: its content id; None where pixels decide how many there are.
        made_by: label of the step that made it; empty for an input passed on.
        exact: False if pixels may decide that there is none.
    """

    name: str
    id: Id | None
    size: Size
    made_by: str
    exact: bool


def identity(bound: BoundOp) -> list[Any]:
    """What an op is and does; what it was fitted to only where that changes pixels, not just who is drawn."""
    fitted = bound.fitted if bound.op.weigh is None else None
    return [str(bound.op), bound.label, bound.params.declared(), fitted]


def seed_of(step: Step, seed: int) -> int | None:
    """The seed where chance plays a part, so that a new seed re-makes nothing else."""
    return seed if step.bound.op.draw is not None or step.p < 1 else None


def read_fields(steps: Iterable[Step], metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: (metadata or {}).get(name) for step in steps for name in step.bound.op.reads}


def fired(step: Step, seed: int, name: str) -> list[int]:
    """The copies a step makes of the sample of that name: for each copy one draw against `p`."""
    if step.p >= 1:
        return list(range(step.copies))
    drawn = (unit_hash("fire", seed, step.bound.name, step.bound.occurrence, name, copy) for copy in range(step.copies))
    return [copy for copy, u in enumerate(drawn) if u < step.p]


def passes(step: Step, copies: Sequence[int]) -> bool:
    """Whether a step's input itself goes on."""
    return step.keep_input or not copies


def made_name(step: Step, name: str, copy: int, mark: str = "") -> str:
    """Name of what a step makes of the sample of that name."""
    number = f"-{copy + 1}" if copy else ""
    if step.bound.op.inputs(step.bound.params) > 1:
        return f"{step.bound.label}/{name}-{copy + 1}{mark}"
    return f"{name}~{step.bound.label}{number}{mark}" if step.renames or mark else name


def made_id(
    step: Step, inputs: Sequence[tuple[str, Id]], copy: int, seed: int, metadata: Mapping[str, Any] | None
) -> Id:
    """Id of one call of a step's op; an output's id is `output_id` of it and the output's name."""
    drawn_from = [seed_of(step, seed), [name for name, _ in inputs]] if step.bound.op.draw is not None else None
    return digest("made", identity(step.bound), drawn_from, [i for _, i in inputs], copy, read_fields([step], metadata))


def output_id(call: Id, name: str) -> Id:
    return digest(call, name)


def unfold(
    name: str,
    id: Id,
    size: Size,
    chain: Sequence[Step],
    seed: int,
    metadata: Mapping[str, Any] | None,
    made_by: str = "",
) -> Iterator[Leaf]:
    """The samples that a chain makes of one, as far as they are known before any pixel is seen."""
    if not chain:
        yield Leaf(name, id, size, made_by, True)
        return
    step, rest = chain[0], chain[1:]
    copies = fired(step, seed, name)
    if passes(step, copies):
        yield from unfold(name, id, size, rest, seed, metadata, made_by)
    for copy in copies:
        yield from unfold_call(step, [(name, id)], [size], copy, rest, seed, metadata)


def unfold_call(
    step: Step,
    inputs: Sequence[tuple[str, Id]],
    input_sizes: Sequence[Size],
    copy: int,
    rest: Sequence[Step],
    seed: int,
    metadata: Mapping[str, Any] | None,
) -> Iterator[Leaf]:
    """The samples of one call of an op. What marks several of them apart is the op's to say; here they are counted."""
    op, call = step.bound.op, made_id(step, inputs, copy, seed, metadata)
    sizes = op.sizes(input_sizes, step.bound.params)
    exact = op.exact(step.bound.params)
    known = exact and len(sizes) == 1
    for ordinal, size in enumerate(sizes):
        name = made_name(step, inputs[0][0], copy, "" if known else f"@{ordinal}")
        for leaf in unfold(name, output_id(call, name), size, rest, seed, metadata, step.bound.label):
            yield leaf if known else replace(leaf, id=None, exact=leaf.exact and exact)
