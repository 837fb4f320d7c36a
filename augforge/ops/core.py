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

    @too_dark.fits                               # optional: thresholds, from the candidates of `train`
    def fit_threshold(candidates, params, ctx): ...   # JSON-like; found again as ctx.fitted

`augforge.ops.hooks` has the signature of each of these functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar, get_args

from augforge.catalogue import Catalogue, origin_of
from augforge.ops.hooks import (
    Apply,
    CountInputs,
    Decide,
    DecideTable,
    Draw,
    Drawn,
    Fit,
    GiveSizes,
    Measure,
    Mirror,
    Params,
    Size,
    Weigh,
)
from augforge.ops.model import Candidate, Context, Examples, Features, FilterParams, Flag, OpParams, WhenFewer
from augforge.sample import Drop, Sample

__all__ = [
    "OPS",
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
    "WhenFewer",
    "filter_op",
    "op",
    "table_filter",
]

STEP_KEYS = frozenset({"op", "p", "copies", "on", "where", "keep_input"})
"""Keys in recipes that belong to a step, not to its op: no op may have a parameter of such a name."""

Role = Literal["prepare", "augment", "filter"]
FilterParamsT = TypeVar("FilterParamsT", bound=FilterParams)


def _one_input(params: Any, /) -> int:
    return 1


def _always(params: Any) -> bool:
    return True


def _never(params: Any) -> bool:
    return False


def _refuse_to_make(inputs: Any, drawn: Any, params: Any, ctx: Any, /) -> Iterable[Sample | Drop]:
    raise TypeError("a filter makes no samples; it decides over a table")


def _refuse_to_decide(candidates: Any, params: Any, ctx: Any, /) -> Sequence[Flag | None]:
    raise TypeError("an op that makes samples decides nothing; only filters do")


def _same_size(sizes: Sequence[Size], params: Any, /) -> list[Size]:
    return [sizes[0]]


@dataclass(eq=False)
class Op(Generic[Params]):
    """A named, versioned function on samples. Made by `op`, `filter_op` or `table_filter`, found in `OPS`.

    Attributes:
        params: the model of its parameters.
        examples: parameters that tests and the op's picture use.
        module: the module that defines it.
        reads: metadata fields the op looks at; they enter its results' identity.
        exact: whether, with these params, `sizes` is exact, or "at most" because pixels decide.
        inputs: how many samples one call takes, from the params; 1 for most.
        sizes: sizes of the outputs from the sizes of the inputs and the params; the planner counts with it.
        apply: makes samples; a filter's raises TypeError.
        decide: gives a filter's verdict on each candidate of a table; TypeError for any other op.
        measure_reads: params that `measure` looks at.
        measures_when, fits_when: whether these params need measuring, or fitting, at all.
        decides_alone: whether a filter's verdict on a sample does not depend on the others.
        moves: whether a filter may move samples to train with these params.
        mirror: whether it may mirror with these params, and how sides are exchanged then; None if it never does.
    """

    name: str
    version: int
    role: Role
    params: type[Params]
    examples: Examples
    module: str
    reads: tuple[str, ...] = ()
    exact: Callable[[Params], bool] = _always
    inputs: CountInputs[Params] = _one_input
    sizes: GiveSizes[Params] = _same_size
    apply: Apply[Params] = _refuse_to_make
    decide: DecideTable[Params] = _refuse_to_decide
    draw: Draw[Params] | None = None
    measure: Measure[Params] | None = None
    measure_reads: tuple[str, ...] = ()
    measures_when: Callable[[Params], bool] = _always
    fit: Fit[Params] | None = None
    fits_when: Callable[[Params], bool] = _always
    weigh: Weigh[Params] | None = None
    decides_alone: bool = False
    moves: Callable[[Params], bool] = _never
    mirror: Mirror | None = None

    def __str__(self) -> str:
        """Name, version and, for a plugin's op, where its code comes from: what ids hold of an op."""
        return f"{self.name}@{self.version}" + (f"+{self.origin}" if self.origin else "")

    @cached_property
    def origin(self) -> str:
        """Distribution and version, or the file's digest, of a plugin's op; empty for augforge's own."""
        return origin_of(self.module)

    def draws(self, function: Draw[Params]) -> Draw[Params]:
        """Register the function that draws all that chance decides, JSON-like."""
        self.draw = function
        return function

    def counts_inputs(self, function: CountInputs[Params]) -> CountInputs[Params]:
        """Register the function that says how many inputs a call takes."""
        self.inputs = function
        return function

    def gives_sizes(self, function: GiveSizes[Params]) -> GiveSizes[Params]:
        """Register the function that says width and height of each output."""
        self.sizes = function
        return function

    def measures(
        self, *, reads: tuple[str, ...], when: Callable[[Params], bool] = _always
    ) -> Callable[[Measure[Params]], Measure[Params]]:
        """Register the function that measures one sample's pixels: JSON-like features, cached.

        Args:
            reads: the params that it is given, and no others: a change of any other needs no new measurement.
            when: whether these params need measuring at all.
        """

        def register(function: Measure[Params]) -> Measure[Params]:
            self.measure, self.measure_reads, self.measures_when = function, reads, when
            return function

        return register

    def fits(self, function: Fit[Params]) -> Fit[Params]:
        """Register the function that fits on a table. Ops find its JSON-like result again as ``ctx.fitted``.

        A result that changes pixels is rounded, so that a small change of the data re-makes nothing.
        It is given every split's candidates and takes thresholds from ``train`` alone.
        """
        self.fit = function
        return function

    def weighs(self, function: Weigh[Params]) -> Weigh[Params]:
        """Register the function that says how likely a sample is drawn as partner, 0 for never."""
        self.weigh = function
        return function


