"""Names as paths: safe everywhere, reversible, and none shared."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samplenames import name_at

from augforge.errors import AugforgeError, DatasetError
from augforge.export.core import Job
from augforge.export.paths import class_folder, escape_dots, sample_path

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("ID001/image1661130828152~rotate-2@512,0", "ID001/image1661130828152~rotate-2@512,0"),
        ("mosaic/ID001/image1-1", "mosaic/ID001/image1-1"),
        ("a b/뼈.2", "a b/뼈.2"),
        ("../up", "%2E%2E/up"),
        ("/root", "%/root"),
        ("a//b/", "a/%/b/%"),
        (".hidden", "%2Ehidden"),
        ("50%", "50%25"),
        ('<>:"\\|?*\0', "%3C%3E%3A%22%5C%7C%3F%2A%00"),
        ("con/Aux.x/thumbs.db/conch", "%63on/%41ux.x/%74humbs.db/conch"),
        ("dot./space /x", "dot%2E/space%20/x"),
        (" a/\u00a0b", "%20a/%C2%A0b"),
        ("", "%"),
    ],
)
def test_sample_paths(name: str, place: str) -> None:
    assert sample_path(name) == place
    assert name_at(place) == name


@given(NAMES)
def test_paths_are_safe_and_reversible(name: str) -> None:
    place = sample_path(name)
    assert name_at(place) == name
    assert name_at(escape_dots(place)) == name
    assert name_at(class_folder(name)) == name
    assert "/" not in class_folder(name)
    assert "." not in escape_dots(place).rpartition("/")[2]
    for part in place.split("/"):
        assert part and part == part.strip() and not part.startswith(".") and not part.endswith(".")
        assert not set(part) & set('<>:"\\|?*\0\n')


@given(NAMES, NAMES)
def test_different_names_have_different_paths(one: str, other: str) -> None:
    assert (sample_path(one) == sample_path(other)) == (one == other)
    assert (class_folder(one) == class_folder(other)) == (one == other)


def test_a_name_too_long_for_a_file_is_an_error() -> None:
    assert sample_path("a" * 240)
    with pytest.raises(AugforgeError, match=r"240 bytes.*Shorten"):
        sample_path("P01/" + "뼈" * 100)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/tmp/x", "..", "a\\..\\x", "a\0b"])
def test_no_file_leaves_the_folder(tmp_path: Path, path: str) -> None:
    job = Job(tmp_path / "out", "toy", "0" * 16, ("a",), (), [], {}, {})
    with pytest.raises(DatasetError, match="outside the export's folder"):
        job.put(path, "stolen")
    assert not list(tmp_path.rglob("*"))


def test_no_file_is_written_twice(tmp_path: Path) -> None:
    job = Job(tmp_path, "toy", "0" * 16, ("a",), (), [], {}, {})
    job.put("a/b.txt", "first")
    with pytest.raises(DatasetError, match=r"two files would be called 'a/b\.txt'"):
        job.put("a/b.txt", "second")
    assert (tmp_path / "a/b.txt").read_text() == "first"
