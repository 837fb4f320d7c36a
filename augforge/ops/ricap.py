"""ricap: four random crops that meet at a drawn boundary point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from augforge.ops.combine import FEWER_DESCRIPTION, keep_jointly_known, match_channels, mix_labels, paste, tile_boxes
from augforge.ops.core import Context, Examples, OpParams, WhenFewer, op
from augforge.ops.geometry import make_canvas
from augforge.sample import Box, Placement, Sample


class Ricap(OpParams):
    """Random image cropping and patching (Takahashi et al. 2018, arXiv:1811.09030).

    Crops of four images of one split meet at a boundary point. Its x and y, as fractions of width and height, are drawn
    from independent Beta(beta, beta) distributions. Each image gives a crop of its tile's size at an evenly drawn
    offset. Nothing is resized and no gap is left, so images of one size are needed. Label vectors are mixed by the
    tiles' areas; a class is known if it is known in all four images.

    With the paper's beta of 0.3 the smallest tile covers less than 1 % of the picture in two cases out of three:
    `min_tile` keeps the boundary point away from the border (the same Beta distribution, truncated).
    """

    beta: float = Field(
        0.3, ge=0.01, le=100, description="beta of the Beta distribution: below 1 it favours tiles of unequal size"
    )
    min_tile: float = Field(
        0.0, ge=0, le=0.45, description="least width and height of a tile, as fractions of the picture's"
    )
    fewer: WhenFewer = Field("refuse", description=FEWER_DESCRIPTION)

    def when_fewer(self) -> WhenFewer:
        """What `fewer` says."""
        return self.fewer


@op(
    "ricap",
    Ricap,
    version=1,
    role="augment",
    examples=Examples([{}, {"beta": 1.5, "min_tile": 0.2}], picture={"min_tile": 0.15}, one_size=True),
)
def ricap(inputs: Sequence[Sample], drawn: dict[str, Any], params: Ricap, ctx: Context) -> Iterator[Sample]:
    """Patch a crop of each image into its tile."""
    anchor, *_ = inputs = match_channels(inputs)
    width, height = anchor.width, anchor.height
    image, masks = make_canvas(width, height, 0, anchor.image), np.zeros_like(anchor.masks, order="C")
    cells = tile_boxes([0, round(drawn["y"] * height), height], [0, round(drawn["x"] * width), width])
    placements, shares = [], []
    for slot, sample in enumerate(inputs):
        tile = cells[drawn["tiles"][slot]]
        offset = _crop_offset(sample, tile, drawn["offsets"][slot])
        paste(image, sample.image, tile, offset)
        paste(masks, sample.masks, tile, offset)
        placements.append(Placement(((1.0, 0.0, float(offset[0])), (0.0, 1.0, float(offset[1]))), tile, slot))
        shares.append((tile[2] - tile[0]) * (tile[3] - tile[1]) / (width * height))
    masks, known = keep_jointly_known(inputs, masks)
    yield anchor.derive(image, masks, placements=tuple(placements), known=known, label=mix_labels(inputs, shares))


@ricap.counts_inputs
def count_tiles(params: Ricap) -> int:
    """Take four images."""
    return 4


@ricap.draws
def draw_layout(rng: np.random.Generator, inputs: Sequence[Sample], params: Ricap, ctx: Context) -> dict[str, Any]:
    """Draw the boundary point, which image goes into which tile, and the offset of each crop."""
    return {
        "x": _draw_boundary(rng, params),
        "y": _draw_boundary(rng, params),
        "tiles": rng.permutation(4).tolist(),
        "offsets": rng.random((4, 2)).tolist(),
    }


def _draw_boundary(rng: np.random.Generator, params: Ricap) -> float:
    """Draw from the truncated Beta distribution, by rejection, so that its shape inside is the paper's."""
    while True:
        value = float(rng.beta(params.beta, params.beta))
        if params.min_tile <= value <= 1 - params.min_tile:
            return value


def _crop_offset(sample: Sample, tile: Box, drawn: Sequence[float]) -> tuple[int, int]:
    """Where the image's top left corner lies on the canvas if its drawn crop fills the tile."""
    spare = (sample.width - (tile[2] - tile[0]), sample.height - (tile[3] - tile[1]))
    if min(spare) < 0:
        raise ValueError(
            f"{sample.name} is {sample.width}x{sample.height}, smaller than its tile; ricap resizes nothing. "
            "Add a step {op: resize, size: ...} before it"
        )
    # floor(u * (spare + 1)): every offset is as likely, the last one too
    return (tile[0] - int(drawn[0] * (spare[0] + 1)), tile[1] - int(drawn[1] * (spare[1] + 1)))
