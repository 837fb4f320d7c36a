"""crop_nonempty: crops that hold something of a class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augforge import bitmask
from augforge.ops.combine import ClassWeights, check_class_weights, fit_class_weights
from augforge.ops.core import Candidate, Context, OpParams, Size, op
from augforge.ops.geometry import Fill, Length, width_height
from augforge.ops.select import class_areas
from augforge.ops.windows import cut
from augforge.sample import Sample


class CropNonEmpty(OpParams):
    """Crops around classes, after CropNonEmptyMaskIfExists of Albumentations, but class first.

    A class is drawn among those present (all alike, or by `weights`), then one of its pixels, then the crop's place,
    uniformly among all places inside the picture that hold that pixel and at least `min_area` pixels of the class, or
    as many as any such place holds: so small classes are seen as often as large ones, and crops do not pile up at the
    borders. Without a class to draw, the place is uniform. A picture smaller than the crop is padded around.
    """

    size: Length | tuple[Length, Length] = Field(description="pixels: one number for a square, or [width, height]")
    count: int = Field(1, ge=1, le=1000, description="crops of each picture")
    weights: ClassWeights = Field(
        "uniform",
        description="which class: all alike; rather rare or small ones; or weights, such as {finger-16: 4} (1 without)",
    )
    ignore: tuple[str, ...] = Field((), description="classes that are never drawn")
    min_area: int = Field(1, ge=1, description="least pixels of the drawn class inside")
    fill: Fill = Field(0, description="gray value beyond the picture")

    def check(self, ctx: Context) -> None:
        check_class_weights(self.weights, ctx)
        for name in self.ignore:
            ctx.class_index(name)


@op("crop_nonempty", CropNonEmpty, version=1, role="augment")
def crop_nonempty(
    inputs: Sequence[Sample], drawn: dict[str, Any], params: CropNonEmpty, ctx: Context
) -> Iterator[Sample]:
    width, height = width_height(params.size)
    seen: dict[str, int] = {}
    for crop in drawn["crops"]:
        x, y = crop["x"], crop["y"]
        mark = f"@{x},{y}"
        seen[mark] = seen.get(mark, 0) + 1
        mark += f".{seen[mark]}" if seen[mark] > 1 else ""
        yield cut(inputs[0], (x, y, x + width, y + height), (width, height), params.fill, mark)


@crop_nonempty.gives_sizes
def _(sizes: Sequence[Size], params: CropNonEmpty) -> list[Size]:
    return [width_height(params.size)] * params.count


@crop_nonempty.measures(reads=(), when=lambda params: params.weights in ("rare", "small"))
def _(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    return {"area": class_areas(sample, ctx)}


@crop_nonempty.fits
def _(candidates: Sequence[Candidate], params: CropNonEmpty, ctx: Context) -> dict[str, float] | None:
    return fit_class_weights(params.weights, candidates) if isinstance(params.weights, str) else None


@crop_nonempty.draws
def _(rng: np.random.Generator, inputs: Sequence[Sample], params: CropNonEmpty, ctx: Context) -> dict[str, Any]:
    sample, size = inputs[0], width_height(params.size)
    areas, boxes = bitmask.areas_and_boxes(sample.masks, len(ctx.classes))
    weights = ctx.fitted if isinstance(params.weights, str) else params.weights
    chances = _chances(areas, weights or {}, params.ignore, ctx)
    crops: list[dict[str, Any]] = []
    for _ in range(params.count):
        if chances.sum() > 0:
            c = int(rng.choice(len(chances), p=chances))
            x, y = _place(rng, sample, c, boxes[c], size, params.min_area)
            crops.append({"class": ctx.classes[c], "x": x, "y": y})
        else:
            x, y = _anywhere(rng, sample.width, size[0]), _anywhere(rng, sample.height, size[1])
            crops.append({"class": None, "x": x, "y": y})
    return {"crops": crops}


def _chances(
    areas: NDArray[np.int64], weights: Mapping[str, float], ignore: Sequence[str], ctx: Context
) -> NDArray[np.float64]:
    """Chance of each class, 0 where it is absent or ignored; all 0 where none is left."""
    chances = np.array([weights.get(name, 1.0) if name not in ignore else 0.0 for name in ctx.classes])
    chances[areas == 0] = 0
    return chances / chances.sum() if chances.sum() > 0 else chances


def _anywhere(rng: np.random.Generator, length: int, size: int) -> int:
    """A start inside the picture; where the crop is larger, centred around it."""
    return -((size - length) // 2) if size >= length else int(rng.integers(0, length - size + 1))


def _place(
    rng: np.random.Generator, sample: Sample, c: int, box: NDArray[np.int32], size: Size, min_area: int
) -> tuple[int, int]:
    """Left top corner of a crop that holds a drawn pixel of class c and enough of the class."""
    x0, y0, x1, y1 = (int(n) for n in box)
    mask = bitmask.class_mask(sample.masks[y0:y1, x0:x1], c)
    ys, xs = np.nonzero(mask)
    at = int(rng.integers(len(xs)))
    columns = _starts(x0 + int(xs[at]), sample.width, size[0])
    rows = _starts(y0 + int(ys[at]), sample.height, size[1])
    held = _held(mask, (x0, y0), columns, rows, size)
    fits = np.flatnonzero(held >= min(min_area, int(held.max())))
    row, column = divmod(int(rng.choice(fits)), len(columns))
    return int(columns[column]), int(rows[row])


def _starts(pixel: int, length: int, size: int) -> NDArray[np.int64]:
    """All starts inside the picture whose crop holds the pixel; the centred one where the crop is larger."""
    if size >= length:
        return np.array([-((size - length) // 2)])
    return np.arange(max(0, pixel - size + 1), min(pixel, length - size) + 1)


def _held(
    mask: NDArray[np.uint8], corner: tuple[int, int], columns: NDArray[np.int64], rows: NDArray[np.int64], size: Size
) -> NDArray[np.int64]:
    """Pixels of the mask in the crop at each row and column start, (rows, columns), by a summed-area table."""
    table = cv2.integral(mask).astype(np.int64)
    left, right = (np.clip(columns + shift - corner[0], 0, mask.shape[1]) for shift in (0, size[0]))
    top, bottom = (np.clip(rows + shift - corner[1], 0, mask.shape[0])[:, None] for shift in (0, size[1]))
    held: NDArray[np.int64] = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    return held
