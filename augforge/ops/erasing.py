"""Parts of the picture taken away: cutout, gridmask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from augforge import bitmask
from augforge.ops.core import Context, OpParams, op
from augforge.ops.geometry import Fill, canvas
from augforge.sample import Sample

Share = Annotated[float, Field(gt=0, le=1)]
Masks = Literal["keep", "clear"]


class _Erasing(OpParams):
    fill: Fill = Field(0, description="gray value of what is erased")
    masks: Masks = Field("keep", description="whether masks stay under what is erased, to be guessed, or are cleared")


def _erased(sample: Sample, hidden: NDArray[np.bool_], params: _Erasing) -> Sample:
    image = sample.image.copy()
    image[hidden] = canvas(1, 1, params.fill, sample.image)[0, 0]
    masks = np.array(sample.masks, order="C")
    if params.masks == "clear":
        masks[hidden] = 0
    return sample.derive(image, masks)


class Cutout(_Erasing):
    """Erase square holes (DeVries and Taylor 2017, arXiv:1708.04552).

    A hole's side is a drawn share of the picture's shorter side, its centre uniform over the picture; at the rim the
    hole is cut off, as in the paper.
    """

    holes: int = Field(1, ge=1, le=100, description="how many")
    side: tuple[Share, Share] = Field((0.1, 0.25), description="range of a hole's side, as a share of the shorter side")

    @field_validator("side")
    @classmethod
    def _ascending(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _ascending(value, "side")


@op("cutout", Cutout, version=1, role="augment")
def cutout(inputs: Sequence[Sample], drawn: dict[str, Any], params: Cutout, ctx: Context) -> Iterator[Sample]:
    sample = inputs[0]
    hidden = np.zeros((sample.height, sample.width), bool)
    for hole in drawn["holes"]:
        side = round(hole["side"] * min(sample.width, sample.height))
        x0, y0 = int(hole["x"] * sample.width) - side // 2, int(hole["y"] * sample.height) - side // 2
        hidden[max(0, y0) : max(0, y0 + side), max(0, x0) : max(0, x0 + side)] = True
    yield _erased(sample, hidden, params)


@cutout.draws
def _(rng: np.random.Generator, inputs: Sequence[Sample], params: Cutout, ctx: Context) -> dict[str, Any]:
    drawn = zip(rng.uniform(*params.side, params.holes), *rng.random((2, params.holes)), strict=True)
    return {"holes": [{"side": float(side), "x": float(x), "y": float(y)} for side, x, y in drawn]}


class GridMask(_Erasing):
    """Erase a regular grid of squares (Chen et al. 2020, arXiv:2001.04086), upright, that leaves objects visible.

    A unit's side is a drawn share of the picture's shorter side; in each unit a square of `ratio` times that side is
    erased; the grid's offset is drawn. If less than `min_visible` of the labelled pixels would be seen, other offsets
    are tried, then smaller squares, until enough is.
    """

    unit: tuple[Share, Share] = Field((0.1, 0.3), description="range of a unit's side, as a share of the shorter side")
    ratio: float = Field(0.5, gt=0, lt=1, description="side of the erased square, as a share of the unit's")
    min_visible: float = Field(0.6, ge=0, lt=1, description="least share of the labelled pixels that stays visible")

    @field_validator("unit")
    @classmethod
    def _ascending(cls, value: tuple[float, float]) -> tuple[float, float]:
        return _ascending(value, "unit")


@op("gridmask", GridMask, version=1, role="augment")
def gridmask(inputs: Sequence[Sample], drawn: dict[str, Any], params: GridMask, ctx: Context) -> Iterator[Sample]:
    sample = inputs[0]
    yield _erased(sample, _grid(sample.width, sample.height, drawn), params)


@gridmask.draws
def _(rng: np.random.Generator, inputs: Sequence[Sample], params: GridMask, ctx: Context) -> dict[str, Any]:
    sample = inputs[0]
    labelled = bitmask.union(sample.masks)
    total = int(labelled.sum())
    unit = max(2, round(float(rng.uniform(*params.unit)) * min(sample.width, sample.height)))
    drawn: dict[str, Any] = {}
    for attempt in range(32):
        square = int(unit * params.ratio * 0.9 ** (attempt // 8))
        drawn = {"unit": unit, "square": square, "x": int(rng.integers(unit)), "y": int(rng.integers(unit))}
        hidden = _grid(sample.width, sample.height, drawn)
        if total == 0 or 1 - int((labelled & hidden).sum()) / total >= params.min_visible:
            return drawn
    return {**drawn, "square": 0}


def _grid(width: int, height: int, drawn: dict[str, Any]) -> NDArray[np.bool_]:
    """True in the erased squares."""
    unit, square = drawn["unit"], drawn["square"]
    columns = (np.arange(width) - drawn["x"]) % unit < square
    rows = (np.arange(height) - drawn["y"]) % unit < square
    hidden: NDArray[np.bool_] = rows[:, None] & columns[None, :]
    return hidden


def _ascending(value: tuple[float, float], name: str) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"{name} goes from low to high")
    return value
