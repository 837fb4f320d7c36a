"""A bar chart as a small SVG, without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, LABEL, BAR, GAP, TOP = 760, 290, 18, 6, 34


def draw_chart(title: str, bars: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars with their values behind them, the shortest first; the first of ``bars`` is ours, in colour."""
    most, ours = max(value for _, value in bars), bars[0][0]
    height = TOP + len(bars) * (BAR + GAP) + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{GAP}" y="21" font-size="15" fill="#222222">{escape(title)}</text>',
    ]
    for n, (name, value) in enumerate(sorted(bars, key=lambda bar: bar[1])):
        y = TOP + n * (BAR + GAP)
        length = max(1, round(value / most * (WIDTH - LABEL - 60)))
        colour = "#1f77b4" if name == ours else "#b0b7bf"
        lines += [
            f'<text x="{LABEL - 8}" y="{y + 13}" font-size="12" text-anchor="end" fill="#222222">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{length}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{LABEL + length + 6}" y="{y + 13}" font-size="12" fill="#222222">{value:.1f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
