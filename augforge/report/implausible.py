"""What is implausible about a source and its splits, printed for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from augforge.engine.findings import Accepted
    from augforge.sources.listing import Finding


def render_findings(findings: Sequence[Finding], accepted: Sequence[Accepted], console: Console) -> None:
    """Print each finding with its remedy, then how many the recipe accepts."""
    for found in findings:
        console.print(Text.assemble((f"Implausible, {found.kind}: ", "yellow"), found.message), soft_wrap=True)
        console.print(Text(f"  {found.remedy}", "dim"), soft_wrap=True)
    for each in accepted:
        console.print(Text(f"Accepted, {each.kind}: {each.why}", "dim"), soft_wrap=True)
