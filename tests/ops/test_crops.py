"""crop_nonempty: class first, then pixel, then place; compared with an enumeration of all places."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from conftest import class_names, make_sample
from provenance import check_provenance, make_traceable
from pydantic import ValidationError
from scipy import stats

from augforge import bitmask
from augforge.errors import PlanError
from augforge.keys import rng_for
from augforge.ops import OPS, Context
from augforge.ops.crops import CropNonEmpty
from augforge.sample import Sample

CROP, CTX = OPS["crop_nonempty"], Context(class_names(3))


def scene(width: int, height: int, *boxes: tuple[int, int, int, int, int]) -> Sample:
    """Boxes (class, x0, y0, x1, y1) in a picture."""
    sample = make_sample(height, width, 3)
    masks = np.zeros_like(sample.masks)
    for c, x0, y0, x1, y1 in boxes:
        mask = np.zeros((height, width), np.uint8)
        mask[y0:y1, x0:x1] = 1
        bitmask.merge_class(masks, c, mask)
    return replace(sample, masks=masks)


def draw_crops(
    sample: Sample, count: int = 1, draws: int = 1, ctx: Context = CTX, **params: Any
) -> list[dict[str, Any]]:
    checked = CropNonEmpty.model_validate({"count": count, **params})
    assert CROP.draw is not None
    drawn = [CROP.draw(rng_for(21, i), [sample], checked, ctx) for i in range(draws)]
    return [crop for draw in drawn for crop in draw["crops"]]


def enumerate_places(mask: np.ndarray, size: tuple[int, int], least: int) -> dict[tuple[int, int], float]:
    """Chance of every place x, y: uniform over the pixels that a good place holds, then over their good places."""
    height, width = mask.shape
    places = {
        (x, y): int(mask[y : y + size[1], x : x + size[0]].sum())
        for x, y in product(range(width - size[0] + 1), range(height - size[1] + 1))
    }
    good = {place for place, held in places.items() if held >= min(least, max(places.values()))}
    chances: dict[tuple[int, int], float] = defaultdict(float)
    pixels = 0
    for v, u in np.argwhere(mask):
        fits = [(x, y) for x, y in good if x <= u < x + size[0] and y <= v < y + size[1]]
        pixels += bool(fits)
        for place in fits:
            chances[place] += 1 / len(fits)
    return {place: chance / pixels for place, chance in chances.items()}


@pytest.mark.parametrize(
    ("boxes", "least"),
    [
        ([(0, 0, 0, 2, 2)], 1),  # in the corner
        ([(0, 12, 3, 16, 9)], 1),  # at the right border
        ([(0, 5, 4, 9, 7)], 8),
        ([(0, 1, 1, 2, 2), (0, 9, 5, 14, 9)], 10),  # a speck that can never hold 10
        ([(0, 2, 2, 5, 5)], 500),  # more than there is
    ],
)
def test_places_are_those_of_an_enumeration(boxes: list[Any], least: int) -> None:
    sample, size = scene(16, 11, *boxes), (5, 4)
    found = Counter((crop["x"], crop["y"]) for crop in draw_crops(sample, 200, 40, size=list(size), min_area=least))
    expected = enumerate_places(bitmask.class_mask(sample.masks, 0), size, least)
    assert set(found) <= set(expected)
    assert stats.chisquare([found[p] for p in expected], [8000 * c for c in expected.values()]).pvalue > 0.01


def test_nothing_piles_up_at_the_borders() -> None:
    """A class all over the picture: no place is much likelier than its neighbours inside."""
    found = draw_crops(scene(60, 60, (0, 0, 0, 60, 60)), 500, 8, size=20)
    counts = np.bincount([crop["x"] for crop in found], minlength=41)
    assert counts[[0, -1]].max() < 3 * counts[1:-1].mean()
    expected = np.zeros(41)
    for pixel in range(60):
        fits = range(max(0, pixel - 19), min(pixel, 40) + 1)
        expected[list(fits)] += 1 / len(fits)
    assert stats.chisquare(counts, expected / expected.sum() * counts.sum()).pvalue > 0.01


def test_classes_are_equally_likely_whatever_their_area() -> None:
    sample = scene(60, 50, (0, 0, 0, 60, 50), (1, 10, 10, 12, 12), (2, 50, 40, 51, 41))
    found = Counter(crop["class"] for crop in draw_crops(sample, 300, 20, size=16))
    assert stats.chisquare([found[name] for name in CTX.classes]).pvalue > 0.01
    found = Counter(
        crop["class"] for crop in draw_crops(scene(60, 50, (0, 1, 1, 9, 9), (2, 5, 5, 9, 9)), 300, 20, size=16)
    )
    assert set(found) == {"class-0", "class-2"} and stats.chisquare(list(found.values())).pvalue > 0.01


def test_weights_and_ignored_classes() -> None:
    sample = scene(60, 50, (0, 0, 0, 60, 50), (1, 10, 10, 12, 12), (2, 50, 40, 51, 41))
    found = Counter(crop["class"] for crop in draw_crops(sample, 300, 20, size=16, weights={"class-1": 6}))
    assert stats.chisquare([found[n] for n in CTX.classes], [750, 4500, 750]).pvalue > 0.01
    found = Counter(crop["class"] for crop in draw_crops(sample, 300, 2, size=16, ignore=["class-1"]))
    assert set(found) == {"class-0", "class-2"}
    assert {crop["class"] for crop in draw_crops(sample, 9, size=16, weights=dict.fromkeys(CTX.classes, 0))} == {None}


def test_fitted_weights() -> None:
    sample = scene(60, 50, (0, 0, 0, 60, 50), (1, 10, 10, 12, 12))
    ctx = replace(CTX, fitted={"class-0": 1.0, "class-1": 4.0})
    found = Counter(crop["class"] for crop in draw_crops(sample, 300, 20, ctx, size=16, weights="rare"))
    assert stats.chisquare([found["class-0"], found["class-1"]], [1200, 4800]).pvalue > 0.01


def test_without_a_class_the_place_is_uniform() -> None:
    found = draw_crops(scene(20, 18), 200, 20, size=10)
    assert {crop["class"] for crop in found} == {None}
    assert stats.chisquare(np.bincount([crop["x"] for crop in found], minlength=11)).pvalue > 0.01
    assert stats.chisquare(np.bincount([crop["y"] for crop in found], minlength=9)).pvalue > 0.01


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_drawn_share_of_the_crops_lies_anywhere(share: float) -> None:
    """The class fills one corner, so crops around it hold it, and those anywhere are spread over the whole picture."""
    picture = scene(40, 40, (0, 0, 0, 3, 3))
    found = draw_crops(picture, 200, 20, size=10, empty_share=share)
    anywhere = [crop for crop in found if crop["class"] is None]
    assert stats.binomtest(len(anywhere), 4000, share).pvalue > 0.01
    assert stats.chisquare(np.bincount([crop["x"] for crop in anywhere], minlength=31)).pvalue > 0.01
    assert all(crop["x"] <= 2 and crop["y"] <= 2 for crop in found if crop["class"] is not None)


def test_without_empty_crops_nothing_is_drawn_anew() -> None:
    picture = scene(40, 40, (0, 0, 0, 3, 3), (1, 20, 20, 30, 30))
    assert draw_crops(picture, 5, 9, size=10) == draw_crops(picture, 5, 9, size=10, empty_share=0.0)
    assert CropNonEmpty.model_validate({"size": 10, "empty_share": 0}).declared() == {"size": 10}


@pytest.mark.parametrize("classes", [9, 29])
@pytest.mark.parametrize("size", [[20, 17], [64, 48], [30, 60], [100, 90], [64, 20]])
def test_every_pixel_is_traced(size: list[int], classes: int) -> None:
    sample, ctx = make_traceable(classes=classes), Context(class_names(classes))
    params = CropNonEmpty.model_validate({"size": size, "count": 12, "min_area": 30})
    assert CROP.draw is not None
    drawn = CROP.draw(rng_for(3), [sample], params, ctx)
    made = [crop for crop in CROP.apply([sample], drawn, params, ctx) if isinstance(crop, Sample)]
    assert len({crop.mark for crop in made}) == 12
    for crop, draw in zip(made, drawn["crops"], strict=True):
        assert [crop.width, crop.height] == size
        check_provenance(crop, [sample])
        assert bitmask.class_mask(crop.masks, ctx.class_index(draw["class"])).sum() >= min(30, 1)
        assert (crop.image > 0).sum() == min(size[0], 64) * min(size[1], 48)


def test_smaller_pictures_are_padded_on_all_sides() -> None:
    crop = draw_crops(scene(20, 30, (0, 0, 0, 20, 30)), size=[31, 20])[0]
    assert crop["x"] == -5 and 0 <= crop["y"] <= 10


def test_impossible_parameters_are_refused() -> None:
    wrong: dict[str, Any]
    for wrong in ({"weights": {"a": -1}}, {"weights": {"a": float("nan")}}, {"weights": "often"}, {"count": 0}):
        with pytest.raises(ValidationError):
            CropNonEmpty.model_validate({"size": 9, **wrong})
    for wrong in ({"weights": {"clas-1": 1}}, {"ignore": ["clas-1"]}):
        with pytest.raises(PlanError, match="Did you mean 'class-1'"):
            CropNonEmpty.model_validate({"size": 9, **wrong}).check(CTX)
