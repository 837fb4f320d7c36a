"""Labels that fit no image: with `on_error: reject` they must not turn the images they belong to into empty ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from augforge.sources.looks import as_spoken
from augforge.sources.scan.reporting import ScanReport


def alike_orphans(scan: ScanReport, names: Iterable[str]) -> set[str]:
    """Those of the names that labels without an image nearly have: but for capital letters, spaces and accents."""
    orphans = {as_spoken(name) for name in scan.orphans}
    return {name for name in names if orphans and as_spoken(name) in orphans}


def report_mismatched(scan: ScanReport, names: Collection[str]) -> None:
    """Tell of images that count as unlabelled, as labels that fit no image may be theirs."""
    if names:
        scan.find(
            "unlabelled beside mismatched labels",
            "Images without labels count as unlabelled and not as empty, since labels that fit no image were rejected, "
            f"and may be theirs: {len(names)}, such as {min(names)}",
            "Correct the names that the rejected rows give, or remove those labels",
            sorted(names),
        )
