"""Charts as inline SVG without colours of their own: the page's style sheet gives them those of its theme.

Pygal draws. Its scripts, style sheets and comments are taken out, so that a page holds nothing but shapes and texts,
and each bar says its value when it is pointed at. The numbers stand in a table below each chart, for screen readers
and for people who want to copy them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

from markupsafe import Markup

from augforge.errors import visible
from augforge.planning.steps import SPLITS

_WIDTH, _ROW, _HEIGHT = 640, 26, 240
_LONGEST = 34
"""Most characters of a label; the table has the whole one."""
_FEW = 8
"""Labels of a histogram's axis."""
_SERIES = 8
"""How many series the style sheet has colours for."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture with its numbers.

    Attributes:
        title: what is shown, with the unit.
        svg: the picture.
        columns: heads of the table; the first one is that of the names.
        rows: the numbers, each row with its name first.
    """

    title: str
    svg: Markup
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def draw_bars(title: str, names: Sequence[str], series: Mapping[str, Sequence[float]]) -> Chart:
    """One bar for each name, in which the series stand one behind the other."""
    height = 70 + _ROW * max(2, len(names))
    labels = [_short(name) for name in reversed(names)]  # Pygal begins at the bottom
    chart = _import_pygal().HorizontalStackedBar(height=height, x_labels=labels, **_options(series))
    for label, values in series.items():
        chart.add(visible(label), list(reversed(values)))
    return _finish(title, chart, names, series)


def draw_histogram(title: str, edges: Sequence[float], series: Mapping[str, Sequence[float]]) -> Chart:
    """How many values lie between neighbouring edges; one more edge than values."""
    return _draw_bins(title, "StackedBar", edges, series, spacing=2)


def draw_lines(title: str, edges: Sequence[float], series: Mapping[str, Sequence[float]]) -> Chart:
    """The same as a line for each series, to compare shares: those of a histogram stand one on top of the other."""
    return _draw_bins(title, "Line", edges, series, show_dots=False)


def _draw_bins(
    title: str, kind: str, edges: Sequence[float], series: Mapping[str, Sequence[float]], **options: Any
) -> Chart:
    """A chart of one of Pygal's kinds over bins; every few of them has a label."""
    names = [_bin_name(low, high) for low, high in pairwise(edges)]
    chart = getattr(_import_pygal(), kind)(
        height=_HEIGHT,
        x_labels=[name.partition(" to ")[0] for name in names],
        x_labels_major_every=-(-len(names) // _FEW),
        show_minor_x_labels=False,
        **options,
        **_options(series),
    )
    for label, values in series.items():
        chart.add(visible(label), list(values))
    return _finish(title, chart, names, series)


def _bin_name(low: float, high: float) -> str:
    """What lies between two edges: the whole number that alone does, or both edges."""
    whole = high - low == 1 and not float(low).is_integer() and float(low + 0.5).is_integer()
    return f"{low + 0.5:g}" if whole else f"{low:.3g} to {high:.3g}"


def draw_boxes(title: str, names: Sequence[str], quantiles: Sequence[Sequence[float]]) -> Chart:
    """For each name five quantiles, of 5, 25, 50, 75 and 95 %, as a box with whiskers."""
    chart = _import_pygal().Box(
        height=300,
        box_mode="extremes",
        x_labels=[_short(name) for name in names],
        x_label_rotation=60 if len(names) > _SERIES else 0,
        **_options({"": ()}),
    )
    for name, values in zip(names, quantiles, strict=True):
        low, lower, middle, upper, high = values
        # Pygal takes the quartiles of what it is given; those of this list are the ones that are known.
        chart.add(_short(name), [low, *[lower] * 3, middle, *[upper] * 3, high])
    columns = ("5 %", "25 %", "median", "75 %", "95 %")
    numbers = {column: [row[i] for row in quantiles] for i, column in enumerate(columns)}
    return _finish(title, chart, names, numbers, series=())


def _import_pygal() -> Any:
    """Pygal, without the finder for its plugins that it leaves in Python's: each later import would warn about it."""
    import pygal

    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]
    return pygal


def _options(series: Mapping[str, Any]) -> dict[str, Any]:
    style = _import_pygal().style.Style(colors=("#888",), value_colors=("#000",))
    return {
        "width": _WIDTH,
        "style": style,
        "js": (),
        "css": (),
        "no_prefix": True,
        "show_legend": len(series) > 1,
        "legend_at_bottom": True,
        "legend_at_bottom_columns": max(1, len(series)),  # Pygal keeps no room for a row that is not full
        "truncate_label": -1,
        "truncate_legend": -1,
        "margin": 6,
    }


def _finish(
    title: str,
    chart: Any,
    names: Sequence[str],
    numbers: Mapping[str, Sequence[float]],
    series: Sequence[str] | None = None,
) -> Chart:
    """The chart with its table; `series` are those that have colours of their own, by default all columns."""
    rows = tuple((name, *(format_number(values[i]) for values in numbers.values())) for i, name in enumerate(names))
    svg = _plain_svg(chart.render_tree(), list(numbers) if series is None else series)
    return Chart(title, svg, ("", *numbers), rows)


def format_number(value: float) -> str:
    """Whole numbers with every digit, others with four: ``12,345``, ``0.03333``; none from 1 on with an exponent."""
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"


def _short(name: str) -> str:
    text = visible(name)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _plain_svg(root: Any, series: Sequence[str]) -> Markup:
    """Shapes and texts alone, as text; the table says the same to those who do not see them."""
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or child.tag in ("defs", "title") or _is_overlay(child):
                parent.remove(child)
    for bar in root.iter("g"):
        _name_values(bar)
    for node in root.iter():
        node.attrib.pop("id", None)
        if "class" in node.attrib:
            node.attrib["class"] = " ".join(_series_class(word, series) for word in node.attrib["class"].split())
    root.attrib.update({"aria-hidden": "true", "focusable": "false"})
    root.attrib.pop("xmlns", None)
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 (ElementTree escapes texts and attributes)


def _is_overlay(node: Any) -> bool:
    return "overlay" in (node.attrib.get("class") or "")


def _name_values(group: Any) -> None:
    """Turn Pygal's descriptions into titles, which browsers show when one points at a shape."""
    texts = {child.attrib.get("class", ""): child.text for child in group if child.tag == "desc"}
    for child in [child for child in group if child.tag == "desc"]:
        group.remove(child)
    if texts.get("value"):
        title = ET.SubElement(group, "title")
        title.text = ": ".join(filter(None, (texts.get("x_label"), texts["value"])))


def _series_class(word: str, series: Sequence[str]) -> str:
    """``color-1`` becomes the class of its split, or of its place, or of all without series; other classes stay."""
    kind, _, number = word.rpartition("-")
    if kind != "color" or not number.isdigit():
        return word
    place = int(number) if int(number) < len(series) else 0
    return f"s-{series[place]}" if series and series[place] in SPLITS else f"s-{place % _SERIES}"
