"""Exports on the command line: options as text, and what was written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console

from augforge.errors import AugforgeError
from augforge.export.run import Exported
from augforge.yamlfile import parse_scalar


def settings(texts: Iterable[str]) -> dict[str, Any]:
    """Options of ``KEY=VALUE`` texts. AugforgeError where one is none, or a key stands twice."""
    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise AugforgeError(f"--set {text} is no option; expected KEY=VALUE, such as masks=polygons")
        if key in found:
            raise AugforgeError(f"--set gives {key} twice; expected it once. Leave one out")
        found[key] = value if key == "order" else parse_scalar(value)
    return found


def render_exported(done: Exported, console: Console) -> None:
    """Print what an export wrote, and what is worth saying about it."""
    splits = ", ".join(f"{split} {count:,}" for split, count in done.splits.items())
    console.print(
        f"wrote {sum(done.splits.values()):,} samples ({splits}) as {done.format}: {done.files:,} files, "
        f"{done.bytes / 1e6:,.1f} MB in {done.path}",
        markup=False,
        soft_wrap=True,
    )
    for note, count in done.notes.items():
        console.print(f"note: {note}: {count:,}", markup=False, soft_wrap=True)
