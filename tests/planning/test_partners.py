"""Partners: distinct, independent of order, moved only by the samples they hold, and drawn by weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augforge.errors import PlanError
from augforge.keys import hash64
from augforge.ops import OPS, BoundOp
from augforge.planning import partners as partners_module
from augforge.planning.partners import Partners

NAMES = [f"ID{i:03}/image" for i in range(300)]
Draws = dict[tuple[str, int], tuple[str, ...]]


def bound(inputs: int = 4, occurrence: int = 0) -> BoundOp:
    return BoundOp("mosaic", OPS["mosaic"].params(grid=(1, inputs)), occurrence)


def draws(
    names: Sequence[str],
    weights: Mapping[str, float] | None = None,
    copies: int = 2,
    seed: int = 21,
    inputs: int = 4,
    occurrence: int = 0,
) -> Draws:
    partners = Partners(bound(inputs, occurrence), names, seed, weights)
    found = {(name, copy): partners.of(name, copy) for name in names for copy in range(copies)}
    return {key: drawn for key, drawn in found.items() if drawn is not None}


@settings(deadline=None, max_examples=60)
@given(st.sets(st.text(max_size=4), min_size=4, max_size=12), st.integers(2, 4), st.integers(0, 9), st.data())
def test_anchor_first_then_others_without_replacement(
    names: set[str], inputs: int, seed: int, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(sorted(names)))
    weights = data.draw(st.none() | st.fixed_dictionaries({name: st.floats(0.01, 50) for name in sorted(names)}))
    found = draws(shuffled, weights, seed=seed, inputs=inputs)
    assert found == draws(sorted(names), weights, seed=seed, inputs=inputs)
    for (anchor, _), chosen in found.items():
        assert chosen[0] == anchor
        assert len(set(chosen)) == len(chosen) == inputs
        assert set(chosen) <= names


def test_pinned() -> None:
    """Every mosaic hangs on these draws: a change here re-makes them all."""
    found = draws(NAMES[:9], copies=1)
    assert ["".join(name[4] for name in found[anchor, 0]) for anchor in NAMES[:9]] == GOLDEN
    weights = {name: 1 + i for i, name in enumerate(NAMES[:9])}
    weighted = draws(NAMES[:9], weights, copies=1)
    assert ["".join(name[4] for name in weighted[anchor, 0]) for anchor in NAMES[:9]] == GOLDEN_WEIGHTED


GOLDEN = ["0627", "1703", "2803", "3852", "4208", "5048", "6804", "7250", "8632"]
GOLDEN_WEIGHTED = ["0627", "1783", "2863", "3857", "4286", "5748", "6874", "7658", "8632"]


def test_everything_that_decides_a_draw() -> None:
    base = draws(NAMES[:40])
    assert base != draws(NAMES[:40], seed=22)
    assert base != draws(NAMES[:40], occurrence=1)
    assert sum(base[name, 0][1:] == base[name, 1][1:] for name in NAMES[:40]) < 3  # copies differ
    longer = draws(NAMES[:40], inputs=6)
    assert all(longer[key][:4] == chosen for key, chosen in base.items())  # a slot more leaves the others alone


@pytest.mark.parametrize("weighted", [False, True])
def test_one_sample_more_or_less_changes_its_own_draws_alone(weighted: bool) -> None:
    weights = {name: 0.5 + i % 7 for i, name in enumerate(NAMES)} if weighted else None
    full = draws(NAMES, weights, copies=1)
    for new in (NAMES[0], NAMES[123], NAMES[299]):
        fewer = draws([name for name in NAMES if name != new], weights, copies=1)
        changed = [key for key, chosen in fewer.items() if full[key] != chosen]
        assert all(new in full[key] for key in changed)
        assert all(new not in chosen for chosen in fewer.values())
        assert 0 < len(changed) < 25  # 3 in 299 on average, by chance a few more
        for key in changed:  # the partners that were drawn before it stay
            place = full[key].index(new)
            assert full[key][:place] == fewer[key][:place]


def test_partners_are_uniform() -> None:
    names = NAMES[:25]
    found = draws(names, copies=200)
    counts = Counter(name for chosen in found.values() for name in chosen[1:])
    expected = 25 * 200 * 3 / 25
    assert sum((counts[name] - expected) ** 2 / expected for name in names) < 52  # chi-square, 24 degrees: p < 0.001
    pairs = Counter((chosen[0], chosen[1]) for chosen in found.values())
    expected = 200 / 24
    assert set(pairs) == {(one, other) for one in names for other in names if one != other}
    assert sum((count - expected) ** 2 / expected for count in pairs.values()) < 690  # 575 degrees: p < 0.001


def test_weights() -> None:
    names = NAMES[:60]
    weights = {name: [1.0, 2.0, 0.0][i % 3] for i, name in enumerate(names)}
    found = draws(names, weights, copies=150, inputs=2)
    counts = Counter(names.index(chosen[1]) % 3 for chosen in found.values())
    assert counts[2] == 0
    assert 1.9 < counts[1] / counts[0] < 2.1
    assert all(chosen[0] == anchor for (anchor, _), chosen in found.items())  # a weight of 0 does not stop an anchor


def test_weights_are_absolute_and_quantised() -> None:
    """So that a sample more, or noise in the last bit, moves nobody."""
    names = NAMES[:30]
    weights = {name: 0.25 + i / 8 for i, name in enumerate(names)}
    noisy = {name: weight + 1e-7 for name, weight in weights.items()}
    assert draws(names, weights) == draws(names, noisy)
    assert draws(names, weights) == draws(names, {name: weight * 4 for name, weight in weights.items()})
    assert draws(names, dict.fromkeys(names, 1.0), copies=1) == draws(names, dict.fromkeys(names, 2.0), copies=1)


def test_weights_beyond_sense_never_draw() -> None:
    names = NAMES[:12]
    weights = {name: [1.0, float("nan"), -3.0, 1e-5][i % 4] for i, name in enumerate(names)} | {names[1]: 1.0}
    usable = {name for name in names if weights[name] == 1}
    chosen = draws(names, weights, copies=20)
    assert {name for found in chosen.values() for name in found[1:]} == usable


@pytest.mark.parametrize(
    ("weights", "usable"),
    [(None, 3), ({"a": 1.0, "b": 1.0, "c": 1.0}, 3), ({"a": 0.0, "b": 1e-9, "c": 1.0, "d": 1.0, "e": 3.0}, 3)],
)
def test_too_few_to_draw_from(weights: dict[str, float] | None, usable: int) -> None:
    with pytest.raises(PlanError) as caught:
        Partners(bound(), list(weights or "abc"), 1, weights)
    assert str(caught.value) == (
        f"mosaic draws 3 partners for each sample, so it needs 4 samples of a weight above 0, but there are {usable}. "
        "Add samples, or change what weighs them"
    )


def test_just_enough() -> None:
    found = draws("abcd", {"a": 1.0, "b": 1e-3, "c": 1e3, "d": 0.5})
    assert all(set(chosen) == set("abcd") for chosen in found.values())


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_fewer_samples_than_tiles_come_again_or_not_at_all(count: int) -> None:
    """Each comes once before any comes twice; with enough samples nothing changes."""
    names = NAMES[:count]
    made = {
        fewer: Partners(BoundOp("mosaic", OPS["mosaic"].params(grid=(1, 4), fewer=fewer)), names, 21)
        for fewer in ("repeat", "skip")
    }
    for name in names:
        found = made["repeat"].of(name, 0)
        assert found is not None and len(found) == 4 and found[0] == name
        assert max(map(found.count, found)) == -(-4 // count) and len({*found}) == min(4, count)
        assert made["skip"].of(name, 0) == (found if count >= 4 else None)
    if count >= 4:
        assert draws(names, copies=1) == {(name, 0): made["repeat"].of(name, 0) for name in names}


def test_an_anchor_that_is_no_candidate_draws_from_all_of_them() -> None:
    partners = Partners(BoundOp("copy_paste", OPS["copy_paste"].params(classes=("a",))), NAMES[:3], 21)
    found = {partners.of(anchor, 0) for anchor in NAMES[3:60]}
    assert {names[1] for names in found if names} == {*NAMES[:3]}
    alone = Partners(BoundOp("copy_paste", OPS["copy_paste"].params(classes=("a",))), NAMES[:1], 21)
    assert alone.of(NAMES[0], 0) is None and alone.of(NAMES[1], 0) == (NAMES[1], NAMES[0])


# ---- many candidates: rings ------------------------------------------------------------------------------------------


@pytest.fixture
def on_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if any number of candidates were too many to rank them all."""
    monkeypatch.setattr(partners_module, "MOST_RANKED", 0)


