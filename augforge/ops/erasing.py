"""Ops that erase parts of the picture: cutout, gridmask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from augforge import bitmask
from augforge.ops.core import Context, Examples, OpParams, op
from augforge.ops.geometry import Fill, check_ascending, make_canvas
from augforge.sample import Sample

Share = Annotated[float, Field(gt=0, le=1)]
Masks = Literal["keep", "clear"]


class _ErasingParams(OpParams):
    """Parameters that both ops have."""

    fill: Fill = Field(0, description="gray value of what is erased")
    masks: Masks = Field(
        "keep", description="whether masks stay where the picture is erased, to be guessed, or are cleared"
    )


def _erase(sample: Sample, hidden: NDArray[np.uint8], params: _ErasingParams) -> Sample:
    """Erase the pixels where `hidden` (H, W) is 1."""
    blank = make_canvas(sample.width, sample.height, params.fill, sample.image)
    image, masks = cv2.copyTo(blank, hidden, sample.image.copy()), sample.masks
    if params.masks == "clear":
        masks = bitmask.per_plane(lambda part: cv2.bitwise_and(part, part, mask=1 - hidden), masks)
    return sample.derive(image, masks)


class Cutout(_ErasingParams):
    """Erase square holes (DeVries and Taylor 2017, arXiv:1708.04552).

    A hole's side is a drawn share of the picture's shorter side. Its centre is drawn evenly over the picture; what
    reaches beyond the border is cut off, as in the paper.
    """

    holes: int = Field(1, ge=1, le=100, description="how many holes")
    side: tuple[Share, Share] = Field((0.1, 0.25), description="range of a hole's side, as a share of the shorter side")

    @field_validator("side")
    @classmethod
    def _check_side(cls, value: tuple[float, float]) -> tuple[float, float]:
        return check_ascending(value, "side")


@op(
    "cutout",
    Cutout,
    version=1,
    role="augment",
    examples=Examples(
        [{}, {"holes": 3, "masks": "clear", "fill": 128}], picture={"holes": 3, "side": [0.15, 0.3]}, hides=True
    ),
)
def cutout(inputs: Sequence[Sample], drawn: dict[str, Any], params: Cutout, ctx: Context) -> Iterator[Sample]:
    """Erase the drawn squares."""
    sample = inputs[0]
    hidden = np.zeros((sample.height, sample.width), np.uint8)
    for hole in drawn["holes"]:
        side = max(1, round(hole["side"] * min(sample.width, sample.height)))
        x0, y0 = int(hole["x"] * sample.width) - side // 2, int(hole["y"] * sample.height) - side // 2
        hidden[max(0, y0) : max(0, y0 + side), max(0, x0) : max(0, x0 + side)] = 1
    yield _erase(sample, hidden, params)


@cutout.draws
def draw_holes(rng: np.random.Generator, inputs: Sequence[Sample], params: Cutout, ctx: Context) -> dict[str, Any]:
    """Draw side and centre of each hole, as shares of the picture."""
    drawn = zip(rng.uniform(*params.side, params.holes), *rng.random((2, params.holes)), strict=True)
    return {"holes": [{"side": float(side), "x": float(x), "y": float(y)} for side, x, y in drawn]}


class GridMask(_ErasingParams):
    """Erase a regular grid of squares that leaves objects visible (Chen et al. 2020, arXiv:2001.04086).

    A unit's side is a drawn share of the picture's shorter side; in each unit a square of `ratio` times that side is
    erased. The grid is not turned. Its offset is drawn evenly among those at which `min_visible` of the labelled pixels
    can still be seen; if there is none, the squares shrink by as little as is needed.
    """

    unit: tuple[Share, Share] = Field((0.1, 0.3), description="range of a unit's side, as a share of the shorter side")
    ratio: float = Field(0.5, gt=0, lt=1, description="side of the erased square, as a share of the unit's")
    min_visible: float = Field(0.6, ge=0, le=1, description="share of the labelled pixels that stays visible at least")

    @field_validator("unit")
    @classmethod
    def _check_unit(cls, value: tuple[float, float]) -> tuple[float, float]:
        return check_ascending(value, "unit")


@op(
    "gridmask",
    GridMask,
    version=1,
    role="augment",
    examples=Examples([{}, {"masks": "clear", "fill": 128}], hides=True),
)
def gridmask(inputs: Sequence[Sample], drawn: dict[str, Any], params: GridMask, ctx: Context) -> Iterator[Sample]:
    """Erase the squares of the drawn grid."""
    sample = inputs[0]
    columns = (np.arange(sample.width) - drawn["x"]) % drawn["unit"] < drawn["square"]
    rows = (np.arange(sample.height) - drawn["y"]) % drawn["unit"] < drawn["square"]
    yield _erase(sample, (rows[:, None] & columns).view(np.uint8), params)


@gridmask.draws
def draw_grid(rng: np.random.Generator, inputs: Sequence[Sample], params: GridMask, ctx: Context) -> dict[str, Any]:
    """Draw the unit's side and an offset at which enough of the labelled pixels stays visible."""
    sample = inputs[0]
    unit = max(2, round(float(rng.uniform(*params.unit)) * min(sample.width, sample.height)))
    labelled = _fold_units(bitmask.union(sample.masks), unit)
    most = (1 - params.min_visible) * int(labelled.sum()) + 1e-6
    square = _largest_square(labelled, max(1, round(unit * params.ratio)), most)
    offsets = np.flatnonzero(_count_hidden(labelled, square) <= most)
    y, x = divmod(int(rng.choice(offsets)), unit)
    return {"unit": unit, "square": square, "x": x, "y": y}


def _fold_units(labelled: NDArray[np.bool_], unit: int) -> NDArray[np.int64]:
    """Count labelled pixels by their place in a unit, (unit, unit), as if all units lay on top of each other."""
    height, width = labelled.shape
    rows = np.zeros((unit, width), np.int64)
    for top in range(0, height, unit):
        rows[: min(unit, height - top)] += labelled[top : top + unit]
    total = np.zeros((unit, unit), np.int64)
    for left in range(0, width, unit):
        total[:, : min(unit, width - left)] += rows[:, left : left + unit]
    return total


def _largest_square(labelled: NDArray[np.int64], square: int, most: float) -> int:
    """Side of the largest square, up to `square`, that hides at most `most` pixels at some offset, by bisection."""
    fits, fails = 0, square + 1
    while fails - fits > 1:
        middle = square if fails > square else (fits + fails) // 2
        if _count_hidden(labelled, middle).min() <= most:
            fits = middle
        else:
            fails = middle
    return fits


def _count_hidden(labelled: NDArray[np.int64], square: int) -> NDArray[np.int64]:
    """Count the pixels that squares hide at each offset y, x of the grid, (unit, unit), by a summed-area table."""
    unit = len(labelled)
    wrapped = np.tile(labelled, (2, 2))[: unit + square, : unit + square].astype(np.float64)
    table, near, far = cv2.integral(wrapped), slice(unit), slice(square, square + unit)
    return np.asarray(np.rint(table[far, far] - table[near, far] - table[far, near] + table[near, near]), np.int64)
