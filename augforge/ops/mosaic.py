"""mosaic: several images scaled or cropped into the tiles of a grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from augforge.ops.combine import (
    FEWER_DESCRIPTION,
    ClassWeights,
    check_weighted_classes,
    fit_class_weights,
    heaviest_weight,
    keep_jointly_known,
    match_channels,
    mix_labels,
    paste,
    tile_boxes,
)
from augforge.ops.core import Candidate, Context, Examples, OpParams, Size, WhenFewer, op
from augforge.ops.filters.select import measure_contents
from augforge.ops.geometry import (
    Fill,
    Length,
    check_ascending,
    make_canvas,
    scale_image,
    scale_matrix,
    scale_planes,
    width_height,
)
from augforge.sample import Box, Placement, Sample

Cells = Annotated[int, Field(ge=1, le=8)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Mosaic(OpParams):
    """Put several images of one split into the tiles of a grid whose borders are drawn.

    This is the mosaic of YOLOv4 (Bochkovskiy et al. 2020, arXiv:2004.10934). The centre of a 2x2 grid lies at a drawn
    fraction of width and height; in larger grids every border is drawn around its even place in the same way. A class
    is known in the mosaic if it is known in all its images; label vectors are mixed by the tiles' areas.

    As in Darknet: ``center_range: [0.2, 0.8]``. As in Ultralytics: ``center_range: [0.25, 0.75], fit: crop, align:
    centre, fill: 114`` with a `size` of twice the image's, so that every image keeps its scale and touches the centre.
    """

    grid: tuple[Cells, Cells] = Field((2, 2), description="rows and columns of tiles")
    center_range: tuple[Fraction, Fraction] = Field(
        (0.3, 0.7), description="range of the drawn centre, as a fraction of width and height"
    )
    fit: Literal["cover", "contain", "stretch", "crop"] = Field(
        "cover",
        description="scale to cover the tile and crop the rest; scale to fit into it; stretch; or crop without scaling",
    )
    align: Literal["drawn", "centre"] = Field(
        "drawn",
        description="place of an image that is larger or smaller than its tile: drawn (centred if it is smaller), or "
        "with its inner corner at the mosaic's centre",
    )
    partners: ClassWeights = Field(
        "uniform",
        description="which samples join: each as likely; preferably those that hold rare or small classes; or by "
        "weights of classes, such as {finger-16: 4}: a sample's heaviest class counts, 1 if it holds none of them",
    )
    size: Length | tuple[Length, Length] | None = Field(
        None, description="pixels: one number for a square, or [width, height]; default: the first image's"
    )
    fill: Fill = Field(0, description="gray value where no image reaches")
    fewer: WhenFewer = Field("refuse", description=FEWER_DESCRIPTION)

    @model_validator(mode="after")
    def _check_grid(self) -> Mosaic:
        if self.grid[0] * self.grid[1] < 2:
            raise ValueError("a 1x1 grid is no mosaic; expected at least two tiles")
        check_ascending(self.center_range, "center_range")
        return self

    def check(self, ctx: Context) -> None:
        """Raise PlanError if what has a weight is neither a class nor a label."""
        check_weighted_classes(self.partners, ctx)

    def when_fewer(self) -> WhenFewer:
        """What `fewer` says."""
        return self.fewer


@op(
    "mosaic",
    Mosaic,
    version=2,
    role="augment",
    examples=Examples(
        [
            {},
            {"fit": "contain", "fill": 128},
            {"fit": "stretch", "size": [150, 101]},
            {"fit": "crop", "center_range": [0.5, 0.5]},
            {"grid": [1, 2]},
            {"grid": [3, 3], "center_range": [0.1, 0.9]},
            {"align": "centre", "partners": "rare"},
        ]
    ),
)
def mosaic(inputs: Sequence[Sample], drawn: dict[str, Any], params: Mosaic, ctx: Context) -> Iterator[Sample]:
    """Scale or crop each image into its tile."""
    anchor, *_ = inputs = match_channels(inputs)
    width, height = _canvas_size((anchor.width, anchor.height), params)
    image = make_canvas(width, height, params.fill, anchor.image)
    masks = np.zeros((height, width, anchor.masks.shape[2]), np.uint8)
    cells = tile_boxes(_border_pixels(drawn["rows"], height), _border_pixels(drawn["columns"], width))
    placements, shares = [], []
    for slot, sample in enumerate(inputs):
        cell = drawn["tiles"][slot]
        tile = cells[cell]
        size = _scaled_size((sample.width, sample.height), tile, params.fit)
        shift = (
            _drawn_shift(drawn["offsets"][slot], tile, size)
            if params.align == "drawn"
            else _inward_shift(cell, params.grid)
        )
        offset = _offset(tile, size, shift)
        clip = _clip_to_tile(tile, size, offset)
        paste(image, scale_image(sample.image, *size), clip, offset)
        paste(masks, scale_planes(sample.masks, *size), clip, offset)
        placements.append(Placement(scale_matrix((sample.width, sample.height), size, offset), clip, slot))
        shares.append((tile[2] - tile[0]) * (tile[3] - tile[1]) / (width * height))
    masks, known = keep_jointly_known(inputs, masks)
    yield anchor.derive(image, masks, placements=tuple(placements), known=known, label=mix_labels(inputs, shares))


@mosaic.counts_inputs
def count_tiles(params: Mosaic) -> int:
    """Take one image per tile."""
    return params.grid[0] * params.grid[1]


@mosaic.gives_sizes
def canvas_sizes(sizes: Sequence[Size], params: Mosaic) -> list[Size]:
    """Say that the output has the size asked for, or that of the first image."""
    return [_canvas_size(sizes[0], params)]


@mosaic.draws
def draw_layout(rng: np.random.Generator, inputs: Sequence[Sample], params: Mosaic, ctx: Context) -> dict[str, Any]:
    """Draw the borders, which image goes into which tile, and how images are shifted in their tiles."""
    rows, columns = params.grid
    return {
        "rows": [_draw_border(rng, i, rows, params.center_range) for i in range(1, rows)],
        "columns": [_draw_border(rng, i, columns, params.center_range) for i in range(1, columns)],
        "tiles": rng.permutation(rows * columns).tolist(),
        "offsets": rng.random((rows * columns, 2)).tolist(),
    }


@mosaic.measures(reads=(), when=lambda params: params.partners != "uniform")
def measure_what_weighs(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    """Measure the pixels of each class, and take the labels."""
    return measure_contents(sample, ctx)


@mosaic.fits
def fit_partner_weights(candidates: Sequence[Candidate], params: Mosaic, ctx: Context) -> dict[str, float] | None:
    """Fit a weight for each class, if a rule asks for it."""
    return fit_class_weights(params.partners, candidates)


@mosaic.weighs
def weigh_partner(candidate: Candidate, params: Mosaic, ctx: Context) -> float:
    """Weigh a sample by its heaviest class."""
    return heaviest_weight(ctx.fitted, candidate)


def _canvas_size(anchor: Size, params: Mosaic) -> Size:
    return anchor if params.size is None else width_height(params.size)


def _draw_border(rng: np.random.Generator, i: int, cells: int, center_range: tuple[float, float]) -> float:
    """Draw the i-th of `cells` - 1 inner borders, as a fraction; with two cells it is the drawn centre."""
    return (i - 1 + 2 * float(rng.uniform(*center_range))) / cells


def _border_pixels(fractions: Sequence[float], length: int) -> list[int]:
    """All borders along an axis in pixels, the outer ones included."""
    return [0, *sorted(min(max(round(f * length), 0), length) for f in fractions), length]


def _scaled_size(old: Size, tile: Box, fit: str) -> Size:
    """Size of an image that is scaled for its tile."""
    ratios = (max(1, tile[2] - tile[0]) / old[0], max(1, tile[3] - tile[1]) / old[1])
    scale = {"cover": (max(ratios),) * 2, "contain": (min(ratios),) * 2, "stretch": ratios, "crop": (1.0, 1.0)}[fit]
    return (max(1, round(old[0] * scale[0])), max(1, round(old[1] * scale[1])))


def _offset(tile: Box, size: Size, shift: Sequence[float | None]) -> tuple[int, int]:
    """Where the scaled image's top left corner lies on the canvas."""
    return (_start(tile[0], tile[2], size[0], shift[0]), _start(tile[1], tile[3], size[1], shift[1]))


