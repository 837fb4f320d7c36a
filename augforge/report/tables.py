"""The common look of tables, and numbers formatted for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from augforge.errors import plural as plural  # noqa: PLC0414 (who makes tables has it from here)
from augforge.errors import visible

SPLIT_STYLES: Mapping[str, str] = {"train": "bright_blue", "val": "yellow", "test": "green"}


class _LineTable(Table):
    """A table whose cells have one line of text each, whatever the names in them hold; texts are no markup."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*map(_cell, cells), **options)


def _cell(cell: RenderableType | None) -> RenderableType | None:
    if isinstance(cell, str):
        return Text(visible(cell))
    return one_line(cell) if isinstance(cell, Text) else cell


Line = TypeVar("Line", bound="str | Text")


def one_line(text: Line) -> Line:
    """The text in one line, control characters escaped; newlines at its ends are blank lines, and stay."""
    plain = text if isinstance(text, str) else text.plain
    inner = plain.strip("\n")
    safe = plain.replace(inner, visible(inner)) if inner else plain
    if safe == plain:
        return text
    made = safe if isinstance(text, str) else Text(safe, text.style, justify=text.justify, overflow=text.overflow)
    return cast("Line", made)


def block(text: Text) -> Group:
    """A text of several lines."""
    return Group(*text.split("\n"))


def table(*columns: str, right: int = 0, title: str | None = None) -> Table:
    """An empty table without frame; its last ``right`` columns hold numbers and are right-aligned."""
    result = _LineTable(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        pad_edge=False,
        show_edge=False,
    )
    for i, column in enumerate(columns):
        is_number = i >= len(columns) - right
        result.add_column(
            Text(visible(column)),
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=is_number,
            header_style=SPLIT_STYLES.get(column, "dim"),
        )
    return result


def pairs(facts: Mapping[str, str | Text]) -> Table:
    """A table of names and values side by side."""
    result = _LineTable.grid(padding=(0, 2))
    result.add_column(style="dim", no_wrap=True)
    result.add_column(overflow="fold")
    for name, value in facts.items():
        result.add_row(name, Text(value) if isinstance(value, str) else value)
    return result


def split_counts(splits: Mapping[str, int]) -> Text:
    """``train 28  val 4`` in the colours of the splits."""
    return Text("  ").join(Text(f"{split} {count:,}", SPLIT_STYLES.get(split, "")) for split, count in splits.items())


def rejected_table(rejected: Mapping[str, int]) -> Table:
    """Counts by step (``source`` for what could not be read) and reason; the keys are ``step: reason``."""
    shown = table("rejected by", "reason", "samples", right=1)
    for key, count in rejected.items():
        step, _, reason = key.partition(": ")
        shown.add_row(Text(step), Text(reason), f"{count:,}")
    return shown


def human_bytes(count: int) -> str:
    """A number of bytes with a decimal unit: ``51.2 MB``."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{value:.3g} {unit}"


def split_order(splits: Mapping[str, int]) -> dict[str, int]:
    """Counts by split, sorted: train, val, test, then others by name."""
    order = {split: place for place, split in enumerate(SPLIT_STYLES)}
    return {split: splits[split] for split in sorted(splits, key=lambda split: (order.get(split, len(order)), split))}
