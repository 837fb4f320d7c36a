"""The interface of ops: a params model and plain functions, joined by a decorator that names and versions them.

An op that changes samples::

    class Flip(OpParams):
        '''Docstring for people: what it does, units, source.'''

    @op("flip", Flip, version=1, role="augment")
    def flip(inputs, drawn, params, ctx):        # pure; gives Samples or Drops
        ...

    @flip.draws                                  # optional: what chance decides, small, JSON-like, recorded
    def _(rng, inputs, params, ctx): ...

A filter decides from measurements, never from pixels, so its decisions are made anew on every build while the
measurements are cached::

    @filter_op("too_dark", TooDark, version=1)
    def too_dark(candidate, params, ctx):        # gives None (keep) or Flag(reason, score)
        return Flag("too dark") if candidate.features["mean"] < ctx.fitted else None

    @too_dark.measures(reads=())                 # which params it looks at: a new value measures anew
    def _(sample, params, ctx): return {"mean": float(sample.image.mean())}

    @too_dark.fits                               # optional: thresholds, from the training split's candidates
    def _(candidates, params, ctx): ...          # JSON-like; found again as ctx.fitted
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from augforge.errors import nearest
from augforge.ops.model import Candidate, Context, Features, FilterParams, Flag, OpParams
from augforge.sample import Drop, Sample

__all__ = [
    "OPS",
    "BoundOp",
    "Candidate",
    "Context",
    "Drawn",
    "Features",
    "FilterParams",
    "Flag",
    "Op",
    "OpParams",
    "Role",
    "Size",
    "filter_op",
    "get_op",
    "op",
    "table_filter",
]

Role = Literal["prepare", "augment", "filter"]
Size = tuple[int, int]
"""Width and height in pixels."""
Drawn = Any
"""What chance decided, JSON-like."""
Function = TypeVar("Function", bound=Callable[..., Any])


def _one_input(params: Any) -> int:
    return 1


def _always(params: Any) -> bool:
    return True


def _never(params: Any) -> bool:
    return False


def _same_size(sizes: Sequence[Size], params: Any) -> list[Size]:
    return [sizes[0]]


@dataclass(eq=False)
class Op:
    """A named, versioned function on samples. Made by `op` or `filter_op`, found by `get_op`.

    Attributes:
        function: ``apply(inputs, drawn, params, ctx)`` or, for a filter, ``decide(candidate, params, ctx)``.
        inputs: how many samples one call takes, from the params; 1 for most.
        sizes: sizes of the outputs from the sizes of the inputs and the params; the planner counts with it.
        exact: whether, with these params, `sizes` is exact, or "at most" because pixels decide.
        reads: metadata fields the op looks at; they enter its results' identity.
    """

    name: str
    version: int
    role: Role
    params: type[OpParams]
    function: Callable[..., Any]
    reads: tuple[str, ...] = ()
    exact: Callable[[Any], bool] = _always
    inputs: Callable[[Any], int] = _one_input
    sizes: Callable[[Sequence[Size], Any], list[Size]] = _same_size
    draw: Callable[[np.random.Generator, Sequence[Sample], Any, Context], Drawn] | None = None
    measure: Callable[[Sample, Any, Context], dict[str, Any]] | None = None
    measure_reads: tuple[str, ...] = ()
    measures_when: Callable[[Any], bool] = _always
    decide_table: Callable[[Sequence[Candidate], Any, Context], Sequence[Flag | None]] | None = None
    fit: Callable[[Sequence[Candidate], Any, Context], Any] | None = None
    weigh: Callable[[Candidate, Any, Context], float] | None = None

    def apply(self, inputs: Sequence[Sample], drawn: Drawn, params: OpParams, ctx: Context) -> Iterable[Sample | Drop]:
        result: Iterable[Sample | Drop] = self.function(inputs, drawn, params, ctx)
        return result

    def decide(self, candidates: Sequence[Candidate], params: OpParams, ctx: Context) -> Sequence[Flag | None]:
        """A filter's verdict on each candidate."""
        if self.decide_table is not None:
            return self.decide_table(candidates, params, ctx)
        return [self.function(candidate, params, ctx) for candidate in candidates]

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    def draws(self, function: Function) -> Function:
        """Register ``draw(rng, inputs, params, ctx)``: all that chance decides, JSON-like."""
        self.draw = function
        return function

    def counts_inputs(self, function: Function) -> Function:
        """Register how many inputs a call takes, from the params."""
        self.inputs = function
        return function

    def gives_sizes(self, function: Function) -> Function:
        """Register ``sizes(input sizes, params)``: width and height of each output."""
        self.sizes = function
        return function

    def measures(
        self, *, reads: tuple[str, ...], when: Callable[[Any], bool] = _always
    ) -> Callable[[Function], Function]:
        """Register ``measure(sample, params, ctx)``: JSON-like features of one sample's pixels, cached.

        Args:
            reads: the params it looks at, and all it is given: other thresholds may change without measuring anew.
            when: whether these params need measuring at all.
        """

        def register(function: Function) -> Function:
            self.measure, self.measure_reads, self.measures_when = function, reads, when
            return function

        return register

    def fits(self, function: Function) -> Function:
        """Register ``fit(candidates, params, ctx)``: JSON-like, rounded where it changes pixels; see ``ctx.fitted``.

        It is given every split's candidates and takes thresholds from ``train`` alone.
        """
        self.fit = function
        return function

    def weighs(self, function: Function) -> Function:
        """Register ``weigh(candidate, params, ctx)``: how likely a sample is drawn as partner, 0 for never."""
        self.weigh = function
        return function


