"""crop_nonempty: crops that show a class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augforge import bitmask
from augforge.ops.combine import ClassWeights, register_class_weights, resolve_weights
from augforge.ops.core import Context, Examples, OpParams, Size, op
from augforge.ops.geometry import Fill, Length, width_height
from augforge.ops.windows import cut_window
from augforge.sample import IGNORE, Sample


class CropNonEmpty(OpParams):
    """Crops around classes, after CropNonEmptyMaskIfExists of Albumentations, but with the class drawn first.

    First a class is drawn among those present, each as likely or by `weights`; then one of its pixels; then the crop's
    place, evenly among all places inside the picture at which the crop holds that pixel and at least `min_area` pixels
    of the class (or, if none holds so many, as many as any holds). So small classes are seen as often as large ones,
    and crops do not pile up at the borders. If there is no class to draw, and for `empty_share` of the crops, the place
    is drawn evenly from the whole picture. A picture smaller than the crop is padded on all sides.
    """

    size: Length | tuple[Length, Length] = Field(description="pixels: one number for a square, or [width, height]")
    count: int = Field(1, ge=1, le=1000, description="crops of each picture")
    weights: ClassWeights = Field(
        "uniform",
        description="which class is drawn: each as likely; preferably rare or small ones; or by weights, such as "
        "{finger-16: 4}, where the others have 1",
    )
    ignore: tuple[str, ...] = Field((), description="classes that are never drawn")
    empty_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the crops, drawn, whose place is drawn from the whole picture, class or none",
    )
    min_area: int = Field(1, ge=1, description="pixels of the drawn class that a crop holds at least")
    fill: Fill = Field(0, description="gray value beyond the picture")

    def check(self, ctx: Context) -> None:
        """Raise PlanError if a weighted or ignored class is not in the table."""
        ctx.check_classes((*(self.weights if isinstance(self.weights, dict) else ()), *self.ignore))


@op(
    "crop_nonempty",
    CropNonEmpty,
    version=1,
    role="augment",
    examples=Examples(
        [{"size": [50, 40], "count": 4}, {"size": 52, "count": 5, "weights": {"class-8": 9}, "fill": 128}],
        picture={"size": 112, "count": 5, "weights": {"finger-16": 6, "Pisiform": 6, "Trapezoid": 6, "Triquetrum": 6}},
    ),
)
def crop_nonempty(
    inputs: Sequence[Sample], drawn: dict[str, Any], params: CropNonEmpty, ctx: Context
) -> Iterator[Sample]:
    """Cut out the drawn crops; a place that was drawn twice gets a number in its mark."""
    width, height = width_height(params.size)
    seen: dict[str, int] = {}
    for crop in drawn["crops"]:
        x, y = crop["x"], crop["y"]
        mark = f"@{x},{y}"
        seen[mark] = seen.get(mark, 0) + 1
        mark += f".{seen[mark]}" if seen[mark] > 1 else ""
        yield cut_window(inputs[0], (x, y, x + width, y + height), (width, height), params.fill, mark)


@crop_nonempty.gives_sizes
def crop_sizes(sizes: Sequence[Size], params: CropNonEmpty) -> list[Size]:
    """Say that there are `count` outputs of the crop's size."""
    return [width_height(params.size)] * params.count


register_class_weights(crop_nonempty)


@crop_nonempty.draws
def draw_crops(
    rng: np.random.Generator, inputs: Sequence[Sample], params: CropNonEmpty, ctx: Context
) -> dict[str, Any]:
    """Draw a class and a place for each crop."""
    sample, size = inputs[0], width_height(params.size)
    areas, boxes = bitmask.areas_and_boxes(sample.masks, len(ctx.classes))
    weights = resolve_weights(params.weights, ctx)
    chances = _class_chances(areas, weights, params.ignore, ctx)
    crops: list[dict[str, Any]] = []
    places: dict[int, _CropPlaces] = {}
    for _ in range(params.count):
        anywhere = params.empty_share > 0 and rng.random() < params.empty_share
        if chances.sum() > 0 and not anywhere:
            c = int(rng.choice(len(chances), p=chances))
            if c not in places:
                places[c] = _CropPlaces(sample, c, boxes[c], size, params.min_area)
            x, y = places[c].draw(rng)
            crops.append({"class": ctx.classes[c], "x": x, "y": y})
        else:
            x, y = _draw_start(rng, sample.width, size[0]), _draw_start(rng, sample.height, size[1])
            crops.append({"class": None, "x": x, "y": y})
    return {"crops": crops}


