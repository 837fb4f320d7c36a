"""What every source takes: groups, metadata, class options, links and paths; seen through mask-folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
from makedata import block, broken, put_image, put_pixels, put_text, rejected, scan
from pydantic import ValidationError

from augforge.engine.builder import build
from augforge.errors import MissingExtra, PlanError, SourceError
from augforge.sources import SOURCES
from augforge.sources.core import Source
from augforge.sources.formats.mask_folder import MaskFolder
from augforge.sources.scan.records import place_inside
from augforge.sources.scan.tables import read_table

KIND = "mask-folder"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("north/P01/a_1", "north/P02/b_1", "south/P03/c_2"):
        put_image(tmp_path / f"images/{name}.png")
    put_pixels(tmp_path / "masks/heart/north/P01/a_1.png", block(1, 1, 5, 5))
    return tmp_path


def groups(root: Path, **options: Any) -> list[str]:
    return [record.group for record in scan(KIND, root, **options).records]


# ---- groups ----------------------------------------------------------------------------------------------------------


def test_groups(root: Path) -> None:
    assert groups(root) == ["north/P01", "north/P02", "south/P03"]
    assert groups(root, group={"folder": 1}) == ["north", "north", "south"]
    assert groups(root, group={"folder": 2}) == ["P01", "P02", "P03"]
    assert groups(root, group={"regex": r"_(\d)$"}) == ["1", "1", "2"]


@pytest.mark.parametrize("group", [{"folder": 3}, {"regex": "^north/(P..)"}, {"regex": "(x)?_2"}])
def test_a_name_without_the_group(root: Path, group: dict[str, Any]) -> None:
    broken(KIND, root, "sample south/P03/c_2", "Correct source.group", group=group)
    assert ("south/P03/c_2", "no group") in rejected(KIND, root, group=group)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"group": {}}, "expected one of folder, regex and column, got none"),
        ({"group": {"folder": 1, "regex": "(a)"}}, "got folder, regex"),
        ({"group": {"regex": "a"}}, "captures nothing"),
        ({"group": {"regex": "(a"}}, "no regular expression"),
        ({"group": {"folder": 0}}, "greater than or equal to 1"),
        ({"group": {"column": "site"}, "metadata": {"table": "t.csv", "on": "group"}}, "join it by name"),
        ({"on_error": "skip"}, "'error' or 'reject'"),
        ({"metadata": {"table": "t.csv", "by": "x"}}, "Extra inputs"),
    ],
)
def test_options_are_checked(options: dict[str, Any], part: str) -> None:
    with pytest.raises(ValidationError, match=".*".join(part.split())):
        MaskFolder(path="x", **options)


# ---- the data's own splits -------------------------------------------------------------------------------------------


def own(root: Path, *names: str, **options: Any) -> dict[str, tuple[str, str | None]]:
    """Group and split of each image, in a data set of these images."""
    for name in names:
        put_image(root / f"images/{name}.png")
        put_pixels(root / f"masks/heart/{name}.png", block(1, 1, 5, 5))
    return {record.name: (record.group, record.split) for record in scan(KIND, root, **options).records}


def test_a_first_folder_may_name_a_split_and_is_no_part_of_the_group(tmp_path: Path) -> None:
    found = own(tmp_path, "train/a", "Val/a", "test2017/a", "training/P1/b", "validation/P2/c/d")
    assert found == {
        "Val/a": ("Val/a", "val"),
        "test2017/a": ("test2017/a", "test"),
        "train/a": ("train/a", None),
        "training/P1/b": ("P1", None),
        "validation/P2/c/d": ("P2/c", "val"),
    }


def test_a_person_called_test(tmp_path: Path) -> None:
    assert own(tmp_path, "P1/a", "TEST/b", "TEST/c")["TEST/b"] == ("TEST/b", "test")
    (warning,) = scan(KIND, tmp_path).warnings
    assert warning.startswith(
        "folders TEST are taken for the data's own splits, beside P1; set source.own_splits: false"
    )
    assert own(tmp_path, "P1/a", own_splits=False)["TEST/b"] == ("TEST", None)
    assert not scan(KIND, tmp_path, own_splits=False).warnings


def test_copies_of_roboflow_stay_together(tmp_path: Path) -> None:
    copies = [f"train/one_jpg.rf.{letter * 32}" for letter in "abc"]
    found = own(tmp_path, *copies, "train/two.rf.short", "valid/one_jpg.rf.0123456789abcdef0123456789abcdef")
    assert [found[name] for name in copies] == [("train/one_jpg", None)] * 3
    assert found["train/two.rf.short"] == ("train/two.rf.short", None)
    assert found["valid/one_jpg.rf.0123456789abcdef0123456789abcdef"] == ("valid/one_jpg", "val")


def test_own_splits_are_left_to_the_recipe_where_it_says_so(tmp_path: Path) -> None:
    found = own(tmp_path, "train/P1/a", "val/P1/b", own_splits=False, group={"folder": 1})
    assert found == {"train/P1/a": ("train", None), "val/P1/b": ("val", None)}


def test_a_patient_in_two_own_splits_stops_the_build(tmp_path: Path) -> None:
    own(tmp_path / "data", "train/P1/a", "val/P1/b", "val/P2/c")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: x\nsource: {format: mask-folder, path: data}\nsteps: []\n", encoding="utf-8")
    with pytest.raises(
        PlanError, match=r"group 'P1' of the source has samples in what the recipe splits and its own val"
    ):
        build(recipe, tmp_path / "out")
    text = recipe.read_text(encoding="utf-8").replace("path: data", 'path: data, group: {regex: "(.*)/"}')
    recipe.write_text(text, encoding="utf-8")
    assert build(recipe, tmp_path / "out").splits == {"train": 1, "val": 2}


def test_why_nothing_is_usable(root: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    source = f"{{format: mask-folder, path: {root}, on_error: reject, group: {{folder: 3}}}}"
    recipe.write_text(f"name: x\nsource: {source}\nsteps: []\n", encoding="utf-8")
    with pytest.raises(PlanError, match=r"3 refused, 3 for: no group\. Such as north/P01/a_1: sample .* has 2 folders"):
        build(recipe, tmp_path / "out")


# ---- metadata --------------------------------------------------------------------------------------------------------

TABLE = "file,age,site,code\nnorth/P01/a_1,7,N,007\nnorth/P02/b_1,8.5,,x\nsouth/P03/c_2,1e3,S,\n"


def as_csv(path: Path) -> Path:
    return put_text(path.with_suffix(".csv"), "\ufeff" + TABLE)


def as_xlsx(path: Path) -> Path:
    book = openpyxl.Workbook()
    for line in TABLE.splitlines():
        book.active.append(line.split(","))
    book.save(path.with_suffix(".xlsx"))
    return path.with_suffix(".xlsx")


def as_parquet(path: Path) -> Path:
    pl.read_csv(TABLE.encode(), schema_overrides={"code": pl.String}).write_parquet(path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


@pytest.mark.parametrize("make", [as_csv, as_xlsx, as_parquet])
def test_a_joined_table(root: Path, make: Any) -> None:
    name = make(root / "meta").name
    first, second, third = scan(KIND, root, metadata={"table": name, "key": "file"}).records
    assert first.metadata == {"age": 7, "site": "N", "code": "007"}
    assert second.metadata == {"age": 8.5, "code": "x"}
    assert third.metadata == {"age": 1000.0, "site": "S"}
    assert scan(KIND, root, metadata=name).records[0] == first


def test_joined_by_stem_and_by_group(root: Path) -> None:
    put_text(root / "stems.csv", "age,stem\n1,a_1\n2,b_1\n3,c_2\n")
    put_text(root / "sites.csv", "site,beds\nnorth,10\nsouth,20\n")
    by_stem = scan(KIND, root, metadata={"table": "stems.csv", "key": "stem", "on": "stem"})
    assert [record.metadata["age"] for record in by_stem.records] == [1, 2, 3]
    by_site = scan(KIND, root, group={"folder": 1}, metadata={"table": "sites.csv", "on": "group"})
    assert [record.metadata["beds"] for record in by_site.records] == [10, 10, 20]


def test_keys_may_have_the_images_suffix(root: Path) -> None:
    put_text(root / "meta.csv", "file,age\na_1.png,1\nb_1.png,2\nc_2.jpg,3\n")
    listing = scan(KIND, root, metadata={"table": "meta.csv", "on": "stem"})
    assert [record.metadata.get("age") for record in listing.records] == [1, 2, None]


def test_some_columns_of_a_table_with_several_rows_a_sample(root: Path) -> None:
    put_text(root / "meta.csv", "file,class,patient\na_1,x,7\na_1,y,7\nb_1,x,8\nc_2,x,9\n")
    broken(KIND, root, "meta.csv:3: 'a_1' has two rows", metadata={"table": "meta.csv", "on": "stem"})
    join = {"table": "meta.csv", "on": "stem", "columns": ["patient"]}
    records = scan(KIND, root, metadata=join, group={"column": "patient"}).records
    assert [(record.group, record.metadata) for record in records] == [(p, {"patient": int(p)}) for p in "789"]
    join["columns"] = ["patent"]
    broken(KIND, root, "no column 'patent'. Did you mean 'patient'?", metadata=join)


def test_grouped_by_a_column(root: Path) -> None:
    put_text(root / "meta.csv", "name,patient\nnorth/P01/a_1,007\nnorth/P02/b_1,7\nsouth/P03/c_2,007\n")
    options = {"metadata": "meta.csv", "group": {"column": "patient"}}
    assert groups(root, **options) == ["007", "7", "007"]
    put_text(root / "meta.csv", "name,patient\nnorth/P01/a_1,7\nnorth/P02/b_1,\n")
    broken(KIND, root, "2 problems", "sample north/P02/b_1", "sample south/P03/c_2", "no 'patient'", **options)
    assert [name for name, _ in rejected(KIND, root, **options)] == ["north/P02/b_1", "south/P03/c_2"]


def test_samples_without_a_row_are_reported(root: Path) -> None:
    put_text(root / "meta.csv", "name,age\nnorth/P01/a_1,7\n")
    (warning,) = scan(KIND, root, metadata="meta.csv").warnings
    assert warning == "2 samples have no row in meta.csv, such as north/P02/b_1"
    put_text(root / "meta.csv", "name,age\nP01/a_1,7\n")
    parts = ["meta.csv fits no sample: 3 samples have no row", "its first column, where 'P01/a_1'"]
    broken(KIND, root, *parts, metadata="meta.csv")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["is empty"]),
        (b"name,age\nx,\xb0\n", ["meta.csv:2", "not UTF-8"]),
        (b"name,age\nx,1,2\n", ["meta.csv:2: 3 cells; expected 2"]),
        (b"name,age,age\nx,1,2\n", ["duplicate column 'age'"]),
        (b'name,age\nx,"1\n', ["cannot be read as a table"]),
        (b"name,age\nx,1\nx,2\n", ["meta.csv:3: 'x' has two rows"]),
        (None, ["does not exist"]),
    ],
)
def test_broken_tables(root: Path, content: bytes | None, parts: list[str]) -> None:
    if content is not None:
        put_text(root / "meta.csv", content)
    broken(KIND, root, str(root / "meta.csv"), *parts, metadata="meta.csv")
    broken(KIND, root, *parts, metadata="meta.csv", on_error="reject")


def test_a_table_that_is_no_file(root: Path) -> None:
    os.mkfifo(root / "meta.csv")
    broken(KIND, root, "meta.csv does not exist", metadata="meta.csv")
    with pytest.raises(SourceError, match=r"meta\.csv is no regular file"):
        read_table(root / "meta.csv")


def test_a_missing_column_gets_the_nearest(root: Path) -> None:
    put_text(root / "meta.csv", "name,age\nx,1\n")
    broken(KIND, root, "no column 'nmae'. Did you mean 'name'?", metadata={"table": "meta.csv", "key": "nmae"})
    put_text(root / "meta.ods", "x")
    broken(KIND, root, "meta.ods is no table that is read", metadata="meta.ods")
    put_text(root / "meta.parquet", "x")
    broken(KIND, root, "meta.parquet cannot be read as a table", metadata="meta.parquet")


# ---- labels ----------------------------------------------------------------------------------------------------------


def source(**options: Any) -> Source:
    return MaskFolder(path="x", **options)


def test_class_of() -> None:
    plain = source(classes=["a", "b"], class_map={"x": "a", "y": None, "*": "b"})
    assert [plain.class_of(label) for label in ("a", "x", "y", "z")] == ["a", "a", None, "b"]
    free = source(class_map={"x": "a", "*": None})
    assert [free.class_of(label) for label in ("a", "x", "z")] == ["a", "a", None]
    assert source(class_map={"b": "c", "a": "c"}).classes_of(["d", "a", "b"]) == ("d", "c")


# ---- links and paths -------------------------------------------------------------------------------------------------


def test_links(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = put_image(tmp_path_factory.mktemp("outside") / "o.png")
    folder = root / "images/north"
    (folder / "circle").symlink_to(root / "images")
    (folder / "outside").symlink_to(outside.parent)
    (folder / "outside.png").symlink_to(outside)
    (folder / "nowhere.png").symlink_to("nothing.png")
    message = broken(KIND, root, "3 problems", f"leads to {outside}, out of the root", "leads nowhere")
    assert str(folder / "circle") not in message
    assert rejected(KIND, root) == [
        ("north/circle", "link in a circle"),
        ("north/nowhere", "broken link"),
        ("north/outside", "leaves the root"),
        ("north/outside", "leaves the root"),
    ]


def test_an_annotation_behind_a_bad_link_is_not_taken_for_an_empty_one(root: Path) -> None:
    heart = root / "masks/heart"
    (heart / "south").symlink_to("/")
    (heart / "north/P02").mkdir()
    (heart / "north/P02/b_1.png").symlink_to("nowhere.png")
    assert rejected(KIND, root) == [
        ("north/P02/b_1", "broken link"),
        ("south", "leaves the root"),
        ("south/P03/c_2", "annotation behind a bad link"),
    ]
    assert [record.name for record in scan(KIND, root, on_error="reject").records] == ["north/P01/a_1"]


def test_links_below_the_root_are_followed(root: Path) -> None:
    (root / "images/west").symlink_to(root / "images/south")
    (root / "images/east.png").symlink_to(root / "images/south/P03/c_2.png")
    names = [record.name for record in scan(KIND, root).records]
    assert names == ["east", "north/P01/a_1", "north/P02/b_1", "south/P03/c_2", "west/P03/c_2"]


def test_a_file_may_have_many_links(root: Path) -> None:
    for number in range(99):
        (root / f"images/{number}.png").symlink_to(root / "images/south/P03/c_2.png")
    assert len(scan(KIND, root).records) == 102


def test_links_that_multiply_come_to_an_end(tmp_path: Path) -> None:
    """Two links in each of 24 folders are 16 million ways to the last."""
    for number in range(24):
        (tmp_path / f"images/{number:02d}").mkdir(parents=True)
    for number in range(23):
        for name in "ab":
            (tmp_path / f"images/{number:02d}/{name}").symlink_to(tmp_path / f"images/{number + 1:02d}")
    put_image(tmp_path / "images/23/x.png")
    (tmp_path / "masks/heart").mkdir(parents=True)
    broken(KIND, tmp_path, "is one of more than 64 ways to", "images/23; expected")


@pytest.mark.parametrize("link", [False, True])
def test_pipes_are_not_read(root: Path, link: bool) -> None:
    pipe = root / "images/x.png"
    os.mkfifo(root / "pipe" if link else pipe)
    if link:
        pipe.symlink_to(root / "pipe")
    broken(KIND, root, f"{pipe} is a pipe, socket or device")
    assert rejected(KIND, root) == [("x", "no file")]


def test_a_root_that_is_a_link(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("links") / "root"
    link.symlink_to(root)
    assert len(scan(KIND, link).records) == 3


@pytest.mark.parametrize("place", ["../a.png", "/etc/passwd", "images/../../a.png", "..\\a.png", "a\0b", "link/a.png"])
def test_paths_that_leave_the_root(root: Path, place: str) -> None:
    (root / "link").symlink_to("/")
    with pytest.raises(SourceError, match=r"^file:3: .*leaves.*[Mm]ove the file"):
        place_inside(root, place, "file:3")


def test_paths_that_stay(root: Path) -> None:
    assert place_inside(root, "images/../masks/./a.png", "") == "masks/a.png"
    assert place_inside(root, "images\\north\\a.png", "") == "images/north/a.png"
    assert place_inside(root, "..hidden/a.png", "") == "..hidden/a.png"
    assert place_inside(root, "a\ud800.png", "") == "a?.png"  # as a walk names what is not UTF-8


# ---- paths and names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - {"dataset", "union"}))
def test_only_datasets_are_read_from_urls(name: str) -> None:
    given = {"format": name, "path": "s3://bucket/data", "classes": ["a"]}
    with pytest.raises(ValidationError, match=r"path is the URL s3://bucket/data; .* only format dataset"):
        SOURCES[name](**given)


def test_no_class_is_named_like_all_others(root: Path) -> None:
    with pytest.raises(ValidationError, match=r"a class is named '\*'"):
        scan(KIND, root, classes=["*", "heart"])
    (root / "masks/*").mkdir()
    broken(KIND, root, "a class is named '*'")


# ---- extras ----------------------------------------------------------------------------------------------------------


def test_datumaro_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datumaro", None)
    with pytest.raises(MissingExtra, match=r"augforge\[datumaro\]"):
        scan("datumaro", tmp_path)
