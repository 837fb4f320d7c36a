"""What runs of masks can, of labels too: snapshots, steps of several batches, models of folds, the table of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from fakelabels import label_dataset, one_of

from augforge.errors import TrainError
from augforge.store.dataset import Dataset
from augforge.train.checkpoint import load_weights
from augforge.train.config import LossConfig, TrainConfig, load_config
from augforge.train.journal import read_journal
from augforge.train.labels.groups import LabelGroup
from augforge.train.labels.losses import LabelLosses
from augforge.train.loop import train
from augforge.train.net.mixture import Mixture
from augforge.train.prediction.predict import predict
from augforge.train.run import TrainingRun
from augforge.train.runs import list_runs
from augforge.train.study.crossval import crossval
from augforge.train.study.foldruns import FoldRuns

SMALL = ("model.encoder=tu-test_resnet", "data.size=32", "data.workers=0", "precision=fp32")
GROUPS = "label_groups={class: [cat, dog], finding: [crack, dent]}"


def config(*overrides: str) -> TrainConfig:
    return load_config(None, (*SMALL, *overrides))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve images, six of them to train on: one of two classes, and any number of two findings."""
    rows = {f"P{n}/x": [*one_of("cd", "cd"[n % 2]), float(n % 3 > 0), float(n % 3 > 1)] for n in range(12)}
    labels = ("cat", "dog", "crack", "dent")
    return label_dataset(tmp_path_factory.mktemp("parts"), labels, rows, split="{val: 0.5}", noise=150)


def probabilities_of(logits: torch.Tensor) -> torch.Tensor:
    return torch.cat([logits[:, :2].softmax(1), logits[:, 2:].sigmoid()], 1)


def test_snapshots_are_averaged_as_their_groups_mean_it(parts: Dataset, tmp_path: Path) -> None:
    train([parts], config(GROUPS, "schedule={name: cyclic, cycles: 2}", "steps=4"), tmp_path / "run")
    run = TrainingRun.open(tmp_path / "run")
    images = torch.randn(3, run.input.channels, 32, 32)
    alone = []
    for number in (1, 2):
        network = run.network()
        network.load_state_dict(load_weights(run.folder / f"snapshot-{number}.safetensors"))
        alone.append(network.eval())
    with torch.no_grad():
        joined = probabilities_of(run.model("snapshots")(images))
        mean = torch.stack([probabilities_of(network(images)) for network in alone]).mean(0)
    assert torch.allclose(joined, mean, atol=1e-5)
    predict(run, parts, tmp_path / "p.parquet", weights="snapshots")
    predict(run, parts, tmp_path / "q.parquet", weights="last")
    tables = [pl.read_parquet(tmp_path / name)["probability"].to_list() for name in ("p.parquet", "q.parquet")]
    assert tables[0] != tables[1]


def test_alternatives_are_mixed_by_softmax_and_others_by_sigmoid() -> None:
    one, other = torch.tensor([[9.0, 0, 3]]), torch.tensor([[0.0, 1, -1]])

    class Fixed(torch.nn.Module):
        def __init__(self, logits: torch.Tensor) -> None:
            super().__init__()
            self.logits = logits

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.logits

    found = Mixture([Fixed(one), Fixed(other)], False, [slice(0, 2)])(torch.zeros(1))
    assert torch.allclose(found[:, :2].softmax(1), (one[:, :2].softmax(1) + other[:, :2].softmax(1)) / 2, atol=1e-6)
    assert found[0, 2].sigmoid().item() == pytest.approx((1 / (1 + np.exp(-3)) + 1 / (1 + np.exp(1))) / 2)