def _start(low: int, high: int, size: int, shift: float | None) -> int:
    """Where an image starts along an axis: shifted by a fraction of what it lacks or exceeds, or centred for None."""
    spare = max(1, high - low) - size
    return low + spare // 2 if shift is None else low + round(shift * spare)


def _drawn_shift(shift: Sequence[float], tile: Box, size: Size) -> tuple[float | None, float | None]:
    """The drawn shift along each axis on which the image exceeds its tile; None, for centred, on the others."""
    room = (max(1, tile[2] - tile[0]), max(1, tile[3] - tile[1]))
    return (shift[0] if size[0] > room[0] else None, shift[1] if size[1] > room[1] else None)


def _inward_shift(cell: int, grid: tuple[int, int]) -> tuple[float | None, float | None]:
    """The shift along each axis that brings an image's inner corner to the centre; None in the middle row or column."""
    row, column = divmod(cell, grid[1])
    return (_inward_side(column, grid[1]), _inward_side(row, grid[0]))


def _inward_side(place: int, cells: int) -> float | None:
    middle = (cells - 1) / 2
    return None if place == middle else float(place < middle)


def _clip_to_tile(tile: Box, size: Size, offset: tuple[int, int]) -> Box:
    return (
        max(tile[0], offset[0]),
        max(tile[1], offset[1]),
        min(tile[2], offset[0] + size[0]),
        min(tile[3], offset[1] + size[1]),
    )
