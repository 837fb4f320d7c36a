"""Repeat factors: how often each sample comes, who is thinned out, and what keeps its id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import class_names, make_sample
from pydantic import ValidationError
from toybox import ids, put_hand, rejected
from toybox import made as built

from augforge import bitmask
from augforge.errors import PlanError
from augforge.keys import rng_for
from augforge.ops import OPS, Context
from augforge.ops.balance import Balance
from augforge.ops.combine import fit_class_weights
from augforge.ops.core import Candidate
from augforge.sample import Drop, Sample

BALANCE, CTX = OPS["balance"], Context(class_names(3))


def make_holding(*classes: int) -> Sample:
    sample = make_sample(classes=3)
    masks = np.zeros_like(sample.masks)
    for c in classes:
        bitmask.merge_class(masks, c, np.ones((48, 64), np.uint8))
    return replace(sample, masks=masks)


def count_times(sample: Sample, ctx: Context = CTX, draws: int = 4000, **params: Any) -> Counter[int]:
    """How often a sample came, over many draws."""
    checked = Balance.model_validate(params)
    found: Counter[int] = Counter()
    for i in range(draws):
        assert BALANCE.draw is not None
        drawn = BALANCE.draw(rng_for(21, i), [sample], checked, ctx)
        made = list(BALANCE.apply([sample], drawn, checked, ctx))
        found[sum(isinstance(one, Sample) for one in made)] += 1
    return found


@pytest.mark.parametrize(("weight", "factor"), [(1.0, 1), (2.0, 2**0.5), (4.0, 2), (6.0, 6**0.5), (9.0, 3), (400.0, 4)])
def test_a_sample_comes_as_often_as_the_root_of_its_weight(weight: float, factor: float) -> None:
    found = count_times(make_holding(0, 1), weights={"class-1": weight})
    assert set(found) <= {int(factor), int(factor) + 1}
    mean = sum(count * n for count, n in found.items()) / 4000
    assert mean == pytest.approx(factor, abs=4 * 0.5 / 4000**0.5)


def test_the_heaviest_class_counts() -> None:
    weights = {"class-0": 4, "class-1": 9, "class-2": 16}
    assert count_times(make_holding(0, 1), draws=20, weights=weights) == {3: 20}
    assert count_times(make_holding(0, 1, 2), draws=20, weights=weights) == {4: 20}
    assert count_times(make_holding(0, 1, 2), draws=20, weights=weights, most=2) == {2: 20}


def test_others_are_thinned() -> None:
    for sample in (make_holding(), make_holding(0)):
        found = count_times(sample, weights={"class-1": 4}, others=0.3)
        assert set(found) == {0, 1} and found[1] / 4000 == pytest.approx(0.3, abs=0.03)
    assert count_times(make_holding(1), draws=50, weights={"class-1": 4}, others=0.0) == {2: 50}
    made = list(BALANCE.apply([make_holding()], {"times": 0}, Balance(), CTX))
    assert made == [Drop("thinned out")]


def test_the_first_is_the_input_itself_and_repeats_hold_its_pixels() -> None:
    sample = make_holding(1)
    first, *repeats = BALANCE.apply([sample], {"times": 3}, Balance(), CTX)
    assert first is sample
    for number, repeat in enumerate(repeats, start=2):
        assert isinstance(repeat, Sample) and repeat.mark == f"@{number}"
        np.testing.assert_array_equal(repeat.image, sample.image)
        np.testing.assert_array_equal(repeat.masks, sample.masks)


def make_candidates(*areas: Mapping[str, int | None], split: str = "train") -> list[Candidate]:
    return [Candidate(str(i), str(i), str(i), split, 10, 10, {}, (), {"area": area}) for i, area in enumerate(areas)]


def test_rare_weighs_by_the_share_of_training_samples() -> None:
    rows = make_candidates(*({"a": 50, "b": 9 if i < 2 else 0, "c": None} for i in range(8)))
    rows += make_candidates(*({"a": 1, "b": 1, "c": 1} for _ in range(9)), split="val")
    assert fit_class_weights("rare", rows) == {"a": 1.0, "b": 4.0}


def test_rare_counts_only_samples_that_know_the_class() -> None:
    rows = make_candidates(*({"a": 50, "b": 9 if i < 2 else None} for i in range(8)))
    assert fit_class_weights("rare", rows) == {"a": 1.0, "b": 1.0}


def test_small_weighs_by_the_median_share_of_the_picture() -> None:
    rows = make_candidates({"a": 64, "b": 4}, {"a": 64, "b": 4}, {"a": 64, "b": 90}, {"a": 0, "b": None})
    assert fit_class_weights("small", rows) == {"a": 1.0, "b": 16.0}
    assert fit_class_weights("small", []) == fit_class_weights("rare", []) == {}
    assert fit_class_weights("uniform", rows) is None


def test_one_sample_more_changes_few_weights() -> None:
    """They are powers of two, so that a build redraws little."""
    rows = make_candidates(*({"a": 50, "b": 9 if i < 30 else 0} for i in range(100)))
    assert fit_class_weights("rare", rows) == fit_class_weights("rare", [*rows, *make_candidates({"a": 1, "b": 0})])


def test_from_end_to_end(tmp_path: Path) -> None:
    """Two of eight persons hold `rare`: they come twice, the first time as they were, the others once."""
    data = tmp_path / "data"
    for person in range(1, 9):
        names = ("a", "rare") if person in (2, 5) else ("a", "b", "rare")  # put_hand leaves every third class out
        put_hand(data, person, np.full((40, 40), 20 * person, np.uint8), names)
    plain, _ = built(tmp_path, data, out="plain", classes="[a, b, rare]", split="{}")
    summary, _ = built(tmp_path, data, ["{op: balance, weights: {rare: 4}}"], classes="[a, b, rare]", split="{}")
    before, after = ids(tmp_path / "plain"), ids(tmp_path / "out")
    assert plain.samples == 8 and before.items() <= after.items(), "ids of what is kept do not change"
    repeats = {name for name in after if name not in before}
    assert repeats == {f"ID00{i}/image000000000000{i}~balance@2" for i in (2, 5)}
    step = "{op: balance, weights: {rare: 4}, others: 0}"
    summary, _ = built(tmp_path, data, [step], out="thin", classes="[a, b, rare]", split="{}")
    assert summary.samples == 4 and set(rejected(tmp_path / "thin")["reason"]) == {"thinned out"}
    summary, _ = built(tmp_path, data, ["{op: balance}"], out="rare", classes="[a, b, rare]", split="{}")
    assert summary.samples == 10, "the root of 8 / 2 is 2"


def test_impossible_parameters_are_refused() -> None:
    for wrong in ({"weights": {"a": -1}}, {"weights": {"a": float("inf")}}, {"most": 0}, {"others": 1.5}):
        with pytest.raises(ValidationError):
            Balance.model_validate(wrong)
    with pytest.raises(PlanError, match="Did you mean 'class-1'"):
        Balance(weights={"clas-1": 2.0}).check(CTX)
