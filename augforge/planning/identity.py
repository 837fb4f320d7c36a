"""Names, ids and chances of the samples that steps make, known before any pixel is seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from augforge.keys import Id, canonical_json, digest, digest_of_texts, unit_hash
from augforge.ops.bound import BoundOp
from augforge.ops.core import Size
from augforge.planning.steps import Step


@dataclass(frozen=True, slots=True)
class ExpectedSample:
    """A sample that a task will make, as far as it is known before the task runs.

    Attributes:
        id: its content id; None if number or names of an op's outputs are known only from pixels.
        step_label: of the step that made it; empty for an input that passes on.
        exact: whether it is sure to be made; False if pixels decide how many outputs there are.
    """

    name: str
    id: Id | None
    size: Size
    step_label: str
    exact: bool


def op_identity(bound: BoundOp) -> list[Any]:
    """What decides an op's results.

    Fitted values count only if they change pixels. If they just weigh partners, the partners that they lead to are
    inputs, and count as such.
    """
    fitted = bound.fitted if bound.op.weigh is None or bound.params.applies_fitted() else None
    revision = bound.params.revision()
    return [str(bound.op), bound.label, bound.declared(), fitted, *([revision] if revision else [])]


_MOST_TEXTS = 1000
_texts: dict[int, tuple[BoundOp, str]] = {}  # with the op itself, since the number of an object is used again


def op_identity_text(bound: BoundOp) -> str:
    """Canonical JSON of `op_identity`: the same for all calls of a step, so it is written out once."""
    known = _texts.get(id(bound))
    if known is None or known[0] is not bound:
        if len(_texts) >= _MOST_TEXTS:
            _texts.clear()
        known = _texts[id(bound)] = (bound, canonical_json(op_identity(bound)))
    return known[1]


def seed_if_random(step: Step, seed: int) -> int | None:
    """The seed if chance decides something in the step, so that a new seed re-makes nothing else."""
    return seed if step.bound.op.draw is not None or step.p < 1 else None


def metadata_read(steps: Iterable[Step], metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """The metadata fields that the steps' ops look at."""
    return {name: (metadata or {}).get(name) for step in steps for name in step.bound.op.reads}


def drawn_copies(step: Step, seed: int, name: str) -> list[int]:
    """Numbers of the copies that a step makes of the sample of that name: each is made with chance `p`."""
    if step.p >= 1:
        return list(range(step.copies))
    drawn = (unit_hash("fire", seed, step.bound.name, step.bound.occurrence, name, copy) for copy in range(step.copies))
    return [copy for copy, u in enumerate(drawn) if u < step.p]


def input_passes(step: Step, copies: Sequence[int]) -> bool:
    """Whether a step's input itself goes on."""
    return step.keep_input or not copies  # if `p` drew no copy, the sample goes on instead of being lost


def output_name(step: Step, name: str, copy: int, mark: str = "") -> str:
    """Name of a step's output: `a~hflip`, `a~hflip-2` (second copy), `mosaic/a-1` (several inputs), or `a` itself."""
    number = f"-{copy + 1}" if copy else ""
    if step.bound.inputs > 1:
        return f"{step.bound.label}/{name}-{copy + 1}{mark}"
    return f"{name}~{step.bound.label}{number}{mark}" if step.renames or mark else name


def call_id(
    step: Step, inputs: Sequence[tuple[str, Id]], copy: int, seed: int, metadata: Mapping[str, Any] | None
) -> Id:
    """Id of one call of a step's op; an output's id is `output_id` of it and the output's name."""
    drawn_from = [seed, [name for name, _ in inputs]] if step.bound.op.draw is not None else None
    own = (drawn_from, [i for _, i in inputs], copy, metadata_read([step], metadata))
    return digest_of_texts('"made"', op_identity_text(step.bound), *map(canonical_json, own))


