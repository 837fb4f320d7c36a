"""Splits: no group on two sides, nobody moved by a new group, folds that cover everyone once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from augforge.errors import PlanError
from augforge.keys import unit_hash
from augforge.planning.splits import Split, assign_splits

MANY = [f"ID{i:04}" for i in range(2000)]
property_test = settings(deadline=None, max_examples=80)
group_lists = st.lists(st.text("abcdef", min_size=1, max_size=3), max_size=25)
shares = st.floats(0.01, 0.45)


def parts(groups: Any, **split: Any) -> dict[str, str]:
    return assign_splits(groups, Split(**split))[0]


@property_test
@given(group_lists, shares, shares, st.integers(0, 5))
def test_each_group_has_one_split_and_no_wanted_split_is_empty(
    names: list[str], val: float, test: float, seed: int
) -> None:
    assume(len(set(names)) >= 3)
    result, warnings = assign_splits(names, Split(val=val, test=test, seed=seed))
    assert set(result) == set(names)
    assert set(result.values()) == {"train", "val", "test"}
    assert assign_splits(reversed(names), Split(val=val, test=test, seed=seed)) == (result, warnings)


@property_test
@given(group_lists, group_lists, shares, shares)
def test_a_new_group_moves_nobody(names: list[str], more: list[str], val: float, test: float) -> None:
    before, warned = assign_splits(names + MANY[:60], Split(val=val, test=test))
    after = parts([*MANY[:60], *more, *names], val=val, test=test)
    assume(not warned)  # a split that was empty has taken a group
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(("val", "test"), [(0.2, None), (None, 0.1), (0.2, 0.1), (0.45, 0.45), (0.01, 0.5)])
def test_shares_are_met(val: float | None, test: float | None) -> None:
    counts = Counter(parts(MANY, val=val, test=test).values())
    assert abs(counts["val"] / 2000 - (val or 0)) < 0.03
    assert abs(counts["test"] / 2000 - (test or 0)) < 0.03


def test_a_larger_share_only_adds() -> None:
    small, large = parts(MANY, val=0.1), parts(MANY, val=0.2)
    assert {name for name in MANY if small[name] == "val"} < {name for name in MANY if large[name] == "val"}


def test_no_split_asked_for() -> None:
    assert assign_splits(["a", "b", "a"], Split()) == ({"a": "train", "b": "train"}, [])
    assert assign_splits([], Split(val=0.2)) == ({}, [])
    assert assign_splits([], Split(val=("a",))) == ({}, [])


def test_pinned() -> None:
    """Which patient is in which split is part of the contract: a change moves patients between the sides."""
    result = parts(MANY[:20], val=0.2, test=0.1)
    assert "".join(result[name][1] for name in MANY[:20]) == GOLDEN


GOLDEN = "arraarrrrrrrrerrrrra"  # the second letters of train, val and test


def test_the_seed_decides() -> None:
    assert parts(MANY, val=0.2, seed=0) == parts(MANY, val=0.2)
    assert parts(MANY, val=0.2, seed=1) != parts(MANY, val=0.2)


def test_an_empty_split_takes_a_group_and_says_so() -> None:
    names = MANY[:10]
    result, warnings = assign_splits(names, Split(val=1e-9, test=1e-9))
    assert Counter(result.values()) == {"train": 8, "val": 1, "test": 1}
    assert len(warnings) == 2
    taken = {part: next(name for name in names if result[name] == part) for part in ("val", "test")}
    assert warnings == [
        f"no group fell into test by its hash; it takes '{taken['test']}' from train",
        f"no group fell into val by its hash; it takes '{taken['val']}' from train",
    ]
    hashes = {name: unit_hash("split", 0, name) for name in names}
    assert [taken["test"], taken["val"]] == sorted(names, key=hashes.__getitem__)[:2]


def test_an_empty_train_takes_a_group() -> None:
    names = MANY[:4]
    result, warnings = assign_splits(names, Split(val=0.5, test=0.4999999))
    assert set(result.values()) == {"train", "val", "test"}
    assert any(warning.startswith("no group fell into train") for warning in warnings)


@pytest.mark.parametrize(
    ("names", "split", "wanted"),
    [(["a"], Split(val=0.2), "train, val"), (["a", "b"], Split(val=0.2, test=0.2), "train, val, test")],
)
def test_fewer_groups_than_splits(names: list[str], split: Split, wanted: str) -> None:
    with pytest.raises(PlanError) as caught:
        assign_splits(names, split)
    assert str(caught.value) == (
        f"too few groups ({len(names)}: {', '.join(names)}) for the splits {wanted}: a group stays whole. "
        "Ask for fewer splits, add groups, or say with source.group what a group is; `group: {regex: '(.*)'}` makes "
        "each sample one"
    )


def test_a_split_that_the_data_has_takes_no_group() -> None:
    names, split = MANY[:2], Split(val=1e-9)
    assert list(assign_splits(names, split)[0].values()).count("val") == 1
    for some in (names, names[:1]):
        result, (warning,) = assign_splits(some, split, own={"val"})
        assert result == dict.fromkeys(some, "train")
        assert warning.startswith("the data has its own val, so split.val takes nothing more; name groups there")


def test_groups_that_are_named_join_a_split_that_the_data_has() -> None:
    result, warnings = assign_splits(MANY[:4], Split(val=(MANY[2],)), own={"val"})
    assert (result[MANY[2]], list(result.values()).count("val"), warnings) == ("val", 1, [])
    with pytest.raises(PlanError, match="no such group outside its own splits"):
        assign_splits(MANY[:4], Split(val=("x",)), own={"val"})


def test_folds_of_data_with_a_validation_split() -> None:
    with pytest.raises(PlanError, match=r"own_splits: false"):
        assign_splits(MANY, Split(folds=3, fold=0), own={"val"})
    assert list(assign_splits(MANY[:9], Split(folds=3, fold=0), own={"test"})[0].values()).count("val") == 3


@pytest.mark.parametrize(
    ("split", "own", "told"),
    [
        (Split(), {"train", "val"}, False),
        (Split(val=0.2), {"train", "val"}, True),
        (Split(folds=2, fold=0), {"train"}, True),
        (Split(), {"test"}, True),
    ],
)
def test_nothing_to_deal_out(split: Split, own: set[str], told: bool) -> None:
    result, warnings = assign_splits([], split, own)
    assert result == {} and len(warnings) == told


# ---- lists -----------------------------------------------------------------------------------------------------------


def test_listed_groups() -> None:
    result, warnings = assign_splits("abcdef", Split(val=("b", "e"), test=("a",)))
    assert result == {"a": "test", "b": "val", "c": "train", "d": "train", "e": "val", "f": "train"}
    assert warnings == []


def test_a_list_beside_a_share() -> None:
    result = parts(MANY, val=("ID0003",), test=0.1)
    free = parts(MANY, test=0.1)
    assert {name for name in MANY if result[name] == "val"} == {"ID0003"}
    assert {name: part for name, part in result.items() if name != "ID0003"} == {
        name: part for name, part in free.items() if name != "ID0003"
    }


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            Split(val=("ID001", "ID0002")),
            "split.val lists 'ID001', but the source has no such group. Did you mean 'ID0019'?",
        ),
        (Split(test=("zz",)), "split.test lists 'zz', but the source has no such group. Known: "),
        (
            Split(val=("ID0001",), test=("ID0001",)),
            "group 'ID0001' is listed twice, for val and for test. List it once",
        ),
        (Split(val=("ID0001", "ID0001")), "group 'ID0001' is listed twice, for val and for val. List it once"),
        (
            Split(val=tuple(MANY[:20])),
            "split train would stay empty: every group is listed elsewhere. List fewer groups",
        ),
    ],
)
def test_bad_lists(split: Split, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        assign_splits(MANY[:20], split)
    assert str(caught.value).startswith(message)


# ---- folds -----------------------------------------------------------------------------------------------------------


@property_test
@given(
    st.sets(st.text("abcdef", min_size=1, max_size=3), min_size=2, max_size=30), st.integers(2, 6), st.integers(0, 3)
)
def test_every_group_is_val_in_one_fold(names: set[str], folds: int, seed: int) -> None:
    assume(len(names) >= folds)
    results = [assign_splits(names, Split(folds=folds, fold=fold, seed=seed)) for fold in range(folds)]
    assert all(warnings == [] for _, warnings in results)
    for name in names:
        assert sorted(result[name] for result, _ in results) == ["train"] * (folds - 1) + ["val"]
    sizes = [Counter(result.values())["val"] for result, _ in results]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("test", [0.2, 1e-9, ("ID0003", "ID0007")])
def test_folds_leave_the_test_split_alone(test: Any) -> None:
    """A group that is tested on is never validated on, and it is the same in every fold."""
    names = MANY[:40]
    results = [parts(names, folds=4, fold=fold, test=test) for fold in range(4)]
    held_out = {name for name in names if results[0][name] == "test"}
    assert held_out
    for result in results:
        assert {name for name in names if result[name] == "test"} == held_out
    validated = Counter(name for result in results for name in names if result[name] == "val")
    assert validated == dict.fromkeys(set(names) - held_out, 1)


def test_folds_depend_on_the_seed() -> None:
    assert parts(MANY, folds=5, fold=0) != parts(MANY, folds=5, fold=0, seed=1)


def test_fewer_groups_than_folds() -> None:
    with pytest.raises(PlanError) as caught:
        assign_splits(["a", "b", "c"], Split(folds=4, fold=0))
    assert str(caught.value) == "too few groups (3) for 4 folds: a group stays whole. Ask for fewer folds"


def test_groups_in_a_recipe_are_composed_as_those_of_samples() -> None:
    assert Split(val=("cafe\N{COMBINING ACUTE ACCENT}",)).listed == {"caf\N{LATIN SMALL LETTER E WITH ACUTE}"}
