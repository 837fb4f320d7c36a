"""Figures of a set against plain arithmetic: arrays of labels, a confusion matrix, and cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from augforge import bitmask
from augforge.train.evaluation.confusion import Confusion
from augforge.train.evaluation.scores import Truth
from augforge.train.evaluation.totals import FIGURES, Score, Scores

CLASSES = 20
NAMES = tuple(f"class-{c}" for c in range(CLASSES))


def planes_of_labels(labels: np.ndarray, classes: int = CLASSES) -> bitmask.Planes:
    """Bit-planes of exclusive classes: label c + 1 is class c, 0 the background."""
    return bitmask.from_masks([labels == c + 1 for c in range(classes)], classes)


def truth_of(masks: bitmask.Planes, classes: int, **facts: np.ndarray) -> Truth:
    return Truth(masks, facts.get("known", np.ones(classes, bool)), facts.get("ignore"))


def voc_like(images: int = 80, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """True and predicted labels (H, W): each image shows two of twenty classes, and a fifth of the pixels is wrong."""
    rng, pairs = np.random.default_rng(seed), []
    for _ in range(images):
        shown = rng.choice(CLASSES, 2, replace=False) + 1
        true = np.zeros((24, 32), np.int64)
        true[2:12, 3:20], true[13:22, 8:30] = shown
        wrong = rng.random(true.shape) < 0.2
        pairs.append((true, np.where(wrong, rng.choice([0, *shown], true.shape), true)))
    return pairs


def score_of(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Score:
    scores = Scores(NAMES)
    for true, predicted in pairs:
        scores.add(planes_of_labels(predicted), truth_of(planes_of_labels(true), CLASSES))
    return scores.score()


def confusion_matrix(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    table = np.zeros((CLASSES + 1, CLASSES + 1))
    for true, predicted in pairs:
        np.add.at(table, (true.ravel(), predicted.ravel()), 1)
    return table


def ious(table: np.ndarray) -> np.ndarray:
    right = np.diag(table)
    return np.asarray(right / (table.sum(0) + table.sum(1) - right))


def test_absent_classes_flatter_the_contests_mean_and_none_of_the_others() -> None:
    pairs = voc_like()
    score, of_classes = score_of(pairs), ious(confusion_matrix(pairs))
    assert score.miou == pytest.approx(of_classes.mean())
    assert score.pooled_iou == pytest.approx(of_classes[1:].mean())
    assert score.pooled_iou_background == pytest.approx(of_classes.mean())
    assert score.mean_iou is not None and score.mean_iou > 0.95 > of_classes.mean()


def test_a_network_that_predicts_nothing() -> None:
    pairs = [(true, np.zeros_like(true)) for true, _ in voc_like()]
    score, table = score_of(pairs), confusion_matrix(pairs)
    assert score.mean_iou == score.mean_dice == pytest.approx(0.9)  # 18 of 20 classes are absent, and not predicted
    assert score.pooled_dice == score.pooled_iou == score.present_dice == score.present_iou == 0
    assert score.miou == pytest.approx(table[0, 0] / table.sum() / 21)


def test_present_means_leave_out_images_without_the_class() -> None:
    def image(true: list[int], predicted: list[int]) -> tuple[np.ndarray, np.ndarray]:
        return np.array([true]), np.array([predicted])

    # class-0: in the first image 2 of 4 pixels right (Dice 2/3, IoU 1/2), in the second absent and yet predicted;
    # class-1: in the second image right
    score = score_of([image([1, 1, 1, 1], [1, 1, 0, 0]), image([2, 0, 0, 0], [2, 1, 1, 1])])
    one, two = (score.classes[name] for name in NAMES[:2])
    expected = {"present_dice": 2 / 3, "present_iou": 0.5, "present": 1, "images": 2}
    expected |= {"dice": 1 / 3, "pooled_dice": 4 / 9, "pooled_iou": 2 / 7}
    assert {key: one[key] for key in expected} == pytest.approx(expected)
    assert (two["present_dice"], two["pooled_dice"]) == (1, 1)
    assert score.present_dice == pytest.approx((2 / 3 + 1) / 2)
    assert score.pooled_dice == pytest.approx((4 / 9 + 1) / 2)
    assert score.classes["class-2"]["pooled_dice"] is None
    assert score.classes["class-2"]["dice"] == 1
    # background: 3 true pixels, none predicted there; 2 predicted where class-0 is
    assert score.pooled_dice_background == pytest.approx((4 / 9 + 1 + 0) / 3)


def test_ignored_pixels_and_unknown_classes_do_not_count() -> None:
    rng = np.random.default_rng(3)
    true, predicted = rng.integers(0, 3, (2, 20, 30))
    ignore = rng.random(true.shape) < 0.3
    known = np.array([True, False])
    labelled = np.where(true == 2, 0, true)  # nobody labelled the second class
    confusion = Confusion(2)
    confusion.add(planes_of_labels(predicted, 2), truth_of(planes_of_labels(true, 2), 2, ignore=ignore))
    confusion.add(planes_of_labels(predicted, 2), truth_of(planes_of_labels(labelled, 2), 2, known=known))
    expected = np.zeros((3, 3), np.int64)
    np.add.at(expected, (true[~ignore], predicted[~ignore]), 1)
    np.add.at(
        expected, (true[true == 1], predicted[true == 1]), 1
    )  # what shows no known class may be background or not
    assert confusion.table.tolist() == expected.tolist()


def test_of_several_predicted_classes_the_most_probable_counts() -> None:
    true = np.array([[1, 2, 2, 0]])
    layers = [np.array([[0.9, 0.6, 0.9, 0.1]], np.float32), np.array([[0.2, 0.8, 0.6, 0.2]], np.float32)]
    predicted = bitmask.from_masks([layer >= 0.5 for layer in layers], 2)
    scores = Scores(("a", "b"))
    scores.add(predicted, truth_of(planes_of_labels(true, 2), 2), lambda: layers)
    # right, right, a in the place of b, right: IoU of the background 1, of a 1/2, of b 1/2
    assert scores.score().miou == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_classes_that_overlap_have_no_confusion_and_overlaps_of_their_own() -> None:
    masks = np.zeros((2, 3, 20, 20), bool)  # true and predicted, three classes
    masks[0, 0, :, :10], masks[0, 1, :, 5:15] = True, True  # both true: 5 columns, 100 pixels
    masks[1, 0, :, :10], masks[1, 1, :, 7:15] = True, True  # both predicted: 3 columns
    masks[1, 2, :, 14] = True  # one more overlap is predicted and not true
    true, predicted = (bitmask.from_masks(list(each), 3) for each in masks)
    scores = Scores(("a", "b", "c"))
    scores.add(predicted, truth_of(true, 3))
    score = scores.score()
    assert score.miou is None
    assert score.overlaps == [{"classes": ["a", "b"], "true": 100, "predicted": 60, "dice": 120 / 160, "iou": 60 / 100}]
    assert score.overlap_dice == 0.75
    assert score.overlap_iou == 0.6


def test_overlaps_are_those_of_unpacked_masks_and_pool_the_set() -> None:
    rng = np.random.default_rng(1)
    stacks = rng.random((4, 2, 11, 33, 47)) < 0.3  # images, true and predicted
    known = np.arange(11) != 4
    scores = Scores(tuple("abcdefghijk"))
    for true, predicted in stacks:
        scores.add(
            bitmask.from_masks(list(predicted), 11), truth_of(bitmask.from_masks(list(true), 11), 11, known=known)
        )
    for pair in scores.score().overlaps:
        c, d = ("abcdefghijk".index(name) for name in pair["classes"])
        true, predicted = (stacks[:, k, c] & stacks[:, k, d] for k in range(2))
        both = (true & predicted).sum()
        assert (pair["true"], pair["predicted"]) == (true.sum(), predicted.sum())
        assert pair["iou"] == pytest.approx(both / (true | predicted).sum())
    assert len(scores.score().overlaps) == 10 * 9 / 2


def test_processes_add_up() -> None:
    pairs = voc_like(6)
    whole, *parts = (Scores(NAMES) for _ in range(4))
    for k, (true, predicted) in enumerate(pairs):
        for scores in (whole, parts[k % 3]):
            scores.add(planes_of_labels(predicted), truth_of(planes_of_labels(true), CLASSES))
    joined = Scores(NAMES)
    joined.merge(parts)
    assert joined.score().figures() == pytest.approx(whole.score().figures())


def test_every_figure_can_be_monitored() -> None:
    from typing import get_args

    from augforge.train.weighting import Monitor

    assert set(get_args(Monitor)) == {"auto", *FIGURES}
