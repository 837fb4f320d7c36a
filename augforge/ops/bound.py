"""An op with its parameters at its place in a recipe, and the one way to call it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from augforge.catalogue import empty_instance, plugin_file
from augforge.ops.core import OPS, Context, Drawn, Features, Op, OpParams
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
    """

    name: str
    params: OpParams
    occurrence: int = 0
    fitted: Any = field(default=None, compare=False)  # a step equals itself after fitting

    def __reduce__(self) -> tuple[Any, ...]:
        plugin = plugin_file(self.op.module)
        state = [self.name, self.params, self.occurrence, self.fitted]
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
        return OpCall(drawn, self.op.apply(inputs, drawn, self.params, ctx))
