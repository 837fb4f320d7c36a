"""Which steps of a recipe prepare: what new images have to go through before a model sees them as it saw its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from augforge.planning.steps import Step


class LeftOut(NamedTuple):
    """A step that acts on held-out samples, and why it cannot be repeated on new images."""

    label: str
    reason: str


def preparing_steps(steps: Sequence[Step], *, sides: bool = False) -> tuple[list[Step], list[LeftOut]]:
    """The steps that every validation sample went through, in order; and those of them that cannot be repeated.

    That are ops that prepare and act on ``val``, as they do by default, and others that act on ``train`` and ``val``
    alike, such as CLAHE of Albumentations with ``on: [train, val, test]``. A step by chance, or one that keeps its
    inputs, prepares nothing: the model saw samples with and without it. Filters change no pixels.

    Args:
        steps: of a recipe.
        sides: whether its data has left and right, which a mirror exchanges unless the step says otherwise.
    """
    acting = [(step, _obstacle(step, sides)) for step in steps if _prepares(step)]
    repeated = [step for step, obstacle in acting if not obstacle]
    return repeated, [LeftOut(step.bound.label, obstacle) for step, obstacle in acting if obstacle]


def _prepares(step: Step) -> bool:
    """Whether all held-out samples went through a step, as far as its condition let them."""
    splits = {"prepare": {"val"}, "augment": {"train", "val"}}.get(step.bound.op.role)
    return splits is not None and splits <= {*step.on} and step.p == 1 and not step.keep_input


def _obstacle(step: Step, sides: bool) -> str:
    """Why a step cannot be repeated on a single new image, and undone; empty if it can."""
    if step.bound.inputs > 1:
        return "it joins several samples to one"
    if step.where is not None:
        return f"its condition chooses among the samples of a recipe: {step.where}"
    if step.copies > 1:
        return f"it makes {step.copies} copies of a sample"
    swap = step.bound.swap
    if step.bound.may_mirror and (sides if swap is None else swap not in ((), "none")):
        return "it exchanges classes, which cannot be undone in the prediction"
    return ""
