"""The interface of ops: a params model and plain functions, joined by a decorator that names and versions them.

An op that changes samples::

    class Flip(OpParams):
        '''Docstring for people: what it does, units, source.'''

    @op("flip", Flip, version=1, role="augment")
    def flip(inputs, drawn, params, ctx):        # pure; gives Samples or Drops
        ...

    @flip.draws                                  # optional: what chance decides, small, JSON-like, recorded
    def draw_side(rng, inputs, params, ctx): ...

A filter decides from measurements, never from pixels, so its decisions are made anew on every build while the
measurements are cached::

    @filter_op("too_dark", TooDark, version=1)
    def too_dark(candidate, params, ctx):        # gives None (keep) or Flag(reason, score)
        return Flag("too dark") if candidate.features["mean"] < ctx.fitted else None

    @too_dark.measures(reads=())                 # which params it looks at: a new value measures anew
    def measure_mean(sample, params, ctx): return {"mean": float(sample.image.mean())}

    @too_dark.fits                               # optional: thresholds, from the training split's candidates
    def fit_threshold(candidates, params, ctx): ...   # JSON-like; found again as ctx.fitted

`augforge.ops.hooks` has the signature of each of these functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from augforge.catalogue import plugin_file, unpickled
from augforge.ops.definition import OPS, Op, Role, filter_op, op, table_filter
from augforge.ops.hooks import Drawn, Size
from augforge.ops.model import Candidate, Context, Examples, Features, FilterParams, Flag, OpParams
from augforge.sample import Drop, Sample

__all__ = [
    "OPS",
    "BoundOp",
    "Candidate",
    "Context",
    "Drawn",
    "Examples",
    "Features",
    "FilterParams",
    "Flag",
    "Op",
    "OpParams",
    "Role",
    "Size",
    "filter_op",
    "op",
    "table_filter",
]


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
    fitted: Any = field(default=None, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        plugin = plugin_file(self.op.module)
        return unpickled, (plugin, __name__, type(self).__name__), self.__getstate__()

    @property
    def op(self) -> Op[Any]:
        """The registered op."""
        return OPS[self.name]

    @property
    def inputs(self) -> int:
        """How many samples one call takes."""
        return self.op.inputs(self.params)

    @property
    def measures(self) -> bool:
        """Whether features are needed with these params."""
        return self.op.measure is not None and self.op.measures_when(self.params)

    @property
    def fits(self) -> bool:
        """Whether the op wants to be fitted with these params: what it measures is what it is fitted on."""
        return self.op.fit is not None and (self.op.measure is None or self.measures)

    @property
    def weighs(self) -> bool:
        """Whether partners are weighed with these params: what the op measures is what it weighs by."""
        return self.op.weigh is not None and (self.op.measure is None or self.measures)

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
            Whatever the op raises: at once if it draws, else when the results are iterated.
        """
        if rng is not None and self.op.draw is not None:
            drawn = self.op.draw(rng, inputs, self.params, ctx)
        return OpCall(drawn, self.op.apply(inputs, drawn, self.params, ctx))
