"""All that is looked for in one listing, in one pass over its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from augforge.sources.listing import Finding, Record
from augforge.sources.looks import as_spoken
from augforge.sources.plausibility import classes as tables
from augforge.sources.plausibility.columns import ODD_VALUES, NumericColumns
from augforge.sources.plausibility.groups import LONE_GROUPS, LoneGroups
from augforge.sources.plausibility.leaving import FILES_ASIDE, find_files_aside, find_folders_aside, find_lost_links

if TYPE_CHECKING:
    from augforge.sources.scan.scanning import Scan

OF_THE_WHOLE = frozenset(
    (
        tables.NOT_DRAWN,
        tables.NOT_GIVEN,
        tables.LONE_LABEL,
        tables.CLASSES_ALIKE,
        tables.NAMES_ALIKE,
        LONE_GROUPS,
        ODD_VALUES,
    )
)
"""Kinds that a union finds of all its sources together, and does not take over from each."""


@dataclass
class Census:
    """What a listing's records say together, taken in as they are made: reading a million of them again takes long.

    Attributes:
        drawn: how many samples show each class or label; None once the source does not know that of a sample.
        looks: hashes of the names without what people overlook.
        groups: what the names say of groups.
        columns: which columns of metadata hold numbers.
    """

    images: int = 0
    drawn: Counter[str] | None = field(default_factory=Counter)
    looks: set[int] = field(default_factory=set)
    groups: LoneGroups = field(default_factory=LoneGroups)
    columns: NumericColumns = field(default_factory=NumericColumns)

    def counted(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records, which are taken in as they pass."""
        for record in records:
            self.images += 1
            if record.drawn is None:
                self.drawn = None
            elif self.drawn is not None:
                self.drawn.update(record.drawn)
            self.looks.add(hash(as_spoken(record.name)))
            self.groups.see(record)
            self.columns.see(record)
            yield record

    def findings(
        self, scan: Scan, records: Collection[Record], classes: Sequence[str], labels: Sequence[str]
    ) -> Iterator[Finding]:
        """What is implausible about a scan and the records that came of it."""
        drawn = dict.fromkeys(scan.drawn_somewhere, 1) if scan.drawn_somewhere is not None else self.drawn
        if drawn is not None and self.images:
            yield from tables.find_undrawn(drawn, self.images, classes, labels)
            yield from tables.find_lone_label(drawn, self.images, labels)
        yield from tables.find_alike((*classes, *labels), tables.CLASSES_ALIKE, "classes")
        if len(self.looks) < self.images:  # rare, so the names are read again
            yield from tables.find_alike((record.name for record in records), tables.NAMES_ALIKE, "names")
        covered = {
            class_: [name for name in names if name not in scan.bad_names]
            for class_, names in scan.covered.items()
            if class_ not in scan.told_to_fill
        }
        yield from tables.find_covering(covered, self.images)
        yield from self.groups.findings()
        yield from self.columns.findings(scan)
        yield from find_files_aside(
            scan.refused, {name for f in scan.findings if f.kind == FILES_ASIDE for name in f.names}
        )
        yield from find_folders_aside(scan.root, scan.visited)
        yield from find_lost_links(scan.lost_links)
        if scan.labels_seen is not None:
            yield from tables.find_unused_labels(scan.source.class_map, scan.labels_seen)
        for option, (wanted, there) in scan.names_sought.items():
            yield from tables.find_unused_names(option, sorted(wanted), there)