OPS: dict[str, Op] = {}


def op(
    name: str,
    params: type[OpParams],
    *,
    version: int,
    role: Role,
    reads: tuple[str, ...] = (),
    exact: bool | Callable[[Any], bool] = True,
) -> Callable[[Callable[..., Any]], Op]:
    """Make an op of an ``apply`` function and register it under its name.

    Args:
        name: what recipes call it.
        params: the model of its parameters; its docstring is the op's page.
        version: goes up whenever the same inputs give other pixels.
        role: ``prepare`` acts on every split by default, ``augment`` on train alone.
        reads: metadata fields it looks at.
        exact: False, or a function of the params, if pixels decide how many outputs there are.
    """

    def register(function: Callable[..., Any]) -> Op:
        if name in OPS:
            raise ValueError(f"two ops are named '{name}'; names are unique")
        decided = exact if callable(exact) else (_always if exact else _never)
        OPS[name] = Op(name, version, role, params, function, reads=reads, exact=decided)
        return OPS[name]

    return register


def filter_op(name: str, params: type[FilterParams], *, version: int) -> Callable[[Callable[..., Any]], Op]:
    """Make a filter of a ``decide(candidate, params, ctx)`` function and register it under its name."""
    return op(name, params, version=version, role="filter", exact=False)


def table_filter(name: str, params: type[FilterParams], *, version: int) -> Callable[[Callable[..., Any]], Op]:
    """Make a filter of a ``decide(candidates, params, ctx)`` function that judges the whole table at once."""

    def register(function: Callable[..., Any]) -> Op:
        made = filter_op(name, params, version=version)(function)
        made.decide_table = function
        return made

    return register


def get_op(name: str) -> Op:
    """The op of that name; KeyError with the nearest known name where there is none."""
    if name not in OPS:
        raise KeyError(f"no op is named '{name}'.{nearest(name, OPS)}")
    return OPS[name]


@dataclass(frozen=True, slots=True)
class BoundOp:
    """An op with checked parameters at its place in a recipe.

    Attributes:
        op: the registered op.
        params: its parameters.
        occurrence: how many steps of the same op stand before it; chance hashes it, so that two flips differ.
        fitted: what `fit` found, once it has run.
    """

    name: str
    params: OpParams
    occurrence: int = 0
    fitted: Any = field(default=None, compare=False)

    @property
    def op(self) -> Op:
        return OPS[self.name]

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

    def measured(self) -> dict[str, Any]:
        """The params that `measure` looks at."""
        return self.params.model_dump(mode="json", include=set(self.op.measure_reads))

    @property
    def label(self) -> str:
        """The op's name in sample names: ``rotate``, and ``rotate.2`` for the recipe's second one."""
        return self.name if self.occurrence == 0 else f"{self.name}.{self.occurrence + 1}"
