"""Tables beside the images: CSV, XLSX and Parquet as rows of text and numbers, and rows joined to samples by a key.

In a joined table, text that is a plain number (``7``, ``-0.5``, but not ``007``) becomes a number; other text stays as
it is, and empty cells are left out.
"""

from __future__ import annotations

import csv
import io
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from augforge.errors import SourceError, nearest
from augforge.sources.scan.people import xlsx_rows

Value: TypeAlias = str | int | float | bool
Row: TypeAlias = dict[str, Value]

TABLE_FACTS = "table@2"
"""The kind of `read_keyed` in a file cache; renamed when `read_keyed` changes."""

_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?([eE][+-]?\d{1,2})?")
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # run lengths of a mask in one cell exceed the default of 128 KiB


class UnknownColumn(SourceError):
    """A table lacks a column that an option of the source names; ``at`` is where that is in the source's options."""

    def __init__(self, message: str, at: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it is in its file.

    Attributes:
        path: the file.
        columns: their names.
        rows: cells as text, or as values if the file is typed; "" for empty cells.
        lines: the line, or row of a sheet, where each row begins, from 1.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[Sequence[Any]]
    lines: list[int]

    def column(self, name: str) -> int:
        """Index of a column. Raises UnknownColumn, suggesting the nearest name, if there is none."""
        if name not in self.columns:
            raise UnknownColumn(f"{self.path} has no column '{name}'.{nearest(name, self.columns)}")
        return self.columns.index(name)

    def where(self, row: int) -> str:
        """``file:line`` of a row, for messages."""
        return f"{self.path}:{self.lines[row]}"


def read_table(path: Path, whole_rows: bool = False) -> Table:
    """Read a table with its column names in the first row. Raises SourceError naming the file, and the line.

    Args:
        path: the file.
        whole_rows: a CSV row with too few cells is an error; otherwise it is filled up.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise SourceError(f"{path} is no table that is read; expected .csv, .xlsx or .parquet. Save it as one of them.")
    if path.exists() and not path.is_file():
        raise SourceError(f"{path} is no regular file; expected a table. Put the table there.")
    try:
        found = [(line, cells) for line, cells in reader(path) if any(cell not in ("", None) for cell in cells)]
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SourceError(f"{path}:{line}: byte {error.start} is not UTF-8. Save it again as 'CSV UTF-8'.") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}. Restore the file or its permissions.") from error
    except Exception as error:  # the libraries raise whatever their parsers raise
        raise SourceError(
            f"{path} cannot be read as a table ({type(error).__name__}: {error}). Save it again."
        ) from error
    if not found:
        raise SourceError(f"{path} is empty; expected a row of column names, then one row a sample. Fill or remove it.")
    return _make_table(path, found, whole_rows and path.suffix.lower() == ".csv")


def _make_table(path: Path, found: list[tuple[int, Sequence[Any]]], whole_rows: bool) -> Table:
    (_, head), *rest = found
    columns = tuple("" if cell is None else str(cell).strip() for cell in head)
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise SourceError(f"{path}: duplicate column '{twice[0]}'; expected each name once. Remove or rename one.")
    for line, cells in rest:
        if len(cells) < len(columns) and whole_rows:
            raise SourceError(
                f"{path}:{line}: {len(cells)} cells; expected {len(columns)}, as in the first row. Copy the file again "
                "if it was cut, or write empty cells, with their commas."
            )
        if len(cells) > len(columns):
            raise SourceError(
                f"{path}:{line}: {len(cells)} cells; expected {len(columns)}, as in the first row. Put text that holds "
                "commas in quotes."
            )
    blank = [""] * len(columns)
    rows: list[Sequence[Any]] = [
        cells if len(cells) == len(columns) else [*cells, *blank[len(cells) :]] for _, cells in rest
    ]
    return Table(path, columns, rows, [line for line, _ in rest])


def _csv_rows(path: Path) -> Iterable[tuple[int, Sequence[Any]]]:
    text = path.read_bytes().decode("utf-8-sig")
    head = text.partition("\n")[0]
    comma = next(
        (sign for sign in ",;\t" if sign in head), ","
    )  # where the comma is the decimal point, columns are separated by ;
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=comma, strict=True)
    before = 0
    for cells in reader:
        yield before + 1, cells
        before = reader.line_num


def _xlsx_rows(path: Path) -> Iterable[tuple[int, Sequence[Any]]]:
    return enumerate(xlsx_rows(path), start=1)


def _parquet_rows(path: Path) -> Iterable[tuple[int, Sequence[Any]]]:
    import pyarrow.parquet as pq  # takes tens of milliseconds, and most commands do not need it

    from augforge.cache.parquet import check_parquet

    check_parquet(path)
    with pq.ParquetFile(path) as file:  # unlike read_table it takes no columns from names of folders such as sex=F
        table = file.read()
    yield 1, table.column_names
    yield from enumerate(zip(*(column.to_pylist() for column in table.columns), strict=True), start=2)


_READERS: dict[str, Callable[[Path], Iterable[tuple[int, Sequence[Any]]]]] = {
    ".csv": _csv_rows,
    ".xlsx": _xlsx_rows,
    ".parquet": _parquet_rows,
}


# ---- joined tables ---------------------------------------------------------------------------------------------------


def read_keyed(path: Path, key: str | None, columns: Iterable[str] | None = None) -> dict[str, Row]:
    """The rows by the text in column ``key`` (None: the first column). Raises SourceError if two rows contradict.

    Args:
        columns: the ones to keep; None keeps all.
    """
    table = read_table(path)
    at = 0 if key is None else table.column(key)
    taken = [index for index, name in enumerate(table.columns) if name and index != at]
    if columns is not None:
        taken = [table.column(name) for name in columns]
    rows: dict[str, Row] = {}
    for number, cells in enumerate(table.rows):
        name = key_text(cells[at])
        row = {table.columns[index]: value for index in taken if (value := _cell_value(cells[index])) != ""}
        if name and rows.setdefault(name, row) != row:
            raise SourceError(
                f"{table.where(number)}: '{name}' has two rows with different values. Keep one of the rows, or name "
                "the columns that are the same with metadata.columns."
            )
    return rows


def key_text(cell: Any) -> str:
    """A cell as text that can name something: ``7`` for the number 7.0, ``007`` for the text "007"."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _cell_value(cell: Any) -> Value:
    """A cell as a JSON value; "" if it is empty or nothing that JSON can hold."""
    if isinstance(cell, bool | int):
        return cell
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else ""
    text = key_text(cell)
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    return int(number) if number.is_integer() and not set(text) & set(".eE") else number
