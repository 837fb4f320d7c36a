"""All that is looked for in one listing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from augforge.sources.listing import Finding, Record
from augforge.sources.plausibility import classes as tables
from augforge.sources.plausibility.groups import LONE_GROUPS, find_lone_groups
from augforge.sources.plausibility.leaving import find_files_aside, find_folders_aside

if TYPE_CHECKING:
    from collections.abc import Collection

    from augforge.sources.scan.scanning import Scan

OF_THE_WHOLE = frozenset((tables.NOT_DRAWN, tables.NOT_GIVEN, tables.CLASSES_ALIKE, tables.NAMES_ALIKE, LONE_GROUPS))
"""Kinds that a union finds of all its sources together, and does not take over from each."""


def find_implausible(
    scan: Scan, records: Collection[Record], classes: Sequence[str], labels: Sequence[str]
) -> Iterator[Finding]:
    """What is implausible about a scan and the records that came of it."""
    yield from tables.find_undrawn(records, classes, labels)
    yield from tables.find_alike((*classes, *labels), tables.CLASSES_ALIKE, "classes")
    yield from tables.find_alike((record.name for record in records), tables.NAMES_ALIKE, "names")
    yield from find_lone_groups(records)
    yield from find_files_aside(scan.refused)
    yield from find_folders_aside(scan.root, scan.visited)
    if scan.labels_seen is not None:
        yield from tables.find_unused_labels(scan.source.class_map, scan.labels_seen)
