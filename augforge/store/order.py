"""The order in which an epoch reads samples: the same for any number of ranks, and resumable from a sample count."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from augforge.keys import rng_for

Positions = NDArray[np.int64]


def global_order(samples: int, seed: int, epoch: int, weights: ArrayLike | None = None) -> Positions:
    """Positions 0..samples - 1 in the order in which all ranks together read them in an epoch: int64 (samples,).

    Without weights it is a permutation; with weights, as many positions are drawn with replacement, in proportion to
    them. It depends on the arguments alone.

    Raises:
        ValueError: the weights are not one finite, non-negative number per sample, or all 0.
    """
    rng = rng_for("order", seed, epoch)
    if weights is None:
        return rng.permutation(samples).astype(np.int64, copy=False)
    given = np.asarray(weights, np.float64)
    if given.shape != (samples,) or not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise ValueError(f"weights of shape {given.shape}; expected {samples} finite numbers from 0, not all of them 0")
    return rng.choice(samples, samples, p=given / given.sum()).astype(np.int64, copy=False)


def fill_up(order: Positions, start: int, step: int) -> Positions:
    """An order whose entries from `start` on are a multiple of `step`: continued from its own beginning.

    So all ranks read as many samples, and all batches are full, even of a set smaller than a batch.
    """
    return np.resize(order, start + -(-max(0, len(order) - start) // step) * step)


def share(order: Positions, world: int = 1, rank: int = 0, start: int = 0) -> Positions:
    """The entries of an order that one of `world` ranks reads: start + rank, start + rank + world, ...

    The shares of all ranks are disjoint and complete from `start` on, so an epoch can be resumed from a sample count
    with another number of ranks than it began with.

    Raises:
        ValueError: no such rank, or a negative start.
    """
    if not 0 <= rank < world or start < 0:
        raise ValueError(f"rank {rank} of {world} from sample {start}; expected 0 <= rank < world and start >= 0")
    return order[start + rank :: world]


def occurrences(order: Positions) -> Positions:
    """For each entry, how often its position occurs earlier in the order: int64, 0 for the first time."""
    by_position = np.argsort(order, kind="stable")
    grouped = order[by_position]
    found = np.empty(len(order), np.int64)
    found[by_position] = np.arange(len(order)) - np.searchsorted(grouped, grouped)
    return found
