"""Errors by class, on masks whose every pixel can be counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from augforge import bitmask
from augforge.train.evaluation import breakdown
from augforge.train.evaluation.breakdown import Breakdown

Box = tuple[int, int, int, int]


def planes_of(*boxes: Box | None) -> bitmask.Planes:
    """A filled box x0, y0, x1, y1 for each class, in 20x20 pixels."""
    masks = np.zeros((len(boxes), 20, 20), np.uint8)
    for mask, box in zip(masks, boxes, strict=True):
        if box is not None:
            mask[box[1] : box[3], box[0] : box[2]] = 1
    return bitmask.from_masks(list(masks))


def errors(predicted: bitmask.Planes, truth: bitmask.Planes, names: str = "ab") -> dict[str, dict[str, object]]:
    found = Breakdown(list(names))
    found.add(predicted, truth)
    return dict(zip(names, found.to_json()["classes"], strict=True))


def test_a_class_taken_for_another() -> None:
    # a is 10x10; its left 3 columns are predicted as b, the next 2 as nothing
    found = errors(planes_of((5, 0, 10, 10), (0, 0, 3, 10)), planes_of((0, 0, 10, 10), None))
    assert found["a"] == {
        "confused": 0.3,
        "confused_with": {"b": 0.3},
        "under_predicted": 0.2,
        "over_predicted": 0.0,
        "over_on_background": 0.0,
    }
    assert found["b"]["over_predicted"] == 1
    assert found["b"]["over_on_background"] == 0  # it lies on a
    assert found["b"]["confused"] is None  # there is no true pixel of b


def test_over_prediction_on_background_and_on_another_class() -> None:
    # a is right in 10 columns and goes 4 further, of which 3 are on b, and b is right there
    truth = planes_of((0, 0, 10, 10), (10, 0, 13, 10))
    found = errors(planes_of((0, 0, 14, 10), (10, 0, 13, 10)), truth)
    assert found["a"]["over_predicted"] == pytest.approx(4 / 14)
    assert found["a"]["over_on_background"] == pytest.approx(1 / 14)
    # nothing was missed, so nothing was confused
    assert found["a"]["confused"] == found["b"]["confused"] == 0


def test_classes_that_overlap_are_not_confused_where_both_are_true() -> None:
    # both are true in the same 100 pixels and b alone is predicted: a is missed, not taken for b
    found = errors(planes_of(None, (0, 0, 10, 10)), planes_of((0, 0, 10, 10), (0, 0, 10, 10)))
    assert found["a"]["confused"] == 0
    assert found["a"]["under_predicted"] == 1
    assert found["b"] == {
        "confused": 0.0,
        "confused_with": {},
        "under_predicted": 0.0,
        "over_predicted": 0.0,
        "over_on_background": 0.0,
    }


def test_a_pixel_taken_for_two_classes_is_confused_once_and_with_both() -> None:
    found = errors(planes_of(None, (0, 0, 10, 10), (0, 0, 4, 10)), planes_of((0, 0, 10, 10), None, None), "abc")
    assert found["a"]["confused"] == 1
    assert found["a"]["confused_with"] == {"b": 1.0, "c": 0.4}


def test_the_pairs_confused_most_come_first() -> None:
    found = Breakdown("abc")
    found.add(planes_of(None, (0, 0, 5, 10), (5, 0, 7, 10)), planes_of((0, 0, 10, 10), None, None))
    assert found.to_json()["pairs"] == [
        {"true": "a", "predicted": "b", "pixels": 50, "share": 0.5},
        {"true": "a", "predicted": "c", "pixels": 20, "share": 0.2},
    ]


@pytest.mark.parametrize("chunk", [breakdown._CHUNK, 37])
def test_counts_are_those_of_unpacked_masks(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(breakdown, "_CHUNK", chunk)
    rng = np.random.default_rng(0)
    said, true = rng.random((2, 11, 30, 40)) < 0.2
    found = Breakdown([f"class-{c}" for c in range(11)])
    for _ in range(2):
        found.add(*(bitmask.from_masks(list(masks.astype(np.uint8))) for masks in (said, true)))
    missed, false = true & ~said, said & ~true
    pairs = np.einsum("chw,dhw->cd", missed.astype(int), false.astype(int))
    assert np.array_equal(found.confusion, 2 * pairs)
    on_background = false & ~true.any(axis=0)
    confused = missed & false.any(axis=0)
    expected = [each.sum((1, 2)) for each in (true, said, missed, false, on_background, confused)]
    assert np.array_equal(found.table, 2 * np.array(expected))
    shares = found.to_json()["classes"][0]
    recall = (true[0] & said[0]).sum() / true[0].sum()
    assert 1 - shares["confused"] - shares["under_predicted"] == pytest.approx(recall)
    json.dumps(found.to_json(), allow_nan=False)