@pytest.mark.usefixtures("on_rings")
@pytest.mark.parametrize("weighted", [False, True])
def test_on_rings_one_sample_more_changes_its_own_draws_alone(weighted: bool) -> None:
    weights = {name: 0.5 + i % 7 for i, name in enumerate(NAMES)} if weighted else None
    full = draws(NAMES, weights, copies=1)
    lost = 0
    for new in NAMES[::10]:
        fewer = draws([name for name in NAMES if name != new], weights, copies=1)
        changed = [key for key, chosen in fewer.items() if full[key] != chosen]
        assert all(new in full[key] for key in changed)
        for key in changed:
            place = full[key].index(new)
            assert full[key][:place] == fewer[key][:place]
        lost += len(changed)
    assert lost <= 30 * 3 * 2.5


@pytest.mark.usefixtures("on_rings")
def test_on_rings_a_draw_is_the_candidate_of_least_distance_over_weight() -> None:
    """By plain arithmetic over all candidates, without the order on the ring."""
    names = sorted(NAMES[:40])
    weights = {name: [0.25, 1.0, 6.0, 0.0][i % 4] for i, name in enumerate(names)}
    for name in names:
        taken, wanted = {name}, [name]
        for slot in (1, 2, 3):
            point = hash64("slot", 21, "mosaic", 0, name, 0, slot)
            salt = hash64("ring", point % 8)
            rank = {
                other: ((split_mix(hash64("partner", other) ^ salt) - point) % 2**64) / weights[other]
                for other in names
                if weights[other] and other not in taken
            }
            wanted.append(min(rank, key=rank.__getitem__))
            taken.add(wanted[-1])
        assert Partners(bound(), names, 21, weights).of(name, 0) == tuple(wanted)


