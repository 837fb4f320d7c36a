"""Names as paths: safe everywhere, reversible, and none shared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augforge.errors import AugforgeError
from augforge.export.places import folder_of, name_at, place_of, without_dots

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
def test_places(name: str, place: str) -> None:
    assert place_of(name) == place
    assert name_at(place) == name


@given(NAMES)
def test_places_are_safe_and_reversible(name: str) -> None:
    place = place_of(name)
    assert name_at(place) == name
    assert name_at(without_dots(place)) == name
    assert name_at(folder_of(name)) == name
    assert "/" not in folder_of(name)
    assert "." not in without_dots(place).rpartition("/")[2]
    for part in place.split("/"):
        assert part and part == part.strip() and not part.startswith(".") and not part.endswith(".")
        assert not set(part) & set('<>:"\\|?*\0\n')


@given(NAMES, NAMES)
def test_no_two_names_share_a_place(one: str, other: str) -> None:
    assert (place_of(one) == place_of(other)) == (one == other)
    assert (folder_of(one) == folder_of(other)) == (one == other)


def test_a_name_too_long_for_a_file_is_an_error() -> None:
    assert place_of("a" * 240)
    with pytest.raises(AugforgeError, match=r"240 bytes.*Shorten"):
        place_of("P01/" + "뼈" * 100)
