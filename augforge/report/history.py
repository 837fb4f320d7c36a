"""The history of a dataset, printed for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from augforge.report.tables import plural, split_counts, split_order
from augforge.store.history import History, HistoryEntry


def render_history(found: History, console: Console) -> None:
    """Print what happened to a dataset, newest first; it fits into 80 columns."""
    for number in found.damaged_lines:
        console.print(
            Text(f"Warning: line {number} of {found.folder}/log.jsonl cannot be read; it is left out", "yellow")
        )
    for entry in found.entries:
        console.print(_headline(entry), soft_wrap=True)
        if entry.name not in (None, found.name):
            console.print(Text(f"    dataset {entry.name}"), soft_wrap=True)
        for line in _LINES[entry.kind](entry):
            console.print(Text.assemble("    ", line), soft_wrap=True)
    if not found.entries:
        console.print("The log is empty.")


def _headline(entry: HistoryEntry) -> Text:
    when = (entry.time or "time unknown").replace("T", " ").removesuffix("Z")
    words = {"version": "version", "failed": "failed build", "checkout": "checked out", "gc": "gc", "tag": "tags"}
    marks = [*(["current"] if entry.current else []), *entry.tags, *([] if entry.exists else ["removed by gc"])]
    parts: list[str | tuple[str, str]] = [(words[entry.kind], "red" if entry.kind == "failed" else "bold")]
    if entry.version:
        parts += [" ", (entry.version, "cyan")]
    if marks:
        parts += ["  (", (", ".join(marks), "green" if entry.exists else "dim"), ")"]
    return Text.assemble(*parts, "  ", (when, "dim"))


def _version_lines(entry: HistoryEntry) -> Iterator[Text]:
    if entry.problem:
        yield Text(entry.problem, "yellow")
    if entry.samples is not None:
        yield Text.assemble(plural(entry.samples, "sample"), "  ", split_counts(split_order(entry.splits)))
    yield from _recipe_lines(entry)
    facts = [f"parent {entry.parent}"] if entry.parent else []
    facts += [f"built {entry.builds} times"] if entry.builds > 1 else []
    facts += [f"by augforge {entry.augforge}"] if entry.augforge else []
    facts += [f"{entry.seconds:.1f} s"] if entry.seconds is not None else []
    if facts:
        yield Text(", ".join(facts), "dim")


def _recipe_lines(entry: HistoryEntry) -> Iterator[Text]:
    path, digest = entry.recipe.get("path"), entry.recipe.get("digest")
    if path or digest:
        yield Text(f"recipe {path or '(path unknown)'}" + (f"  {digest[:16]}" if digest else ""))
    if entry.overrides:
        yield Text("--set " + " ".join(f"{key}={value}" for key, value in entry.overrides.items()))


def _failure_lines(entry: HistoryEntry) -> Iterator[Text]:
    yield from _recipe_lines(entry)
    if entry.failures:
        first = entry.failures[0]
        yield Text(f"{plural(len(entry.failures), 'task')} failed, first {first['sample']} in {first['step']}:")
        yield Text(first["message"].partition("\n")[0], "red")


def _removed_lines(entry: HistoryEntry) -> Iterator[Text]:
    removed = entry.removed or {}
    yield Text(f"deleted {plural(int(removed.get('files') or 0), 'file')}, {removed.get('bytes') or 0:,} bytes")
    if removed.get("versions"):
        yield Text("versions " + ", ".join(map(str, removed["versions"])), "dim")


def _tag_lines(entry: HistoryEntry) -> Iterator[Text]:
    yield Text(", ".join(f"{tag} {version}" for tag, version in (entry.all_tags or {}).items()) or "none is left")


def _no_lines(entry: HistoryEntry) -> Iterator[Text]:
    return iter(())


_LINES = {
    "version": _version_lines,
    "failed": _failure_lines,
    "checkout": _no_lines,
    "gc": _removed_lines,
    "tag": _tag_lines,
}
