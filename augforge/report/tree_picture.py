"""The tree of a sample as a picture: source images on the left, the sample on the right, steps between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import polars as pl

from augforge.report.overlay import overlay, scale_to_fit
from augforge.report.paint import GAP, INK, MUTED, Picture, blank, centre, line_height, stack, text_line, text_width
from augforge.report.show import split_span
from augforge.store.dataset import Dataset

_TILE, _ACROSS, _SIZE = 180, 160, 13


def tree_picture(dataset: Dataset, found: Mapping[str, Any]) -> Picture:
    """Draw a tree of `augforge.report.trace.trace_sample`.

    Samples that the dataset holds are drawn with their masks; of the others only names are known, since the dataset
    holds no pixels of them.

    Returns:
        RGB, uint8 (H, W, 3).
    """
    tree = found["tree"]
    depth, rows = _depth(tree), _height(tree)
    cell = _TILE + 3 * line_height(_SIZE)
    canvas = blank(rows * (cell + GAP), depth * (_TILE + _ACROSS) - _ACROSS)
    _draw(canvas, dataset, tree, 0, depth - 1, cell)
    title = text_line([(found["name"], INK), (f"version {found['version']}", MUTED)], canvas.shape[1], 18)
    return stack([title, canvas])


def _depth(node: Mapping[str, Any]) -> int:
    return 1 + max(map(_depth, node["parents"]), default=0)


def _height(node: Mapping[str, Any]) -> int:
    """Rows that a tree needs: one for each sample without parents."""
    return max(1, sum(map(_height, node["parents"])))


def _draw(
    canvas: Picture, dataset: Dataset, node: Mapping[str, Any], row: int, column: int, cell: int
) -> tuple[int, int]:
    """Draw a tree whose rows begin at `row`; where the lines of its right end go (x, y)."""
    height = _height(node) * (cell + GAP)
    left, top = column * (_TILE + _ACROSS), row * (cell + GAP) + (height - cell) // 2
    canvas[top : top + cell, left : left + _TILE] = _tile(dataset, node, cell)
    middle = top + _TILE // 2
    at = row
    for parent in node["parents"]:
        x, y = _draw(canvas, dataset, parent, at, column - 1, cell)
        cv2.line(canvas, (x + 4, y), (left - 4, middle), MUTED, 1, cv2.LINE_AA)
        at += _height(parent)
    if node["steps"]:
        _write_steps(canvas, node, left, middle)
    return left + _TILE, middle


def _write_steps(canvas: Picture, node: Mapping[str, Any], left: int, middle: int) -> None:
    """Labels of the steps left of what they made, above the middle of it, where the lines end."""
    lines = [_label(step["step"]) for step in node["steps"][-6:]]
    y = max(0, middle - GAP // 2 - sum(map(len, lines)))
    for line in lines:
        right = left - GAP
        canvas[y : y + len(line), right - line.shape[1] : right] = line
        y += len(line)


def _label(text: str) -> Picture:
    """A label as wide as its text, so that it hides as little of the lines as it can."""
    return text_line([(text, INK)], min(_ACROSS - 2 * GAP, text_width(text, _SIZE) + 2), _SIZE)


def _tile(dataset: Dataset, node: Mapping[str, Any], cell: int) -> Picture:
    """A sample with its name, split and size; an empty frame if the dataset holds no pixels of it."""
    picture = _thumbnail(dataset, node)
    width, height = node["size"]
    kind = ("source image", MUTED) if node["is_source"] else (f"{width} x {height}", MUTED)
    lines = [[(node["name"], INK)], [split_span(node["split"]), kind]]
    tile = blank(cell, _TILE)
    tile[:_TILE] = picture
    for number, spans in enumerate(lines):
        line = text_line(spans, _TILE, _SIZE)
        top = _TILE + number * line_height(_SIZE) + 2
        tile[top : top + len(line)] = line
    return tile


def _thumbnail(dataset: Dataset, node: Mapping[str, Any]) -> Picture:
    position = dataset.index.with_row_index("position").filter(pl.col("id") == node["id"])["position"]
    if len(position):
        sample = dataset[int(position[0])]
        return centre(overlay(scale_to_fit(sample, _TILE, _TILE), dataset.classes), _TILE, _TILE)
    frame = blank(_TILE, _TILE)
    cv2.rectangle(frame, (0, 0), (_TILE - 1, _TILE - 1), MUTED, 1)
    note = text_line([("not stored", MUTED)], _TILE - 2 * GAP, _SIZE)
    top = (_TILE - len(note)) // 2
    frame[top : top + len(note), GAP:-GAP] = note
    return frame
