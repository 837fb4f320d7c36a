"""sliding_window: a picture cut into overlapping windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from augforge import bitmask
from augforge.keys import unit_hash
from augforge.ops.core import Context, Examples, OpParams, Size, op
from augforge.ops.geometry import Fill, Length, make_canvas, width_height
from augforge.sample import Box, Drop, Placement, Sample


class SlidingWindow(OpParams):
    """Cut a picture into windows of one size, row by row.

    By default every window is kept. With `min_pixels`, a window is kept if a class of interest has at least so many
    pixels in it (`drop_edge_only` and `keep: centre` say where they must lie); of the others a drawn share is kept,
    `empty_share`. That holds in every split on which the step acts; `on: train` keeps validation whole. If no class of
    interest is known, no window can be called empty, and all are kept. A picture smaller than the window is padded on
    the right and at the bottom. A window's offset is part of its name and of the lineage.
    """

    size: Length | tuple[Length, Length] = Field(description="pixels: one number for a square, or [width, height]")
    stride: Length | tuple[Length, Length] | None = Field(
        None, description="pixels from one window to the next; default: size"
    )
    edge: Literal["shift", "pad", "drop"] = Field(
        "shift", description="a last window that would reach beyond the picture is moved inside, filled up, or left out"
    )
    fill: Fill = Field(0, description="gray value beyond the picture")
    classes: tuple[str, ...] | None = Field(None, description="the classes of interest; default: all but ignore")
    min_pixels: int = Field(
        0, ge=0, description="pixels that a class of interest must have in a window; 0 keeps all windows"
    )
    empty_share: float = Field(0.0, ge=0, le=1, description="share of the other windows that is kept, by chance")
    drop_edge_only: bool = Field(False, description="ignore a class whose pixels lie only in the window's rim")
    rim: int = Field(8, ge=1, description="width in pixels of the rim for drop_edge_only")
    keep: Literal["anywhere", "centre"] = Field(
        "anywhere", description="where the pixels must lie: anywhere in the window, or in its middle half"
    )

    @model_validator(mode="after")
    def _check_choice(self) -> SlidingWindow:
        chosen = [name for name in ("classes", "empty_share", "drop_edge_only", "keep") if name in self.declared()]
        if chosen and self.min_pixels == 0:
            raise ValueError(f"`{chosen[0]}` chooses among windows, but all are kept; set `min_pixels` to 1 or more")
        if self.drop_edge_only and 2 * self.rim >= min(width_height(self.size)):
            raise ValueError(f"a rim of {self.rim} pixels on both sides leaves nothing of the window")
        return self

    def check(self, ctx: Context) -> None:
        """Raise PlanError if a class is not in the table."""
        ctx.check_classes(self.classes or ())


def _keeps_all(params: SlidingWindow) -> bool:
    return params.min_pixels == 0


@op(
    "sliding_window",
    SlidingWindow,
    version=1,
    role="prepare",
    exact=_keeps_all,
    examples=Examples(
        [
            {"size": 48},
            {"size": [40, 50], "stride": 16, "edge": "pad", "fill": 128},
            {"size": [50, 40], "stride": 10, "min_pixels": 150, "empty_share": 0.3, "keep": "centre"},
        ],
        picture={"size": 200, "stride": 124, "min_pixels": 300, "drop_edge_only": True},
    ),
)
def sliding_window(
    inputs: Sequence[Sample], drawn: dict[str, Any], params: SlidingWindow, ctx: Context
) -> Iterator[Sample | Drop]:
    """Cut out the windows that are kept; drop the sample if there is none."""
    sample, size = inputs[0], width_height(params.size)
    boxes = _window_boxes((sample.width, sample.height), params)
    filled = _find_filled(sample, boxes, params, ctx)
    kept = [box for box, full in zip(boxes, filled, strict=True) if full or _keeps_empty(drawn["salt"], box, params)]
    for box in kept:
        yield cut_window(sample, box, size, params.fill, mark=f"@{box[0]},{box[1]}")
    if not kept:
        yield Drop("no window kept")


@sliding_window.gives_sizes
def window_sizes(sizes: Sequence[Size], params: SlidingWindow) -> list[Size]:
    """Say how many windows there are at most; all are of one size."""
    return [width_height(params.size)] * len(_window_boxes(sizes[0], params))


@sliding_window.draws
def draw_salt(
    rng: np.random.Generator, inputs: Sequence[Sample], params: SlidingWindow, ctx: Context
) -> dict[str, Any]:
    """Draw a number that decides, with a window's place, whether an empty window is kept."""
    return {"salt": int(rng.integers(1 << 32))}