def output_id(call: Id, name: str) -> Id:
    """Id of the output of that name of one call of an op."""
    return digest(call, name)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a call or a chain of steps will make.

    Attributes:
        samples: the ones that are left at the end.
        made: how many each step makes on the way, by its label, those too that a later step replaces.
    """

    samples: tuple[ExpectedSample, ...] = ()
    made: Counter[str] = field(default_factory=Counter)

    @classmethod
    def joined(cls, parts: Iterable[Expected]) -> Expected:
        """All of them together."""
        samples: list[ExpectedSample] = []
        made: Counter[str] = Counter()
        for part in parts:
            samples += part.samples
            made += part.made
        return cls(tuple(samples), made)

    def inexact(self) -> Expected:
        """The same, where pixels decide which of them are made, and what they are called."""
        return Expected(tuple(replace(sample, id=None, exact=False) for sample in self.samples), self.made)


def expect_samples(
    name: str,
    id: Id,
    size: Size,
    chain: Sequence[Step],
    seed: int,
    metadata: Mapping[str, Any] | None,
    step_label: str = "",
    certain: bool = True,
) -> Expected:
    """What a chain of steps makes of one sample, as far as it is known before any pixel is seen.

    Args:
        certain: whether the sample's name is known. Chance hashes names, so without it nobody knows which copies a step
            with a chance draws; then the largest number is expected, since a plan says "at most".
    """
    if not chain:
        return Expected((ExpectedSample(name, id, size, step_label, True),))
    step, rest = chain[0], chain[1:]

    def passed() -> Expected:
        return expect_samples(name, id, size, rest, seed, metadata, step_label, certain)

    def made(copies: Iterable[int]) -> Expected:
        calls = (expect_of_call(step, [(name, id)], [size], copy, rest, seed, metadata, certain) for copy in copies)
        return Expected.joined(calls)

    if not certain and 0 < step.p < 1:
        every = made(range(step.copies))
        return (Expected.joined([passed(), every]) if step.keep_input else _larger(every, passed())).inexact()
    copies = drawn_copies(step, seed, name)
    return Expected.joined([*([passed()] if input_passes(step, copies) else []), made(copies)])


def _larger(one: Expected, other: Expected) -> Expected:
    """The larger of two possibilities; with at least as many of each step's samples as either makes."""
    larger = one if len(one.samples) >= len(other.samples) else other
    return Expected(larger.samples, one.made | other.made)


def expect_of_call(
    step: Step,
    inputs: Sequence[tuple[str, Id]],
    input_sizes: Sequence[Size],
    copy: int,
    rest: Sequence[Step],
    seed: int,
    metadata: Mapping[str, Any] | None,
    certain: bool = True,
) -> Expected:
    """What one call of an op and the steps after it make.

    Marks of several outputs are known only once the op has run; until then `@0`, `@1` stand for them.
    """
    op, call = step.bound.op, call_id(step, inputs, copy, seed, metadata)
    sizes = op.sizes(input_sizes, step.bound.params)
    exact = op.exact(step.bound.params)
    known = exact and len(sizes) == 1

    def of_output(ordinal: int, size: Size) -> Expected:
        name = output_name(step, inputs[0][0], copy, "" if known else f"@{ordinal}")
        found = expect_samples(
            name, output_id(call, name), size, rest, seed, metadata, step.bound.label, certain and known
        )
        return found if known else found.inexact() if not exact else _unnamed(found)

    outputs = Expected.joined(of_output(ordinal, size) for ordinal, size in enumerate(sizes))
    if not exact and len(inputs) == 1 and rest:  # an op that finds nothing to do gives its input back, of another size
        passed = expect_samples(*inputs[0], input_sizes[0], rest, seed, metadata, certain=certain).inexact()
        outputs = _larger(outputs, passed)
    outputs.made[step.bound.label] += len(sizes)
    return outputs


def _unnamed(found: Expected) -> Expected:
    """The same without ids, which the unknown names decide."""
    return Expected(tuple(replace(sample, id=None) for sample in found.samples), found.made)
