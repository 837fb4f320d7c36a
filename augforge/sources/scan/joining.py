"""What the recipe adds to listed samples: a group taken from the name, and rows of a metadata table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError, nearest
from augforge.keys import digest
from augforge.sources.core import Record, Source
from augforge.sources.licences import Licence
from augforge.sources.options import Join
from augforge.sources.patterns import search
from augforge.sources.scan.agreeing import Agreeing, as_file_looks
from augforge.sources.scan.tables import TABLE_FACTS, Row, read_keyed

if TYPE_CHECKING:
    from augforge.sources.scan.reporting import ScanReport


@dataclass(slots=True)
class MetadataTable:
    """A metadata table while its rows are joined to records.

    Attributes:
        path: the file.
        join: how it is joined.
        rows: of the table, by their key.
        matched, unmatched: how many records have a row, and how many have none.
        first_unmatched: the first record that has none.
        used: the keys of the rows that a record has.
    """

    path: Path
    join: Join
    rows: Mapping[str, Row]
    matched: int = 0
    unmatched: int = 0
    first_unmatched: str = ""
    used: set[str] = field(default_factory=set)
    _names: Agreeing = field(init=False)
    _files: Agreeing = field(init=False)

    def __post_init__(self) -> None:
        self._names, self._files = Agreeing(self.rows), Agreeing(self.rows, as_file_looks)

    def row_of(self, record: Record) -> Row | None:
        """The record's row, or None; the table's keys may end in the suffix of the image file."""
        keys = {"name": record.name, "stem": record.name.rpartition("/")[2], "group": record.group}
        key = keys[self.join.on]
        file = key + PurePosixPath(record.data.get("image", "")).suffix
        row = self._row(self._names.find(key)) or self._row(self._files.find(file))
        self.matched += row is not None
        self.unmatched += row is None
        self.first_unmatched = self.first_unmatched or (record.name if row is None else "")
        return row

    def _row(self, key: str | None) -> Row | None:
        if key is None:
            return None
        self.used.add(key)
        return self.rows[key]

    def report(self, scan: ScanReport) -> None:
        """Report samples without a row, and rows without a sample. A table that fits no sample is an error."""
        if self.unmatched and not self.matched:
            scan.source_error(self._no_match_message())
            return
        if self.unmatched:
            scan.warnings.append(self._unmatched(f"{self.unmatched}"))
            scan.find(
                "metadata without a row",
                self._unmatched(f"{self.unmatched} of {self.matched + self.unmatched}"),
                "Add the rows, or correct metadata.key or metadata.on; or accept it, if these have no metadata",
                [self.join.table],
            )
        if self.matched and (unused := len(self.rows) - len(self.used)):
            first = next(key for key in self.rows if key not in self.used)
            scan.find(
                "metadata rows without a sample",
                f"{unused} of {len(self.rows)} rows of {self.join.table} fit{'s' * (unused == 1)} no sample, such as "
                f"'{first}'",
                "Correct their keys, or add the images; or accept it, if the table describes other data too",
                [self.join.table],
            )

    def _unmatched(self, count: str) -> str:
        have = "sample has" if count == "1" else "samples have"
        return f"{count} {have} no row in {self.join.table}, such as {self.first_unmatched}"

    def _no_match_message(self) -> str:
        """The error for a table that no record has a row in."""
        column = "its first column" if self.join.key is None else f"column '{self.join.key}'"
        return (
            f"{self.path} fits no sample: {self._unmatched(str(self.unmatched))}; expected their {self.join.on}s in "
            f"{column}, where '{next(iter(self.rows))}' stands. Correct metadata.key or metadata.on."
        )


def open_table(source: Source, cache: FileCache, report: Callable[[str], None]) -> MetadataTable | None:
    """The table of metadata, if the recipe names one; a broken one is reported, and then taken for empty."""
    join = source.join
    if join is None:
        return None
    path = source.root / join.table
    try:
        return MetadataTable(path, join, read_joined_rows(path, join, cache))
    except SourceError as error:
        report(str(error))
        return MetadataTable(path, join, {})


def read_joined_rows(path: Path, join: Join, cache: FileCache) -> Mapping[str, Row]:
    """The table's rows by their key. Raises SourceError if it is missing or broken."""
    if not path.is_file():
        raise SourceError(f"{path} does not exist. Correct source.metadata or leave it out.")
    kind = f"{TABLE_FACTS} {digest(join.key, join.columns)}"
    rows: Mapping[str, Row] = cache.get(path, kind, lambda table: read_keyed(table, join.key, join.columns))
    return rows


def with_group(record: Record, source: Source) -> Record:
    """The record with the group that the recipe takes from its name. Raises SourceError if the name has none."""
    by = source.group
    if by is None or by.column is not None:
        return record
    if by.folder is not None:
        folders = record.name.split("/")[:-1]
        if by.folder > len(folders):
            raise SourceError(
                f"sample {record.name} in {source.root} has {len(folders)} folders; expected {by.folder} or more, for "
                "group is the name's folder. Correct source.group."
            )
        return replace(record, group=folders[by.folder - 1])
    try:
        found = search(by.regex or "", record.name)
    except ValueError as error:
        raise SourceError(f"{source.root}: {error}. Correct source.group.regex.") from None
    group = found[1] if found else None
    if not group:
        raise SourceError(
            f"sample {record.name} in {source.root} does not match {by.regex}; expected its group there. "
            "Correct source.group.regex."
        )
    return replace(record, group=group)


def with_licence(record: Record, stated: Licence) -> Record:
    """The record with the licence that the recipe states, beside those that its files state."""
    return replace(record, licences=tuple(sorted({*record.licences, stated.key})))


def with_row(record: Record, row: Row | None, source: Source) -> Record:
    """The record with its row of metadata, and with the group from that row if the recipe says so."""
    if row is not None:
        record = replace(record, metadata={**record.metadata, **row})
    column = source.group.column if source.group else None
    if column is None:
        return record
    if column not in record.metadata:
        raise SourceError(
            f"sample {record.name} in {source.root} has no '{column}' in its metadata; expected its group there. Fill "
            f"the cell, or correct source.group.column.{nearest(column, record.metadata)}"
        )
    return replace(record, group=str(record.metadata[column]))
