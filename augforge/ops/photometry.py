"""Ops on gray values: normalise_intensity."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from augforge.ops.core import Context, Examples, OpParams, op
from augforge.sample import Image, Sample

Percentile = Annotated[float, Field(ge=0, le=100)]


class NormaliseIntensity(OpParams):
    """Stretch each image's own window of gray values over the whole range, and convert 16 bits to 8.

    The window lies between two percentiles of the image's pixels, all colour channels together; values beyond it are
    clipped. An alpha channel is only converted. An image of one gray value becomes black.
    """

    percentiles: tuple[Percentile, Percentile] = Field((1.0, 99.0), description="low and high percentile of the window")
    bits: Literal[8, 16] = Field(8, description="bits of the result")

    @field_validator("percentiles")
    @classmethod
    def _check_percentiles(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError(f"percentiles go from {value[0]} to {value[1]}; expected from low to high")
        return value


@op(
    "normalise_intensity",
    NormaliseIntensity,
    version=1,
    role="prepare",
    examples=Examples([{}, {"percentiles": [0, 100], "bits": 16}], picture={"percentiles": [2, 98]}),
)
def normalise_intensity(
    inputs: Sequence[Sample], drawn: None, params: NormaliseIntensity, ctx: Context
) -> Iterator[Sample]:
    """Stretch the image's window of gray values over the whole range."""
    sample = inputs[0]
    dtype = np.uint8 if params.bits == 8 else np.uint16
    colours = sample.image[..., :3] if sample.image.ndim == 3 else sample.image
    low, high = gray_window(colours, params.percentiles)
    image = _lookup_table(low, high, sample.image.dtype, dtype)[colours]
    if sample.image.shape[2:] == (4,):
        image = np.dstack([image, _rescale_alpha(sample.image[..., 3], dtype)])
    yield sample.derive(image, sample.masks, notes={"window": [low, high]})


def gray_window(image: Image, percentiles: tuple[float, float]) -> tuple[int, int]:
    """The gray values at two percentiles: the smallest that so many per cent do not exceed, numpy's inverted_cdf."""
    reached = np.cumsum(np.bincount(image.ravel()))
    low, high = (int(np.searchsorted(reached, max(1, math.ceil(p * image.size / 100)))) for p in percentiles)
    return low, high


def _lookup_table(low: int, high: int, old: np.dtype[Any], new: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """The new gray value of each old one."""
    values = np.arange(np.iinfo(old).max + 1, dtype=np.float64)
    stretched = (values - low) / max(1, high - low) if high > low else np.zeros_like(values)
    return np.rint(np.clip(stretched, 0, 1) * np.iinfo(new).max).astype(new)


def _rescale_alpha(alpha: Image, new: type[np.unsignedinteger[Any]]) -> Image:
    most = np.iinfo(alpha.dtype).max
    return np.rint(alpha.astype(np.float64) * (np.iinfo(new).max / most)).astype(new)
