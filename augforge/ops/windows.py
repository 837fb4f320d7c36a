"""sliding_window: a picture cut into overlapping windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from augforge import bitmask
from augforge.ops.core import Context, OpParams, Size, op
from augforge.ops.geometry import Fill, Length, canvas, width_height
from augforge.sample import Box, Drop, Placement, Sample


class SlidingWindow(OpParams):
    """Cut a picture into windows of one size, row by row.

    By default every window is kept. With `min_pixels`, only windows in which a class of interest has at least so many
    pixels (`drop_edge_only` and `keep: centre` say where they must lie), and of the others a drawn share, `empty_share`.
    A picture smaller than the window is padded at right and bottom. Offsets stand in the name and in the lineage.
    """

    size: Length | tuple[Length, Length] = Field(description="pixels: one number for a square, or [width, height]")
    stride: Length | tuple[Length, Length] | None = Field(
        None, description="pixels from window to window; default: size"
    )
    edge: Literal["shift", "pad", "drop"] = Field(
        "shift", description="a last window that would overhang: moved inside, filled up, or left out"
    )
    fill: Fill = Field(0, description="gray value beyond the picture")
    classes: tuple[str, ...] | None = Field(None, description="the classes of interest; default: all")
    min_pixels: int = Field(0, ge=0, description="least pixels of one class of interest; 0 keeps every window")
    empty_share: float = Field(0.0, ge=0, le=1, description="share of the windows without them that is kept, by chance")
    drop_edge_only: bool = Field(False, description="count no class whose pixels only touch the window's rim")
    rim: int = Field(8, ge=1, description="pixels: width of the rim for drop_edge_only")
    keep: Literal["anywhere", "centre"] = Field(
        "anywhere", description="where the pixels must lie: anywhere in the window, or in its middle half"
    )

    def check(self, ctx: Context) -> None:
        for name in self.classes or ():
            ctx.class_index(name)


def _keeps_all(params: SlidingWindow) -> bool:
    return params.min_pixels == 0


@op("sliding_window", SlidingWindow, version=1, role="prepare", exact=_keeps_all)
def sliding_window(
    inputs: Sequence[Sample], drawn: dict[str, Any], params: SlidingWindow, ctx: Context
) -> Iterator[Sample | Drop]:
    sample, kept = inputs[0], 0
    size = width_height(params.size)
    for box, chance in zip(_boxes((sample.width, sample.height), params), drawn["chances"], strict=True):
        if _filled(sample, box, params, ctx) or chance < params.empty_share:
            kept += 1
            yield _window(sample, box, size, params.fill)
    if kept == 0:
        yield Drop("no window kept")


@sliding_window.gives_sizes
def _(sizes: Sequence[Size], params: SlidingWindow) -> list[Size]:
    return [width_height(params.size)] * len(_boxes(sizes[0], params))


@sliding_window.draws
def _(rng: np.random.Generator, inputs: Sequence[Sample], params: SlidingWindow, ctx: Context) -> dict[str, Any]:
    count = len(_boxes((inputs[0].width, inputs[0].height), params))
    return {"chances": [round(float(u), 6) for u in rng.random(count)]}


def _boxes(picture: Size, params: SlidingWindow) -> list[Box]:
    """Windows as boxes of the picture; they may overhang right and bottom."""
    size = width_height(params.size)
    stride = width_height(params.stride) if params.stride is not None else size
    columns, rows = (starts(picture[i], size[i], stride[i], params.edge) for i in (0, 1))
    return [(x, y, x + size[0], y + size[1]) for y in rows for x in columns]


def starts(length: int, size: int, stride: int, edge: str) -> list[int]:
    """Where windows begin along an axis, by what becomes of a last one that would overhang."""
    inside = list(range(0, max(0, length - size) + 1, stride))
    rest = length - (inside[-1] + size)
    if rest <= 0 or edge == "drop":
        return inside
    return [*inside, length - size if edge == "shift" else inside[-1] + stride]


def _filled(sample: Sample, box: Box, params: SlidingWindow, ctx: Context) -> bool:
    """Whether a class of interest has enough pixels at the right place of the window."""
    if params.min_pixels == 0:
        return True
    x0, y0, x1, y1 = box
    areas = _areas(sample, (x0, y0, x1, y1), ctx)
    if params.drop_edge_only:
        inner = _areas(sample, (x0 + params.rim, y0 + params.rim, x1 - params.rim, y1 - params.rim), ctx)
        areas = np.where(inner > 0, areas, 0)
    if params.keep == "centre":
        w, h = (x1 - x0) // 4, (y1 - y0) // 4
        areas = np.minimum(areas, _areas(sample, (x0 + w, y0 + h, x1 - w, y1 - h), ctx))
    wanted = [ctx.class_index(name) for name in params.classes or ctx.classes]
    return bool(areas[wanted].max() >= params.min_pixels)


def _areas(sample: Sample, box: Box, ctx: Context) -> np.ndarray[Any, np.dtype[np.int64]]:
    x0, y0, x1, y1 = box
    part = sample.masks[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
    if 0 in part.shape:
        return np.zeros(len(ctx.classes), np.int64)
    return bitmask.areas_and_boxes(part, len(ctx.classes))[0]


def _window(sample: Sample, box: Box, size: Size, fill: int) -> Sample:
    return cut(sample, box, size, fill, mark=f"@{box[0]},{box[1]}")


def cut(sample: Sample, box: Box, size: Size, fill: int, mark: str) -> Sample:
    """The window of a sample at a box, which may reach beyond the picture: gray there, and no class."""
    x0, y0 = box[0], box[1]
    left, top = max(0, -x0), max(0, -y0)
    part = (slice(max(0, y0), max(0, box[3])), slice(max(0, x0), max(0, box[2])))
    image, masks = sample.image[part], sample.masks[part]
    clip = (left, top, left + image.shape[1], top + image.shape[0])
    if (image.shape[1], image.shape[0]) != size:
        whole = canvas(*size, fill, image)
        planes = np.zeros((size[1], size[0], masks.shape[2]), np.uint8)
        whole[clip[1] : clip[3], clip[0] : clip[2]] = image
        planes[clip[1] : clip[3], clip[0] : clip[2]] = masks
        image, masks = whole, planes
    placement = Placement(((1.0, 0.0, float(-x0)), (0.0, 1.0, float(-y0))), clip)
    return sample.derive(
        np.ascontiguousarray(image),
        np.ascontiguousarray(masks),
        placements=(placement,),
        mark=mark,
        notes={"offset": [x0, y0]},
    )
