"""Classes by split, from the index: samples, sizes, where their boxes lie, and which occur together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augforge.store.dataset import Dataset

GRID = 24
"""Rows and columns of a map of positions."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def class_facts(dataset: Dataset, counts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One dict per class: what `counts`, those of `class_counts`, say of it, with sizes and positions.

    ``side`` has quantiles of the square root of the share of the image that the class covers, in percent, over the
    samples that show it; ``side_per_split`` the medians; ``heat`` the share of those samples whose box covers each cell
    of a grid laid over the image, float (GRID, GRID) from the top left.
    """
    index = dataset.index
    pixels = (index["width"].cast(pl.Float64) * index["height"]).to_numpy()
    splits = index["split"].to_numpy()
    areas, boxes = index["area"].struct.unnest(), index["box"].struct.unnest()
    return [
        {
            **counted,
            **_sides(areas[counted["name"]].fill_null(0).to_numpy(), pixels, splits),
            "heat": position_map(boxes[counted["name"]], index["width"], index["height"]),
        }
        for counted in counts
    ]


def _sides(area: NDArray[Any], pixels: NDArray[np.float64], splits: NDArray[Any]) -> dict[str, Any]:
    shown = area > 0
    sides = 100 * np.sqrt(area[shown] / pixels[shown])
    if not len(sides):
        return {"side": None, "side_per_split": {}}
    of = splits[shown]
    medians = {str(split): float(np.median(sides[of == split])) for split in sorted({*of.tolist()})}
    return {"side": np.quantile(sides, QUANTILES).tolist(), "side_per_split": medians}


def position_map(boxes: pl.Series, width: pl.Series, height: pl.Series) -> list[list[float]] | None:
    """The share of boxes (x0, y0, x1, y1, half-open) that cover each cell of a grid; None without any box.

    A box covers the cells whose centres it holds, and at least the one that holds its own centre.
    """
    present = boxes.is_not_null()
    if not present.any():
        return None
    size = np.stack([width.filter(present).to_numpy(), height.filter(present).to_numpy()], axis=1).astype(float)
    corners = boxes.filter(present).explode().to_numpy().reshape(-1, 2, 2) / size[:, None] * GRID
    first = np.ceil(corners[:, 0] - 0.5).astype(int)
    last = np.ceil(corners[:, 1] - 0.5).astype(int)  # the end: no cell of it is covered
    middle = np.clip(corners.mean(axis=1).astype(int), 0, GRID - 1)
    first, last = np.where(last > first, first, middle), np.where(last > first, last, middle + 1)
    sums = np.zeros((GRID + 1, GRID + 1))
    for x, y, sign in (
        (first[:, 0], first[:, 1], 1),
        (last[:, 0], first[:, 1], -1),
        (first[:, 0], last[:, 1], -1),
        (last[:, 0], last[:, 1], 1),
    ):
        np.add.at(sums, (y, x), sign)
    covered = sums.cumsum(axis=0).cumsum(axis=1)[:GRID, :GRID] / len(corners)
    return [[round(share, 4) for share in row] for row in covered.tolist()]


def occur_together(index: pl.DataFrame, classes: Sequence[str]) -> list[list[int]]:
    """In how many samples each pair of classes shows, (C, C); on the diagonal those of one class."""
    areas = index["area"].struct.unnest()
    shown = np.stack([(areas[name].fill_null(0) > 0).to_numpy() for name in classes], axis=1).astype(np.float32)
    return [[int(count) for count in row] for row in shown.T @ shown]
