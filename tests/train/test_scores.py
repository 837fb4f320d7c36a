"""Overlap, Dice, IoU and their means against the definitions, on masks made by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from augforge import bitmask
from augforge.errors import TrainError
from augforge.sample import Sample
from augforge.train.evaluation.scores import Truth, dice, iou, overlap, truth_of
from augforge.train.evaluation.totals import Scores


def planes_of(*boxes: tuple[int, int, int, int] | None, size: int = 40) -> bitmask.Planes:
    """A filled box x0, y0, x1, y1 for each class."""
    planes = bitmask.empty(size, size, len(boxes))
    for c, box in enumerate(boxes):
        mask = np.zeros((size, size), np.uint8)
        if box is not None:
            mask[box[1] : box[3], box[0] : box[2]] = 1
        bitmask.merge_class(planes, c, mask)
    return planes


def truth_with(planes: bitmask.Planes, *known: bool, ignore: np.ndarray | None = None) -> Truth:
    return Truth(planes, np.array(known), ignore)


def test_counts_are_those_of_unpacked_masks() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((2, 11, 33, 47)) < 0.3
    predicted, true = (bitmask.from_masks(list(stack.astype(np.uint8))) for stack in masks)
    ignore = rng.random((33, 47)) < 0.2
    kept = masks & ~ignore
    expected = [(kept[0] & kept[1]).sum((1, 2)), kept[0].sum((1, 2)), kept[1].sum((1, 2))]
    assert np.array_equal(overlap(predicted, true, 11, ignore), expected)


def test_dice_and_iou_of_a_shifted_square() -> None:
    # 10x10 squares, one 5 to the right of the other: 50 pixels in common, 100 each
    counts = overlap(planes_of((5, 5, 15, 15)), planes_of((10, 5, 20, 15)), 1)
    assert counts[:, 0].tolist() == [50, 100, 100]
    assert dice(counts)[0] == pytest.approx(0.5)
    assert iou(counts)[0] == pytest.approx(1 / 3)


def test_absent_and_not_predicted_is_one_and_absent_but_predicted_is_zero() -> None:
    counts = overlap(planes_of(None, (0, 0, 4, 4), None), planes_of(None, None, (0, 0, 4, 4)), 3)
    assert dice(counts).tolist() == [1, 0, 0]
    assert iou(counts).tolist() == [1, 0, 0]


def test_means_go_over_images_then_over_classes() -> None:
    scores = Scores(("a", "b"))
    # image 1: a is 1/2, b is not known; image 2: a is 1 (absent), b is 1
    found = scores.add(
        planes_of((5, 5, 15, 15), (0, 0, 9, 9)), truth_with(planes_of((10, 5, 20, 15), None), True, False)
    )
    assert found[0] == pytest.approx(0.5)
    assert math.isnan(found[1])
    scores.add(planes_of(None, (0, 0, 10, 10)), truth_with(planes_of(None, (0, 0, 10, 10)), True, True))
    score = scores.score()
    assert score.classes["a"].items() >= {"dice": 0.75, "iou": 2 / 3, "pooled_dice": 0.5, "images": 2}.items()
    assert score.classes["b"].items() >= {"dice": 1.0, "iou": 1.0, "pooled_dice": 1.0, "images": 1}.items()
    assert score.mean_dice == pytest.approx(0.875)
    assert score.mean_iou == pytest.approx(5 / 6)
    assert score.pooled_dice == pytest.approx(0.75)
    assert score.images == 2


def test_pooled_dice_weighs_pixels_not_images() -> None:
    scores = Scores(("a",))
    scores.add(planes_of((0, 0, 20, 20)), truth_with(planes_of((0, 0, 20, 20)), True))  # 400 right
    scores.add(planes_of(None), truth_with(planes_of((0, 0, 10, 10)), True))  # 100 missed
    assert scores.score().mean_dice == pytest.approx(0.5)
    assert scores.score().pooled_dice == pytest.approx(800 / 900)


def test_a_class_that_nobody_knows_is_null_and_left_out_of_the_mean() -> None:
    scores = Scores(("a", "b"))
    scores.add(planes_of((0, 0, 4, 4), None), truth_with(planes_of((0, 0, 4, 4), None), True, False))
    score = json.loads(json.dumps(scores.score().to_json(), allow_nan=False))
    assert score["mean_dice"] == 1
    assert score["classes"]["b"].items() >= {"dice": None, "iou": None, "pooled_dice": None, "images": 0}.items()


def test_nothing_judged_is_null() -> None:
    assert Scores(("a",)).score().mean_dice is None


def test_tables_of_two_processes_add_up() -> None:
    whole, *parts = (Scores(("a",)) for _ in range(3))
    for part, box in zip(parts, ((0, 0, 10, 10), (5, 0, 15, 10)), strict=True):
        for scores in (whole, part):
            scores.add(planes_of((0, 0, 10, 10)), truth_with(planes_of(box), True))
    parts[0].merge(parts[1:])
    assert parts[0].score() == whole.score()


def test_ignored_pixels_are_cleared_from_both() -> None:
    ignore = np.zeros((40, 40), bool)
    ignore[:, 10:] = True
    scores = Scores(("a",))
    # without `ignore` 1/2; left of column 10 the prediction has 50 pixels and the truth none
    scores.add(planes_of((5, 5, 15, 15)), truth_with(planes_of((10, 5, 20, 15)), True, ignore=ignore))
    assert scores.table[3:, 0].tolist() == [0, 50, 0]


def sample_of(classes: int, known: list[bool], *boxes: tuple[int, int, int, int] | None) -> Sample:
    return Sample("s", np.zeros((40, 40), np.uint8), planes_of(*boxes), bitmask.flags_to_bits(np.array(known)))


def test_truth_goes_by_name_and_leaves_ignore_out() -> None:
    sample = sample_of(3, [True, True, False], (0, 0, 5, 5), (10, 10, 12, 12), (20, 20, 30, 30))
    truth = truth_of(sample, ("lung", "ignore", "heart"), ("heart", "lung"))
    assert bitmask.areas_and_boxes(truth.planes, 2)[0].tolist() == [100, 25]
    assert truth.known.tolist() == [False, True]
    assert truth.ignore is not None and truth.ignore.sum() == 4


def test_counted_clears_ignored_pixels_and_unknown_classes() -> None:
    ignore = np.zeros((40, 40), bool)
    ignore[:, :5] = True
    truth = truth_with(planes_of(None, None), True, False, ignore=ignore)
    counted = truth.clear_uncounted(planes_of((0, 0, 10, 10), (0, 0, 10, 10)))
    assert bitmask.areas_and_boxes(counted, 2)[0].tolist() == [50, 0]


def test_classes_that_differ_are_an_error_that_names_them() -> None:
    with pytest.raises(
        TrainError, match=r"the dataset has other classes .* it lacks heart and also has liver. Expected: lung, heart"
    ):
        truth_of(sample_of(2, [True, True], None, None), ("lung", "liver"), ("lung", "heart"))
