"""Cutout (DeVries and Taylor 2017) and GridMask (Chen et al. 2020) against their definitions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from conftest import class_names, make_sample
from pydantic import ValidationError
from scipy import stats

from augforge import bitmask
from augforge.keys import rng_for
from augforge.ops import OPS, Context
from augforge.ops.erasing import Cutout, GridMask
from augforge.sample import Sample

CTX = Context(class_names(9))


def draw_of(op: str, params: Any, sample: Sample, key: int = 0) -> dict[str, Any]:
    draw = OPS[op].draw
    assert draw is not None
    drawn: dict[str, Any] = draw(rng_for(21, op, key), [sample], params, CTX)
    return drawn


def erase(op: str, params: Any, sample: Sample, drawn: dict[str, Any]) -> Sample:
    (made,) = OPS[op].apply([sample], drawn, params, CTX)
    assert isinstance(made, Sample)
    return made


def lit(sample: Sample) -> Sample:
    """Without a black pixel, so that black ones are erased ones."""
    return replace(sample, image=np.maximum(sample.image, 1))


@pytest.mark.parametrize("masks", ["keep", "clear"])
@pytest.mark.parametrize("kind", list(product(["uint8", "uint16"], [1, 3, 4])))
@pytest.mark.parametrize("op", ["cutout", "gridmask"])
def test_erased_pixels_alone_change(op: str, kind: tuple[str, int], masks: str) -> None:
    sample = make_sample(dtype=kind[0], channels=kind[1], classes=9)
    params = OPS[op].params.model_validate({"fill": 77, "masks": masks})
    drawn = draw_of(op, params, sample)
    black = erase(op, OPS[op].params.model_validate({}), lit(sample), drawn)
    hidden = (black.image == 0).reshape(*sample.image.shape[:2], -1).all(axis=2)
    assert 0 < hidden.mean() < 1
    made = erase(op, params, sample, drawn)
    assert (made.image[hidden] == 77).all()
    np.testing.assert_array_equal(made.image[~hidden], sample.image[~hidden])
    expected = np.where(hidden[..., None] & (masks == "clear"), 0, sample.masks)
    np.testing.assert_array_equal(made.masks, expected)


def test_cutout_holes_are_squares_about_uniform_centres() -> None:
    sample = lit(make_sample(40, 60))
    params = Cutout(side=(0.2, 0.2))
    places: Counter[int] = Counter()
    for key in range(4000):
        drawn = draw_of("cutout", params, sample, key)
        places[int(drawn["holes"][0]["x"] * 60)] += 1
        if key < 50:
            ys, xs = np.nonzero(erase("cutout", params, sample, drawn).image == 0)
            x, y = int(drawn["holes"][0]["x"] * 60) - 4, int(drawn["holes"][0]["y"] * 40) - 4
            assert (xs.min(), xs.max()) == (max(0, x), min(59, x + 7))
            assert (ys.min(), ys.max()) == (max(0, y), min(39, y + 7))
    assert stats.chisquare([places[x] for x in range(60)]).pvalue > 0.01


def test_cutout_sides_are_uniform_in_their_range() -> None:
    sample = make_sample()
    sides = [hole["side"] for key in range(500) for hole in draw_of("cutout", Cutout(holes=4), sample, key)["holes"]]
    assert len(sides) == 2000 and stats.kstest(sides, stats.uniform(0.1, 0.15).cdf).pvalue > 0.01


def test_gridmask_erases_the_papers_grid() -> None:
    sample = lit(make_sample(90, 120))
    params = GridMask(unit=(0.2, 0.2), ratio=0.5, min_visible=0)
    drawn = draw_of("gridmask", params, sample)
    assert drawn["unit"] == 18 and drawn["square"] == 9
    hidden = erase("gridmask", params, sample, drawn).image == 0
    for y, x in product(range(90), range(120)):
        assert hidden[y, x] == ((y - drawn["y"]) % 18 < 9 and (x - drawn["x"]) % 18 < 9)


@pytest.mark.parametrize("least", [0.6, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("classes", [1, 9, 29])
def test_gridmask_leaves_the_promised_share_of_labelled_pixels_visible(least: float, classes: int) -> None:
    erased = 0
    for key in range(12):
        sample = lit(make_sample(80, 100, classes, seed=key))
        params = GridMask(min_visible=least, ratio=0.9)
        hidden = erase("gridmask", params, sample, draw_of("gridmask", params, sample, key)).image == 0
        labelled = bitmask.union(sample.masks)
        assert (labelled & ~hidden).sum() >= least * labelled.sum() - 1e-6
        erased += int(hidden.any())
    assert erased or least == 1.0


def test_gridmask_offset_is_uniform_among_those_that_leave_enough() -> None:
    """Against brute force: every offset is tried, and those that hide too much are never drawn."""
    sample = make_sample(24, 24)
    masks = np.zeros_like(sample.masks)
    masks[3:11, 5:11, 0] = 1
    sample = lit(replace(sample, masks=masks))
    params = GridMask(unit=(0.5, 0.5), ratio=0.5, min_visible=0.7)
    places = Counter(
        (drawn["y"], drawn["x"]) for key in range(6000) for drawn in [draw_of("gridmask", params, sample, key)]
    )
    labelled = masks[..., 0].astype(bool)
    allowed = []
    for y, x in product(range(12), repeat=2):
        shown = erase("gridmask", params, sample, {"unit": 12, "square": 6, "x": x, "y": y}).image[labelled] > 0
        if shown.mean() >= 0.7:
            allowed.append((y, x))
    assert 10 < len(allowed) < 144 and set(places) == set(allowed)
    assert stats.chisquare([places[place] for place in allowed]).pvalue > 0.01


def test_gridmask_shrinks_by_as_little_as_is_needed() -> None:
    sample = make_sample(40, 40)
    everything = replace(sample, masks=np.ones_like(sample.masks))
    drawn = draw_of("gridmask", GridMask(unit=(0.5, 0.5), ratio=0.9, min_visible=0.75), everything)
    assert drawn["square"] == 10, "a square of 10 in a unit of 20 hides a quarter"


def test_gridmask_without_labels_erases_at_any_offset() -> None:
    sample = make_sample()
    bare = replace(sample, masks=sample.masks * 0, known=sample.known * 0)
    drawn = draw_of("gridmask", GridMask(), bare)
    assert drawn["square"] == round(drawn["unit"] * 0.5)


def test_impossible_parameters_are_refused() -> None:
    for op, wrong in (
        ("cutout", {"side": [0.3, 0.2]}),
        ("cutout", {"side": [0, 0.2]}),
        ("gridmask", {"unit": [0.3, 0.2]}),
        ("gridmask", {"ratio": 1}),
    ):
        with pytest.raises(ValidationError):
            OPS[op].params.model_validate(wrong)
    with pytest.raises(ValueError, match="fill is 300, but the images are uint8"):
        erase("cutout", Cutout(fill=300), make_sample(), {"holes": [{"side": 0.5, "x": 0.5, "y": 0.5}]})
