"""anomaly: what PyOD finds in the statistics' features; most of it is tested by `make test-extras`."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from judging import BONES, candidate, expose, find_flags, fit_context, hands, is_bent, swap_labels, truncate_class

from augforge.errors import MissingExtra
from augforge.ops import OPS, Context
from augforge.sample import Sample


@pytest.fixture(scope="module")
def usual() -> Context:
    return fit_context("anomaly", hands())


@cache
def with_faults() -> list[Sample]:
    """The hands, and six that are broken: val/0 to val/5."""
    rng = np.random.default_rng(3)
    broken = [truncate_class(swap_labels(hand, rng)[0], rng)[0] for hand in hands()[:6]]
    return [*hands(), *(replace(sample, name=f"val/{i}", split="val") for i, sample in enumerate(broken))]


@pytest.mark.extras
@pytest.mark.parametrize(("detector", "bent"), [("iforest", 3), ("ecod", 1)])
def test_faults_and_bent_fingers_are_found(detector: str, bent: int, usual: Context) -> None:
    found = find_flags(
        "anomaly", with_faults(), usual, detector=detector, threshold={"iforest": 4, "ecod": 3}[detector]
    )
    assert sum(name.startswith("val/") for name in found) >= 5
    assert sum(map(is_bent, found)) >= bent
    assert sum(not is_bent(name) and not name.startswith("val/") for name in found) <= 2


@pytest.mark.extras
@pytest.mark.parametrize("detector", ["iforest", "ecod"])
def test_scores_do_not_depend_on_the_order(detector: str, usual: Context) -> None:
    rows = [candidate("anomaly", sample) for sample in with_faults()[::2]]
    op, params = OPS["anomaly"], OPS["anomaly"].params(detector=detector, threshold=1, trees=50)
    flags = op.decide(rows, params, usual)
    assert any(flags) and list(op.decide(rows[::-1], params, usual))[::-1] == flags
    assert op.decide(rows, params, usual) == flags


@pytest.mark.extras
def test_training_is_not_swayed_by_the_rest(usual: Context) -> None:
    alone = find_flags("anomaly", hands(), usual, threshold=1, trees=50)
    beside = find_flags("anomaly", with_faults(), usual, threshold=1, trees=50)
    assert alone == {name: flag for name, flag in beside.items() if not name.startswith("val/")}


@pytest.mark.extras
def test_the_finding_says_what_it_is_based_on(usual: Context) -> None:
    found = find_flags("anomaly", with_faults(), usual)
    assert {flag.reason for flag in found.values()} == {"anomaly"}
    assert all("position z=" in flag.detail for name, flag in found.items() if name.startswith("val/"))


@pytest.mark.extras
def test_little_to_learn_from_flags_nothing() -> None:
    few = hands()[:19]
    assert fit_context("anomaly", few).fitted is None and find_flags("anomaly", few, fit_context("anomaly", few)) == {}
    equal = [replace(hands()[0], name=f"e{i}") for i in range(30)]
    assert find_flags("anomaly", equal, fit_context("anomaly", equal)) == {}
    assert find_flags("anomaly", [], replace(BONES, fitted=fit_context("anomaly", hands()).fitted)) == {}


@pytest.mark.extras
def test_unlabelled_samples_are_judged_by_their_gray_values(usual: Context) -> None:
    hand = hands()[0]
    bare = replace(hand, name="bare", split="val", masks=hand.masks * 0, known=hand.known * 0)
    assert "bare" not in find_flags("anomaly", [*hands(), bare], usual)
    detail = find_flags("anomaly", [*hands(), expose(bare, 4)], usual, threshold=0.1)["bare"].detail
    assert detail.startswith("intensity z=") and "," not in detail


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, usual: Context) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "pyod"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyod", None)
    with pytest.raises(MissingExtra, match=r"`anomaly` needs pyod.*augforge\[outliers\]"):
        OPS["anomaly"].params().check(BONES)
    with pytest.raises(MissingExtra, match=r"augforge\[outliers\]"):
        find_flags("anomaly", hands(), usual)