def test_batches_of_labels_that_are_summed_for_a_step_count_as_their_mean(parts: Dataset, tmp_path: Path) -> None:
    """The epoch as one batch, and as three; in a network that is frozen but for its head, batch norm adds nothing."""
    count = parts.manifest.splits["train"]
    overrides = ("steps=1", "validate_every=0", "optimizer.name=sgd", "optimizer.clip=null", "schedule.warmup=0")
    frozen = "freeze=[conv1, bn1, layer1, layer2, layer3, layer4]"
    for name, several in (("one", 1), ("three", 3)):
        sizes = (f"data.batch_size={count // several}", f"optimizer.accumulate={several}")
        train([parts], config(GROUPS, *overrides, frozen, *sizes), tmp_path / name)
    losses = [read_journal(tmp_path / name)[0] for name in ("one", "three")]
    for key in ("loss", "cross_entropy_class", "bce_finding"):
        assert losses[0][key] == pytest.approx(losses[1][key], rel=1e-5)
    one, three = (load_weights(tmp_path / name / "last.safetensors") for name in ("one", "three"))
    assert all(torch.allclose(one[name], three[name], atol=1e-6) for name in one)


@pytest.mark.parametrize(
    ("loss", "multi"),
    [
        ({"name": "cross_entropy", "smoothing": 0.1}, False),
        ({"name": "cross_entropy", "class_weights": {"a": 3}}, False),
        ({"name": "focal", "smoothing": 0.1, "class_weights": {"b": 3}}, False),
        ({"name": "bce", "class_weights": {"a": 3}, "pos_weight": 2}, True),
        ({"name": "focal"}, True),
    ],
)
def test_losses_of_unequal_batches_add_up_to_that_of_one(loss: dict[str, Any], multi: bool) -> None:
    """Batches count by their amounts, also if samples have no label or labels weigh unequally."""
    truth = np.array([[1, 0], [0, 0], [0, 1], [0, 1], [1, 0], [0, 0], [0, 1]], np.float32)
    group = LabelGroup("label", ("a", "b"), multi)
    losses = LabelLosses([LossConfig(**loss)], [group], ("a", "b"), truth)
    logits, labels = torch.randn(7, 2, generator=torch.Generator().manual_seed(1)), torch.from_numpy(truth)
    batches = [slice(0, 2), slice(2, 3), slice(3, 7)]
    amounts = torch.stack([losses.amounts(labels[batch]) for batch in batches])
    shares = amounts / amounts.sum(0)
    parts = [losses(logits[batch], labels[batch], share) for batch, share in zip(batches, shares, strict=True)]
    whole = losses(logits, labels)
    assert all(sum(part[key].item() for part in parts) == pytest.approx(whole[key].item()) for key in whole)


def test_the_figure_that_chose_is_told(parts: Dataset, tmp_path: Path) -> None:
    train([parts], config("label_groups={finding: [crack, dent]}", "epochs=1"), tmp_path / "multi")
    train([parts], config("label_groups={class: [cat, dog]}", "epochs=1"), tmp_path / "single")
    found = {Path(each["run"]).name: each for each in list_runs(tmp_path)}
    assert found["multi"]["monitor"] == "mean_average_precision" and found["single"]["monitor"] == "accuracy"
    assert None not in [each["score"] for each in found.values()]


def test_models_of_folds_predict_labels_together(parts: Dataset, tmp_path: Path) -> None:
    crossval(parts, config(GROUPS, "steps=1"), tmp_path / "study", folds=2)
    runs = FoldRuns.open(tmp_path / "study")
    result = predict(runs, parts, tmp_path / "all.parquet")
    assert result["preparation"]["state"] != "unknown", "the folds' runs know how their samples were prepared"
    for number, run in enumerate(runs.runs):
        predict(run, parts, tmp_path / f"{number}.parquet", weights="last")
    said = [
        np.array([list(row.values()) for row in pl.read_parquet(tmp_path / f"{name}.parquet")["probability"]])
        for name in ("all", "0", "1")
    ]
    assert np.allclose(said[0], (said[1] + said[2]) / 2, atol=1e-5)
    assert not np.allclose(said[1], said[2], atol=1e-5)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("weights.classes={cat: 2}", "weights.classes is for masks.* class_weights"),
        ("weights.regions={cat: 0}", "weights.regions is for masks"),
        ("weights.border=10", "weights.border is for masks"),
        ("monitor=miou", "monitor is for masks"),
    ],
)
def test_settings_of_masks_are_refused(parts: Dataset, tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(TrainError, match=words):
        train([parts], config(GROUPS, override), tmp_path / "run")
