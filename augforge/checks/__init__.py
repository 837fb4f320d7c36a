"""What `augforge check` proves of recipes, registries and datasets, for continuous integration."""

from augforge.checks.core import CAUSES, Check, Finding, NotChecked, Outcome
from augforge.checks.run import CHECKS, Report, run_checks
from augforge.checks.targets import Options, UsageError, find_targets

__all__ = [
    "CAUSES",
    "CHECKS",
    "Check",
    "Finding",
    "NotChecked",
    "Options",
    "Outcome",
    "Report",
    "UsageError",
    "find_targets",
    "run_checks",
]