def _keeps_empty(salt: int, box: Box, params: SlidingWindow) -> bool:
    """Whether an empty window is kept: by a hash of its place, so that it does not depend on the other windows."""
    return params.empty_share > 0 and unit_hash(salt, box[0], box[1]) < params.empty_share


def _window_boxes(picture: Size, params: SlidingWindow) -> list[Box]:
    """Windows as boxes of the picture; they may reach beyond it on the right and at the bottom."""
    size = width_height(params.size)
    stride = width_height(params.stride) if params.stride is not None else size
    columns, rows = (window_starts(picture[i], size[i], stride[i], params.edge) for i in (0, 1))
    return [(x, y, x + size[0], y + size[1]) for y in rows for x in columns]


def window_starts(length: int, size: int, stride: int, edge: str) -> list[int]:
    """Where windows begin along an axis; `edge` says what becomes of a last one that would reach beyond."""
    inside = list(range(0, max(0, length - size) + 1, stride))
    following = inside[-1] + stride
    if edge == "drop" or following >= length or inside[-1] + size >= length:
        return inside
    return [*inside, length - size if edge == "shift" else following]


def _find_filled(sample: Sample, boxes: Sequence[Box], params: SlidingWindow, ctx: Context) -> NDArray[np.bool_]:
    """Say for each window whether a class of interest has enough pixels at the right place."""
    known = bitmask.bits_to_flags(sample.known, len(ctx.classes))
    wanted = [c for c in map(ctx.class_index, params.classes or ctx.content) if known[c]]
    windows = np.array(boxes)
    if params.min_pixels == 0 or not wanted:
        return np.ones(len(windows), bool)
    filled = np.zeros(len(windows), bool)
    areas, extents = bitmask.areas_and_boxes(sample.masks, len(ctx.classes))
    for c in wanted:
        if areas[c] >= params.min_pixels:
            filled |= _count_in_windows(sample, c, extents[c], windows, params) >= params.min_pixels
    return filled


def _count_in_windows(
    sample: Sample, c: int, extent: NDArray[np.int32], windows: NDArray[np.int64], params: SlidingWindow
) -> NDArray[np.int64]:
    """Count the pixels of a class in each window, those that lie at the right place."""
    x0, y0, x1, y1 = (int(n) for n in extent)
    mask = bitmask.class_mask(sample.masks[y0:y1, x0:x1], c)
    counts = count_in_boxes(mask, (x0, y0), windows)
    if params.drop_edge_only:
        inner = count_in_boxes(mask, (x0, y0), windows + np.array([1, 1, -1, -1]) * params.rim)
        counts = np.where(inner > 0, counts, 0)
    if params.keep == "centre":
        width, height = width_height(params.size)
        margin = np.array([width // 4, height // 4])
        counts = np.minimum(counts, count_in_boxes(mask, (x0, y0), windows + np.concatenate([margin, -margin])))
    return counts


def count_in_boxes(mask: NDArray[np.uint8], corner: tuple[int, int], boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the pixels of a mask (H, W) in each of many boxes (..., 4), by a summed-area table.

    Args:
        mask: 0 and 1, of a part of the picture.
        corner: x and y in the picture of the part's first pixel.
        boxes: x0, y0, x1, y1 in pixels of the picture, half-open.
    """
    table = cv2.integral(mask)
    left, right = (np.clip(boxes[..., i] - corner[0], 0, mask.shape[1]) for i in (0, 2))
    top, bottom = (np.clip(boxes[..., i] - corner[1], 0, mask.shape[0]) for i in (1, 3))
    counts = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    return np.asarray(counts, np.int64)


def cut_window(sample: Sample, box: Box, size: Size, fill: int, mark: str) -> Sample:
    """Cut a window out of a sample. Its box may reach beyond the picture: there it is gray and holds no class."""
    x0, y0 = box[0], box[1]
    left, top = max(0, -x0), max(0, -y0)
    part = (slice(max(0, y0), max(0, box[3])), slice(max(0, x0), max(0, box[2])))
    image, masks = sample.image[part], sample.masks[part]
    clip = (left, top, left + image.shape[1], top + image.shape[0])
    if (image.shape[1], image.shape[0]) != size:
        whole = make_canvas(*size, fill, image)
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
