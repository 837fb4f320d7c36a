"""Training classifiers from a dataset to figures, with a network so small that it takes a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from fakelabels import label_dataset, one_of
from oracles import write_shapes
from PIL import Image

from augforge.engine.builder import build
from augforge.errors import TrainError
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.config import TrainConfig, load_config
from augforge.train.evaluation.evaluate import evaluate
from augforge.train.journal import read_journal
from augforge.train.labels.groups import LabelGroup
from augforge.train.labels.losses import LabelLosses, build_losses
from augforge.train.loop import train
from augforge.train.run import TrainingRun
from augforge.train.rundata import RunData
from augforge.train.runs import list_runs

SMALL = ("model.encoder=tu-test_resnet", "data.size=32", "data.workers=0", "data.batch_size=8", "precision=fp32")
HALF = "{val: 0.5}"
GROUPS = "label_groups={class: [cat, dog], domain: [art, photo]}"


def config(*overrides: str) -> TrainConfig:
    return load_config(None, (*SMALL, "epochs=1", *overrides))


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twenty images; a third shows both findings, a third none."""
    rows = {f"P{n}/x": [float(n % 3 > 0), float(n % 3 > 1), 0.0] for n in range(20)}
    return label_dataset(tmp_path_factory.mktemp("findings"), ("nodule", "effusion", "never"), rows, split=HALF)


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rows = {f"P{n}/x": [*one_of("cd", "cd"[n % 2]), *one_of("ap", "ap"[n // 2 % 2])] for n in range(16)}
    labels = ("cat", "dog", "art", "photo")
    return label_dataset(tmp_path_factory.mktemp("domains"), labels, rows, split=HALF, noise=150)


def test_rows_that_are_held_out_decide_the_kind_of_labels_too(tmp_path: Path) -> None:
    """A fold without the only image of no finding would else learn alternatives, and the others findings."""
    dataset = label_dataset(tmp_path, ("a", "b"), {f"P{n}/x": [float(n % 2), float(n % 2 == 0 < n)] for n in range(6)})
    held_out = pl.col("name") == "P0/x"
    parts = dataset.where(~held_out), dataset.where(held_out)
    data = RunData([dataset], config("validate_every=0"), torch.device("cpu"), parts)
    assert [group.multi for group in data.spec.groups] == [True]
    assert not data.validation


def test_masks_and_labels_are_no_training_set(findings: Dataset, domains: Dataset, tmp_path: Path) -> None:
    write_shapes(tmp_path / "data", [(40, 40), (40, 40)])
    recipe = "name: masks\nsource: {format: mask-folder, path: data, classes: [red, green, blue]}\nsteps: []\n"
    (tmp_path / "masks.yaml").write_text(recipe)
    masks = open_dataset(build(tmp_path / "masks.yaml", tmp_path / "masks").folder)
    for datasets in ([masks, findings], [findings, masks], [findings, domains]):
        with pytest.raises(TrainError, match=r"expected the (class|label) table of"):
            RunData(datasets, config(), torch.device("cpu"))


def test_an_architecture_for_masks_is_told_to_be_unused(findings: Dataset, tmp_path: Path) -> None:
    for settings, told in (((), False), (("model.architecture=unet",), True)):
        data = RunData([findings], config(*settings), torch.device("cpu"))
        assert any("model.architecture unet is for masks" in text for text in data.warnings) is told
    train([findings], config("model.architecture=unet", "steps=1"), tmp_path / "run")
    [found] = list_runs(tmp_path)
    assert (found["architecture"], found["network"]) == ("unet", "tu-test_resnet")


def test_findings_are_trained_and_judged_one_by_one(findings: Dataset, tmp_path: Path) -> None:
    lines: list[str] = []
    summary = train([findings], config(), tmp_path / "run", log=lines.append)
    assert summary["groups"] == [{"name": "label", "labels": ["nodule", "effusion", "never"], "multi": True}]
    assert set(summary["best"]) == {"step", "mean_average_precision", "balanced_accuracy"}
    assert any("no training sample has the label never" in line for line in lines)
    assert any("mAP" in line for line in lines)
    step = next(row for row in read_journal(tmp_path / "run") if row["kind"] == "step")
    assert step["bce"] == step["loss"]
    found = evaluate(tmp_path / "run", [findings.folder], worst=2)
    truth = np.array(findings.split("val").index["label"].to_list())
    assert [each["samples"] for each in found["classes"].values()] == truth.sum(axis=0).tolist()
    assert found["labelled"] == len(truth), "a row of zeros is a label"
    table = pl.read_parquet(Path(found["folder"]) / "samples.parquet")
    said = np.array([list(row.values()) for row in table["probability"]])
    assert (said >= 0.5).sum(axis=0).tolist() == [each["predicted"] for each in found["classes"].values()]
    assert [each["picture"] for each in found["worst"]] == ["worst-1.png", "worst-2.png"]
    picture = np.array(Image.open(Path(found["folder"]) / "worst-1.png"))
    assert picture.shape[0] > 500
    assert table["loss"].max() == pytest.approx(found["worst"][0]["loss"])


def test_two_groups_have_a_head_and_figures_each(domains: Dataset, tmp_path: Path) -> None:
    train([domains], config(GROUPS), tmp_path / "run")
    run = TrainingRun.open(tmp_path / "run")
    assert run.spec.groups == (LabelGroup("class", ("cat", "dog")), LabelGroup("domain", ("art", "photo")))
    assert run.model()(torch.zeros(1, run.input.channels, 32, 32)).shape == (1, 4)
    found = evaluate(tmp_path / "run", [domains.folder])
    assert list(found["groups"]) == ["class", "domain"] and list(found["classes"]) == ["cat", "dog", "art", "photo"]
    assert all((Path(found["folder"]) / f"confusion-{number}.png").exists() for number in (1, 2))
    names = set(read_journal(tmp_path / "run")[0])
    assert {"cross_entropy_class", "cross_entropy_domain"} <= names


def test_labels_may_be_left_out_and_stand_in_another_order(domains: Dataset, tmp_path: Path) -> None:
    lines: list[str] = []
    train([domains], config("label_groups={class: [dog, cat]}"), tmp_path / "run", log=lines.append)
    assert any("names no group of art, photo" in line for line in lines)
    found = evaluate(tmp_path / "run", [domains.folder], worst=0)
    val = np.array(domains.split("val").index["label"].to_list())
    assert found["classes"]["dog"]["samples"] == val[:, 1].sum()


def test_a_task_is_taken_at_its_word(findings: Dataset, domains: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"exactly one is expected .* sum to 2"):
        train([findings], config("task=single"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    data = RunData([domains], config(GROUPS, "task={class: multi}"), torch.device("cpu"))
    assert [group.multi for group in data.spec.groups] == [True, False]


def test_the_configuration_of_the_guide_fits(domains: Dataset, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    (tmp_path / "train.yaml").write_text(page.partition("```yaml\nlabel_groups")[2].partition("```")[0])
    text = "label_groups" + (tmp_path / "train.yaml").read_text().replace(", sketch", "")
    (tmp_path / "train.yaml").write_text(text)
    given = load_config(tmp_path / "train.yaml", SMALL)
    data = RunData([domains], given, torch.device("cpu"))
    losses = build_losses(given, data.spec, data.training)
    assert isinstance(losses, LabelLosses)
    found = losses(torch.zeros(2, 4), torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1]]))
    assert list(found) == ["focal_class", "cross_entropy_domain", "loss"]
    assert found["loss"].item() == pytest.approx(0.25 * np.log(2) + 0.1 * np.log(2))
    assert given.mixstyle is not None


def test_labels_that_never_vary_are_refused(tmp_path: Path) -> None:
    rows = {f"P{n}/x": [1.0] for n in range(4)}
    same = label_dataset(tmp_path, ("always",), rows, split=HALF)
    with pytest.raises(TrainError, match="all training samples have the same labels"):
        RunData([same], config(), torch.device("cpu"))


def test_losses_of_masks_are_refused_before_a_folder_is_made(findings: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="jaccard is a loss of masks"):
        train([findings], config("loss=[{name: jaccard}]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_mixing_styles_changes_training_and_repeats_itself(domains: Dataset, tmp_path: Path) -> None:
    def losses(name: str, *more: str) -> list[Any]:
        train([domains], config("steps=2", *more), tmp_path / name)
        return [row["loss"] for row in read_journal(tmp_path / name) if row["kind"] == "step"]

    plain, mixed = losses("plain"), losses("mixed", "mixstyle={p: 1.0}")
    assert plain[0] != mixed[0]
    assert losses("again", "mixstyle={p: 1.0}") == mixed


def test_runs_of_earlier_versions_are_read(domains: Dataset, tmp_path: Path) -> None:
    """Their run.json has no groups, their config.yaml none of the keys of labels: labels are alternatives then."""
    rows = {f"P{n}/x": one_of("cd", "cd"[n % 2]) for n in range(12)}
    dataset = label_dataset(tmp_path, ("cat", "dog"), rows)
    train([dataset], config(), tmp_path / "run")
    before = evaluate(tmp_path / "run", [dataset.folder], worst=0)
    spec = json.loads((tmp_path / "run/run.json").read_text())
    assert spec.pop("groups") == [{"name": "label", "labels": ["cat", "dog"], "multi": False}]
    (tmp_path / "run/run.json").write_text(json.dumps(spec))
    lines = (tmp_path / "run/config.yaml").read_text().splitlines()
    kept = [line for line in lines if not line.strip().startswith(("task:", "label_groups:", "mixstyle:", "group:"))]
    kept = [line for line in kept if not line.strip().startswith(("class_weights:", "pos_weight:"))]
    assert len(kept) == len(lines) - 3 - 3 * 2
    (tmp_path / "run/config.yaml").write_text("\n".join(kept) + "\n")
    assert evaluate(tmp_path / "run", [dataset.folder], worst=0) == before
    assert train([dataset], config(), tmp_path / "run", resume=True)["task"] == "classification"
