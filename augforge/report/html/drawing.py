"""The charts of a report, made from its facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from augforge.report.html.charts import Chart, draw_bars, draw_boxes, draw_histogram, draw_lines
from augforge.report.html.columns import bin_edges
from augforge.report.html.pixels import BINS, Pixels

_MOST_ROWS = 60
"""Classes or labels of a chart; of more, those of the most samples. The tables have all."""


def draw_charts(facts: Mapping[str, Any], pixels: Pixels) -> dict[str, Any]:
    """Lists of charts by the section that shows them, and the shares of the matrices of overlaps."""
    splits = list(facts["splits"])
    return {
        "classes": _class_charts([entry for entry in facts["classes"] if entry["samples"]], splits),
        "labels": _label_charts(facts["label_counts"], splits),
        "overlaps": pixels.overlaps(),
        "together": _row_shares(facts["together"]),
        "intensities": _intensity_charts(pixels),
        "metadata": [_column_chart(column) for column in facts["metadata_by_split"] if column["kind"] != "texts"],
        "groups": _group_charts(facts["groups_by_split"]["samples"]),
        "draws": [_drawn_chart(row) for row in facts["drawn"]],
    }


def _most_frequent(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The entries of the most samples, in the order in which they are given."""
    chosen = sorted(range(len(entries)), key=lambda i: -entries[i]["samples"])[:_MOST_ROWS]
    return [entries[i] for i in sorted(chosen)]


def _counts(entries: Sequence[Mapping[str, Any]], splits: Sequence[str]) -> dict[str, list[float]]:
    return {split: [entry["per_split"].get(split, 0) for entry in entries] for split in splits}


def _class_charts(classes: Sequence[Mapping[str, Any]], splits: Sequence[str]) -> list[Chart]:
    shown = _most_frequent(classes)
    if not shown:
        return []
    names = [entry["name"] for entry in shown]
    size = "Size: square root of the share of the image, in percent"
    return [
        draw_bars("Samples that show the class", names, _counts(shown, splits)),
        draw_boxes(size, names, [entry["side"] for entry in shown]),
    ]


def _label_charts(labels: Sequence[Mapping[str, Any]], splits: Sequence[str]) -> list[Chart]:
    shown = _most_frequent(labels)
    names = [entry["name"] for entry in shown]
    return [draw_bars("Samples with the label", names, _counts(shown, splits))] if shown else []


def _intensity_charts(pixels: Pixels) -> list[Chart]:
    edges = np.linspace(0, 100, BINS + 1).tolist()
    shares = {split: (100 * counts / max(1, counts.sum())).tolist() for split, counts in pixels.intensities.items()}
    title = f"Intensities of {len(pixels.tiles)} samples: percent of the pixels, by percent of the range of the type"
    return [draw_lines(title, edges, shares)] if shares else []


def _column_chart(column: Mapping[str, Any]) -> Chart:
    title = f"{column['name']}, samples"
    if column["kind"] == "numbers":
        return draw_histogram(title, column["edges"], column["per_split"])
    return draw_bars(title, column["values"], column["per_split"])


def _group_charts(samples: Sequence[int]) -> list[Chart]:
    if len(samples) < 2:
        return []
    edges = bin_edges(samples)
    return [
        draw_histogram("Groups by their number of samples", edges, {"groups": np.histogram(samples, edges)[0].tolist()})
    ]


def _drawn_chart(row: Mapping[str, Any]) -> Chart:
    title, series = f"{row['step']}: {row['value']}", {"draws": row["counts"]}
    return draw_histogram(title, row["edges"], series) if row["edges"] else draw_bars(title, row["values"], series)


def _row_shares(counts: Sequence[Sequence[int]]) -> list[list[float | None]]:
    """Each row divided by its value on the diagonal; None where that is zero."""
    return [[value / row[i] if row[i] else None for value in row] for i, row in enumerate(counts)]
