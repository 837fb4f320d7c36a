"""Online augmentation: steps as in a recipe, drawn anew for each sample in each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from augforge.errors import PlanError, TrainError
from augforge.keys import rng_for
from augforge.ops.bound import BoundOp
from augforge.ops.core import Context
from augforge.ops.sides import Sides
from augforge.planning.steps import Step, read_step
from augforge.sample import Sample
from augforge.yamlfile import KeyPath, YamlFile

AT = ("data", "online")
_REFUSED = {
    "copies": "no key of an online step: each epoch makes one sample of a sample; train for more epochs instead",
    "keep_input": (
        "no key of an online step: each epoch makes one sample of a sample; p below 1 lets the sample itself through"
    ),
    "on": "no key of an online step: online steps act on the training samples alone",
    "where": "no key of an online step: conditions choose among the samples of a recipe; put the step there",
}


def online_steps(steps: Iterable[Mapping[str, Any]], file: YamlFile | None = None) -> tuple[Step, ...]:
    """Check the steps of ``data.online``.

    Args:
        steps: as they stand in the configuration.
        file: where they stand, to be named in complaints.

    Raises:
        TrainError: with the place, the expectation and the nearest known name.
    """
    file = file or YamlFile("the configuration", "", TrainError)
    made: list[Step] = []
    for index, data in enumerate(steps):
        made.append(_online_step(file, data, (*AT, index), made))
    return tuple(made)


def _online_step(file: YamlFile, data: Mapping[str, Any], at: KeyPath, before: Sequence[Step]) -> Step:
    step = read_step(file, data, at, before, _REFUSED)
    reason = _unfit(step.bound, step.p)
    if reason:
        raise file.fail((*at, "op"), f"'{step.bound.name}' {reason}")
    return step


def _unfit(bound: BoundOp, p: float) -> str:
    """Why an op cannot act online; empty if it can."""
    if bound.op.role == "filter":
        return "is a filter, and nothing is dropped online. Put it into the recipe"
    if bound.needs_fitting:
        return "with these parameters is fitted on the whole training split first. Put it into the recipe"
    if getattr(bound.params, "donors", None) is not None:
        return "chooses donors by a condition on the samples of a recipe. Put it into the recipe, or leave donors out"
    if bound.op.role == "prepare" and p == 1:
        return (
            "prepares samples, and validation would not be prepared alike. "
            "Put it into the recipe, or give p below 1 to augment by it"
        )
    return ""


class Online:
    """Augments samples.

    What chance decides depends on the parts it is given and on the step alone, as in a recipe.

    Args:
        steps: what to do, in order.
        ctx: class and label table.
        count: how many samples there are.
        load: the sample of a position, 0..count - 1, as it is before the first step.
        sides: which names a mirror exchanges; None to go by the names alone.

    Raises:
        TrainError: a step does not fit the class table, mirrors sides that have no counterpart, or wants more partners
            than there are.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        ctx: Context,
        count: int,
        load: Callable[[int], Sample],
        sides: Sides | None = None,
    ) -> None:
        self._ctx, self._count, self._load = ctx, count, load
        known = Sides().complete(ctx.classes, ctx.labels) if sides is None else sides
        self._steps = [replace(step, bound=self._settle(step.bound, known)) for step in steps]

    def _settle(self, bound: BoundOp, sides: Sides) -> BoundOp:
        """The op, checked, which knows what a mirrored picture exchanges."""
        inputs = bound.inputs
        if inputs > self._count and bound.params.when_fewer() == "refuse":
            raise TrainError(
                f"data.online: {bound.label} takes {inputs} samples at a time, but the training split has "
                f"{self._count}. Take the step out, or add samples"
            )
        try:
            bound.params.check(self._ctx)
            return bound.settle_sides(sides, self._ctx)
        except PlanError as error:
            raise TrainError(f"data.online: {bound.label}: {error}") from None

    def sample(self, position: int, *chance: Any) -> Sample:
        """The augmented sample of a position; the same for the same JSON-like parts of chance."""
        return self._after(len(self._steps), position, chance)

    def _after(self, steps: int, position: int, chance: tuple[Any, ...]) -> Sample:
        """The sample as it is after so many steps."""
        sample = self._load(position)
        chance = (*chance, sample.name)
        for index, step in enumerate(self._steps[:steps]):
            rng = rng_for("online", *chance, step.bound.name, step.bound.occurrence)
            if rng.random() < step.p:
                inputs = [sample, *self._partners(rng, index, position, chance)]
                sample = self._made(rng, step.bound, inputs) if len(inputs) == step.bound.inputs else sample
        return sample

    def _partners(self, rng: np.random.Generator, index: int, position: int, chance: tuple[Any, ...]) -> list[Sample]:
        """The other inputs of a step: other samples, none twice, each as it is before that step.

        If there are too few, any samples with repetition or none, as the op's parameters say.
        """
        bound = self._steps[index].bound
        wanted = bound.inputs - 1
        if wanted >= self._count:
            chosen = rng.choice(self._count, wanted) if bound.params.when_fewer() == "repeat" else ()
            return [
                self._after(index, int(other), (*chance, bound.label, slot))
                for slot, other in enumerate(chosen, start=1)
            ]
        others = rng.choice(self._count - 1, wanted, replace=False) if wanted else ()
        return [
            self._after(index, int(other) + (other >= position), (*chance, bound.label, slot))
            for slot, other in enumerate(others, start=1)
        ]

    def _made(self, rng: np.random.Generator, bound: BoundOp, inputs: Sequence[Sample]) -> Sample:
        """What an op makes: one of several by chance, the input where it makes none."""
        try:
            made = [made for made in bound.call(inputs, self._ctx, rng).results if isinstance(made, Sample)]
        except ValueError as error:
            raise TrainError(f"data.online: {bound.label} of sample '{inputs[0].name}': {error}") from error
        if not made:
            return inputs[0]
        return replace(made[int(rng.integers(len(made)))], placements=())  # they say nothing of the next step
