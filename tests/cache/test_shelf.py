import pytest
from hypothesis import given
from hypothesis import strategies as st

from augforge.cache.shelf import Shelf

KEYS = st.text(st.characters(exclude_categories=()), max_size=3)  # lone surrogates too, which SQLite takes for no text


@given(st.lists(st.tuples(st.sampled_from(["set", "default", "del"]), KEYS, st.integers() | st.none()), max_size=40))
def test_a_shelf_is_a_dict_in_the_order_of_its_keys(actions: list[tuple[str, str, int | None]]) -> None:
    shelf: Shelf[int | None] = Shelf()
    plain: dict[str, int | None] = {}
    for action, key, value in actions:
        if action == "set":
            shelf[key] = plain[key] = value
        elif action == "default":
            assert shelf.setdefault(key, value) == plain.setdefault(key, value)
        else:
            assert shelf.pop(key, "none") == plain.pop(key, "none")
    assert list(shelf.items()) == sorted(plain.items())
    assert list(shelf) == sorted(plain)
    assert dict(shelf) == plain
    assert len(shelf) == len(plain)
    assert all(key in shelf for key in plain)


def test_missing_keys() -> None:
    shelf: Shelf[int] = Shelf()
    shelf["a"] = 1
    other: object = 1
    assert "b" not in shelf and other not in shelf and shelf.get("b") is None
    with pytest.raises(KeyError, match="b"):
        shelf["b"]
    with pytest.raises(KeyError, match="b"):
        del shelf["b"]


def test_values_are_copied_but_a_new_default_is_not() -> None:
    shelf: Shelf[list[int]] = Shelf()
    value = [1]
    assert shelf.setdefault("a", value) is value
    value.append(2)
    shelf["a"].append(3)
    assert shelf["a"] == [1]
    assert shelf.setdefault("a", value) == [1]


def test_entries_may_be_deleted_while_iterating() -> None:
    shelf: Shelf[int] = Shelf()
    shelf.update({str(number): number for number in range(1000)})
    for key, number in shelf.items():
        if number % 2:
            del shelf[key]
    assert sorted(shelf.values()) == list(range(0, 1000, 2))
