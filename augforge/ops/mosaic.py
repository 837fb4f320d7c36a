"""Ops that tile several images into one: mosaic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from augforge import bitmask
from augforge.ops.core import Context, OpParams, Size, op
from augforge.ops.geometry import Fill, Length, canvas, scale_image, scale_matrix, scale_planes, width_height
from augforge.sample import Box, Label, Placement, Sample

Cells = Annotated[int, Field(ge=1, le=8)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Mosaic(OpParams):
    """Tile k images of one split into a grid with drawn tile borders.

    The mosaic of YOLOv4 (Bochkovskiy et al. 2020, arXiv:2004.10934). A 2x2 grid's centre lies at a drawn
    fraction of width and height; in larger grids every border is drawn about its even place the same way. A
    class is known in the mosaic if it is known in all its images; label vectors are mixed by tile area.
    """

    grid: tuple[Cells, Cells] = Field((2, 2), description="rows and columns of tiles")
    center_range: tuple[Fraction, Fraction] = Field(
        (0.3, 0.7), description="range of the drawn centre, as a fraction of width and height"
    )
    fit: Literal["cover", "contain", "stretch", "crop"] = Field(
        "cover",
        description="scale to cover the tile and crop the rest; scale to fit into it; stretch; or crop without scaling",
    )
    size: Length | tuple[Length, Length] | None = Field(
        None, description="pixels: one number for a square, or [width, height]; default: the first image's"
    )
    fill: Fill = Field(0, description="gray value where no image reaches")

    @model_validator(mode="after")
    def _sound(self) -> Mosaic:
        if self.grid[0] * self.grid[1] < 2:
            raise ValueError("a 1x1 grid is no mosaic; expected at least two tiles")
        if self.center_range[0] > self.center_range[1]:
            raise ValueError("center_range goes from low to high")
        return self


@op("mosaic", Mosaic, version=1, role="augment")
def mosaic(inputs: Sequence[Sample], drawn: dict[str, Any], params: Mosaic, ctx: Context) -> Iterator[Sample]:
    anchor = inputs[0]
    _check_alike(inputs)
    width, height = _canvas_size((anchor.width, anchor.height), params)
    image = canvas(width, height, params.fill, anchor.image)
    masks = np.zeros((height, width, anchor.masks.shape[2]), np.uint8)
    tiles = _tiles(_borders(drawn["rows"], height), _borders(drawn["columns"], width))
    placements, shares = [], []
    for slot, sample in enumerate(inputs):
        tile = tiles[drawn["tiles"][slot]]
        size, offset = _fit((sample.width, sample.height), tile, params.fit, drawn["offsets"][slot])
        clip = _clip(tile, size, offset)
        _paste(image, scale_image(sample.image, *size), clip, offset)
        _paste(masks, scale_planes(sample.masks, *size), clip, offset)
        placements.append(Placement(scale_matrix((sample.width, sample.height), size, offset), clip, slot))
        shares.append((tile[2] - tile[0]) * (tile[3] - tile[1]) / (width * height))
    known = np.bitwise_and.reduce([sample.known for sample in inputs])
    if any((sample.known != known).any() for sample in inputs):
        masks = bitmask.keep(masks, known)
    yield anchor.derive(image, masks, placements=tuple(placements), known=known, label=mixed_label(inputs, shares))


@mosaic.counts_inputs
def _(params: Mosaic) -> int:
    return params.grid[0] * params.grid[1]


@mosaic.gives_sizes
def _(sizes: Sequence[Size], params: Mosaic) -> list[Size]:
    return [_canvas_size(sizes[0], params)]


@mosaic.draws
def _(rng: np.random.Generator, inputs: Sequence[Sample], params: Mosaic, ctx: Context) -> dict[str, Any]:
    rows, columns = params.grid
    return {
        "rows": [_border(rng, i, rows, params.center_range) for i in range(1, rows)],
        "columns": [_border(rng, i, columns, params.center_range) for i in range(1, columns)],
        "tiles": rng.permutation(rows * columns).tolist(),
        "offsets": rng.random((rows * columns, 2)).tolist(),
    }


def mixed_label(inputs: Sequence[Sample], shares: Sequence[float]) -> Label | None:
    """Label vectors mixed by the share each input has; None if any input has none."""
    labels = [sample.label for sample in inputs if sample.label is not None]
    if len(labels) < len(inputs):
        return None
    return (np.array(shares, np.float32) @ np.stack(labels)).astype(np.float32, copy=False)


def _check_alike(inputs: Sequence[Sample]) -> None:
    kinds = {(str(s.image.dtype), s.image.shape[2:]) for s in inputs}
    if len(kinds) > 1:
        raise ValueError(
            f"images of different kinds cannot share a picture: {sorted(map(str, kinds))}. "
            "Convert them to one dtype and channel count first"
        )


def _canvas_size(anchor: Size, params: Mosaic) -> Size:
    return anchor if params.size is None else width_height(params.size)


def _border(rng: np.random.Generator, i: int, cells: int, center_range: tuple[float, float]) -> float:
    """The i-th of `cells` - 1 inner borders, as a fraction: for two cells just the drawn centre."""
    return (i - 1 + 2 * float(rng.uniform(*center_range))) / cells


def _borders(fractions: Sequence[float], length: int) -> list[int]:
    return [0, *sorted(min(max(round(f * length), 0), length) for f in fractions), length]


def _tiles(rows: Sequence[int], columns: Sequence[int]) -> list[Box]:
    return [(x0, y0, x1, y1) for y0, y1 in pairwise(rows) for x0, x1 in pairwise(columns)]


def _fit(old: Size, tile: Box, fit: str, offset: Sequence[float]) -> tuple[Size, tuple[int, int]]:
    """Size of the scaled image, and where its left top corner lies on the canvas."""
    room = (max(1, tile[2] - tile[0]), max(1, tile[3] - tile[1]))
    ratios = (room[0] / old[0], room[1] / old[1])
    scale = {"cover": (max(ratios),) * 2, "contain": (min(ratios),) * 2, "stretch": ratios, "crop": (1.0, 1.0)}[fit]
    size = (max(1, round(old[0] * scale[0])), max(1, round(old[1] * scale[1])))
    return size, (_start(tile[0], room[0], size[0], offset[0]), _start(tile[1], room[1], size[1], offset[1]))


def _start(start: int, room: int, size: int, offset: float) -> int:
    """Centred where there is room to spare, shifted by the drawn offset where the image overhangs."""
    return start + (room - size) // 2 if size <= room else start - round(offset * (size - room))


def _clip(tile: Box, size: Size, offset: tuple[int, int]) -> Box:
    return (
        max(tile[0], offset[0]),
        max(tile[1], offset[1]),
        min(tile[2], offset[0] + size[0]),
        min(tile[3], offset[1] + size[1]),
    )


def _paste(target: Any, source: Any, clip: Box, offset: tuple[int, int]) -> None:
    x0, y0, x1, y1 = clip
    target[y0:y1, x0:x1] = source[y0 - offset[1] : y1 - offset[1], x0 - offset[0] : x1 - offset[0]]
