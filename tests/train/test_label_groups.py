"""Groups of labels: which are alternatives, what rows decide, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from augforge.errors import TrainError
from augforge.train.data.inputspec import RunSpec
from augforge.train.labels.groups import (
    LabelGroup,
    absent_label_warnings,
    derive_groups,
    predicted_labels,
    select_labels,
    true_labels,
)

LABELS = ("cat", "dog", "art", "photo")
BOTH = {"class": ("cat", "dog"), "domain": ("art", "photo")}


def derive(
    rows: Sequence[Sequence[float]], groups: Any = None, task: Any = None
) -> tuple[tuple[LabelGroup, ...], list[str]]:
    truth = np.array(rows, float)
    names = [f"s{i}" for i in range(len(rows))]
    return derive_groups(groups or {}, task, LABELS[: truth.shape[1]], truth, names)


@pytest.mark.parametrize(
    ("rows", "multi"),
    [
        ([[1, 0], [0, 1]], False),
        ([[0.3, 0.7], [0, 1]], False),  # mixed images
        ([[1, 0], [0, 0]], True),  # a sample with no finding
        ([[1, 1], [0, 1]], True),
        ([[0.2, 0.2], [0, 1]], True),
    ],
)
def test_rows_that_are_no_distribution_make_labels_independent(rows: list[list[float]], multi: bool) -> None:
    [group] = derive(rows)[0]
    assert (group.labels, group.multi) == (("cat", "dog"), multi)


def test_one_label_is_there_or_not() -> None:
    assert derive([[1], [1]])[0][0].multi


def test_each_group_is_decided_by_its_own_labels() -> None:
    groups, _ = derive([[1, 0, 0, 1], [1, 1, 1, 0]], BOTH)
    assert [(group.name, group.multi) for group in groups] == [("class", True), ("domain", False)]


def test_a_configured_task_overrules_the_rows() -> None:
    groups, _ = derive([[1, 0, 0, 1], [0, 1, 1, 0]], BOTH, {"class": "multi"})
    assert [group.multi for group in groups] == [True, False]
    with pytest.raises(TrainError, match=r"class exactly one .* those of s1 sum to 2, and so in 1 sample"):
        derive([[1, 0, 0, 1], [1, 1, 1, 0]], BOTH, "single")


def test_alternatives_that_nobody_gave_are_told() -> None:
    [group], warnings = derive([[1, 0], [0, 0], [0, 1]], task="single")
    assert not group.multi
    assert "1 sample, such as s1, have no label" in warnings[0]


def test_few_odd_rows_are_told() -> None:
    _, warnings = derive([[1, 0]] * 20 + [[0, 0]])
    assert "1 of 21 samples, such as s20" in warnings[0] and "task: single" in warnings[0]
    assert derive([[1, 0], [1, 1]])[1] == []


def test_labels_without_a_group_are_told() -> None:
    groups, [warning] = derive([[1, 0, 0, 1], [0, 1, 1, 0]], {"class": ("cat", "dog")})
    assert [group.labels for group in groups] == [("cat", "dog")]
    assert "art, photo: they are not predicted" in warning


@pytest.mark.parametrize(
    ("groups", "task", "message"),
    [
        ({"class": ("cat", "dgo")}, None, r"no label 'dgo'\. Did you mean 'dog'"),
        ({"class": ("cat", "dog"), "more": ("dog",)}, None, "'dog' is in class and in more"),
        (BOTH, {"domian": "single"}, r"task.domian: no group .* Did you mean 'domain'"),
        ({"class": ("cat",)}, "single", r"class has one label, cat\. Set task: multi"),
    ],
)
def test_what_does_not_fit_is_refused(groups: Any, task: Any, message: str) -> None:
    with pytest.raises(TrainError, match=message):
        derive([[1, 0, 0, 1], [0, 1, 1, 0]], groups, task)


def test_what_holds_and_what_is_predicted() -> None:
    groups = (LabelGroup("class", ("cat", "dog")), LabelGroup("found", ("a", "b"), multi=True))
    truth = np.array([[0.4, 0.6, 0.5, 0.4], [0, 0, 1, 1]])
    assert true_labels(groups, truth).tolist() == [[False, True, True, False], [False, False, True, True]]
    said = np.array([[0.3, 0.7, 0.1, 0.2], [0.5, 0.5, 0.3, 0.29]])
    found = predicted_labels(groups, said, (0.9, 0.9, 0.3, 0.2))
    assert found.tolist() == [[False, True, False, True], [True, False, True, True]]


def test_columns_come_by_name() -> None:
    groups = (LabelGroup("class", ("dog", "cat")),)
    chosen = select_labels(groups, ("cat", "art", "dog"), np.array([[1, 1, 0], [0, 0, 1]]), ["x", "y"])
    assert chosen.tolist() == [[0, 1], [1, 0]]
    with pytest.raises(TrainError, match="those of y sum to 2"):
        select_labels(groups, ("cat", "art", "dog"), np.array([[1, 1, 0], [1, 0, 1]]), ["x", "y"])


def test_labels_absent_from_train_are_told() -> None:
    groups = (LabelGroup("x", ("a", "b", "c"), multi=True),)
    warnings = list(absent_label_warnings(groups, np.array([[0, 1, 1], [0, 1, 0]])))
    assert "no training sample has the label a" in warnings[0]
    assert "all training samples have the label b" in warnings[1]
    with pytest.raises(TrainError, match="nothing to learn"):
        list(absent_label_warnings(groups, np.array([[0, 1, 1], [0, 1, 1]])))
    soft = np.array([[0.3, 0.6, 0.1], [0.4, 0.5, 0.1]])
    assert [text for text in absent_label_warnings(groups, soft) if "label b:" not in text] == []


def test_runs_of_earlier_versions_have_alternatives() -> None:
    size = {"size": [32, 32], "channels": 1, "normalise": "sample", "mean": [], "std": []}
    before = {"task": "classification", "outputs": [], "labels": ["cat", "dog"], "datasets": [], "input": size}
    spec = RunSpec.from_json(before)
    assert spec.groups == (LabelGroup("label", ("cat", "dog")),)
    assert RunSpec.from_json({**asdict(spec)}) == spec
    assert RunSpec.from_json({**before, "task": "segmentation"}).groups == ()
