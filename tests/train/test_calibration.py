"""Reliability, ECE and Brier score of probabilities that come true as often as the test decides."""

from __future__ import annotations

import json

import numpy as np
import pytest

from augforge import bitmask
from augforge.train.evaluation.calibration import Calibration
from augforge.train.evaluation.scores import Truth


def whole(size: int = 100) -> bitmask.Planes:
    """One class that is predicted everywhere, so that its box is the image."""
    return bitmask.from_masks([np.ones((size, size), np.uint8)])


def truth_of(mask: np.ndarray, ignore: np.ndarray | None = None, known: bool = True) -> Truth:
    return Truth(bitmask.from_masks([mask.astype(np.uint8)]), np.array([known]), ignore)


def test_probabilities_that_come_true_have_no_error() -> None:
    rows = np.repeat(np.arange(100) % 10, 100).reshape(100, 100)
    true = np.arange(100)[None] < 10 * rows + 5  # in rows of probability 0.05 + 0.1 k, that share of the columns
    probabilities = (rows / 10 + 0.05).astype(np.float32)
    calibration = Calibration(1)
    calibration.add([probabilities], whole(), truth_of(true))
    found = calibration.to_json()
    assert found["ece"] == pytest.approx(0, abs=1e-6)
    assert found["brier"] == pytest.approx(np.mean([p * (1 - p) for p in np.arange(0.05, 1, 0.1)]))
    bins = found["classes"][0]["reliability"]
    assert bins["pixels"] == [1000] * 10
    assert bins["frequency"] == pytest.approx(np.arange(0.05, 1, 0.1))
    assert bins["probability"] == pytest.approx(np.arange(0.05, 1, 0.1), abs=1e-6)


def test_overconfidence_is_the_distance_from_what_came() -> None:
    probabilities = np.full((100, 100), 0.9, np.float32)
    probabilities[50:] = 0.2
    true = np.arange(100)[None].repeat(100, axis=0) < np.r_[[60] * 50, [20] * 50][:, None]
    calibration = Calibration(1)
    calibration.add([probabilities], whole(), truth_of(true))
    found = calibration.to_json()
    assert found["ece"] == pytest.approx((0.3 + 0) / 2)
    # 0.6 of the first half are off by 0.1 and 0.4 by 0.9; 0.2 of the second by 0.8 and 0.8 by 0.2
    assert found["brier"] == pytest.approx((0.6 * 0.01 + 0.4 * 0.81 + 0.2 * 0.64 + 0.8 * 0.04) / 2)
    json.dumps(found, allow_nan=False)


def test_a_probability_of_one_is_in_the_last_bin() -> None:
    calibration = Calibration(1, bins=4)
    calibration.add([np.ones((100, 100), np.float32)], whole(), truth_of(np.ones((100, 100))))
    assert calibration.to_json()["classes"][0]["reliability"]["pixels"] == [0, 0, 0, 10000]


def test_only_the_box_around_the_class_counts() -> None:
    true = np.zeros((100, 100), np.uint8)
    true[40:60, 30:50] = 1
    calibration = Calibration(1)
    calibration.add([true.astype(np.float32)], bitmask.from_masks([true]), truth_of(true))
    assert sum(calibration.to_json()["classes"][0]["reliability"]["pixels"]) == 24 * 24  # a tenth more on each side


def test_ignored_pixels_and_unknown_classes_do_not_count() -> None:
    ignore = np.zeros((100, 100), bool)
    ignore[:75] = True
    probabilities = np.zeros((100, 100), np.float32)
    calibration = Calibration(1)
    calibration.add([probabilities], whole(), truth_of(np.ones((100, 100)), ignore))
    calibration.add([probabilities], whole(), truth_of(np.ones((100, 100)), known=False))
    assert calibration.to_json()["classes"][0]["reliability"]["pixels"][0] == 2500


def test_a_class_that_never_comes_up_is_null() -> None:
    empty = np.zeros((10, 10), np.uint8)
    calibration = Calibration(1)
    calibration.add([empty.astype(np.float32)], bitmask.from_masks([empty]), truth_of(empty))
    found = calibration.to_json()
    assert found["ece"] is None
    assert found["classes"][0]["brier"] is None
