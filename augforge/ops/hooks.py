"""The functions that make up an op, each as a Protocol: a function of another signature is an error of mypy.

Parameters are positional, so that an op may name them as it likes. `Params` is the op's own model of parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from augforge.ops.model import Candidate, Context, Flag, OpParams
from augforge.sample import Drop, Sample

Params = TypeVar("Params", bound=OpParams)
_Params = TypeVar("_Params", bound=OpParams, contravariant=True)

Size = tuple[int, int]
"""Width and height in pixels."""
Drawn = Any
"""What chance decided, JSON-like."""


class Apply(Protocol[_Params]):
    """Makes samples of samples: pure, never writing into its inputs; the same for the same inputs and `drawn`."""

    def __call__(
        self, inputs: Sequence[Sample], drawn: Any, params: _Params, ctx: Context, /
    ) -> Iterable[Sample | Drop]:
        """Make samples, or give a Drop with the reason why there is none."""
        ...


class Draw(Protocol[_Params]):
    """Draws all that chance decides in one call of an op. The result is JSON-like, small, and recorded."""

    def __call__(self, rng: np.random.Generator, inputs: Sequence[Sample], params: _Params, ctx: Context, /) -> Drawn:
        """Draw from `rng` and nothing else."""
        ...


class CountInputs(Protocol[_Params]):
    """Says how many samples one call takes."""

    def __call__(self, params: _Params, /) -> int:
        """Give the number of samples."""
        ...


class GiveSizes(Protocol[_Params]):
    """Says width and height of each output, from those of the inputs."""

    def __call__(self, sizes: Sequence[Size], params: _Params, /) -> list[Size]:
        """Give (width, height) of each output, in order."""
        ...


class Measure(Protocol[_Params]):
    """Measures one sample's pixels. It sees only the params that it declared to read; features are JSON-like."""

    def __call__(self, sample: Sample, params: _Params, ctx: Context, /) -> Mapping[str, Any]:
        """Give the features by name."""
        ...


class Decide(Protocol[_Params]):
    """Decides on one candidate: None keeps it, a Flag drops, tags or moves it."""

    def __call__(self, candidate: Candidate, params: _Params, ctx: Context, /) -> Flag | None:
        """Give the verdict."""
        ...


class DecideTable(Protocol[_Params]):
    """Decides on a whole table at once: one verdict per candidate, in their order."""

    def __call__(self, candidates: Sequence[Candidate], params: _Params, ctx: Context, /) -> Sequence[Flag | None]:
        """Give the verdicts."""
        ...


class Fit(Protocol[_Params]):
    """Finds thresholds or weights in a table, JSON-like; None if there is nothing to fit on."""

    def __call__(self, candidates: Sequence[Candidate], params: _Params, ctx: Context, /) -> Any:
        """Give what becomes `ctx.fitted`."""
        ...


class Weigh(Protocol[_Params]):
    """Says how likely a sample is drawn as partner: absolute, 0 for never."""

    def __call__(self, candidate: Candidate, params: _Params, ctx: Context, /) -> float:
        """Give the weight."""
        ...
