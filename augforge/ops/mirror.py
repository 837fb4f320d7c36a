"""Ops that mirror: what they have in common, and the exchange of the sides of what was mirrored.

An op that may mirror derives its parameters from `MirrorParams` and says so::

    @exchanges_sides(lambda params: params.mirror > 0)
    @op("quarter", Quarter, version=1, role="augment")
    def quarter(inputs, drawn, params, ctx): ...

It says in the matrix of each output whether that one is mirrored, and exchanges nothing itself: `BoundOp.call` does so,
and refuses a mirrored output of an op that does not say that it may mirror.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field, model_validator

from augforge import bitmask
from augforge.ops.core import OPS, STEP_KEYS, Context, Op, OpParams
from augforge.ops.hooks import Mirror, Params
from augforge.ops.sides import Exchange, Swap, check_known, check_pairs, mirror_order
from augforge.sample import Label, Sample


class MirrorParams(OpParams):
    """Parameters of every op that may mirror."""

    swap: Swap | None = Field(
        None,
        description="pairs of left and right classes or labels that a mirrored picture exchanges, or none: nothing; "
        "null takes the sides of the source, declared or found by name",
    )

    @model_validator(mode="after")
    def _check_pairs(self) -> MirrorParams:
        check_pairs(self.swap, "swap")
        return self

    def check(self, ctx: Context) -> None:
        """Raise PlanError if a name is in no table."""
        check_known(self.swap, ctx.classes, ctx.labels)


def _always(params: Any) -> bool:
    return True


def exchanges_sides(may: Callable[[Any], bool] = _always) -> Callable[[Op[Params]], Op[Params]]:
    """Declare that an op may mirror, with the params for which ``may`` says so; sides are exchanged then.

    Raises:
        TypeError: its parameters are no `MirrorParams`, so that nobody could say otherwise by ``swap``.
    """

    def declare(op: Op[Params]) -> Op[Params]:
        if not issubclass(op.params, MirrorParams):
            raise TypeError(f"op '{op.name}' mirrors; derive {op.params.__name__} from MirrorParams")
        op.mirror = Mirror(may, exchange_sides)
        return op

    return declare


def step_may_mirror(step: Mapping[str, Any]) -> bool:
    """Whether a step may mirror that stands in the recipe of a version; True for one that is not known here."""
    name = str(step.get("op"))
    if name not in OPS:
        return True
    op, params = OPS[name], {key: value for key, value in step.items() if key not in STEP_KEYS}
    try:
        return op.mirror is not None and op.mirror.may(op.params.model_validate(params))
    except ValueError:  # it was made for another version of the op
        return True


def exchange_sides(sample: Sample, exchange: Exchange, ctx: Context) -> Sample:
    """The sample with masks, known classes and label weights of each pair exchanged."""
    pairs = [(ctx.class_index(left), ctx.class_index(right)) for left, right in exchange.classes]
    if pairs:
        masks, known = bitmask.swap_classes(sample.masks, pairs), bitmask.swap_bits(sample.known, pairs)
        sample = replace(sample, masks=masks, known=known)
    return replace(sample, label=_exchange_label(sample.label, exchange, ctx.labels))


def _exchange_label(label: Label | None, exchange: Exchange, names: Sequence[str]) -> Label | None:
    return label if label is None or not exchange.labels else label[mirror_order(names, exchange.labels)]
