"""The functions that make up an op, each as a Protocol: a function of another signature is an error of mypy.

Parameters are positional, so that an op may name them as it likes. `Params` is the op's own model of parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from augforge.ops.model import Candidate, Context, Flag, OpParams
from augforge.ops.sides import Exchange
from augforge.sample import Drop, Sample

Params = TypeVar("Params", bound=OpParams)
Params_contra = TypeVar("Params_contra", bound=OpParams, contravariant=True)

Size = tuple[int, int]
"""Width and height in pixels."""
Drawn = Any
"""What chance decided, JSON-like."""


class Apply(Protocol[Params_contra]):
    """Makes samples of samples: pure, never writing into its inputs; the same for the same inputs and `drawn`.

    To leave a sample as it is, it gives the input object itself.
    """

    def __call__(
        self, inputs: Sequence[Sample], drawn: Any, params: Params_contra, ctx: Context, /
    ) -> Iterable[Sample | Drop]:
        """Make samples, or give a Drop with the reason why there is none."""
        ...


class Draw(Protocol[Params_contra]):
    """Draws all that chance decides in one call of an op. The result is JSON-like, small, and recorded."""

    def __call__(
        self, rng: np.random.Generator, inputs: Sequence[Sample], params: Params_contra, ctx: Context, /
    ) -> Drawn:
        """Draw from `rng` and nothing else."""
        ...


class CountInputs(Protocol[Params_contra]):
    """Says how many samples one call takes."""

    def __call__(self, params: Params_contra, /) -> int:
        """Give the number of samples."""
        ...


class GiveSizes(Protocol[Params_contra]):
    """Says width and height of each output, from those of the inputs."""

    def __call__(self, sizes: Sequence[Size], params: Params_contra, /) -> list[Size]:
        """Give (width, height) of each output, in order."""
        ...


class Measure(Protocol[Params_contra]):
    """Measures one sample's pixels. It sees only the params that it declared to read; features are JSON-like."""

    def __call__(self, sample: Sample, params: Params_contra, ctx: Context, /) -> Mapping[str, Any]:
        """Give the features by name."""
        ...


class Decide(Protocol[Params_contra]):
    """Decides on one candidate: None keeps it, a Flag drops, tags or moves it."""

    def __call__(self, candidate: Candidate, params: Params_contra, ctx: Context, /) -> Flag | None:
        """Give the verdict."""
        ...


class DecideTable(Protocol[Params_contra]):
    """Decides on a whole table at once: one verdict per candidate, in their order."""

    def __call__(
        self, candidates: Sequence[Candidate], params: Params_contra, ctx: Context, /
    ) -> Sequence[Flag | None]:
        """Give the verdicts."""
        ...


class Fit(Protocol[Params_contra]):
    """Finds thresholds or weights in a table, JSON-like; None if there is nothing to fit on."""

    def __call__(self, candidates: Sequence[Candidate], params: Params_contra, ctx: Context, /) -> Any:
        """Give what becomes `ctx.fitted`."""
        ...


class Weigh(Protocol[Params_contra]):
    """Says how likely a sample is drawn as partner: absolute, 0 for never."""

    def __call__(self, candidate: Candidate, params: Params_contra, ctx: Context, /) -> float:
        """Give the weight."""
        ...


@dataclass(frozen=True, slots=True)
class Mirror:
    """That an op may mirror, and how the sides of what it mirrored are exchanged; see `augforge.ops.mirror`.

    Attributes:
        may: whether any output may be mirrored with these params.
        exchange: the sample with its sides exchanged, in the tables of the context.
    """

    may: Callable[[Any], bool]
    exchange: Callable[[Sample, Exchange, Context], Sample]
