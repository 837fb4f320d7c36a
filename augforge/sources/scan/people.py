"""The table of persons of a data set, one row each, from .xlsx or .csv, cleaned up.

Column names may be Korean or English, in any case, with units in brackets. Real tables contain stray ``_x0008_``
escapes, control characters, columns without a name and numbers stored as text; all that is cleaned up here.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from augforge.errors import SourceError

Value: TypeAlias = str | int | float | bool
Row: TypeAlias = dict[str, Value]
Table: TypeAlias = dict[str, Row]

PEOPLE_FACTS = "people@1"
"""The kind of `read_people` in a file cache; renamed when `read_people` changes."""

_COLUMNS = {
    "id": ("id", "person", "personid", "patient", "patientid", "환자", "환자id", "환자번호"),
    "age": ("age", "나이", "연령"),
    "sex": ("sex", "gender", "성별"),
    "height": ("height", "키", "신장"),
    "weight": ("weight", "몸무게", "체중"),
}
_ALIASES = {alias: name for name, aliases in _COLUMNS.items() for alias in aliases}
_SEXES = {
    "M": ("m", "male", "man", "남", "남성", "남자"),
    "F": ("f", "female", "woman", "여", "여성", "여자"),
}
_SEX = {word: sex for sex, words in _SEXES.items() for word in words}
_NUMERIC = frozenset({"age", "height", "weight"})
_EMPTY = frozenset(
    {"", "-", "?", "n/a", "na", "nan", "none", "null", "unknown", "미상", "#n/a", "#div/0!", "#ref!", "#value!"}
)

_ESCAPE = re.compile(r"_x[0-9A-Fa-f]{4}_")
_BRACKETS = re.compile(r"[(\[（].*?[)\]）]")
_SPACES = re.compile(r"[\s_\-.]+")
_UNNAMED = re.compile(r"unnamed:? ?\d*", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?")
_UNIT = re.compile(r"\s*(cm|kg|years?|yrs?|y|세|살)$", re.IGNORECASE)


def read_people(path: Path) -> Table:
    """The table by the person's ID as written there (``"ID001"``, ``"1"``); empty cells are left out.

    Keys of a row: ``age`` (years), ``sex`` (``M``, ``F`` or as given), ``height`` (cm), ``weight`` (kg), other columns
    under their own name. Raises SourceError naming the file.
    """
    rows = [row for row in _read_rows(path) if any(cell != "" for cell in row)]
    if not rows:
        raise SourceError(f"{path} is empty; expected a row of column names, then one row a person. Fill or remove it.")
    columns = _columns(rows[0], path)
    people: Table = {}
    for number, cells in enumerate(rows[1:], start=2):
        _add_person(people, cells, columns, f"{path}, row {number} of those that hold anything")
    return people


def person_row(table: Table, folder: str) -> Row | None:
    """The row of the person whose folder this is, or None.

    An ID equal to the folder's name wins; otherwise numbers are compared (``ID001``, ``ID1`` and ``1`` are one person,
    ``A1`` and ``B1`` are not), and exactly one row must fit.
    """
    if folder in table:
        return table[folder]
    fitting = [key for key in table if _same_person(_split_id(key), _split_id(folder))]
    return table[fitting[0]] if len(fitting) == 1 else None


@lru_cache(maxsize=1 << 16)
def _split_id(text: str) -> tuple[str, int | None]:
    """Text before the trailing number, plain and in lower case, and the number."""
    found = re.search(r"[0-9]{1,18}$", text)
    number = int(found.group()) if found else None
    return _SPACES.sub("", text[: found.start()] if found else text).casefold(), number


def _same_person(one: tuple[str, int | None], other: tuple[str, int | None]) -> bool:
    same_text = one[0] == other[0] or not (one[0] and other[0])
    return one[1] is not None and one[1] == other[1] and same_text


# ---- rows ------------------------------------------------------------------------------------------------------------


def _read_rows(path: Path) -> list[list[Value]]:
    """Cleaned cells, row by row."""
    readers = {".xlsx": xlsx_rows, ".csv": _csv_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SourceError(f"{path} is no table that is read; expected .xlsx or .csv. Save it as one of them.")
    try:
        return [[_clean(cell) for cell in row] for row in reader(path)]
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 (byte {error.start}). Save it again as 'CSV UTF-8'.") from error
    except Exception as error:  # openpyxl raises whatever its parsers raise: BadZipFile, KeyError, ParseError, ...
        raise SourceError(
            f"{path} cannot be read as a table ({type(error).__name__}: {error}). Save it again as .xlsx or .csv."
        ) from error


def _csv_rows(path: Path) -> Iterable[Sequence[Any]]:
    text = path.read_bytes().decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def xlsx_rows(path: Path) -> Iterable[Sequence[Any]]:
    """Rows of the first sheet of a workbook, as plain values."""
    import openpyxl  # takes 0.2 s, and most commands do not need it

    with warnings.catch_warnings(), path.open("rb") as stream:
        warnings.simplefilter("ignore")  # about styles and validations that it leaves out
        book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # some writers store wrong dimensions, and columns would be missing
        rows = list(sheet.iter_rows(values_only=True))
        book.close()
    return rows


def _columns(cells: Sequence[Value], path: Path) -> dict[str, int]:
    """The index of each named column."""
    columns: dict[str, int] = {}
    for index, cell in enumerate(cells):
        name = _column_name(str(cell))
        if name in columns:
            raise SourceError(f"{path}: duplicate column '{name}'; expected each name once. Remove or rename one.")
        if name:
            columns[name] = index
    if "id" not in columns:
        found = ", ".join(columns) or "none"
        raise SourceError(f"{path} has no column of person IDs (found: {found}). Name one 'ID' in the first row.")
    return columns


def _column_name(text: str) -> str:
    """``age`` for ``나이`` or ``Age (years)``; empty for a column without a name."""
    if _UNNAMED.fullmatch(text):
        return ""
    plain = _SPACES.sub("", _BRACKETS.sub("", text)).casefold()
    return _ALIASES.get(plain, text)


def _add_person(people: Table, cells: Sequence[Value], columns: dict[str, int], where: str) -> None:
    row = {name: cells[index] for name, index in columns.items() if index < len(cells) and cells[index] != ""}
    if "id" not in row:
        return
    key = str(row.pop("id"))
    person = {name: _value(name, value, where) for name, value in row.items()}
    if people.setdefault(key, person) != person:
        raise SourceError(f"{where}: person {key} has two rows with different values. Keep one of the rows.")


# ---- cells -----------------------------------------------------------------------------------------------------------


def _clean(cell: Any) -> Value:
    """A cell as a JSON value: numbers, also those stored as text, cleaned text, or "" for an empty cell."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return cell
    if isinstance(cell, int | float):
        return _number(str(cell), cell)
    text = _ESCAPE.sub("", unicodedata.normalize("NFC", str(cell).removesuffix(" 00:00:00")))
    text = "".join(letter for letter in text if unicodedata.category(letter) not in ("Cc", "Cf")).strip()
    if text.casefold() in _EMPTY:
        return ""
    return _number(text, text)


def _number(text: str, otherwise: Value) -> Value:
    """The number in a text, whole ones as int; ``otherwise`` if it is no number."""
    if not _NUMBER.fullmatch(text):
        return otherwise
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _value(name: str, value: Value, where: str) -> Value:
    if name == "sex":
        return _SEX.get(str(value).casefold(), value)
    if name in _NUMERIC and isinstance(value, str):
        value = _number(_UNIT.sub("", value), value)
    if name in _NUMERIC and isinstance(value, bool | str):
        raise SourceError(f"{where}: {name} is '{value}'; expected a number. Correct the cell or empty it.")
    return value
