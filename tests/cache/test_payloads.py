"""The table of payloads: a mapping, which knows what an earlier build made and which payloads a file holds."""

from __future__ import annotations

import pytest

from augforge.cache.payloads import Payloads
from augforge.cache.work import Payload


def payload(file: str, number: int) -> Payload:
    return Payload(file, number, number + 1, number + 2, number + 3)


def test_a_mapping_by_id_and_encoding() -> None:
    table = Payloads()
    table.update({("a", "png"): payload("x", 1), ("a", "jpeg-90"): payload("y", 2)}, earlier=True)
    table.update((("b", "png"), payload("x", number)) for number in (3, 1 << 40))
    assert ("a", "png") in table and ("a", "none") not in table and len(table) == 3
    assert table["a", "png"] == payload("x", 1) and table["a", "jpeg-90"] == payload("y", 2)
    assert table["b", "png"] == payload("x", 1 << 40)  # the last one counts
    with pytest.raises(KeyError):
        table["b", "jpeg-90"]


def test_what_this_build_makes_again_is_no_longer_an_earlier_ones() -> None:
    table = Payloads()
    table.update({("a", "png"): payload("x", 1), ("b", "png"): payload("x", 2)}, earlier=True)
    table.update({("a", "png"): payload("z", 1)})
    assert [table.is_earlier((id, "png")) for id in "abc"] == [False, True, False]


def test_a_file_is_forgotten_with_all_that_it_holds() -> None:
    table = Payloads()
    table.update({("a", "png"): payload("x", 1), ("b", "png"): payload("y", 2), ("c", "png"): payload("x", 3)})
    assert sorted(table.of_file("x")) == [("a", "png"), ("c", "png")] and list(table.of_file("none")) == []
    table.forget("x")
    table.forget("none")
    assert len(table) == 1 and ("b", "png") in table and list(table.of_file("x")) == []
    table.update({("a", "png"): payload("x", 9)})
    assert table["a", "png"] == payload("x", 9) and list(table.of_file("x")) == [("a", "png")]
