"""Splits that match the shares of classes: groups stay whole, and order does not matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augforge.errors import PlanError
from augforge.planning.splits import Split, assign_splits
from augforge.planning.stratify import EVERY, stratify


def members(**groups: str) -> dict[str, Counter[str]]:
    """Groups of one sample each letter; a letter is its class."""
    return {name: Counter({EVERY: len(text), **Counter(text)}) for name, text in groups.items()}


def class_counts(groups: Mapping[str, Counter[str]], result: Mapping[str, str], split: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for group, counts in groups.items():
        if result[group] == split:
            total += counts
    return total


@pytest.mark.parametrize("seed", range(20))
def test_twelve_images_of_three_classes(seed: int) -> None:
    """Plain hashing gives 1 to 5 of 12 images to val, by seed."""
    groups = members(**{f"p{i}": "abc"[i % 3] for i in range(12)})
    result, warnings = assign_splits(groups, Split(val=0.25, stratify="class", seed=seed))
    assert class_counts(groups, result, "val") == {EVERY: 3, "a": 1, "b": 1, "c": 1} and not warnings


@pytest.mark.parametrize("seed", range(10))
def test_rare_classes_come_into_every_split(seed: int) -> None:
    groups = members(**{f"p{i}": "a" * 3 + "b" * (i < 10) for i in range(100)})
    result, _ = assign_splits(groups, Split(val=0.2, test=0.2, stratify="class", seed=seed))
    for split, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        found = class_counts(groups, result, split)
        assert found["b"] == round(10 * share) and abs(found["a"] - 300 * share) <= 3


@given(
    st.dictionaries(st.text("xyz", min_size=1, max_size=4), st.text("abcd", min_size=1, max_size=9), min_size=3),
    st.sampled_from([0.1, 0.25, 0.5]),
    st.integers(0, 3),
)
@settings(max_examples=60)
def test_groups_stay_whole_and_order_does_not_matter(texts: dict[str, str], share: float, seed: int) -> None:
    groups = members(**texts)
    split = Split(val=share, stratify="class", seed=seed)
    result, _ = assign_splits(groups, split)
    assert result.keys() == groups.keys() and {*result.values()} == {"train", "val"}
    assert assign_splits(dict(reversed(groups.items())), split)[0] == result


def test_moves_mend_what_the_greedy_deal_leaves() -> None:
    groups = members(**{f"p{i}": text for i, text in enumerate(["aab", "aab", "ab", "ab", "b", "b", "a", "a"] * 5)})
    shares = {"train": 0.8, "val": 0.2}
    result = stratify(groups, shares, 0, 0.01)
    found, total = class_counts(groups, result, "val"), class_counts(groups, dict.fromkeys(groups, "val"), "val")
    assert all(abs(found[name] / total[name] - 0.2) <= 0.04 for name in total)


def test_listed_groups_stay_where_they_are_listed() -> None:
    groups = members(**{f"p{i}": "ab"[i % 2] for i in range(22)})
    result, _ = assign_splits(groups, Split(val=0.2, test=("p0", "p1"), stratify="class"))
    assert [name for name, split in result.items() if split == "test"] == ["p0", "p1"]
    assert class_counts(groups, result, "val") == {EVERY: 4, "a": 2, "b": 2}


def test_folds_are_stratified_and_each_group_is_val_once() -> None:
    groups = members(**{f"p{i:02}": "aab"[i % 3] for i in range(30)})
    results = [assign_splits(groups, Split(folds=5, fold=fold, stratify="class"))[0] for fold in range(5)]
    for result in results:
        assert class_counts(groups, result, "val") == {EVERY: 6, "a": 4, "b": 2}
    assert all([result[name] for result in results].count("val") == 1 for name in groups)
    with pytest.raises(PlanError, match="too few groups"):
        assign_splits(members(a="x", b="x"), Split(folds=3, fold=0, stratify="class"))


def test_without_shares_there_is_nothing_to_match() -> None:
    with pytest.raises(ValueError, match="give a share"):
        Split(stratify="class")
    with pytest.raises(ValueError, match="pattern"):
        Split(val=0.2, stratify="age")
