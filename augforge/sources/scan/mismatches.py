"""Labels that fit no image: with `on_error: reject` they must not turn the images they belong to into empty ones."""

from __future__ import annotations

from collections.abc import Collection

from augforge.sources.scan.reporting import ScanReport


def report_mismatched(scan: ScanReport, names: Collection[str]) -> None:
    """Tell of images that count as unlabelled, as labels that fit no image may be theirs."""
    if names:
        scan.find(
            "unlabelled beside mismatched labels",
            f"{len(names)} images without labels count as unlabelled and not as empty, since labels that fit no image "
            "were rejected, and may be theirs",
            "Correct the names that the rejected rows give, or remove those labels",
            sorted(names),
        )
