"""The order of an epoch: disjoint, complete, the same for any number of ranks, resumable in mid-epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from toybox import two_versions_fixture  # noqa: F401

from augforge.store.dataset import Dataset, open_dataset
from augforge.store.order import global_order, occurrences, share

WORLDS = st.sampled_from([1, 2, 4, 8])
COUNTS = st.integers(0, 60)


def weights_of(samples: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).choice([0.25, 1, 4], samples)


def read(order: NDArray[np.int64], world: int, start: int, stop: int | None = None) -> list[int]:
    """What the ranks read together in lockstep, from a count to a count."""
    shares = [share(order[:stop], world, rank, start).tolist() for rank in range(world)]
    turns = max(map(len, shares))
    return [part[turn] for turn in range(turns) for part in shares if turn < len(part)]


@given(samples=st.integers(1, 60), seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_every_sample_occurs_once(samples: int, seed: int, epoch: int) -> None:
    order = global_order(samples, seed, epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(samples))


@given(
    samples=st.integers(1, 60), worlds=st.lists(WORLDS, min_size=1, max_size=5), cuts=st.lists(COUNTS), w=st.booleans()
)
def test_number_of_ranks_may_change_within_an_epoch(samples: int, worlds: list[int], cuts: list[int], w: bool) -> None:
    """The epoch is stopped at several counts, and goes on each time with another world size."""
    order = global_order(samples, 7, 3, weights_of(samples, samples) if w else None)
    found: list[int] = []
    for turn, stop in enumerate([*sorted(cuts), None]):
        found += read(order, worlds[turn % len(worlds)], len(found), stop if stop is None else max(stop, len(found)))
    assert found == order.tolist()


def test_epochs_and_seeds_differ() -> None:
    orders = [tuple(global_order(30, seed, epoch).tolist()) for seed in range(4) for epoch in range(4)]
    assert len({*orders}) == 16
    assert orders[0] == tuple(global_order(30, 0, 0).tolist())


def test_orders_are_uniform() -> None:
    """Over many epochs every sample stands first about as often: chi-square, far beyond chance at 60 for 9 degrees."""
    first = np.bincount([global_order(10, 1, epoch)[0] for epoch in range(2000)], minlength=10)
    assert ((first - 200) ** 2 / 200).sum() < 60


def test_weights() -> None:
    order = np.concatenate([global_order(4, 0, epoch, [0, 1, 2, 5]) for epoch in range(2000)])
    assert len(order) == 8000
    np.testing.assert_allclose(np.bincount(order, minlength=4) / 8000, [0, 1 / 8, 2 / 8, 5 / 8], atol=0.02)


@pytest.mark.parametrize("weights", [[1, 1], [1, -1, 1], [0, 0, 0], [1, float("nan"), 1], [[1, 1, 1]], [1, np.inf, 1]])
def test_wrong_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="expected 3 finite numbers from 0, not all of them 0"):
        global_order(3, 0, 0, weights)


@pytest.mark.parametrize(("world", "rank", "start"), [(2, 2, 0), (2, -1, 0), (0, 0, 0), (1, 0, -1)])
def test_wrong_ranks_are_refused(world: int, rank: int, start: int) -> None:
    with pytest.raises(ValueError, match=f"rank {rank} of {world} from sample {start}; expected 0 <= rank < world"):
        share(np.arange(4), world, rank, start)


@given(st.lists(st.integers(0, 5)))
def test_occurrences(positions: list[int]) -> None:
    wanted = [positions[:i].count(position) for i, position in enumerate(positions)]
    assert occurrences(np.array(positions, np.int64)).tolist() == wanted


# ---- of a dataset ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset(two_versions: Path) -> Dataset:
    return open_dataset(two_versions / "toy")


def test_order_of_a_dataset(dataset: Dataset) -> None:
    whole = dataset.order(5, 2).tolist()
    assert sorted(whole) == list(range(28))
    assert [dataset.order(5, 2, 8, rank, 3).tolist() for rank in range(8)] == [whole[3 + r :: 8] for r in range(8)]
    assert dataset.order(5, 2, start=28).tolist() == dataset.order(5, 2, start=99).tolist() == []
    part = dataset.split("val")
    assert sorted(part.order(5, 2).tolist()) == list(range(len(part)))
    assert {*part.order(0, 0, weights=[0] * (len(part) - 1) + [1]).tolist()} == {len(part) - 1}
