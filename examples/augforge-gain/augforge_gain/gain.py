"""gain: the picture brighter or darker by a drawn factor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field, model_validator

from augforge.ops.core import Context, Examples, OpParams, op
from augforge.sample import Sample


class Gain(OpParams):
    """Make the picture brighter or darker by a drawn factor; what leaves the range of its dtype is clipped."""

    low: float = Field(0.8, gt=0, description="smallest factor")
    high: float = Field(1.25, gt=0, description="largest factor")

    @model_validator(mode="after")
    def _check_order(self) -> Gain:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


@op("gain", Gain, version=1, role="augment", examples=Examples([{}, {"low": 0.5, "high": 3}], picture={"low": 0.3}))
def gain(inputs: Sequence[Sample], drawn: float, params: Gain, ctx: Context) -> Iterator[Sample]:
    sample = inputs[0]
    top = np.iinfo(sample.image.dtype).max
    image = np.clip(np.rint(sample.image * drawn), 0, top).astype(sample.image.dtype)
    yield sample.derive(image, sample.masks)


@gain.draws
def draw_factor(rng: np.random.Generator, inputs: Sequence[Sample], params: Gain, ctx: Context) -> float:
    return float(rng.uniform(params.low, params.high))
