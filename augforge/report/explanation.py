"""What a build would do and why, printed for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from augforge.engine.explaining import Explanation, count_reasons
from augforge.errors import some
from augforge.report.implausible import render_findings
from augforge.report.tables import plural, table

_ROWS = 30
_WORDS = {
    "run": "run",
    "again": "run again",
    "encode": "encode",
    "measure": "measure",
}


def explanation_json(found: Explanation) -> dict[str, Any]:
    """An explanation as JSON for machines.

    ``tasks`` counts by work, ``reasons`` groups the tasks by step and reason, ``work`` has every task.
    """
    counts = Counter(each.work for each in found.work)
    return {
        "sentence": _sentence(found),
        "name": found.name,
        "folder": found.folder,
        "version": found.version,
        "unchanged": found.unchanged,
        "next_version": found.next_version,
        "version_note": found.version_note,
        "exact": found.exact,
        "findings": [asdict(each) for each in found.findings],
        "accepted": [asdict(each) for each in found.accepted],
        "samples": found.samples,
        "tasks": {work: counts[work] for work in _WORDS},
        "reasons": count_reasons(found.work),
        "work": [
            {
                "work": each.work,
                "step": each.step,
                "sample": each.sample,
                "reasons": [{"kind": kind, "what": what, "detail": detail} for kind, what, detail in each.reasons],
            }
            for each in found.work
        ],
    }


def render_explanation(found: Explanation, console: Console) -> None:
    """Print what a build would do: a sentence, then the tasks grouped by step and reason."""
    render_findings(found.findings, found.accepted, console)
    console.print(Text(_sentence(found), "bold"), soft_wrap=True)
    reasons = count_reasons(found.work)
    if reasons:
        shown = table("would", "step", "tasks", "because", "such as")
        for row in reasons[:_ROWS]:
            tasks, example = f"{row['tasks']:,}", Text(some(row["examples"][:1]), "dim")
            shown.add_row(_WORDS[row["work"]], Text(row["step"] or "(as it is)"), tasks, Text(_reason(row)), example)
        console.print("", shown, sep="\n")
    if len(reasons) > _ROWS:
        console.print(f"... and {len(reasons) - _ROWS:,} more reasons: --json has all")


def _reason(row: Mapping[str, Any]) -> str:
    """The reason in words: ``step mosaic: seed: 21 -> 22``."""
    kind, what = row["kind"], row["what"]
    if kind == "source":
        return f"source {row['detail']}"
    prefix = {"step": f"step {what}: ", "library": "library ", "encoding": "output: ", "options": "source options: "}
    return f"{prefix.get(kind, '')}{row['detail']}" + (f": {what}" if kind == "missing" and what else "")


def _sentence(found: Explanation) -> str:
    """What a build would do, in a sentence."""
    limit, tasks = "" if found.exact else "at most ", len(found.work)
    if found.version is None:
        return f"There is no dataset in {found.folder} yet: a build would perform {limit}{plural(tasks, 'task')}."
    if found.unchanged and not tasks:
        return f"Nothing would run: a build would give the current version {found.version} again."
    counts = ((found.samples[key], word) for key, word in _CHANGES.items())
    changed = [f"{plural(count, 'sample')} would {word}" for count, word in counts if count]
    more = f"; {' and '.join(changed)}" if changed else ""
    if tasks:
        result = _result(found)
        return f"A build would perform {limit}{plural(tasks, 'task')}{result and f', and {result}'}{more}."
    return (
        f"No task would run, but a build would {_result(found) or f'give another version than {found.version}'}{more}."
    )


def _result(found: Explanation) -> str:
    """Which version a build would give, as far as that is known; empty if it is not."""
    if found.unchanged:
        return f"give the current version {found.version} again"
    if found.next_version is not None:
        return f"give version {found.next_version} instead of {found.version}"
    return "perhaps give another version" if found.unchanged is None else ""


_CHANGES = {"added": "be new", "removed": "go", "changed": "change"}
