"""Exports on the command line: options from text, and a report of what was written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console

from augforge.errors import AugforgeError
from augforge.export.exporting import ExportSummary
from augforge.yamlfile import parse_scalar


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Options from ``KEY=VALUE`` texts; AugforgeError for a text of another form, or a duplicate key."""
    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise AugforgeError(f"--set {text} is no option; expected KEY=VALUE, such as masks=polygons")
        if key in found:
            raise AugforgeError(f"--set gives {key} twice; expected it once. Leave one out")
        # `order` lists class names, which stay text even if they look like a number or `*` like a YAML alias.
        found[key] = value if key == "order" else parse_scalar(value)
    return found


def render_export_summary(done: ExportSummary, console: Console) -> None:
    """Print what an export wrote, and its notes."""
    splits = ", ".join(f"{split} {count:,}" for split, count in done.splits.items())
    console.print(
        f"wrote {sum(done.splits.values()):,} samples ({splits}) as {done.format}: {done.files:,} files, "
        f"{done.bytes / 1e6:,.1f} MB in {done.path}",
        markup=False,
        soft_wrap=True,
    )
    for note, count in done.notes.items():
        console.print(f"note: {note}: {count:,}", markup=False, soft_wrap=True)
