"""A difference between two versions, printed for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from augforge.errors import shorten, some
from augforge.report.tables import table

_MARKS = {"added": ("+ added", "green"), "removed": ("- removed", "red"), "changed": ("~ changed", "yellow")}
_ROWS = 12
"""Rows of a table that the text shows; JSON has all."""


def render_difference(report: Mapping[str, Any], console: Console) -> None:
    """Print a report of `compare_versions`: a sentence, then a table for each part that differs."""
    console.print(Text(report["sentence"], "bold"), soft_wrap=True)
    for part in (_causes_table(report), _moved_table(report), _classes_table(report)):
        if part is not None:
            console.print("", part, sep="\n")
    for key, title in (("splits", "split"), ("tags", "tag"), ("review", "reviewed"), ("rejected", "rejected")):
        _print_pairs(report[key], title, console)
    for key, title in (("fitted", "fitted"), ("ops", "op version"), ("libraries", "library"), ("augforge", "built by")):
        _print_pairs(report[key], title, console)
    for key, title in (("licences", "licence"), ("encoding", "output")):
        _print_pairs(report[key], title, console)
    _print_recipes(report["recipe"], console)


def _causes_table(report: Mapping[str, Any]) -> Table | None:
    causes = report["causes"]
    if not causes:
        return None
    shown = table("samples", "through", "", "count", "such as")
    for cause in causes[:_ROWS]:
        mark, style = _MARKS[cause["change"]]
        through = f"{cause['kind']} {cause['what']}" if cause["what"] else cause["kind"]
        count, example = f"{cause['samples']:,}", some(cause["examples"][:1])
        shown.add_row(Text(mark, style), Text(through), Text(cause["detail"]), count, Text(example, "dim"))
    if len(causes) > _ROWS:
        shown.add_row("", Text(f"... and {len(causes) - _ROWS:,} more causes: --json has all", "dim"))
    return shown


def _moved_table(report: Mapping[str, Any]) -> Table | None:
    moved = report["samples"]["moved"]
    if not moved:
        return None
    shown = table("moved to another split", "from", "to")
    for row in moved[:_ROWS]:
        shown.add_row(Text(row["name"]), row["a"], row["b"])
    if len(moved) > _ROWS:
        shown.add_row(Text(f"... and {len(moved) - _ROWS:,} more", "dim"))
    return shown


def _classes_table(report: Mapping[str, Any]) -> Table | None:
    classes = report["classes"]
    if not classes:
        return None
    shown = table("class", "samples", "", "pixels", "", right=4)
    for entry in sorted(classes, key=_pixel_change, reverse=True)[:_ROWS]:
        shown.add_row(Text(entry["name"]), *_counts(entry["samples"]), *_counts(entry["pixels"]))
    if len(classes) > _ROWS:
        shown.add_row(Text(f"... and {len(classes) - _ROWS:,} more", "dim"))
    return shown


def _pixel_change(entry: Mapping[str, Any]) -> float:
    before, after = entry["pixels"]["a"] or 0, entry["pixels"]["b"] or 0
    return float(abs(after - before) / max(before, 1))


def _counts(pair: Mapping[str, int | None]) -> tuple[str, str]:
    """``12 -> 14`` and the change in per cent."""
    before, after = pair["a"], pair["b"]
    old, new = ("none" if value is None else f"{value:,}" for value in (before, after))
    if before == after:
        return new, ""
    change = f"{(after or 0) / before - 1:+.1%}" if before else ""
    return f"{old} -> {new}", change


def _print_pairs(rows: Sequence[Mapping[str, Any]], title: str, console: Console) -> None:
    if not rows:
        return
    shown = table(title, "from", "to")
    for row in rows[:_ROWS]:
        name = next(value for key, value in row.items() if key not in ("a", "b"))
        shown.add_row(Text(str(name)), Text(_plain(row["a"])), Text(_plain(row["b"])))
    if len(rows) > _ROWS:
        shown.add_row(Text(f"... and {len(rows) - _ROWS:,} more", "dim"))
    console.print("", shown, sep="\n")


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else value if isinstance(value, str) else shorten(value)


def _print_recipes(recipe: Mapping[str, Any], console: Console) -> None:
    styles = {"+": "green", "-": "red", "@": "cyan"}
    if recipe["diff"]:
        console.print("\nRecipe", style="bold")
    for line in recipe["diff"]:
        console.print(Text(line, styles.get(line[:1], "")), soft_wrap=True)
    for row in recipe["overrides"]:
        console.print(Text(f"--set {row['key']}: {_plain(row['a'])} -> {_plain(row['b'])}"), soft_wrap=True)
