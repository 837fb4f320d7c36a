"""A comparison for people: tables, and a forest plot of the differences with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table
from rich.text import Text

from augforge.report.colours import Colour, colour_of
from augforge.report.paint import BACKGROUND, GAP, INK, MUTED, Picture, stack, text_flow, text_line, text_width
from augforge.report.tables import plural, table

AXIS: Colour = (70, 74, 82)
_PLOT, _ROW, _LANE = 560, 10, 18
"""Pixels: width of the axis, space around a class, height of an interval."""
_SUPERSAMPLING = 4
"""Factor by which lines are drawn larger and then scaled down, which smooths them."""

Entry = dict[str, Any]
NEVER = "never predicted"
"""Stands for the interval of a class of which neither dataset's models predict a pixel: nothing was compared."""


def forest_plot(result: dict[str, Any]) -> Picture:
    """Differences to the first dataset, an interval for each class and dataset.

    Args:
        result: of `compare`.
    """
    first, *others = result["datasets"]
    rows = _rows(others)
    low, high = _range(rows)
    labels = max(text_width(name) for name, _ in rows) + 2 * GAP
    width = labels + _PLOT + text_width(_format_difference(0.0)) + GAP
    parts = [_row(name, entries, (low, high), labels, width) for name, entries in rows]
    title = text_line(
        [(f"Difference in {_name(result)}", INK), (f"to {first['label']}, 95 % intervals", MUTED)], width, 20
    )
    legend = text_flow([(entry["label"], _colour(place)) for place, entry in enumerate(others)], width)
    axis = _ticks(low, high, labels, width)
    return stack([title, legend, np.concatenate([*parts, axis]), text_line([(_footer(result), MUTED)], width, 12)])


def _footer(result: dict[str, Any]) -> str:
    counts = f"{plural(len(result['seeds']), 'seed')}, {result['images']} images of {plural(result['groups'], 'group')}"
    alone = " over images alone" if len(result["seeds"]) == 1 else ""
    return f"{counts}, {result['steps']} steps; intervals{alone}, by class not corrected"


def _rows(others: Sequence[Entry]) -> list[tuple[str, list[Entry]]]:
    """For the mean and each class, its name and the difference of each dataset."""
    named = [("mean", [entry["mean"]["difference"] for entry in others])]
    classes = others[0]["by_class"]
    return named + [(name, [entry["by_class"][name]["difference"] for entry in others]) for name in classes]


def _range(rows: Sequence[tuple[str, Sequence[Entry]]]) -> tuple[float, float]:
    """The range of the axis, which includes 0 and all intervals."""
    ends = [entry[end] for _, entries in rows for entry in entries for end in ("low", "high")]
    known = [0.0, *(end for end in ends if end is not None)]
    margin = max(0.04 * (max(known) - min(known)), 1e-3)
    return min(known) - margin, max(known) + margin