OPS: Catalogue[Op[Any]] = Catalogue("op", "augforge.ops", "augforge.ops")
"""Every op by its name."""


def op(
    name: str,
    params: type[Params],
    *,
    version: int,
    role: Role,
    reads: tuple[str, ...] = (),
    exact: bool | Callable[[Params], bool] = True,
    examples: Examples | None = None,
) -> Callable[[Apply[Params]], Op[Params]]:
    """Make an op of a function that makes samples, and register it under its name.

    Args:
        name: what recipes call it.
        params: the model of its parameters; its docstring is the op's page.
        version: goes up whenever the same inputs give other pixels.
        role: ``prepare`` acts on every split by default, ``augment`` on train alone.
        reads: metadata fields it looks at.
        exact: False, or a function of the params, if pixels decide how many outputs there are.
        examples: what the contract test calls it with; None for the defaults alone.
    """
    decided = exact if callable(exact) else (_always if exact else _never)

    def register(function: Apply[Params]) -> Op[Params]:
        module = function.__module__
        made = Op(name, version, role, params, examples or Examples(), module, reads, decided, apply=function)
        return _register(made)

    return register


def filter_op(
    name: str, params: type[FilterParamsT], *, version: int, examples: Examples | None = None
) -> Callable[[Decide[FilterParamsT]], Op[FilterParamsT]]:
    """Make a filter of a function that decides on one candidate, and register it under its name."""

    def register(function: Decide[FilterParamsT]) -> Op[FilterParamsT]:
        def decide_each(candidates: Sequence[Candidate], params: FilterParamsT, ctx: Context) -> Sequence[Flag | None]:
            return [function(candidate, params, ctx) for candidate in candidates]

        made = _register_filter(name, params, version, examples, decide_each, function.__module__)
        made.decides_alone = True
        return made

    return register


def table_filter(
    name: str,
    params: type[FilterParamsT],
    *,
    version: int,
    alone: bool = False,
    moves: Callable[[FilterParamsT], bool] = _never,
    examples: Examples | None = None,
) -> Callable[[DecideTable[FilterParamsT]], Op[FilterParamsT]]:
    """Make a filter of a function that judges the whole table at once, and register it under its name.

    Args:
        alone: whether its verdict on a sample does not depend on the others all the same.
        moves: whether it may move samples to train with these params.
    """

    def register(function: DecideTable[FilterParamsT]) -> Op[FilterParamsT]:
        made = _register_filter(name, params, version, examples, function, function.__module__)
        made.decides_alone, made.moves = alone, moves
        return made

    return register


def _register_filter(
    name: str,
    params: type[FilterParamsT],
    version: int,
    examples: Examples | None,
    decide: DecideTable[FilterParamsT],
    module: str,
) -> Op[FilterParamsT]:
    return _register(Op(name, version, "filter", params, examples or Examples(), module, exact=_never, decide=decide))


def _register(made: Op[Params]) -> Op[Params]:
    if made.role not in get_args(Role):
        raise ValueError(f"op '{made.name}' has the role {made.role!r}; expected one of {', '.join(get_args(Role))}")
    hidden = sorted(STEP_KEYS & made.params.model_fields.keys())
    if hidden:
        raise ValueError(f"op '{made.name}' has a parameter {hidden[0]}, which is a key of every step. Rename it")
    OPS.add(made.name, made, made.module)
    return made
