"""The part of the contract test of ops that makes samples, small and noisy with classes that overlap, and calls ops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.errors import PlanError
from augforge.keys import canonical_json, digest
from augforge.ops.bound import BoundOp
from augforge.ops.core import Candidate, Context, Op, OpParams
from augforge.ops.sides import Sides
from augforge.sample import Drop, Sample

LABELS = ("left", "right", "both")
SEED = 21


def require(condition: object, message: str) -> None:
    """Raise AssertionError unless the condition holds, also where Python runs with -O."""
    if not condition:
        raise AssertionError(message)


def class_names(classes: int) -> tuple[str, ...]:
    """A class table of that length: ``class-0``, ``class-1``, ..."""
    return tuple(f"class-{c}" for c in range(classes))


def make_sample(
    height: int = 48, width: int = 64, classes: int = 9, dtype: str = "uint8", channels: int = 1, seed: int = 0
) -> Sample:
    """A noisy image whose classes are random polygons that overlap; about one in five classes is absent."""
    rng = np.random.default_rng([seed, height, width, classes])
    corners = [rng.uniform(-0.1, 1.1, (rng.integers(3, 7), 2)) * (width, height) for _ in range(classes)]
    masks = bitmask.rasterise(
        [(c, [ring]) for c, ring in enumerate(corners) if c == 0 or rng.random() < 0.8], height, width, classes
    )
    shape = (height, width) if channels == 1 else (height, width, channels)
    image = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return Sample(
        name=f"sample-{seed}",
        image=image,
        masks=masks,
        known=bitmask.all_bits(classes),
        group=f"person-{seed}",
        metadata={"age": 7.5 + seed, "sex": "FM"[seed % 2], "site": "left"},
    )


def make_collection() -> list[Sample]:
    """Twelve samples for filters; one has no labels, one no objects, one is a copy, one is dark and in `val`."""
    samples = [make_sample(seed=seed) for seed in range(12)]
    samples[3] = replace(samples[3], known=samples[3].known * 0, masks=samples[3].masks * 0)
    samples[5] = replace(samples[5], masks=samples[5].masks * 0)
    samples[7] = replace(samples[7], image=samples[2].image, masks=samples[2].masks)
    samples[9] = replace(samples[9], image=samples[9].image // 16, split="val")
    return samples


def set_writable(samples: Sequence[Sample], writable: bool) -> None:
    """Allow or forbid writing into the samples' arrays."""
    for sample in samples:
        for array in (sample.image, sample.masks, sample.known):
            array.setflags(write=writable)


def present_classes(sample: Sample) -> NDArray[np.uint8]:
    """Bit vector (P,) of the classes that have a pixel."""
    return np.asarray(np.bitwise_or.reduce(sample.masks.reshape(-1, sample.masks.shape[2]), axis=0), np.uint8)


def make_candidate(bound: BoundOp, sample: Sample, ctx: Context) -> Candidate:
    """The sample as a filter sees it: with what the op measures in it."""
    return Candidate(
        id=digest(sample.name),
        name=sample.name,
        group=sample.group,
        split=sample.split,
        width=sample.width,
        height=sample.height,
        metadata=sample.metadata,
        tags=(),
        features=bound.measure(sample, ctx) if bound.needs_features else {},
    )


@dataclass(frozen=True)
class Case:
    """An op with the parameters of one of its examples."""

    op: Op[Any]
    params: OpParams

    def __str__(self) -> str:
        return f"{self.op} {canonical_json(self.params.declared())}"

    @property
    def bound(self) -> BoundOp:
        """The op with its parameters, as the first of its name in a recipe."""
        return BoundOp(self.op.name, self.params)

    @property
    def slots(self) -> range:
        """The indices of the op's inputs."""
        return range(self.op.inputs(self.params))

    def fits(self, classes: int) -> bool:
        """Whether the parameters fit a table of so many classes."""
        try:
            self.params.check(Context(class_names(classes)))
        except PlanError:
            return False
        return True

    def inputs(self, height: int = 48, width: int = 64, **kind: Any) -> list[Sample]:
        """One sample per slot, each of its own size if the op can take that."""
        odd = not self.op.examples.one_size
        return [make_sample(height + 4 * i * odd, width - 3 * i * odd, seed=i, **kind) for i in self.slots]

    def named_classes(self, classes: int) -> NDArray[np.uint8]:
        """Bits of the classes that the parameters name: the op may move pixels from one of them to another."""
        words = set(_strings_in(self.params.model_dump(mode="json")))
        return bitmask.select_bits([c for c, name in enumerate(class_names(classes)) if name in words], classes)


