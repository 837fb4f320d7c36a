"""Charts of numbers in the style of the other pictures: axes, lines, and tables of cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.report.colours import Colour
from augforge.report.paint import BACKGROUND, INK, MUTED, Picture, blank, text_line, text_width

PANEL: Colour = (33, 36, 42)
_GRID: Colour = (58, 62, 70)
_SMALL = 12
_SHIFT = 4  # fractional bits of the points that lines are drawn through


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Points joined by a line, which is interrupted where y is NaN."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: Colour
    width: int = 1
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of numbers with its ticks."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, values: NDArray[np.float64], log: bool = False) -> Axis:
        """The range of the finite values (above 0, if logarithmic), with a twentieth more at both ends; never empty."""
        shown = values[np.isfinite(values) & ((values > 0) | (not log))]
        low, high = (float(shown.min()), float(shown.max())) if len(shown) else (1.0, 1.0)
        if low == high:
            return cls(low / 2, high * 2, log) if log else cls(low - 0.5, high + 0.5)
        more = (high / low) ** 0.05 if log else (high - low) * 0.05
        return cls(low / more, high * more, log) if log else cls(low - more, high + more)

    def shares(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where values lie on the axis, from 0 at its low end to 1 at its high end; NaN for 0 or less on a log axis."""
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        logs = np.log(np.where(values > 0, values, np.nan))
        return np.asarray((logs - math.log(self.low)) / (math.log(self.high) - math.log(self.low)))

    def ticks(self) -> list[float]:
        """Round numbers in the range, about 3 to 8 of them."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
            steps = (1,) if len(powers) > 3 else (1, 2, 5)
            tens = [m * 10.0**power for power in powers[:: max(1, len(powers) // 6)] for m in steps]
            return [tick for tick in tens if self.low <= tick <= self.high]
        rough = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = min((m * power for m in (1, 2, 5, 10)), key=lambda size: abs(math.log(size / rough)))
        return [n * step for n in range(math.ceil(self.low / step), math.floor(self.high / step * (1 + 1e-9)) + 1)]


def chart(
    title: str, lines: Sequence[Line], size: tuple[int, int], *, x: Axis | None = None, y: Axis | None = None
) -> Picture:
    """Lines over axes with a title.

    Args:
        title: above the panel.
        lines: later ones are drawn over earlier ones.
        size: width and height of the whole, pixels.
        x, y: axes; by default the range of all lines.
    """
    width, height = size
    x = x or _full_range(np.concatenate([line.x for line in lines]))
    y = y or Axis.around(np.concatenate([line.y for line in lines]))
    head = np.concatenate([text_line([(title, INK)], width), blank(6, width)])
    left, bottom = max([0, *(text_width(_format_tick(tick), _SMALL) for tick in y.ticks())]) + 10, 22
    panel = _panel(lines, x, y, width - left - 8, height - len(head) - bottom)
    canvas = blank(height, width)
    canvas[: len(head)] = head
    canvas[len(head) : len(head) + panel.shape[0], left : left + panel.shape[1]] = panel
    for tick, share in zip(y.ticks(), y.shares(np.array(y.ticks())), strict=True):
        _write_label(canvas, _format_tick(tick), len(head) + (1 - share) * (panel.shape[0] - 1), left - 6, right=True)
    for tick, share in zip(x.ticks(), x.shares(np.array(x.ticks())), strict=True):
        _write_label(canvas, _format_tick(tick), height - bottom / 2, left + share * (panel.shape[1] - 1))
    return canvas


def _full_range(values: NDArray[np.float64]) -> Axis:
    """From the lowest to the highest value."""
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    return Axis(float(low), float(high)) if high > low else Axis(float(low) - 0.5, float(low) + 0.5)


def _panel(lines: Sequence[Line], x: Axis, y: Axis, width: int, height: int) -> Picture:
    panel = blank(height, width, PANEL)
    for share in y.shares(np.array(y.ticks())):
        panel[round((1 - share) * (height - 1))] = _GRID
    for share in x.shares(np.array(x.ticks())):
        panel[:, round(share * (width - 1))] = _GRID
    for line in lines:
        points = np.stack([x.shares(line.x) * (width - 1), (1 - y.shares(line.y)) * (height - 1)], axis=1)
        _draw(panel, points, line)
    return panel


def _draw(panel: Picture, points: NDArray[np.float64], line: Line) -> None:
    """Draw stretches of finite points as lines, with dots if the line asks for them or a point has no neighbour."""
    finite = np.asarray(np.isfinite(points).all(axis=1), bool)
    fixed = np.rint(np.where(finite[:, None], points, 0) * 2**_SHIFT).astype(np.int32)
    starts = np.flatnonzero(np.diff(np.r_[False, finite, False]))
    for start, end in starts.reshape(-1, 2).tolist():
        cv2.polylines(panel, [fixed[start:end]], False, line.colour, line.width, cv2.LINE_AA, _SHIFT)
        for point in fixed[start:end].tolist() if line.dots or end - start == 1 else ():
            cv2.circle(panel, point, 3 << _SHIFT, line.colour, -1, cv2.LINE_AA, _SHIFT)


def _write_label(canvas: Picture, text: str, middle: float, at: float, right: bool = False) -> None:
    """Write small text, vertically centred on `middle`, and centred on `at` or ending there; kept inside the canvas."""
    width = text_width(text, _SMALL)
    strip = text_line([(text, MUTED)], width, _SMALL)
    left = round(at - width if right else at - width / 2)
    left = min(max(left, 0), canvas.shape[1] - width)
    top = min(max(round(middle - len(strip) / 2), 0), len(canvas) - len(strip))
    canvas[top : top + len(strip), left : left + width] = strip


def _format_tick(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value / 1000:g}k"


def cells(
    rows: Sequence[str],
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    colours: NDArray[np.uint8],
    side: int = 38,
) -> Picture:
    """A table of coloured cells.

    Args:
        rows: names at the left.
        columns: names above, read upwards.
        texts: of each cell; may be empty.
        colours: RGB of each cell, uint8 (rows, columns, 3).
        side: of a cell, pixels.
    """
    left = max(map(text_width, rows)) + 8
    above = max(map(text_width, columns)) + 8
    canvas = blank(above + side * len(rows), left + side * len(columns))
    for c, name in enumerate(columns):
        strip = np.rot90(text_line([(name, INK)], text_width(name)))
        start = left + c * side + (side - strip.shape[1]) // 2
        canvas[above - 4 - len(strip) : above - 4, start : start + strip.shape[1]] = strip
    for r, name in enumerate(rows):
        strip = text_line([(name, INK)], text_width(name))
        top = above + r * side + (side - len(strip)) // 2
        canvas[top : top + len(strip), left - 6 - strip.shape[1] : left - 6] = strip
        for c, text in enumerate(texts[r]):
            _cell(canvas[above + r * side :][: side - 2, left + c * side :][:, : side - 2], text, colours[r, c])
    return canvas


def _cell(place: Picture, text: str, colour: NDArray[np.uint8]) -> None:
    place[:] = colour
    if text:
        ink = BACKGROUND if colour @ (0.299, 0.587, 0.114) > 130 else INK
        width = min(text_width(text, _SMALL), place.shape[1])
        strip = text_line([(text, INK)], width, _SMALL)
        share = (strip[..., :1].astype(float) - BACKGROUND[0]) / (INK[0] - BACKGROUND[0])
        top, left = (place.shape[0] - len(strip)) // 2, (place.shape[1] - width) // 2
        part = place[top : top + len(strip), left : left + width]
        part[:] = np.rint(part * (1 - share) + np.array(ink) * share).astype(np.uint8)
