"""Ops that move pixels of one image: resize, hflip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import Field

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.ops.core import Context, Examples, OpParams, Size, op
from augforge.ops.mirror import MirrorParams, exchanges_sides
from augforge.sample import Image, Matrix, Sample

Length = Annotated[int, Field(ge=1, le=32767)]
Fill = Annotated[int, Field(ge=0, le=65535)]


def width_height(size: int | tuple[int, int]) -> Size:
    """A size as recipes give it: one number for a square, or ``[width, height]``."""
    return (size, size) if isinstance(size, int) else size


def check_ascending(low_high: tuple[float, float], name: str) -> tuple[float, float]:
    """Return a range. Raises ValueError unless it goes from low to high."""
    if low_high[0] > low_high[1]:
        raise ValueError(f"{name} goes from {low_high[0]} to {low_high[1]}; expected from low to high")
    return low_high


def check_fill(fill: int, image: Image) -> None:
    """Raise ValueError if the image's dtype cannot hold a gray value."""
    most = np.iinfo(image.dtype).max
    if fill > most:
        raise ValueError(f"fill is {fill}, but the images are {image.dtype}; expected at most {most}")


def make_canvas(width: int, height: int, fill: int, like: Image) -> Image:
    """An evenly gray image of the dtype and channels of another one; see `check_fill`."""
    check_fill(fill, like)
    return np.full((height, width, *like.shape[2:]), fill, like.dtype)


def scale_image(image: Image, width: int, height: int) -> Image:
    """Scale to (height, width): axes that shrink by area, then axes that grow bilinearly."""
    small = (min(width, image.shape[1]), min(height, image.shape[0]))
    if small != (image.shape[1], image.shape[0]):
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    if small != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def scale_planes(planes: Planes, width: int, height: int) -> Planes:
    """Scale bit-planes to (height, width): axes that shrink by area, see `bitmask.shrink`, then axes that grow."""
    small = bitmask.shrink(planes, min(width, planes.shape[1]), min(height, planes.shape[0]))
    return sample_planes(small, width, height)


def sample_planes(planes: Planes, width: int, height: int) -> Planes:
    """Scale bit-planes to (height, width) by INTER_NEAREST_EXACT: plain nearest shifts by up to 1.5 pixels.

    What is made smaller by an even factor still moves by half an old pixel: it is enough for pictures and measures.
    """
    if planes.shape[:2] == (height, width):
        return planes

    def scale(part: Image) -> Image:
        return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))

    # Decoded masks are planar and stay so until they are small: interleaving them at full size takes longest of all.
    if planes[..., 0].flags.c_contiguous:
        return bitmask.interleave(np.stack([scale(layer) for layer in bitmask.planar(planes)]))
    return bitmask.per_plane(scale, planes)


def scale_matrix(old: Size, new: Size, shift: tuple[float, float] = (0, 0)) -> Matrix:
    """The matrix of a resize from the old to the new size, followed by a shift; pixel centres are at integers."""
    sx, sy = new[0] / old[0], new[1] / old[1]
    return ((sx, 0.0, (sx - 1) / 2 + shift[0]), (0.0, sy, (sy - 1) / 2 + shift[1]))


class Resize(OpParams):
    """Bring every image to one size.

    The image is shrunk by area and enlarged bilinearly. Masks move no more than it does: where they shrink, a pixel has
    each class that covers half of its area or more; where they grow, it has those of the nearest pixel. What is thinner
    than half a new pixel is gone afterwards: cut windows or crops instead if thin lines count. `letterbox` keeps
    the proportions and fills what is left, `stretch` does not keep them.
    """

    size: Length | tuple[Length, Length] = Field(description="pixels: one number for a square, or [width, height]")
    fit: Literal["letterbox", "stretch"] = Field(
        "letterbox", description="keep the proportions and fill the rest, or stretch"
    )
    fill: Fill = Field(0, description="gray value of the filled border")


def letterbox_size(old: Size, target: Size) -> tuple[Size, tuple[int, int]]:
    """Size of an image that fits into the target with its proportions kept, and its left and top margin."""
    scale = min(target[0] / old[0], target[1] / old[1])
    new = (min(target[0], max(1, round(old[0] * scale))), min(target[1], max(1, round(old[1] * scale))))
    return new, ((target[0] - new[0]) // 2, (target[1] - new[1]) // 2)


@op(
    "resize",
    Resize,
    version=2,
    role="prepare",
    examples=Examples(
        [{"size": 32}, {"size": [51, 24], "fill": 128}, {"size": [200, 40], "fit": "stretch"}],
        picture={"size": [600, 300], "fill": 60},
    ),
)
def resize(inputs: Sequence[Sample], drawn: None, params: Resize, ctx: Context) -> Iterator[Sample]:
    """Scale image and masks, and fill what a letterbox leaves free."""
    sample = inputs[0]
    old, target = (sample.width, sample.height), width_height(params.size)
    new, (left, top) = letterbox_size(old, target) if params.fit == "letterbox" else (target, (0, 0))
    image, masks = scale_image(sample.image, *new), scale_planes(sample.masks, *new)
    if new != target:
        inside = (slice(top, top + new[1]), slice(left, left + new[0]))
        frame, planes = (
            make_canvas(*target, params.fill, image),
            np.zeros((target[1], target[0], masks.shape[2]), np.uint8),
        )
        frame[inside], planes[inside] = image, masks
        image, masks = frame, planes
    yield sample.derive(image, masks, matrix=scale_matrix(old, new, (left, top)))


@resize.gives_sizes
def target_size(sizes: Sequence[Size], params: Resize) -> list[Size]:
    """Say that every output has the size asked for."""
    return [width_height(params.size)]


class HFlip(MirrorParams):
    """Mirror left and right: x' = W - 1 - x.

    A mirrored left hand looks like a right one, so classes and labels that name a side are exchanged with their
    counterpart: those of the source's `sides`, those found by name, or those of `swap`.
    """


@exchanges_sides()
@op("hflip", HFlip, version=1, role="augment", examples=Examples([{}, {"swap": [["class-0", "class-1"]]}]))
def hflip(inputs: Sequence[Sample], drawn: None, params: HFlip, ctx: Context) -> Iterator[Sample]:
    """Mirror image and masks left and right."""
    sample = inputs[0]
    matrix = ((-1.0, 0.0, sample.width - 1.0), (0.0, 1.0, 0.0))
    masks = bitmask.per_plane(lambda part: cv2.flip(part, 1), sample.masks)
    yield sample.derive(cv2.flip(sample.image, 1), masks, matrix=matrix)
