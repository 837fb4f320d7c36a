"""Text, strips and grids as RGB arrays, of which sheets of pictures are composed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from augforge.report.colours import Colour

Picture: TypeAlias = NDArray[np.uint8]
"""RGB, uint8 (H, W, 3)."""
Span: TypeAlias = tuple[str, Colour]
"""A piece of text and its colour."""

BACKGROUND: Colour = (24, 26, 30)
INK: Colour = (228, 231, 236)
MUTED: Colour = (146, 152, 162)
TEXT = 14
"""Size of ordinary text in pixels."""
GAP = 12
"""Pixels between pictures."""


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def line_height(size: int = TEXT) -> int:
    """Height of a line of text in pixels, including descenders."""
    return int(sum(_font(size).getmetrics())) + max(3, size // 5)


def text_width(text: str, size: int = TEXT) -> int:
    """Width of a line of text in pixels."""
    return int(np.ceil(_font(size).getlength(text)))


def elide(text: str, width: int, size: int = TEXT) -> str:
    """The text, shortened in the middle by "…" to at most ``width`` pixels: names differ at both ends.

    Empty if not even one character fits.
    """
    if text_width(text, size) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        head = kept // 2
        shorter = f"{text[:head]}…{text[len(text) - (kept - head) :]}"
        if text_width(shorter, size) <= width:
            return shorter
    return ""


def blank(height: int, width: int, colour: Colour = BACKGROUND) -> Picture:
    """A picture of one colour."""
    return np.full((height, width, 3), colour, np.uint8)


def text_line(spans: Sequence[Span], width: int, size: int = TEXT) -> Picture:
    """One line of spans side by side, (line height, width, 3); a span that does not fit is shortened."""
    strip = Image.fromarray(blank(line_height(size), width))
    pen, x = ImageDraw.Draw(strip), 0
    for text, colour in spans:
        shown = elide(text, width - x, size)
        pen.text((x, 1), shown, fill=colour, font=_font(size))
        x += text_width(shown, size) + _space(size)
    return np.array(strip)


def text_flow(spans: Sequence[Span], width: int, size: int = TEXT) -> Picture:
    """Spans side by side in as many lines of ``width`` pixels as they need; no span is broken."""
    return np.concatenate([text_line(line, width, size) for line in _lines(spans, width, size)])


def _lines(spans: Sequence[Span], width: int, size: int) -> Iterator[list[Span]]:
    line: list[Span] = []
    used = 0
    for span in spans:
        needed = text_width(span[0], size) + _space(size)
        if line and used + needed - _space(size) > width:
            yield line
            line, used = [], 0
        line.append(span)
        used += needed
    yield line


def _space(size: int) -> int:
    return round(size * 0.8)


def centre(picture: Picture, height: int, width: int) -> Picture:
    """A picture in the middle of a background of (height, width), which must not be smaller."""
    canvas = blank(height, width)
    top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
    canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas


def grid(cells: Sequence[Picture | None], columns: int, gaps: tuple[int, int] = (GAP, GAP)) -> Picture:
    """Cells of equal size, row by row, with gaps in pixels between rows and between columns; None is a blank cell."""
    height, width = next(cell.shape[:2] for cell in cells if cell is not None)
    down, across = height + gaps[0], width + gaps[1]
    canvas = blank(-(-len(cells) // columns) * down - gaps[0], columns * across - gaps[1])
    for i, cell in enumerate(cells):
        if cell is not None:
            top, left = i // columns * down, i % columns * across
            canvas[top : top + height, left : left + width] = cell
    return canvas


def stack(parts: Sequence[Picture], gap: int = GAP) -> Picture:
    """Pictures below each other on a background as wide as the widest, with gaps and a margin of ``gap`` pixels."""
    width = max(part.shape[1] for part in parts)
    height = sum(part.shape[0] for part in parts) + gap * (len(parts) - 1)
    canvas, top = blank(height + 2 * gap, width + 2 * gap), gap
    for part in parts:
        canvas[top : top + part.shape[0], gap : gap + part.shape[1]] = part
        top += part.shape[0] + gap
    return canvas