def _strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings_in([*value, *value.values()])
    elif isinstance(value, Sequence):
        for item in value:
            yield from _strings_in(item)


@dataclass(frozen=True)
class Call:
    """An op called as a worker calls it: drawn from the seed, the parameters, the names of its inputs and the copy."""

    case: Case
    inputs: Sequence[Sample]
    classes: int = 9
    copy: int = 0

    @cached_property
    def context(self) -> Context:
        """Class table and labels, and what the op fits on the inputs."""
        bare, bound = Context(class_names(self.classes), LABELS), self.case.bound
        if self.case.op.fit is None or not bound.needs_fitting:
            return bare
        return replace(bare, fitted=self.case.op.fit(self.candidates(bare), self.case.params, bare))

    def candidates(self, ctx: Context) -> list[Candidate]:
        """The inputs as a filter sees them."""
        return [make_candidate(self.case.bound, sample, ctx) for sample in self.inputs]

    def drawn(self) -> Any:
        """What the op draws, anew at each call; None if it draws nothing."""
        if self.case.op.draw is None:
            return None
        rng = self.case.bound.rng(SEED, [sample.name for sample in self.inputs], self.copy)
        return self.case.op.draw(rng, self.inputs, self.case.params, self.context)

    def results(self, inputs: Sequence[Sample] | None = None) -> list[Sample | Drop]:
        """What the op makes of its inputs, or of others with the same draw."""
        return self.replay(self.drawn(), inputs)

    def replay(self, drawn: Any, inputs: Sequence[Sample] | None = None) -> list[Sample | Drop]:
        """What the op makes of its inputs, or of others, with what was drawn before, as if no name were a side."""
        bound = self.case.bound.settle_sides(Sides(), self.context)
        return list(bound.call(inputs or self.inputs, self.context, drawn=drawn).results)

    def samples(self) -> list[Sample]:
        """The samples among the results."""
        return [made for made in self.results() if isinstance(made, Sample)]


def describe(made: Sample | Drop) -> dict[str, Any]:
    """All that an op gave, part by part, comparable."""
    if isinstance(made, Drop):
        return {"reason for dropping": made.reason}
    return {
        "image": (made.image.dtype, made.image.shape, made.image.tobytes()),
        "masks": (made.masks.shape, bitmask.planar(made.masks).tobytes()),
        "known": made.known.tobytes(),
        "label": None if made.label is None else made.label.tobytes(),
        "name": made.name,
        "group": made.group,
        "split": made.split,
        "metadata": made.metadata,
        "placements": made.placements,
        "mark": made.mark,
        "notes": made.notes,
    }


def differences(one: Sequence[Sample | Drop], other: Sequence[Sample | Drop], but: str = "") -> str:
    """The parts in which two lists of results differ, all `but` one; empty if they are equal."""
    if len(one) != len(other):
        return f"{len(one)} and {len(other)} results"
    found = []
    for i, pair in enumerate(zip(one, other, strict=True)):
        left, right = map(describe, pair)
        parts = [part for part in left | right if part != but and left.get(part, ...) != right.get(part, ...)]
        found += [f"result {i}: {', '.join(parts)}"] if parts else []
    return "; ".join(found)


def has_extra_bits(planes: Planes, classes: int) -> bool:
    """Whether any bit past class C - 1 is set, in planes (H, W, P)."""
    return bool((planes & ~bitmask.all_bits(classes)).any())


def replace_class(planes: Planes, c: int, mask: NDArray[np.generic]) -> Planes:
    """Planes in which the non-zero pixels of ``mask`` (H, W) are the whole of class ``c``; a new array."""
    replaced = bitmask.keep(planes, ~bitmask.select_bits([c], planes.shape[-1] * 8))
    bitmask.merge_class(replaced, c, mask)
    return replaced
