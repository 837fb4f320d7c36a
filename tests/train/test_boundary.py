"""Surface Dice and HD95 of squares whose distances are known, and against every pair of outline pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from augforge import bitmask
from augforge.train.evaluation.boundary import boundary, hd95, outline, outline_distances, surface_dice


def square(x0: int, y0: int, side: int = 10, size: int = 40) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[y0 : y0 + side, x0 : x0 + side] = 1
    return mask


def test_the_outline_of_a_square_is_its_rim() -> None:
    found = outline(square(5, 5))
    assert found.sum() == 36
    assert not found[6:14, 6:14].any()


def test_a_mask_that_touches_the_image_ends_there() -> None:
    assert outline(square(0, 0)).sum() == 36


def test_diagonal_neighbours_do_not_make_an_outline() -> None:
    mask = square(5, 5)
    mask[5, 5] = 0  # the corner's diagonal neighbour (6, 6) keeps its four neighbours
    assert not outline(mask)[6, 6]


def test_a_square_shifted_by_three() -> None:
    distances = outline_distances(square(8, 5), square(5, 5))
    assert max(distances[0]) == 3
    assert sorted(distances[0]) == sorted(distances[1])
    assert hd95(distances) == 3
    assert surface_dice(distances, 3) == 1
    # of 36 rim pixels, 14 are 3 away: the right edge (10), and the middle of the left one (4 of 10), whose ends are
    # nearer to the other's top and bottom
    assert surface_dice(distances, 2) == pytest.approx(1 - 14 / 36)
    assert surface_dice(distances, 0) == pytest.approx(14 / 36)  # on the top and bottom of both


def test_concentric_squares_are_apart_by_their_margin() -> None:
    distances = outline_distances(square(10, 10, 20), square(12, 12, 16))
    assert distances[1].tolist() == [2.0] * 60
    assert max(distances[0]) == pytest.approx(math.sqrt(8))  # from corner to corner
    # all 60 of the inner rim; of the outer 76 all but the corners and their 8 neighbours, which are sqrt(5) away
    assert surface_dice(distances, 2) == pytest.approx((60 + 64) / 136)


def every_pair(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The distance from each outline pixel of one to the nearest of the other."""

    def rim(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        return np.argwhere(mask & (1 - inner))

    return np.asarray(np.linalg.norm(rim(one)[:, None] - rim(other)[None], axis=2).min(axis=1))


@pytest.mark.parametrize("seed", range(4))
def test_distances_are_those_of_every_pair(seed: int) -> None:
    rng = np.random.default_rng(seed)
    planes = []
    for _ in range(2):
        corners = [(c, [rng.uniform(0, 60, (5, 2))]) for c in range(9)]
        planes.append(bitmask.rasterise(corners, 64, 64, 9))
    surface, farthest = boundary(planes[0], planes[1], 9, tolerance=2.0)
    for c in range(9):
        one, other = (bitmask.class_mask(each, c) for each in planes)
        there, back = every_pair(one, other), every_pair(other, one)
        assert surface[c] == pytest.approx(np.mean(np.concatenate([there, back]) <= 2.0))
        assert farthest[c] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-5)


def test_absent_and_missed_classes() -> None:
    predicted = bitmask.from_masks([square(5, 5), square(5, 5) * 0, square(5, 5), square(5, 5) * 0])
    true = bitmask.from_masks([square(5, 5), square(5, 5), square(5, 5) * 0, square(5, 5) * 0])
    surface, farthest = boundary(predicted, true, 4, tolerance=1.0)
    assert surface[:3].tolist() == [1, 0, 0]
    assert math.isnan(surface[3])  # neither has it: nothing to measure
    assert farthest[0] == 0
    assert np.isnan(farthest[1:]).all()
