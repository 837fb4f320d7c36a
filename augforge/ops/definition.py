"""Op, the decorators that make one of plain functions, and OPS, where all are found by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from augforge.catalogue import Catalogue, origin_of
from augforge.ops.hooks import (
    Apply,
    CountInputs,
    Decide,
    DecideTable,
    Draw,
    Fit,
    GiveSizes,
    Measure,
    Params,
    Size,
    Weigh,
)
from augforge.ops.model import Candidate, Context, Examples, FilterParams, Flag
from augforge.sample import Drop, Sample

Role = Literal["prepare", "augment", "filter"]
Thresholds = TypeVar("Thresholds", bound=FilterParams)


def _one_input(params: Any, /) -> int:
    return 1


def _always(params: Any) -> bool:
    return True


def _never(params: Any) -> bool:
    return False


def _make_nothing(inputs: Any, drawn: Any, params: Any, ctx: Any, /) -> Iterable[Sample | Drop]:
    raise TypeError("a filter makes no samples; it decides over a table")


def _decide_nothing(candidates: Any, params: Any, ctx: Any, /) -> Sequence[Flag | None]:
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
        measures_when: whether these params need measuring at all.
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
    apply: Apply[Params] = _make_nothing
    decide: DecideTable[Params] = _decide_nothing
    draw: Draw[Params] | None = None
    measure: Measure[Params] | None = None
    measure_reads: tuple[str, ...] = ()
    measures_when: Callable[[Params], bool] = _always
    fit: Fit[Params] | None = None
    weigh: Weigh[Params] | None = None

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
            reads: the params it looks at, and all it is given: other thresholds may change without measuring anew.
            when: whether these params need measuring at all.
        """

        def register(function: Measure[Params]) -> Measure[Params]:
            self.measure, self.measure_reads, self.measures_when = function, reads, when
            return function

        return register

    def fits(self, function: Fit[Params]) -> Fit[Params]:
        """Register the function that fits on a table: JSON-like, rounded where it changes pixels; see ``ctx.fitted``.

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
        module = _module_of(function)
        made = Op(name, version, role, params, examples or Examples(), module, reads, decided, apply=function)
        OPS.add(name, made, module)
        return made

    return register


def filter_op(
    name: str, params: type[Thresholds], *, version: int, examples: Examples | None = None
) -> Callable[[Decide[Thresholds]], Op[Thresholds]]:
    """Make a filter of a function that decides on one candidate, and register it under its name."""

    def register(function: Decide[Thresholds]) -> Op[Thresholds]:
        def decide_each(candidates: Sequence[Candidate], params: Thresholds, ctx: Context) -> Sequence[Flag | None]:
            return [function(candidate, params, ctx) for candidate in candidates]

        return _register_filter(name, params, version, examples, decide_each, _module_of(function))

    return register


def table_filter(
    name: str, params: type[Thresholds], *, version: int, examples: Examples | None = None
) -> Callable[[DecideTable[Thresholds]], Op[Thresholds]]:
    """Make a filter of a function that judges the whole table at once, and register it under its name."""

    def register(function: DecideTable[Thresholds]) -> Op[Thresholds]:
        return _register_filter(name, params, version, examples, function, _module_of(function))

    return register


def _register_filter(
    name: str,
    params: type[Thresholds],
    version: int,
    examples: Examples | None,
    decide: DecideTable[Thresholds],
    module: str,
) -> Op[Thresholds]:
    made = Op(name, version, "filter", params, examples or Examples(), module, exact=_never, decide=decide)
    OPS.add(name, made, module)
    return made


def _module_of(function: Callable[..., Any]) -> str:
    return function.__module__
