"""The table of persons: headers in two languages, dirty cells, and joining rows to folders."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from augforge.errors import SourceError
from augforge.sources.scan.people import person_row, read_people


def xlsx(folder: Path, rows: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    path = folder / "meta_data.xlsx"
    book.save(path)
    book.close()
    return path


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "meta_data.csv"
    path.write_bytes(text.encode(encoding))
    return path


def edit_part(path: Path, name: str, edit: Callable[[bytes], bytes]) -> None:
    """Change one file inside a workbook."""
    with zipfile.ZipFile(path) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    edited = edit(parts[name])
    assert edited != parts[name]
    with zipfile.ZipFile(path, "w") as archive:
        for part, data in {**parts, name: edited}.items():
            archive.writestr(part, data)


KOREAN: list[list[Any]] = [
    ["ID", "나이", "성별", "키(신장)", "몸무게(체중)", None, "Unnamed: 6"],
    [1, 30, "_x0008_남", 175.5, "70", "stray", "stray"],
    ["ID002", "41", " 여 ", None, 52.0, None, None],
    [None, None, None, None, None, "left over", None],
]


def test_korean_xlsx(tmp_path: Path) -> None:
    assert read_people(xlsx(tmp_path, KOREAN)) == {
        "1": {"age": 30, "sex": "M", "height": 175.5, "weight": 70},
        "ID002": {"age": 41, "sex": "F", "weight": 52},
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_english_csv(tmp_path: Path, encoding: str) -> None:
    text = "Person ID,AGE (years),Gender,Height [cm],weight,Hospital\n"
    text += 'ID001,30세,Female,170cm, 61.5 kg ,"St. Mary, Seoul"\n'
    assert read_people(table(tmp_path, text, encoding)) == {
        "ID001": {"age": 30, "sex": "F", "height": 170, "weight": 61.5, "Hospital": "St. Mary, Seoul"}
    }


@pytest.mark.parametrize("name", ["id", "ID", "Person", "person_id", "환자", "Patient-ID"])
def test_names_of_the_id_column(tmp_path: Path, name: str) -> None:
    assert read_people(table(tmp_path, f"{name},age\nA,1\n")) == {"A": {"age": 1}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("남", "M"),
        ("male", "M"),
        ("M", "M"),
        ("여성", "F"),
        ("FEMALE", "F"),
        ("diverse", "diverse"),
        ("_x0008_ M", "M"),
    ],
)
def test_sexes(tmp_path: Path, text: str, value: str) -> None:
    assert read_people(table(tmp_path, f"ID,sex\n1,{text}\n"))["1"]["sex"] == value


@pytest.mark.parametrize("text", ["", " ", "-", "N/A", "nan", "미상", "\x08", "_x0008_"])
def test_empty_cells_are_left_out(tmp_path: Path, text: str) -> None:
    assert read_people(table(tmp_path, f"ID,age,note\n1,{text},{text}\n")) == {"1": {}}


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("-0.5", -0.5), ("1e3", 1000), ("inf", "inf"), ("1" * 40, "1" * 40), ("2024-01-02",) * 2],
)
def test_numbers_in_text(tmp_path: Path, text: str, value: object) -> None:
    read = read_people(table(tmp_path, f"ID,note\n1,{text}\n"))["1"]["note"]
    assert read == value
    assert type(read) is type(value)


def test_dates_and_booleans_of_a_workbook(tmp_path: Path) -> None:
    path = xlsx(tmp_path, [["ID", "seen", "left"], [1.0, datetime.date(2024, 1, 2), True]])
    assert read_people(path) == {"1": {"seen": "2024-01-02", "left": True}}


def test_first_rows_may_be_empty(tmp_path: Path) -> None:
    assert read_people(xlsx(tmp_path, [[None], [None, "ID"], [None, 4]])) == {"4": {}}


def test_columns_beyond_a_wrong_dimension_are_read(tmp_path: Path) -> None:
    path = xlsx(tmp_path, [["ID", "age"], [1, 30]])
    edit_part(path, "xl/worksheets/sheet1.xml", lambda part: part.replace(b'ref="A1:B2"', b'ref="A1:A2"'))
    assert read_people(path) == {"1": {"age": 30}}


def test_warnings_of_openpyxl_do_not_leak(tmp_path: Path) -> None:
    path = xlsx(tmp_path, [["ID", "age"], [1, 30]])
    style = b'<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"/>'
    edit_part(path, "xl/styles.xml", lambda _: style)
    with pytest.warns(UserWarning, match="no stylesheet"):
        openpyxl.load_workbook(path)
    assert read_people(path) == {"1": {"age": 30}}


def test_same_row_twice_is_one_person(tmp_path: Path) -> None:
    assert read_people(table(tmp_path, "ID,age\n1,30\n1,30\n")) == {"1": {"age": 30}}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("age,sex\n1,M\n", "no column of person IDs"),
        ("ID,age,나이\n1,2,3\n", "duplicate column 'age'"),
        ("ID,age\n1,30\n1,31\n", "person 1 has two rows"),
        ("ID,age\n1,old\n", "age is 'old'"),
        ('ID,age\n1,"30\n', "cannot be read"),
    ],
)
def test_broken_csv(tmp_path: Path, text: str, match: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(SourceError, match=match) as caught:
        read_people(path)
    assert str(path) in str(caught.value)


def test_csv_of_another_encoding(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not UTF-8"):
        read_people(table(tmp_path, "ID,나이\n1,30\n", "cp949"))


@pytest.mark.parametrize("name", ["meta_data.xlsx", "meta_data.xls", "missing.csv"])
def test_broken_workbook(tmp_path: Path, name: str) -> None:
    if name != "missing.csv":
        (tmp_path / name).write_bytes(b"no workbook")
    with pytest.raises(SourceError, match=name):
        read_people(tmp_path / name)


@pytest.mark.parametrize(
    ("keys", "folder", "key"),
    [
        (["1", "2"], "ID001", "1"),
        (["ID1", "ID11"], "ID001", "ID1"),
        (["ID001", "1"], "ID001", "ID001"),
        (["id_1"], "ID001", "id_1"),
        (["1"], "1", "1"),
        (["ID001"], "1", "ID001"),
        (["1", "ID1"], "ID001", None),
        (["A1"], "B1", None),
        (["A1", "B1"], "1", None),
        (["anna"], "anna2", None),
        (["anna"], "berta", None),
        ([], "ID001", None),
    ],
)
def test_joining_rows_to_folders(keys: list[str], folder: str, key: str | None) -> None:
    rows: dict[str, dict[str, Any]] = {name: {"note": name} for name in keys}
    assert person_row(rows, folder) == (None if key is None else {"note": key})
