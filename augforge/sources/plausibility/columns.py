"""Columns of metadata that hold numbers but for a few samples, where something else stands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from augforge.errors import SourceError, some
from augforge.sources.listing import Finding, Record
from augforge.sources.scan.tables import Table, key_text, read_table

if TYPE_CHECKING:
    from augforge.sources.scan.scanning import Scan

ODD_VALUES = "odd value in a numeric column"
_SHOWN = 3
_MOST_KEPT = 1000
"""Odd values of a column that are kept while they outnumber its numbers: then it is a column of text."""


@dataclass
class _Column:
    numbers: int = 0
    others: list[tuple[str, str]] = field(default_factory=list)  # name of the sample, value
    is_text: bool = False

    def see(self, name: str, value: Any) -> None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.numbers += 1
        elif not self.is_text:
            self.others.append((name, str(value)))
            self.is_text = len(self.others) > max(_MOST_KEPT, self.numbers)

    @property
    def is_odd(self) -> bool:
        """Whether a few values, but no more than a quarter, are no numbers."""
        return not self.is_text and 0 < 3 * len(self.others) <= self.numbers


@dataclass
class NumericColumns:
    """The columns of metadata, taken in sample by sample."""

    columns: dict[str, _Column] = field(default_factory=lambda: defaultdict(_Column))

    def see(self, record: Record) -> None:
        """Take a sample in."""
        for column, value in record.metadata.items():
            if value is not None:
                self.columns[column].see(record.name, value)

    def findings(self, scan: Scan) -> Iterator[Finding]:
        """A finding for each column that is numeric but for a few samples, with the rows where these values stand."""
        for name, column in self.columns.items():
            if column.is_odd:
                rows = _rows(scan, name, [value for _, value in column.others[:_SHOWN]])
                shown = [f"{value!r} of {sample}{rows.get(value, '')}" for sample, value in column.others]
                yield Finding(
                    ODD_VALUES,
                    f"metadata column '{name}' holds numbers in {column.numbers} samples, but {some(shown, _SHOWN)}: "
                    "all of it becomes text, which conditions cannot compare with numbers",
                    "Correct the cell, or empty it if the value is missing; or accept it, if the column is text",
                    tuple(sample for sample, _ in column.others),
                )


def _rows(scan: Scan, column: str, values: Collection[str]) -> dict[str, str]:
    """Where values stand first in the tables of the source, `` (people.csv:17)``; without those that are in none."""
    found: dict[str, str] = {}
    for place, table in _tables(scan):
        with suppress(SourceError):
            at = table.column(column)
            for line, cells in zip(table.lines, table.rows, strict=True):
                if (value := key_text(cells[at])) in values:
                    found.setdefault(value, f" ({place}:{line})")
    return found


def _tables(scan: Scan) -> Iterator[tuple[str, Table]]:
    """The tables of the source, or of the sources that it unites, with their places; without those that are broken."""
    sources = [member.source for member in getattr(scan.source, "members", ())] or [scan.source]
    for source in sources:
        for place in (source.join.table if source.join else None, getattr(source, "table", None)):
            if isinstance(place, str):
                with suppress(SourceError):
                    yield place, read_table(source.root / place)
