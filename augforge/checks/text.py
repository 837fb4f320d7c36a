"""A report of checks for people, in the terminal."""

from __future__ import annotations

from collections import defaultdict

from rich.console import Console
from rich.text import Text

from augforge.checks.core import Finding, NotChecked, visible
from augforge.checks.run import COULD_NOT, FINE, Report
from augforge.errors import some
from augforge.report.tables import plural

_COLOURS = {"error": "red", "warning": "yellow"}
_SHOWN = 5


def render_report(report: Report, console: Console) -> None:
    """Print what is wrong and what to do about it, then what could not be checked and why, then the verdict."""
    for finding in report.findings:
        console.print(_headline(finding), soft_wrap=True)
        if finding.remedy:
            console.print(Text(f"  {visible(finding.remedy)}", "dim"), soft_wrap=True)
    missed = _missed(report)
    if missed:
        console.print("not checked:")
    for line in missed:
        console.print(line, soft_wrap=True)
    console.print(_verdict(report))


def _missed(report: Report) -> list[Text]:
    """A line for each set of checks that the same subjects lack, with the first reason."""
    checks: dict[tuple[str, str], list[NotChecked]] = defaultdict(list)
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for outcome, each in report.not_checked:
        checks[outcome.subject, each.cause].append(each)
        names[outcome.subject, each.cause].append(outcome.check)
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    reasons: dict[tuple[str, str], str] = {}
    for (subject, cause), missed in checks.items():
        key = (cause, ", ".join(names[subject, cause]))
        alike[key].append(subject)
        reasons.setdefault(key, "; ".join(dict.fromkeys(each.reason for each in missed)))
    return [_missed_line(*key, subjects, reasons[key]) for key, subjects in alike.items()]


def _missed_line(cause: str, checks: str, subjects: list[str], reason: str) -> Text:
    such = "such as: " if len(subjects) > 1 else ""
    text = f"  {checks} of {some(subjects, _SHOWN)}; {such}{reason}"
    return Text(visible(text), "yellow" if cause == "failed" else "dim")


def _headline(finding: Finding) -> Text:
    place = "" if finding.file is None else f"{finding.file}:{finding.line}: " if finding.line else f"{finding.file}: "
    kind = (f"{finding.kind}: ", _COLOURS[finding.level])
    return Text.assemble(visible(place), kind, visible(finding.message))


def _verdict(report: Report) -> Text:
    found = [finding.level for finding in report.findings]
    errors, warnings = (plural(found.count(level), level) for level in ("error", "warning"))
    checked = f"{plural(len(report.checked), 'check')} done, {len(report.not_checked)} not"
    text, style = {
        FINE: ("fine", "green"),
        COULD_NOT: ("could not check everything that should have been", "yellow"),
    }.get(report.exit_code, ("problems found", "red"))
    return Text.assemble((text, f"bold {style}"), f": {errors}, {warnings}; {checked}")