def _row(name: str, entries: Sequence[Entry], span: tuple[float, float], labels: int, width: int) -> Picture:
    """The row of a class: its name, and an interval with its value for each dataset."""
    height = _ROW + _LANE * len(entries)
    canvas = Image.new("RGB", (width * _SUPERSAMPLING, height * _SUPERSAMPLING), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    zero = _axis_x(0.0, span, labels)
    _line(pen, (zero, 0, zero, height), AXIS, 1.5)
    if name == "mean":
        _line(pen, (0, height - 0.5, width, height - 0.5), AXIS, 1)
    for place, entry in enumerate(entries):
        if entry["value"] is not None and not entry.get("never_predicted"):
            _interval(pen, entry, span, labels, _ROW / 2 + _LANE * (place + 0.5), _colour(place))
    picture = np.array(canvas.resize((width, height), Image.Resampling.LANCZOS))
    _write_text(picture, name, 0, (height - _LANE) // 2, INK)
    for place, entry in enumerate(entries):
        text = "-" if entry["value"] is None else _format_difference(entry["value"])
        if entry.get("never_predicted"):
            _write_text(picture, NEVER, labels + GAP // 2, _ROW // 2 + _LANE * place, _colour(place))
        _write_text(picture, text, labels + _PLOT + GAP // 2, _ROW // 2 + _LANE * place, _colour(place))
    return picture


def _interval(
    pen: ImageDraw.ImageDraw, entry: Entry, span: tuple[float, float], labels: int, y: float, colour: Colour
) -> None:
    low, value, high = (_axis_x(entry[key], span, labels) for key in ("low", "value", "high"))
    _line(pen, (low, y, high, y), colour, 2)
    for end in (low, high):
        _line(pen, (end, y - 4, end, y + 4), colour, 2)
    pen.ellipse([(v * _SUPERSAMPLING) for v in (value - 4.5, y - 4.5, value + 4.5, y + 4.5)], fill=colour)


def _ticks(low: float, high: float, labels: int, width: int) -> Picture:
    picture = np.full((_LANE + 8, width, 3), BACKGROUND, np.uint8)
    for value in tick_values(low, high):
        x = round(_axis_x(value, (low, high), labels))
        picture[:5, x : x + 1] = MUTED
        text = f"{value:+.{_decimals(high - low)}f}" if value else "0"
        _write_text(picture, text, x - text_width(text) // 2, 6, MUTED)
    picture[0, labels : labels + _PLOT] = AXIS
    return picture


def tick_values(low: float, high: float) -> list[float]:
    """About six round numbers from low to high, including 0 if it lies between them."""
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _decimals(span: float) -> int:
    return max(2, 1 - math.floor(math.log10(span / 6)))


def _axis_x(value: float, span: tuple[float, float], labels: int) -> float:
    return labels + (value - span[0]) / (span[1] - span[0]) * _PLOT


def _line(pen: ImageDraw.ImageDraw, ends: Sequence[float], colour: Colour, width: float) -> None:
    pen.line([end * _SUPERSAMPLING for end in ends], fill=colour, width=round(width * _SUPERSAMPLING))


def _write_text(picture: Picture, text: str, x: int, y: int, colour: Colour) -> None:
    """Write text into a picture; what does not fit is cut off."""
    strip = text_line([(text, colour)], text_width(text) + 2)
    x = max(0, min(x, picture.shape[1] - strip.shape[1]))
    room = picture[y : y + strip.shape[0], x : x + strip.shape[1]]
    inked = (strip != BACKGROUND).any(axis=2)[: room.shape[0], : room.shape[1]]
    room[inked] = strip[: room.shape[0], : room.shape[1]][inked]


def _colour(place: int) -> Colour:
    return colour_of(place)


# ---- tables ----------------------------------------------------------------------------------------------------------


def render_compare(result: dict[str, Any], console: Console) -> None:
    """Print the result of `compare`: the datasets, and a table of differences for each but the first."""
    others = result["datasets"][1:]
    console.print(_datasets(result), "", sep="\n")
    for entry in others:
        console.print(_differences(result, entry), "", sep="\n")
    for warning in result["warnings"]:
        console.print(Text(f"Warning: {warning}.", "yellow"))
    for note in result["notes"]:
        console.print(Text(note, "dim"))


def _name(result: dict[str, Any]) -> str:
    """What the figure is called that datasets are compared by."""
    return "Dice" if _key(result) == "dice" else _key(result).replace("_", " ")


def _key(result: dict[str, Any]) -> str:
    """The key of that figure in a dataset's entries; results of earlier versions have Dice alone."""
    return str(result.get("figure", "dice"))


def _datasets(result: dict[str, Any]) -> Table:
    shown = table("dataset", "version", "train", "epochs", _name(result), right=3)
    for entry in result["datasets"]:
        value = entry["mean"][_key(result)]
        text = "-" if value is None else f"{value:.4f}"
        shown.add_row(Text(entry["label"]), entry["version"], f"{entry['train']:,}", f"{entry['epochs']:g}", text)
    return shown


def _differences(result: dict[str, Any], entry: Entry) -> Table:
    title = f"{entry['label']} to {result['datasets'][0]['label']}"
    shown = table("class", _name(result), "difference", "95 %", "P(> 0)", right=4, title=title)
    for name, values in (("mean", entry["mean"]), *entry["by_class"].items()):
        shown.add_row(Text(name, "bold" if name == "mean" else ""), *_cells(values[_key(result)], values))
    return shown


def _cells(value: float, values: Entry) -> Iterator[Text]:
    difference = values["difference"]
    if difference["value"] is None:
        yield from map(Text, ("-", "-", "-", "-"))
        return
    if difference.get("never_predicted"):
        yield from (Text(f"{value:.4f}"), Text(_format_difference(difference["value"])), Text(NEVER, "yellow"))
        yield Text("-")
        return
    style = "green" if difference["low"] > 0 else "red" if difference["high"] < 0 else ""
    yield Text(f"{value:.4f}")
    yield Text(_format_difference(difference["value"]), style)
    yield Text(f"{_format_difference(difference['low'])} to {_format_difference(difference['high'])}", style)
    yield Text(f"{difference['above_zero']:.2f}")


def _format_difference(value: float) -> str:
    return f"{value:+.4f}"
