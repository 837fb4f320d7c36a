"""RICAP against its definition: Takahashi et al. 2018, section 3."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import class_names, make_sample
from provenance import check_provenance, make_traceable
from pydantic import ValidationError
from scipy import stats

from augforge import bitmask
from augforge.keys import rng_for
from augforge.ops import OPS, Context
from augforge.ops.ricap import Ricap
from augforge.sample import Sample

RICAP, CTX, DRAWS = OPS["ricap"], Context(class_names(9)), 10_000


def draw_many(params: Ricap, count: int = DRAWS) -> list[dict[str, Any]]:
    assert RICAP.draw is not None
    return [RICAP.draw(rng_for(21, "ricap", i), [], params, CTX) for i in range(count)]


def call_ricap(inputs: list[Sample], draw: dict[str, Any]) -> Sample:
    (made,) = RICAP.apply(inputs, draw, Ricap(), CTX)
    assert isinstance(made, Sample)
    return made


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
def test_boundaries_are_independent_betas(beta: float) -> None:
    draws = draw_many(Ricap(beta=beta))
    x, y = (np.array([draw[axis] for draw in draws]) for axis in "xy")
    for axis in (x, y):
        assert stats.kstest(axis, stats.beta(beta, beta).cdf).pvalue > 0.01
    assert stats.spearmanr(x, y).pvalue > 0.01


def test_smallest_tile_is_under_a_hundredth_in_two_cases_of_three() -> None:
    small = [min(d["x"], 1 - d["x"]) * min(d["y"], 1 - d["y"]) < 0.01 for d in draw_many(Ricap())]
    assert 0.63 < np.mean(small) < 0.71


@pytest.mark.parametrize("least", [0.2, 0.45])
def test_min_tile_truncates_the_beta(least: float) -> None:
    x = np.array([draw["x"] for draw in draw_many(Ricap(min_tile=least), 3000)])
    whole = stats.beta(0.3, 0.3)
    low, high = whole.cdf(least), whole.cdf(1 - least)
    assert least <= x.min() and x.max() <= 1 - least
    assert stats.kstest(x, lambda v: (whole.cdf(v) - low) / (high - low)).pvalue > 0.01


def test_min_tile_is_kept_in_pixels() -> None:
    inputs = [make_sample(seed=i) for i in range(4)]
    for draw in draw_many(Ricap(min_tile=0.25), 200):
        for x0, y0, x1, y1 in (placement.clip for placement in call_ricap(inputs, draw).placements):
            assert x1 - x0 >= 64 * 0.25 - 0.5 and y1 - y0 >= 48 * 0.25 - 0.5


def test_every_input_lands_in_every_tile_equally_often() -> None:
    places = Counter(tuple(draw["tiles"]) for draw in draw_many(Ricap()))
    assert len(places) == 24
    assert stats.chisquare(list(places.values())).pvalue > 0.01


def test_offsets_are_uniform_the_last_one_too() -> None:
    inputs = [make_sample(10, 12, seed=i) for i in range(4)]
    starts: dict[int, Counter[int]] = {}
    for draw in draw_many(Ricap(beta=1.0)):
        for placement in call_ricap(inputs, draw).placements:
            spare = 12 - (placement.clip[2] - placement.clip[0])
            start = placement.clip[0] - int(placement.matrix[0][2])
            starts.setdefault(spare, Counter())[start] += 1
    assert set(starts) == set(range(13))
    for spare, counts in starts.items():
        assert set(counts) <= set(range(spare + 1))
        if spare:
            assert stats.chisquare([counts[i] for i in range(spare + 1)]).pvalue > 1e-3


def test_every_pixel_is_traced() -> None:
    inputs = [make_traceable(slot) for slot in range(4)]
    for draw in draw_many(Ricap(), 60):
        made = call_ricap(inputs, draw)
        shown = check_provenance(made, inputs)
        assert (shown >= 0).all(), "a gap"
        for placement in made.placements:
            x0, y0, x1, y1 = placement.clip
            assert (shown[y0:y1, x0:x1] == placement.input).all()


def test_labels_mix_by_area() -> None:
    inputs = [replace(make_traceable(slot), label=np.eye(4, dtype=np.float32)[slot]) for slot in range(4)]
    for draw in draw_many(Ricap(), 20):
        made = call_ricap(inputs, draw)
        shares = np.bincount(check_provenance(made, inputs).ravel(), minlength=4) / made.image.size
        assert made.label is not None
        np.testing.assert_allclose(made.label, shares, atol=1e-6)
    assert call_ricap([*inputs[:3], replace(inputs[3], label=None)], draw_many(Ricap(), 1)[0]).label is None


def test_known_is_what_all_know() -> None:
    known = bitmask.select_bits([0, 2, 8], 9)
    inputs = [make_sample(seed=i) for i in range(4)]
    inputs[2] = replace(inputs[2], known=known, masks=inputs[2].masks & known)
    made = call_ricap(inputs, draw_many(Ricap(), 1)[0])
    np.testing.assert_array_equal(made.known, known)
    assert not (made.masks & ~known).any()


def test_larger_images_are_cropped_and_smaller_ones_refused() -> None:
    anchor, *others = [make_traceable(0, 40, 50), *(make_traceable(slot, 60, 70) for slot in (1, 2, 3))]
    check_provenance(call_ricap([anchor, *others], draw_many(Ricap(), 1)[0]), [anchor, *others])
    with pytest.raises(ValueError, match=r"resizes nothing\. Add a step \{op: resize"):
        for draw in draw_many(Ricap(beta=0.01), 20):
            call_ricap([make_sample(seed=0), *(make_sample(20, 20, seed=i) for i in (1, 2, 3))], draw)


def test_impossible_parameters_are_refused() -> None:
    for wrong in ({"beta": 0}, {"beta": float("nan")}, {"min_tile": 0.5}, {"min_tile": -0.1}):
        with pytest.raises(ValidationError):
            Ricap.model_validate(wrong)
