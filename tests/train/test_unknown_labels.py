"""Labels that are unknown in some samples: they do not count in losses and figures, and nothing else changes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from augforge.engine.builder import build
from augforge.report.html.pixels import tile_facts
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.config import LossConfig, load_config
from augforge.train.data.trainingset import TrainingSet
from augforge.train.evaluation.evaluate import evaluate
from augforge.train.journal import read_journal
from augforge.train.labels.crossval import label_qualities
from augforge.train.labels.evaluation import sample_losses
from augforge.train.labels.groups import LabelGroup, absent_label_warnings, derive_groups, select_labels
from augforge.train.labels.losses import LabelLosses
from augforge.train.labels.scores import label_scores
from augforge.train.labels.thresholds import tune_label_thresholds
from augforge.train.loop import train
from augforge.train.run import TrainingRun

NAN = float("nan")
FINDINGS = (LabelGroup("label", ("a", "b", "c"), multi=True),)
MIXED = (LabelGroup("class", ("a", "b")), LabelGroup("finding", ("c",), multi=True))
LOGITS = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
TRUTH = np.array([[1.0, NAN, 0.0], [0.0, 1.0, NAN]])
KNOWN = ~np.isnan(TRUTH)


def losses(config: LossConfig, truth: Any = TRUTH, groups: Any = FINDINGS) -> LabelLosses:
    return LabelLosses([config], groups, ("a", "b", "c"), np.array(truth))


def value(config: LossConfig, target: Any = TRUTH, **others: Any) -> float:
    return losses(config, **others)(torch.tensor(LOGITS), torch.tensor(target))["loss"].item()


def entropies(positive: Any = 1.0) -> np.ndarray:
    """The binary cross entropy of each label, NaN where it is unknown."""
    p = 1 / (1 + np.exp(-LOGITS))
    return np.asarray(-(positive * TRUTH * np.log(p) + (1 - TRUTH) * np.log(1 - p)))


def test_unknown_labels_have_no_loss() -> None:
    assert value(LossConfig(name="bce")) == pytest.approx(np.nanmean(entropies()), rel=1e-6)
    p = np.where(TRUTH == 1, 1 / (1 + np.exp(-LOGITS)), 1 - 1 / (1 + np.exp(-LOGITS)))
    focal = np.where(KNOWN, (1 - p) ** 2 * entropies(), np.nan)
    assert value(LossConfig(name="focal", gamma=2)) == pytest.approx(np.nanmean(focal), rel=1e-5)


def test_unknown_labels_have_no_weight() -> None:
    weights = np.array([2.0, 1.0, 0.5])
    found = value(LossConfig(name="bce", class_weights={"a": 2, "c": 0.5}))
    assert found == pytest.approx(np.nansum(entropies() * weights) / (KNOWN * weights).sum(), rel=1e-5)


def test_balanced_weights_count_the_samples_in_which_a_label_is_known() -> None:
    truth = np.array([[1, NAN, 0], [0, NAN, 0], [0, 1, 1], [0, 0, 1]])
    positive = np.array([3, 1, 1])  # false ones for each true one
    found = value(LossConfig(name="bce", pos_weight="balanced"), truth=truth)
    assert found == pytest.approx(np.nanmean(entropies(positive)), rel=1e-5)


def test_no_gradient_comes_from_unknown_labels() -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    losses(LossConfig(name="bce"))(logits, torch.tensor(TRUTH))["loss"].backward()
    assert logits.grad is not None
    assert (logits.grad.numpy() != 0).tolist() == KNOWN.tolist()


def test_batches_weigh_by_what_they_know() -> None:
    """Two batches of one sample, weighted by their amounts, are a batch of both."""
    found, target, logits = losses(LossConfig(name="bce")), torch.tensor(TRUTH), torch.tensor(LOGITS)
    target[0, 2] = NAN  # one known label in the first, two in the second
    amounts = [found.amounts(target[i : i + 1]) for i in range(2)]
    assert [amount.item() for amount in amounts] == [1, 2]
    parts = [found(logits[i : i + 1], target[i : i + 1], amounts[i] / 3)["loss"].item() for i in range(2)]
    assert sum(parts) == pytest.approx(found(logits, target)["loss"].item(), rel=1e-6)


def test_where_all_is_known_the_loss_is_torchs() -> None:
    truth = np.array([[1.0, 1, 0], [0, 1, 0]])
    plain = F.binary_cross_entropy_with_logits(torch.tensor(LOGITS).float(), torch.tensor(truth).float()).item()
    assert value(LossConfig(name="bce"), truth, truth=truth) == plain, "bit for bit"


def test_where_one_label_is_true_an_unknown_one_is_not() -> None:
    truth = np.array([[1, NAN, NAN], [NAN, 1, 1.0]])
    found = LabelLosses([LossConfig(name="cross_entropy"), LossConfig(name="bce")], MIXED, ("a", "b", "c"), truth)
    values = found(torch.tensor(LOGITS), torch.tensor(truth))
    log = LOGITS[:, :2] - np.log(np.exp(LOGITS[:, :2]).sum(1, keepdims=True))
    assert values["cross_entropy_class"].item() == pytest.approx(-(log[0, 0] + log[1, 1]) / 2, rel=1e-6)
    assert values["bce_finding"].item() == pytest.approx(np.log1p(np.exp(-3.0)), rel=1e-6)
    groups, _ = derive_groups({"class": ("a", "b"), "finding": ("c",)}, None, ("a", "b", "c"), truth, ("x", "y"))
    assert groups == MIXED
    np.testing.assert_array_equal(select_labels(MIXED, ("a", "b", "c"), truth, ("x", "y")), [[1, 0, NAN], [0, 1, 1]])


def test_samples_that_know_nothing_of_a_group_do_not_decide_its_kind() -> None:
    truth, known = np.array([[1, 0, 1], [0, 1, 0], [NAN, NAN, 1]]), np.array([[1, 0, 1], [0, 1, 0]])
    configured, labels = {"class": ("a", "b"), "finding": ("c",)}, ("a", "b", "c")
    found = derive_groups(configured, None, labels, truth, "xyz")
    assert found == derive_groups(configured, None, labels, known, "xy") == (MIXED, [])
    assert derive_groups(configured, {"class": "single"}, labels, truth, "xyz") == (MIXED, [])
    nothing, _ = derive_groups({"class": ("a", "b")}, None, labels, np.full((2, 3), NAN), "xy")
    assert nothing[0].multi, "no sample says that exactly one is true"


def test_figures_are_those_of_the_samples_that_know_a_label() -> None:
    rng = np.random.default_rng(3)
    said, truth = rng.random((40, 3)), (rng.random((40, 3)) < 0.4).astype(float)
    truth[rng.random((40, 3)) < 0.3] = NAN
    truth[5] = NAN
    found = label_scores(said, truth, FINDINGS, (0.5,) * 3)
    for c, label in enumerate("abc"):
        rows, group = ~np.isnan(truth[:, c]), (LabelGroup("label", (label,), multi=True),)
        alone = label_scores(said[rows, c : c + 1], truth[rows, c : c + 1], group, (0.5,))
        assert found["classes"][label] == alone["classes"][label]
    right = (said >= 0.5) == (truth == 1)
    known = ~np.isnan(truth)
    assert found["accuracy"] == pytest.approx(right[known].mean())
    some = known.any(axis=1)
    assert found["exact_match"] == pytest.approx((right | ~known)[some].all(axis=1).mean())
    assert found["groups"]["label"]["labelled"] == some.sum() < 40


def test_losses_and_qualities_of_samples_leave_unknown_labels_out() -> None:
    said = 1 / (1 + np.exp(-LOGITS))
    np.testing.assert_allclose(sample_losses(FINDINGS, said, TRUTH), np.nanmean(entropies(), axis=1))
    assert sample_losses(FINDINGS, said, np.full((2, 3), NAN)).tolist() == [0, 0]
    expected = np.where(TRUTH == 1, said, 1 - said)
    np.testing.assert_allclose(label_qualities(FINDINGS, said, TRUTH), np.where(KNOWN, expected, NAN))


def test_labels_that_are_unknown_everywhere_are_told_as_absent() -> None:
    truth = np.array([[1, NAN, NAN], [0, NAN, 1]])
    absent, always, partly = absent_label_warnings(FINDINGS, truth)
    assert "has the label b" in absent and "have the label c" in always
    assert partly.startswith("b, c are unknown in some training samples, the one known least in all but 0 samples")


@pytest.fixture(scope="module")
def clinics(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two sources of twelve pictures, of which one has both findings and the other knows one of them."""
    root = tmp_path_factory.mktemp("clinics")
    entries = []
    for place, labels in (("a", ("mass", "effusion")), ("b", ("effusion",))):
        (root / place).mkdir()
        with (root / place / "table.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["image_name", *labels])
            for n in range(12):
                pixels = np.random.default_rng([n, len(labels)]).integers(0, 256, (32, 32), dtype=np.uint8)
                Image.fromarray(pixels).save(root / f"{place}/{n}.png")
                writer.writerow([f"{n}.png", *[n % 2, n // 2 % 2][: len(labels)]])
        entries.append({"format": "csv", "path": place, "table": "table.csv", "labels": [*labels]})
    recipe = {"name": "x", "source": {"format": "union", "sources": entries}, "split": {"val": 0.4}, "steps": []}
    (root / "recipe.yaml").write_text(json.dumps(recipe))
    return open_dataset(build(root / "recipe.yaml", root / "out").folder)


SMALL = ("model.encoder=tu-test_resnet", "data.size=32", "data.workers=0", "data.batch_size=4", "precision=fp32")


def test_a_network_learns_from_samples_that_know_some_labels(clinics: Dataset, tmp_path: Path) -> None:
    lines: list[str] = []
    config = load_config(None, (*SMALL, "epochs=2", "data.sampling=class"))
    train([clinics], config, tmp_path / "run", log=lines.append)
    assert any("mass is unknown in some training samples" in line for line in lines)
    steps = [row["loss"] for row in read_journal(tmp_path / "run") if row["kind"] == "step"]
    assert steps and np.isfinite(steps).all()
    found = evaluate(tmp_path / "run", [clinics.folder], worst=1)
    truth = [dict(zip(clinics.labels, row, strict=True)) for row in clinics.split("val").index["label"].to_list()]
    assert any(row["mass"] is None for row in truth)
    for label in ("mass", "effusion"):
        assert found["classes"][label]["samples"] == sum(row[label] or 0 for row in truth)
    tuned = tune_label_thresholds(TrainingRun.open(tmp_path / "run"), clinics, "val", (0.3, 0.7), None)
    known = {entry["name"]: entry["known"] for entry in tuned["classes"]}
    assert known == {label: sum(row[label] is not None for row in truth) for label in ("mass", "effusion")}


def test_rare_labels_are_weighed_by_the_samples_that_know_them(clinics: Dataset) -> None:
    weights = TrainingSet([clinics]).rarity_weights()
    rows = [dict(zip(clinics.labels, row, strict=True)) for row in clinics.index["label"].to_list()]
    share = {
        label: sum(row[label] or 0 for row in rows) / sum(row[label] is not None for row in rows) for label in rows[0]
    }
    expected = [max([1.0, *(1 / share[label] for label in row if row[label])]) for row in rows]
    np.testing.assert_allclose(weights, expected)


def test_a_page_names_the_labels_that_are_true(clinics: Dataset) -> None:
    rows = clinics.index["label"].to_list()
    expected = [[name for name, share in zip(clinics.labels, row, strict=True) if share] for row in rows]
    assert [tile_facts(clinics, position)["labels"] for position in range(len(clinics))] == expected
    assert any(None in row for row in rows)


def test_a_picture_calls_no_unknown_label_wrong(
    clinics: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train([clinics], load_config(None, (*SMALL, "epochs=1", "threshold=0.001")), tmp_path / "run")
    drawn: list[tuple[Any, ...]] = []

    def note(*given: Any) -> Any:
        drawn.append(given)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr("augforge.train.labels.evaluation.label_picture", note)
    evaluate(tmp_path / "run", [clinics.folder], worst=50)
    row_of = dict(clinics.index.select("name", "label").iter_rows())
    for sample, names, _, predicted, *_ in drawn:
        unknown = [share is None for share in row_of[sample.name]]
        assert [name.endswith(" (unknown)") for name in names] == unknown
        assert [not flag for flag in predicted] == unknown, "at this threshold all others are predicted"
    assert any(None in row_of[sample.name] for sample, *_ in drawn)
