"""The summary printed after a build: what it made, what it reused, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from augforge.report.implausible import render_findings
from augforge.report.tables import human_bytes, pairs, plural, rejected_table, split_counts, split_order, table

if TYPE_CHECKING:
    from augforge.engine.summary import Summary


def render_summary(summary: Summary, console: Console) -> None:
    """Print what a build did, or what a dry run would do."""
    for warning in summary.warnings:
        console.print(Text(f"Warning: {warning}", "yellow"))
    render_findings(summary.findings, summary.accepted, console)
    if summary.steps:
        console.print(_steps(summary), "", sep="\n")
    if summary.rejected:
        console.print(rejected_table(summary.rejected), "", sep="\n")
    console.print(_headline(summary))
    console.print(pairs(_facts(summary)))
    console.print("\nNext:")
    for command, purpose in _next(summary):
        console.print(Text.assemble("  ", (command, "cyan"), (f"  # {purpose}", "dim")), soft_wrap=True)


def _headline(summary: Summary) -> Text:
    name = (summary.name, "bold")
    if summary.dry:
        return Text.assemble(name, "  dry run: nothing was written")
    if summary.unchanged:
        return Text.assemble(
            name, "  is unchanged: version ", (summary.version, "cyan"), " was the current one already"
        )
    return Text.assemble(name, "  version ", (summary.version, "cyan"))


def _steps(summary: Summary) -> Table:
    """Samples per step and split that were made, and that were reused."""
    splits = list(split_order({split: 0 for step in summary.steps for split in (*step["made"], *step["reused"])}))
    made = "would make" if summary.dry else "made"
    shown = table("step", "", *splits, "in all", right=len(splits) + 1)
    for step in summary.steps:
        label = Text(f"{step['step']} {step['op']}")
        shown.add_row(label, made, *_row(step["made"], splits, summary.exact))
        if any(step["reused"].values()):
            shown.add_row("", "at hand" if summary.dry else "reused", *_row(step["reused"], splits, True), style="dim")
    return shown


def _row(counts: Mapping[str, int], splits: list[str], exact: bool) -> list[str]:
    prefix = "" if exact else "at most "
    cells = [f"{counts.get(split, 0):,}" for split in splits]
    return [*cells, f"{prefix}{sum(counts.values()):,}"]


def _facts(summary: Summary) -> dict[str, str | Text]:
    samples = f"{_prefix(summary)}{summary.samples:,}  "
    size = human_bytes(summary.bytes)
    facts: dict[str, str | Text] = {
        "samples": Text.assemble(samples, split_counts(split_order(summary.splits))),
        "to store"
        if summary.dry
        else "stored": f"{_prefix(summary)}{summary.made:,} encoded, {summary.reused:,} reused",
        "bytes": f"about {size}" if summary.dry else f"{size} in {_shards(summary)}",
        "folder": summary.folder,
    }
    if summary.dry:
        again = ", the current one" if summary.unchanged else ""
        facts["version"] = f"{summary.version}{again}" if summary.version else summary.version_note
    else:
        facts["time"] = _time(summary)
    return facts


def _prefix(summary: Summary) -> str:
    return "" if summary.exact else "at most "


def _shards(summary: Summary) -> str:
    return f"{plural(summary.shards, 'shard')}, {summary.new_shards:,} of them new"


def _time(summary: Summary) -> str:
    rate = f", {summary.made / summary.seconds:.1f} samples a second" if summary.made and summary.seconds > 0 else ""
    return f"{human_seconds(summary.seconds)}{rate}"


def human_seconds(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _next(summary: Summary) -> list[tuple[str, str]]:
    if summary.dry:
        return [("the same without --dry-run", "makes it")]
    folder = shlex.quote(summary.folder)
    return [
        (f"augforge inspect {folder}", "what it holds"),
        (f"augforge show {folder}   ", "draw its samples"),
        (f"augforge verify {folder} ", "check every byte"),
    ]