def split_mix(x: int) -> int:
    """Finaliser of SplitMix64, in whole numbers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


@pytest.mark.usefixtures("on_rings")
def test_on_rings_candidates_are_drawn_alike_and_by_weight() -> None:
    names = NAMES[:60]
    weights = {name: [1.0, 2.0, 0.0][i % 3] for i, name in enumerate(names)}
    counts = Counter(names.index(chosen[1]) % 3 for chosen in draws(names, weights, copies=100, inputs=2).values())
    assert counts[2] == 0
    assert 1.4 < counts[1] / counts[0] < 2.8  # twenty candidates of each weight, each by its eight gaps
    alike = Counter(name for chosen in draws(NAMES, copies=10).values() for name in chosen[1:])
    share = [alike[name] / 30 for name in NAMES]
    assert min(share) > 0.05 and max(share) < 3 and sum((x - 1) ** 2 for x in share) / 300 < 0.3  # 1/8 and chance


@pytest.mark.usefixtures("on_rings")
def test_on_rings_samples_come_again_when_all_were_drawn() -> None:
    found = Partners(BoundOp("mosaic", OPS["mosaic"].params(grid=(1, 7), fewer="repeat")), NAMES[:3], 21).of(
        NAMES[0], 0
    )
    assert found is not None and len(found) == 7 and {*found} == {*NAMES[:3]}
