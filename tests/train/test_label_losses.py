"""Losses of labels against their formulae, written out in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from augforge.errors import TrainError
from augforge.train.config import LossConfig, TrainConfig
from augforge.train.data.inputspec import InputSpec, RunSpec
from augforge.train.labels.groups import LabelGroup
from augforge.train.labels.losses import LabelLosses, build_losses

SINGLE = (LabelGroup("label", ("a", "b", "c")),)
MULTI = (LabelGroup("label", ("a", "b", "c"), multi=True),)
LOGITS = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
SOFT = np.array([[0.2, 0.8, 0.0], [0.0, 0.0, 1.0]])
PAIRS = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
TRAIN = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]], float)


def value(
    configs: list[LossConfig], groups: tuple[LabelGroup, ...], target: Any, truth: Any = TRAIN, logits: Any = LOGITS
) -> dict[str, float]:
    labels = tuple(label for group in groups for label in group.labels)
    found = LabelLosses(configs, groups, labels, np.array(truth))(torch.tensor(logits), torch.tensor(target))
    return {name: loss.item() for name, loss in found.items()}


def only(config: LossConfig, groups: tuple[LabelGroup, ...], target: Any, **others: Any) -> float:
    return value([config], groups, target, **others)["loss"]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def binary(p: np.ndarray, t: np.ndarray, positive: Any = 1.0) -> np.ndarray:
    return np.asarray(-(positive * t * np.log(p) + (1 - t) * np.log(1 - p)))


def test_the_default_is_cross_entropy_or_bce() -> None:
    default = list(TrainConfig().loss)
    found = value(default, SINGLE, SOFT)
    assert list(found) == ["cross_entropy", "loss"]
    plain = F.cross_entropy(torch.tensor(LOGITS).float(), torch.tensor(SOFT).float()).item()
    assert found["loss"] == plain, "bit for bit as before there were other losses"
    assert plain == pytest.approx(-(SOFT * log_softmax(LOGITS)).sum(1).mean(), rel=1e-6)
    found = value(default, MULTI, PAIRS)
    assert list(found) == ["bce", "loss"]
    assert found["loss"] == pytest.approx(binary(sigmoid(LOGITS), PAIRS).mean(), rel=1e-6)


def test_smoothing_moves_a_share_to_all_labels() -> None:
    smooth = SOFT * 0.9 + 0.1 / 3
    found = only(LossConfig(name="cross_entropy", smoothing=0.1), SINGLE, SOFT)
    assert found == pytest.approx(-(smooth * log_softmax(LOGITS)).sum(1).mean(), rel=1e-5)
    found = only(LossConfig(name="bce", smoothing=0.1), MULTI, PAIRS)
    assert found == pytest.approx(binary(sigmoid(LOGITS), PAIRS * 0.8 + 0.1).mean(), rel=1e-5)


def test_class_weights() -> None:
    weights = np.array([2.0, 1.0, 0.5])
    terms = -(SOFT * weights * log_softmax(LOGITS)).sum()
    config = LossConfig(name="cross_entropy", class_weights={"a": 2, "c": 0.5})
    assert only(config, SINGLE, SOFT) == pytest.approx(terms / (SOFT @ weights).sum(), rel=1e-5)
    config = LossConfig(name="bce", class_weights={"a": 2, "c": 0.5})
    expected = (binary(sigmoid(LOGITS), PAIRS) * weights).sum() / (2 * weights.sum())
    assert only(config, MULTI, PAIRS) == pytest.approx(expected, rel=1e-5)


def test_balanced_weights_are_one_over_the_frequency() -> None:
    """Of four samples three are a and one is b: 4 / (2 * 3) and 4 / (2 * 1), as scikit-learn has it; c is in none."""
    balanced = only(LossConfig(name="cross_entropy", class_weights="balanced"), SINGLE, SOFT)
    by_hand = LossConfig(name="cross_entropy", class_weights={"a": 4 / 6, "b": 4 / 2, "c": 1})
    assert balanced == pytest.approx(only(by_hand, SINGLE, SOFT), rel=1e-6)


def test_pos_weight() -> None:
    found = only(LossConfig(name="bce", pos_weight={"a": 3}), MULTI, PAIRS)
    assert found == pytest.approx(binary(sigmoid(LOGITS), PAIRS, np.array([3, 1, 1])).mean(), rel=1e-5)
    found = only(LossConfig(name="bce", pos_weight=2.5), MULTI, PAIRS)
    assert found == pytest.approx(binary(sigmoid(LOGITS), PAIRS, 2.5).mean(), rel=1e-5)
    balanced = only(LossConfig(name="bce", pos_weight="balanced"), MULTI, PAIRS)  # negatives per positive
    assert balanced == pytest.approx(binary(sigmoid(LOGITS), PAIRS, np.array([1 / 3, 3, 1])).mean(), rel=1e-5)


def test_a_label_that_all_samples_have_keeps_its_weight() -> None:
    """No negatives: a balanced weight of 0 would leave its positives out of the loss."""
    balanced = only(LossConfig(name="bce", pos_weight="balanced"), MULTI, PAIRS, truth=[[1, 0, 0], [1, 1, 0]])
    assert balanced == pytest.approx(binary(sigmoid(LOGITS), PAIRS).mean(), rel=1e-5)


def test_focal_loss() -> None:
    log = log_softmax(LOGITS)
    found = only(LossConfig(name="focal", gamma=1.5), SINGLE, SOFT)
    assert found == pytest.approx(-(SOFT * (1 - np.exp(log)) ** 1.5 * log).sum(1).mean(), rel=1e-5)
    p = sigmoid(LOGITS)
    found = only(LossConfig(name="focal", gamma=1.5), MULTI, PAIRS)
    assert found == pytest.approx((binary(p, PAIRS) * np.abs(p - PAIRS) ** 1.5).mean(), rel=1e-5)
    flat = only(LossConfig(name="focal", gamma=0, smoothing=0.1), SINGLE, SOFT)
    assert flat == pytest.approx(only(LossConfig(name="cross_entropy", smoothing=0.1), SINGLE, SOFT), rel=1e-5)


def test_rows_without_an_alternative_do_not_count() -> None:
    gap = np.array([SOFT[0], [0, 0, 0]])
    for name in ("cross_entropy", "focal"):
        config = LossConfig.model_validate({"name": name, "smoothing": 0.1})
        assert only(config, SINGLE, gap) == pytest.approx(only(config, SINGLE, SOFT[:1], logits=LOGITS[:1]), rel=1e-6)
        assert only(config, SINGLE, np.zeros((2, 3))) == 0


def test_each_group_has_its_loss() -> None:
    groups = (LabelGroup("class", ("a", "b")), LabelGroup("domain", ("c", "d"), multi=True))
    logits, target = np.hstack([LOGITS, LOGITS[:, :1]]), np.hstack([SOFT[:, 1:], PAIRS[:, :2]])
    truth = np.array([[1, 0, 1, 0], [0, 1, 0, 1]], float)
    found = value(list(TrainConfig().loss), groups, target, truth, logits)
    assert list(found) == ["cross_entropy_class", "bce_domain", "loss"]
    own = {"truth": truth[:, :2], "logits": logits[:, :2]}
    first = only(LossConfig(name="cross_entropy"), (groups[0],), target[:, :2], **own)
    assert found["cross_entropy_class"] == pytest.approx(first)
    assert found["loss"] == pytest.approx(found["cross_entropy_class"] + found["bce_domain"])
    weighted = [
        LossConfig(name="cross_entropy", group="class"),
        LossConfig(name="focal", group="class", gamma=1),
        LossConfig(name="focal", group="domain", weight=0.5),
        LossConfig(name="focal", group="domain", gamma=1),
    ]
    found = value(weighted, groups, target, truth, logits)
    assert list(found)[:-1] == ["cross_entropy_class", "focal_class", "focal_domain", "focal_domain_2"]
    assert found["loss"] == pytest.approx(
        found["cross_entropy_class"] + found["focal_class"] + 0.5 * found["focal_domain"] + found["focal_domain_2"]
    )


def test_columns_of_the_dataset_are_found_by_name() -> None:
    losses = LabelLosses([LossConfig(name="cross_entropy")], SINGLE, ("x", "c", "b", "a"), TRAIN)
    given = torch.tensor(np.hstack([np.ones((2, 1)), SOFT[:, ::-1]]))
    found = losses(torch.tensor(LOGITS), given)["loss"].item()
    assert found == pytest.approx(only(LossConfig(name="cross_entropy"), SINGLE, SOFT))


def test_half_precision_is_computed_in_float32() -> None:
    losses = LabelLosses([LossConfig(name="cross_entropy")], SINGLE, ("a", "b", "c"), TRAIN)
    logits = torch.tensor(LOGITS, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses(logits, torch.tensor(SOFT))["loss"]
    assert found.dtype == torch.float32
    assert found.item() == losses(logits.float(), torch.tensor(SOFT))["loss"].item()


@pytest.mark.parametrize(
    ("config", "groups", "message"),
    [
        ({"name": "dice"}, SINGLE, "dice is a loss of masks, .* Take cross_entropy, bce, focal"),
        ({"name": "bce"}, SINGLE, "bce is not for the labels .* take cross_entropy or focal; .* task: multi"),
        ({"name": "cross_entropy"}, MULTI, "cross_entropy is not for .* take bce or focal; .* task: single"),
        ({"name": "cross_entropy", "gamma": 1}, SINGLE, "does not use gamma; focal do"),
        ({"name": "bce", "alpha": 0.7}, MULTI, "does not use alpha. Leave it out"),
        ({"name": "focal", "pos_weight": 2}, SINGLE, "pos_weight is for labels of which any number is true"),
        ({"name": "bce", "pos_weight": {"q": 2}}, MULTI, "pos_weight names 'q'"),
        ({"name": "bce", "group": "lable"}, MULTI, r"no group of labels is called 'lable'\. Did you mean 'label'"),
    ],
)
def test_losses_that_do_not_fit_are_refused(config: Any, groups: Any, message: str) -> None:
    with pytest.raises(TrainError, match=message):
        LabelLosses([LossConfig(**config)], groups, ("a", "b", "c"), TRAIN)


def test_no_group_is_left_without_a_loss() -> None:
    groups = (LabelGroup("class", ("a", "b")), LabelGroup("domain", ("c",), multi=True))
    with pytest.raises(TrainError, match="none of the losses is for the labels of domain"):
        LabelLosses([LossConfig(name="cross_entropy")], groups, ("a", "b", "c"), TRAIN)


@pytest.mark.parametrize("config", [{"name": "bce", "pos_weight": 2}, {"name": "bce", "group": "x"}])
def test_keys_of_labels_are_refused_for_masks(config: Any) -> None:
    spec = RunSpec("segmentation", ("lung",), (), (), InputSpec((32, 32), 1))
    with pytest.raises(TrainError, match="is of labels, and the run learns masks"):
        build_losses(TrainConfig(loss=(LossConfig(**config),)), spec, None)  # type: ignore[arg-type]
