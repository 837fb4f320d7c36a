"""An op with its parameters at its place in a recipe, and the one way to call it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from augforge.catalogue import empty_instance, plugin_file
from augforge.errors import PlanError
from augforge.keys import rng_for
from augforge.ops.core import OPS, Context, Drawn, Features, Op, OpParams
from augforge.ops.sides import Exchange, Sides, Swap, exchange_of
from augforge.sample import Drop, Sample


@dataclass(frozen=True, slots=True)
class OpCall:
    """One call of an op: what chance decided, and what the op makes of it, made as it is iterated."""

    drawn: Drawn
    results: Iterable[Sample | Drop]


@dataclass(frozen=True, slots=True)
class BoundOp:
    """An op with checked parameters at its place in a recipe.

    Attributes:
        name: of the registered op.
        params: its parameters.
        occurrence: how many steps of the same op stand before it; chance hashes it, so that two flips differ.
        fitted: what `fit` found, once it has run.
        exchange: what is exchanged in mirrored outputs, once the sides of the data are known; see `settle_sides`.
    """

    name: str
    params: OpParams
    occurrence: int = 0
    fitted: Any = field(default=None, compare=False)  # a step equals itself after fitting
    exchange: Exchange | None = field(default=None, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        plugin = plugin_file(self.op.module)
        state = [self.name, self.params, self.occurrence, self.fitted, self.exchange]
        return empty_instance, (plugin, __name__, type(self).__name__), state

    @property
    def op(self) -> Op[Any]:
        """The registered op."""
        return OPS[self.name]

    @property
    def inputs(self) -> int:
        """How many samples one call takes."""
        return self.op.inputs(self.params)

    @property
    def needs_features(self) -> bool:
        """Whether features are needed with these params."""
        return self.op.measure is not None and self.op.measures_when(self.params)

    @property
    def needs_fitting(self) -> bool:
        """Whether the op is fitted with these params: an op that measures is fitted on features, if it needs them."""
        measured = self.op.measure is None or self.needs_features
        return self.op.fit is not None and measured and self.op.fits_when(self.params)

    @property
    def weighs_partners(self) -> bool:
        """Whether partners are weighed with these params: an op that measures weighs by features, if it needs them."""
        return self.op.weigh is not None and (self.op.measure is None or self.needs_features)

    def measured_params(self) -> dict[str, Any]:
        """The params that `measure` looks at."""
        return self.params.model_dump(mode="json", include=set(self.op.measure_reads))

    def measure(self, sample: Sample, ctx: Context) -> Features:
        """Measure one sample. The op sees only the params that it declared to read, so the rest cannot matter."""
        if self.op.measure is None:
            raise TypeError(f"{self.name} measures nothing; only ops with a function registered by `measures` do")
        return self.op.measure(sample, SimpleNamespace(**self.measured_params()), ctx)

    @property
    def label(self) -> str:
        """The op's name in sample names: ``rotate``, and ``rotate.2`` for the recipe's second one."""
        return self.name if self.occurrence == 0 else f"{self.name}.{self.occurrence + 1}"

    @property
    def may_mirror(self) -> bool:
        """Whether any output may be mirrored with these params, as far as the op says so."""
        return self.op.mirror is not None and self.op.mirror.may(self.params)

    @property
    def swap(self) -> Swap | None:
        """What the step itself says of sides; None if nothing, and for an op that never mirrors."""
        said: Swap | None = getattr(self.params, "swap", None) if self.op.mirror is not None else None
        return said

    def declared(self) -> dict[str, Any]:
        """What ids hold of the params: those that differ from their defaults, and what mirrored outputs exchange."""
        exchanged = self._said_exchange().declared()
        return {**self.drawn_from(), **(exchanged if exchanged and self.may_mirror else {})}

    def drawn_from(self) -> dict[str, Any]:
        """What chance hashes of the params: all that was declared but the sides, which change no draw."""
        declared = self.params.declared()
        return {key: value for key, value in declared.items() if key != "swap" or self.op.mirror is None}

    def rng(self, seed: int, names: Sequence[str], copy: int) -> np.random.Generator:
        """The chance of one call: of a recipe's seed, the names of its inputs, and which copy of them it makes."""
        return rng_for(seed, self.name, self.occurrence, self.drawn_from(), names, copy)

    def _said_exchange(self) -> Exchange:
        """What is exchanged, or before the sides are known what the params say."""
        said = () if self.swap is None or self.swap == "none" else self.swap
        return Exchange(said) if self.exchange is None else self.exchange

    def settle_sides(self, sides: Sides, ctx: Context) -> BoundOp:
        """The same op, which knows what its mirrored outputs exchange.

        Raises:
            PlanError: it may mirror, and nobody says what is to become of names that look like sides.
        """
        exchange = exchange_of(self.swap, sides, ctx.classes, ctx.labels)
        if exchange.refusal and self.may_mirror:
            raise PlanError(exchange.refusal)
        return replace(self, exchange=exchange)

    def call(
        self,
        inputs: Sequence[Sample],
        ctx: Context,
        rng: np.random.Generator | None = None,
        drawn: Drawn = None,
    ) -> OpCall:
        """Draw what chance decides and apply the op. Nothing else draws or applies an op.

        Args:
            inputs: as many samples as the op takes.
            ctx: class table, labels and fitted values.
            rng: what the op draws from; None to call it with what was drawn before.
            drawn: what was drawn before, as a lineage records it.

        Raises:
            Whatever the op raises: what it draws at once, what it makes when the results are iterated.
        """
        if rng is not None and self.op.draw is not None:
            drawn = self.op.draw(rng, inputs, self.params, ctx)
        return OpCall(drawn, self._exchange_sides(self.op.apply(inputs, drawn, self.params, ctx), inputs, ctx))

    def _exchange_sides(
        self, results: Iterable[Sample | Drop], inputs: Sequence[Sample], ctx: Context
    ) -> Iterator[Sample | Drop]:
        """The results of the op, those that are mirrored with their sides exchanged."""
        for made in results:
            shown = _ways_shown(made, inputs)
            yield self._exchange_result(made, shown, ctx) if isinstance(made, Sample) and True in shown else made

    def _exchange_result(self, made: Sample, shown: set[bool], ctx: Context) -> Sample:
        """A mirrored output with its sides exchanged; ``shown`` says of its inputs whether they are mirrored in it."""
        exchange = self.exchange
        if exchange is None:
            exchange = self.settle_sides(Sides().complete(ctx.classes, ctx.labels), ctx).exchange
        if not exchange:
            return made
        if exchange.refusal:
            raise PlanError(exchange.refusal)
        if self.op.mirror is None or not self.may_mirror or len(shown) > 1:
            remedy = "name the pairs in the step: swap: [[left, right]]" if self.op.mirror else _DECLARE
            what = "some of its inputs" if len(shown) > 1 else "a picture"
            raise PlanError(
                f"op '{self.name}' mirrored {what}, and nothing said that it may, so names of one side would stand for "
                f"the other. To exchange them, {remedy}; or say in the source that nothing is to be exchanged: "
                "sides: none"
            )
        return self.op.mirror.exchange(made, exchange, ctx)


_DECLARE = "its author declares the op by `exchanges_sides`"


def _ways_shown(made: Sample | Drop, inputs: Sequence[Sample]) -> set[bool]:
    """Whether inputs show mirrored in an output; empty for an input itself, whose placements are an earlier op's."""
    if not isinstance(made, Sample) or any(made is given for given in inputs):
        return set()
    return {placement.is_mirrored for placement in made.placements}
