"""The ledger: findings by key, and only what a build used is kept."""

from __future__ import annotations

from pathlib import Path

from augforge.cache.ledger import Ledger


def test_values_are_json_and_none_means_unknown() -> None:
    ledger = Ledger()
    ledger.put([("task", "k", {"b": (1, 2), "a": None}), ("facts", "k", "é")])
    assert ledger.get("task", "k") == {"a": None, "b": [1, 2]}
    assert ledger.get("facts", "k") == "é"
    assert ledger.get("facts", "other") is None
    assert (ledger.has("task", "k"), ledger.has("features", "k")) == (True, False)


def test_a_value_that_was_read_cannot_be_changed() -> None:
    ledger = Ledger()
    ledger.put([("facts", "k", {"areas": [1]})])
    ledger.get("facts", "k")["areas"].append(2)
    assert ledger.get("facts", "k") == {"areas": [1]}


def test_save_writes_used_entries_only(tmp_path: Path) -> None:
    first = Ledger()
    first.put([("task", f"{i}", i) for i in range(9)])
    first.save(tmp_path / "ledger")
    second = Ledger()
    second.load(tmp_path / "ledger")
    assert second.has("task", "3")
    assert (second.get("task", "4"), second.get("task", "none")) == (4, None)
    second.put([("facts", "new", 1)])
    second.save(tmp_path / "ledger")
    third = Ledger()
    third.load(tmp_path / "ledger")
    assert [third.has("task", f"{i}") for i in range(9)] == [i == 4 for i in range(9)]
    assert third.get("facts", "new") == 1


def test_same_entries_same_bytes(tmp_path: Path) -> None:
    entries = [("task", "b", {"y": 1, "x": 2}), ("facts", "a", 1.5), ("task", "a", None)]
    for name, order in (("one", entries), ("two", entries[::-1])):
        ledger = Ledger()
        ledger.put(order)
        ledger.save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_empty(tmp_path: Path) -> None:
    Ledger().save(tmp_path / "ledger")
    ledger = Ledger()
    ledger.load(tmp_path / "ledger")
    assert not ledger.has("task", "")