def _class_chances(
    areas: NDArray[np.int64], weights: Mapping[str, float], ignore: Sequence[str], ctx: Context
) -> NDArray[np.float64]:
    """The chance of each class: 0 if it is absent or ignored, all 0 if no class is left."""
    usual = {name: 0.0 if name == IGNORE else 1.0 for name in ctx.classes}
    chances = np.array([weights.get(name, usual[name]) if name not in ignore else 0.0 for name in ctx.classes])
    chances[areas == 0] = 0
    return chances / chances.sum() if chances.sum() > 0 else chances


def _draw_start(rng: np.random.Generator, length: int, size: int) -> int:
    """Draw where a crop starts inside the picture; if the crop is larger, it is centred on it."""
    return -((size - length) // 2) if size >= length else int(rng.integers(0, length - size + 1))


class _CropPlaces:
    """The places inside the picture at which a crop holds enough pixels of one class, and these pixels."""

    def __init__(self, sample: Sample, c: int, box: NDArray[np.int32], size: Size, min_area: int) -> None:
        x0, y0, x1, y1 = (int(n) for n in box)
        mask = bitmask.class_mask(sample.masks[y0:y1, x0:x1], c)
        self._size, self._corner = size, (x0, y0)
        self._columns, self._rows = (
            _possible_starts(x0, x1, sample.width, size[0]),
            _possible_starts(y0, y1, sample.height, size[1]),
        )
        count = _count_in_crops(mask, (x0, y0), self._columns, self._rows, size)
        self._enough = count >= min(min_area, int(count.max()))
        self._pixels = np.argwhere(mask)
        if min_area > 1:
            self._pixels = self._pixels[self._is_reachable(self._pixels)]

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draw the top left corner of a crop: first a pixel, then a place that holds it, each evenly."""
        (left, right), (top, bottom) = self._starts_around(self._pixels[int(rng.integers(len(self._pixels)))])
        row, column = divmod(int(rng.choice(np.flatnonzero(self._enough[top:bottom, left:right]))), int(right - left))
        return int(self._columns[left + column]), int(self._rows[top + row])

    def _starts_around(self, pixels: NDArray[np.int64]) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """For pixels (..., 2), row and column: the range of column and of row starts whose crops hold them."""
        spans = []
        for starts, n, at in ((self._columns, 0, pixels[..., 1]), (self._rows, 1, pixels[..., 0])):
            last = at + self._corner[n]
            spans.append(
                (np.searchsorted(starts, last - self._size[n], "right"), np.searchsorted(starts, last, "right"))
            )
        return spans[0], spans[1]

    def _is_reachable(self, pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which pixels lie in some crop that holds enough of the class."""
        (left, right), (top, bottom) = self._starts_around(pixels)
        table = cv2.integral(self._enough.view(np.uint8))
        return np.asarray(table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left] > 0)


def _possible_starts(low: int, high: int, length: int, size: int) -> NDArray[np.int64]:
    """Where crops start that lie inside the picture and hold a pixel of low..high; a larger crop is centred."""
    if size >= length:
        return np.array([-((size - length) // 2)])
    return np.arange(max(0, low - size + 1), min(high - 1, length - size) + 1)


def _count_in_crops(
    mask: NDArray[np.uint8], corner: tuple[int, int], columns: NDArray[np.int64], rows: NDArray[np.int64], size: Size
) -> NDArray[np.int32]:
    """How many pixels of the mask the crop at each row and column holds, (rows, columns), by a summed-area table."""
    table = cv2.integral(mask)
    left, right = (np.clip(columns + shift - corner[0], 0, mask.shape[1]) for shift in (0, size[0]))
    top, bottom = (np.clip(rows + shift - corner[1], 0, mask.shape[0]) for shift in (0, size[1]))
    return np.asarray((table[bottom] - table[top])[:, right] - (table[bottom] - table[top])[:, left], np.int32)
