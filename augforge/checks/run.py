"""Performing the checks, and what they amount to: findings, what was checked, and an exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from augforge.checks import apart, limits, recorded, whole
from augforge.checks.core import Check, Finding, NotChecked, Outcome, perform
from augforge.checks.plausible import PLAUSIBLE
from augforge.checks.subject import Subject
from augforge.checks.targets import Options, find_targets

CHECKS: list[Check] = [*recorded.CHECKS, PLAUSIBLE, *whole.CHECKS, *apart.CHECKS, *limits.CHECKS]
"""Every check, in the order of the report. A new one is a function, and an entry of its module's list."""
FINE, FOUND, COULD_NOT = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Report:
    """What came of all checks of all subjects.

    Attributes:
        outcomes: in the order of subjects and checks.
        require_data: whether data that does not lie here makes the whole fail.
    """

    outcomes: tuple[Outcome, ...]
    require_data: bool = False

    @property
    def findings(self) -> list[Finding]:
        """What is wrong."""
        return [finding for outcome in self.outcomes for finding in outcome.findings]

    @property
    def not_checked(self) -> list[tuple[Outcome, NotChecked]]:
        """What could not be checked, with the outcome that it belongs to."""
        return [(outcome, each) for outcome in self.outcomes for each in outcome.not_checked]

    @property
    def checked(self) -> list[Outcome]:
        """What was checked, wholly."""
        return [outcome for outcome in self.outcomes if not outcome.not_checked]

    @property
    def exit_code(self) -> int:
        """1 if something is wrong; else 3 if something could not be checked that should have been; else 0."""
        if any(finding.level == "error" for finding in self.findings):
            return FOUND
        serious = {"failed", "absent"} if self.require_data else {"failed"}
        missed = any(each.cause in serious for _, each in self.not_checked)
        return COULD_NOT if missed or not self.checked else FINE

    def to_json(self) -> dict[str, Any]:
        """The report as ``augforge check --json`` prints it."""
        return {
            "ok": self.exit_code == FINE,
            "findings": [
                {
                    "kind": finding.kind,
                    "level": finding.level,
                    "file": finding.file,
                    "line": finding.line,
                    "names": list(finding.names),
                    "message": finding.message,
                    "remedy": finding.remedy,
                    "check": outcome.check,
                    "subject": outcome.subject,
                }
                for outcome in self.outcomes
                for finding in outcome.findings
            ],
            "checked": [{"check": outcome.check, "subject": outcome.subject} for outcome in self.checked],
            "not_checked": [
                {"check": outcome.check, "subject": outcome.subject, "cause": each.cause, "reason": each.reason}
                for outcome, each in self.not_checked
            ],
        }


def check(place: str | None = None, **options: Any) -> Report:
    """Check a registry, a recipe, a dataset or the data of a source, as the command does.

    Args:
        place: a file or folder; None for the registry of the current folder.
        options: those of `Options`, such as ``pixels=True`` or ``strict=True``.

    Raises:
        UsageError: there is nothing to check at the place.
    """
    targets = find_targets(place, Options(**options))
    return run_checks(targets.subjects, targets.first)


def run_checks(
    subjects: Sequence[Subject],
    first: Sequence[Outcome] = (),
    require_data: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> Report:
    """Perform every check that applies to each subject.

    Args:
        subjects: datasets, with what belongs to them.
        first: what came of reading registry and policy.
        require_data: whether data that does not lie here makes the whole fail.
        advance: called with the number of subjects just checked.
    """
    outcomes = [*first]
    for subject in subjects:
        checks = CHECKS if subject.source is None else [PLAUSIBLE]
        outcomes += [perform(check, subject) for check in checks if check.applies(subject)]
        advance(1)
    return Report(tuple(outcomes), require_data)
