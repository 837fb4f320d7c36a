"""Figures of labels: by hand, and by the plain computation of their definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from augforge.train.labels.evaluation import sample_losses
from augforge.train.labels.groups import LabelGroup, main_figure
from augforge.train.labels.scores import auroc, average_precision, label_scores

ABC = (LabelGroup("label", ("a", "b", "c")),)
FINDINGS = (LabelGroup("label", ("a", "b", "c"), multi=True),)


def test_auroc_is_the_chance_to_be_ranked_above() -> None:
    rng = np.random.default_rng(0)
    scores, true = rng.integers(0, 8, 60) / 8, rng.random(60) < 0.4
    pairs = scores[true][:, None] - scores[~true][None]
    assert auroc(scores, true) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert np.isnan(auroc(scores, np.ones(60, bool)))


def test_average_precision_by_hand() -> None:
    """Ranks: true, false, true, false. Precision 1 at recall 1/2, then 2/3 at recall 1."""
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.1]), np.array([1, 0, 1, 0], bool)) == pytest.approx(5 / 6)
    tied = average_precision(np.array([0.9, 0.5, 0.5, 0.1]), np.array([0, 1, 0, 1], bool))
    assert tied == pytest.approx(0.5 * (1 / 3) + 0.5 * (2 / 4)), "samples of one score come together"
    assert np.isnan(average_precision(np.array([0.3]), np.array([False])))


def test_average_precision_by_its_definition() -> None:
    rng = np.random.default_rng(1)
    scores, true = rng.integers(0, 12, 80) / 12, rng.random(80) < 0.3
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        said = scores >= threshold
        recall, precision = (said & true).sum() / true.sum(), (said & true).sum() / said.sum()
        total, before = total + (recall - before) * precision, recall
    assert average_precision(scores, true) == pytest.approx(total)


def test_alternatives_by_hand() -> None:
    said = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0.3, 0.7, 0]])
    truth = np.array([[1, 0, 0], [0, 1, 0], [0.4, 0.6, 0], [0, 1, 0]])
    found = label_scores(said, truth, ABC, (0.5,) * 3)
    assert (found["accuracy"], found["exact_match"]) == (0.75, 0.75)
    assert found["balanced_accuracy"] == pytest.approx((1 + 2 / 3) / 2), "of the labels that samples have"
    assert found["groups"]["label"]["confusion"] == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]
    wanted: dict[str, dict[str, Any]] = {
        "a": {"auroc": 1.0, "average_precision": 1.0, "precision": 0.5, "recall": 1.0, "samples": 1, "predicted": 2},
        "b": {"auroc": 1.0, "average_precision": 1.0, "precision": 1.0, "recall": 2 / 3, "samples": 3, "predicted": 2},
        "c": {"auroc": None, "average_precision": None, "precision": None, "recall": None, "samples": 0},
    }
    for label, figures in wanted.items():
        assert {key: found["classes"][label][key] for key in figures} == pytest.approx(figures)
    assert found["classes"]["b"]["f1"] == pytest.approx(2 * 2 / (3 + 2))
    assert found["mean_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["classes"]["b"]["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)


def test_findings_are_judged_one_by_one() -> None:
    """Seven, seven and eight samples have a finding, one none at all, and some two of them."""
    truth = np.zeros((12, 3))
    truth[:7, 0] = truth[5:12, 1] = truth[3:11, 2] = 1
    truth[0] = 0
    truth[11, 0] = 1
    found = label_scores(truth * 0.8 + 0.1, truth, FINDINGS, (0.5,) * 3)
    assert [found["classes"][label]["samples"] for label in "abc"] == [7, 7, 8]
    assert found["accuracy"] == found["exact_match"] == found["balanced_accuracy"] == 1
    assert found["mean_average_precision"] == found["mean_auroc"] == 1
    assert found["groups"]["label"]["confusion"] is None


def test_findings_by_hand() -> None:
    truth = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]])
    said = np.array([[0.9, 0.2, 0.1], [0.6, 0.7, 0.2], [0.1, 0.1, 0.6], [0.8, 0.4, 0.3]])
    found = label_scores(said, truth, FINDINGS, (0.5, 0.5, 0.5))
    assert found["exact_match"] == 1 / 4
    assert found["accuracy"] == 9 / 12
    assert found["balanced_accuracy"] == pytest.approx(((1 + 0.5) / 2 + (0.5 + 1) / 2) / 2), "of c none is positive"
    assert found["classes"]["c"]["predicted"] == 1 and found["classes"]["c"]["precision"] == 0
    assert found["mean_average_precision"] == pytest.approx((1 + (1 / 2 * 1 + 1 / 2 * 2 / 3)) / 2)
    lower = label_scores(said, truth, FINDINGS, (0.5, 0.2, 0.5))
    assert lower["classes"]["b"]["recall"] == 1, "each label has its own threshold"


def test_groups_are_judged_apart_and_the_first_stands_for_the_run() -> None:
    groups = (LabelGroup("class", ("a", "b")), LabelGroup("domain", ("c", "d", "e")))
    truth = np.array([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0]])  # the second has no domain
    said = np.array([[0.9, 0.1, 0.6, 0.3, 0.1], [0.2, 0.8, 0.5, 0.3, 0.2]])
    found = label_scores(said, truth, groups, (0.5,) * 5)
    assert found["accuracy"] == 1 and found["groups"]["domain"]["accuracy"] == 0
    assert [found["groups"][name]["labelled"] for name in ("class", "domain")] == [2, 1]
    assert list(found["classes"]) == ["a", "b", "c", "d", "e"]
    assert main_figure(groups) == "accuracy" and main_figure(FINDINGS) == "mean_average_precision"


def test_nothing_labelled_has_no_figures() -> None:
    found = label_scores(np.zeros((0, 3)), np.zeros((0, 3)), ABC, (0.5,) * 3)
    assert found["accuracy"] is found["balanced_accuracy"] is found["mean_f1"] is None


def test_the_worst_samples_are_those_of_the_highest_loss() -> None:
    groups: Any = (LabelGroup("class", ("a", "b")), LabelGroup("found", ("c", "d"), multi=True))
    said = np.array([[0.25, 0.75, 0.5, 0.1], [0.25, 0.75, 0.5, 0.1]])
    truth = np.array([[1, 0, 1, 0], [0, 0, 1, 1]])
    found = sample_losses(groups, said, truth)
    first = (-np.log(0.25) + (-np.log(0.5) - np.log(0.9)) / 2) / 2
    second = (0 + (-np.log(0.5) - np.log(0.1)) / 2) / 2
    assert found.tolist() == pytest.approx([first, second])
