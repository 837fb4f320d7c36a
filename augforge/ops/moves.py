"""Ops that move pixels of one image without interpolating: vflip, transpose90, pad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from pydantic import Field, model_validator

from augforge import bitmask
from augforge.ops.core import Context, Examples, OpParams, Size, op
from augforge.ops.geometry import Fill, Length, make_canvas, width_height
from augforge.ops.mirror import MirrorParams, exchanges_sides
from augforge.ops.warp import MIRROR_DESCRIPTION, draw_mirror, map_centre, mirrored_terms, rotation_terms
from augforge.sample import Placement, Sample


class VFlip(MirrorParams):
    """Mirror top and bottom: y' = H - 1 - y.

    Like any mirror it turns a left hand into a right one, an upside-down one: the same as `hflip` and half a turn. So
    sides are exchanged as they are by `hflip`.
    """


@exchanges_sides()
@op("vflip", VFlip, version=1, role="augment", examples=Examples([{}, {"swap": [["class-0", "class-1"]]}]))
def vflip(inputs: Sequence[Sample], drawn: None, params: VFlip, ctx: Context) -> Iterator[Sample]:
    """Mirror image and masks top and bottom."""
    sample = inputs[0]
    matrix = ((1.0, 0.0, 0.0), (0.0, -1.0, sample.height - 1.0))
    masks = bitmask.per_plane(lambda part: cv2.flip(part, 0), sample.masks)
    yield sample.derive(cv2.flip(sample.image, 0), masks, matrix=matrix)


Quarters = Annotated[int, Field(ge=0, le=3)]
_ROTATIONS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}


class Transpose90(MirrorParams):
    """Turn by a drawn number of quarter turns, counter-clockwise: pixels are moved, none is interpolated.

    An odd number exchanges width and height; if both odd and even numbers may be drawn, the new size is left to chance.
    With `mirror`, some pictures are mirrored left and right before they are turned, which gives all eight ways in which
    a square fits onto itself. A turn leaves sides as they are; a mirrored picture exchanges them, as `hflip` does.
    """

    quarters: tuple[Quarters, ...] = Field(
        (1, 2, 3),
        min_length=1,
        description="numbers of quarter turns to draw from, each as likely; a single one is not left to chance",
    )
    mirror: float = Field(0.0, ge=0, le=1, description=MIRROR_DESCRIPTION)


def _has_one_shape(params: Transpose90) -> bool:
    return len({k % 2 for k in params.quarters}) == 1


@exchanges_sides(lambda params: params.mirror > 0)
@op(
    "transpose90",
    Transpose90,
    version=1,
    role="augment",
    exact=_has_one_shape,
    examples=Examples([{}, {"quarters": [1, 3]}, {"quarters": [0, 1], "mirror": 0.5}]),
)
def transpose90(inputs: Sequence[Sample], drawn: dict[str, Any], params: Transpose90, ctx: Context) -> Iterator[Sample]:
    """Mirror image and masks if that was drawn, and turn them by the drawn number of quarter turns."""
    sample, quarters, mirrored = inputs[0], drawn["quarters"], drawn.get("mirror", False)
    image, masks = sample.image, bitmask.contiguous(sample.masks)
    if mirrored:
        image, masks = cv2.flip(image, 1), bitmask.per_plane(lambda part: cv2.flip(part, 1), masks)
    if quarters:
        image = cv2.rotate(image, _ROTATIONS[quarters])
        masks = bitmask.per_plane(lambda part: cv2.rotate(part, _ROTATIONS[quarters]), masks)
    after = (image.shape[1], image.shape[0])
    terms = mirrored_terms(rotation_terms(90 * quarters), mirrored)
    yield sample.derive(image, masks, matrix=map_centre(terms, (sample.width, sample.height), after))


@transpose90.gives_sizes
def turned_sizes(sizes: Sequence[Size], params: Transpose90) -> list[Size]:
    """Say the picture's size, the exchanged one, or that either may come."""
    (width, height), odd = sizes[0], {k % 2 for k in params.quarters}
    return list(dict.fromkeys((height, width) if k else (width, height) for k in sorted(odd)))


@transpose90.draws
def draw_quarters(
    rng: np.random.Generator, inputs: Sequence[Sample], params: Transpose90, ctx: Context
) -> dict[str, Any]:
    """Draw a number of quarter turns, and whether to mirror first."""
    return {"quarters": params.quarters[int(rng.integers(len(params.quarters)))], **draw_mirror(rng, params.mirror)}


class Pad(OpParams):
    """Enlarge the canvas to a minimum size, to multiples of a number, or both; nothing is cut off or scaled."""

    size: Length | tuple[Length, Length] | None = Field(
        None, description="minimum size in pixels: one number for a square, or [width, height]"
    )
    multiple: Length | None = Field(None, description="pixels: width and height become multiples of it, such as 32")
    place: Literal["centre", "top-left"] = Field("centre", description="where the image lies on the canvas")
    fill: Fill = Field(0, description="gray value of the border")

    @model_validator(mode="after")
    def _check_given(self) -> Pad:
        if self.size is None and self.multiple is None:
            raise ValueError("pad has neither size nor multiple; expected at least one of them")
        return self


@op(
    "pad",
    Pad,
    version=1,
    role="prepare",
    examples=Examples(
        [{"size": 200}, {"multiple": 36, "place": "top-left", "fill": 128}], picture={"multiple": 256, "fill": 60}
    ),
)
def pad(inputs: Sequence[Sample], drawn: None, params: Pad, ctx: Context) -> Iterator[Sample]:
    """Put the image onto a larger canvas."""
    sample = inputs[0]
    width, height = _padded_size((sample.width, sample.height), params)
    left, top = (width - sample.width) // 2, (height - sample.height) // 2
    if params.place == "top-left":
        left = top = 0
    box = (left, top, left + sample.width, top + sample.height)
    image, masks = (
        make_canvas(width, height, params.fill, sample.image),
        np.zeros((height, width, len(sample.known)), np.uint8),
    )
    inside = (slice(box[1], box[3]), slice(box[0], box[2]))
    image[inside], masks[inside] = sample.image, sample.masks
    placement = Placement(((1.0, 0.0, float(left)), (0.0, 1.0, float(top))), box)
    yield sample.derive(image, masks, placements=(placement,))


@pad.gives_sizes
def padded_sizes(sizes: Sequence[Size], params: Pad) -> list[Size]:
    """Say the size of the canvas."""
    return [_padded_size(sizes[0], params)]


def _padded_size(size: Size, params: Pad) -> Size:
    least = (1, 1) if params.size is None else width_height(params.size)
    step = params.multiple or 1
    width, height = (-(-max(a, b) // step) * step for a, b in zip(size, least, strict=True))
    return width, height
