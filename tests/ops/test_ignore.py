"""The reserved class `ignore` is nothing to see: no op counts it as content unless the recipe names it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import make_sample
from judging import candidate, fit_context

from augforge import bitmask
from augforge.keys import rng_for
from augforge.ops import OPS, Context
from augforge.ops.combine import fit_class_weights
from augforge.sample import IGNORE, Drop, Sample

CTX = Context(("a", IGNORE, "b"))


def scene(**boxes: tuple[int, int, int, int]) -> Sample:
    """A picture of 64x48 with a box (x0, y0, x1, y1) of each class that is given."""
    sample = make_sample(48, 64, 3)
    masks = np.zeros_like(sample.masks)
    for name, (x0, y0, x1, y1) in boxes.items():
        bitmask.merge_class(masks[y0:y1, x0:x1], CTX.class_index(name), np.ones((y1 - y0, x1 - x0), np.uint8))
    return replace(sample, masks=masks, known=bitmask.all_bits(3))


def draw(op: str, sample: Sample, params: Any) -> Any:
    hook = OPS[op].draw
    assert hook is not None
    return hook(rng_for(21), [sample], params, CTX)


def made(op: str, sample: Sample, **params: Any) -> list[Sample]:
    checked = OPS[op].params.model_validate(params)
    drawn = draw(op, sample, checked)
    return [found for found in OPS[op].apply([sample], drawn, checked, CTX) if not isinstance(found, Drop)]


def flags(op: str, *samples: Sample, ctx: Context = CTX, **params: Any) -> list[bool]:
    """Whether a filter flags each sample."""
    features = "empty" if op == "min_area" else op  # they measure the same
    rows = [candidate(features, sample, ctx) for sample in samples]
    return [flag is not None for flag in OPS[op].decide(rows, OPS[op].params(**params), ctx)]


def test_content() -> None:
    assert CTX.content == ("a", "b") and Context(("a",)).content == ("a",)


def test_a_void_region_is_empty() -> None:
    void, full = replace(scene(ignore=(0, 0, 64, 48)), name="v"), replace(scene(a=(1, 1, 3, 3)), name="f")
    assert flags("empty", void, full) == [True, False]
    assert flags("empty", void, classes=[IGNORE]) == [False]


def test_a_small_void_region_is_no_small_class() -> None:
    sample = scene(a=(0, 0, 20, 20), ignore=(30, 30, 31, 31))
    assert flags("min_area", sample, pixels=100) == [False]
    assert flags("min_area", sample, pixels=100, classes=["a", IGNORE]) == [True]


def test_windows_of_void_are_left_out() -> None:
    sample = scene(a=(0, 0, 10, 10), ignore=(32, 0, 64, 48))
    found = made("sliding_window", sample, size=16, min_pixels=1)
    assert [window.notes["offset"] for window in found] == [[0, 0]]
    assert len(made("sliding_window", sample, size=16, min_pixels=1, classes=["a", IGNORE])) == 7


@pytest.mark.parametrize("weights", ["uniform", {"a": 2.0}, {IGNORE: 5.0, "a": 0.0}])
def test_crops_are_not_drawn_around_void(weights: Any) -> None:
    params = OPS["crop_nonempty"].params.model_validate({"size": 16, "count": 30, "weights": weights})
    sample = scene(a=(0, 0, 4, 4), ignore=(32, 0, 64, 48))
    drawn = draw("crop_nonempty", sample, params)
    assert {crop["class"] for crop in drawn["crops"]} == {IGNORE if IGNORE in weights else "a"}


def test_void_has_no_weight_when_weights_are_fitted() -> None:
    sample = replace(scene(a=(0, 0, 9, 9), ignore=(0, 0, 2, 2)), name="s")
    assert set(fit_class_weights("rare", [candidate("empty", sample, CTX)]) or ()) == {"a"}


@pytest.mark.parametrize("op", ["class_area", "class_shape", "pose"])
def test_statistics_do_not_judge_void(op: str) -> None:
    crowd = [
        replace(scene(a=(2, 2, 20 + i % 2, 18), b=(30, 20, 44, 40 + i % 3), ignore=(1, 1, 9, 9)), name=f"s{i}")
        for i in range(12)
    ]
    odd = replace(scene(a=(2, 2, 20, 18), b=(30, 20, 44, 41), ignore=(20, 2, 63, 47)), name="odd")
    none = replace(scene(a=(2, 2, 20, 18), b=(30, 20, 44, 41)), name="none")
    params = {"at_border": "judge", "relative_to": "picture"} if op == "class_area" else {}
    ctx = fit_context(op, crowd, CTX, **params)
    assert IGNORE not in str(ctx.fitted)
    assert flags(op, odd, none, ctx=ctx, **params) == [False, False]
    loud = fit_context(op, crowd, CTX, **params, classes=["a", "b", IGNORE])
    if op == "class_area":
        assert flags(op, odd, none, ctx=loud, **params) == [True, True]
