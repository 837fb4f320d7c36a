"""Evaluation of models whose every error is known: figures, files, warnings, refusals."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
import torch
from rich.console import Console

from augforge import bitmask
from augforge.engine.builder import build
from augforge.errors import TrainError
from augforge.sample import IDENTITY, Sample
from augforge.store.dataset import open_dataset
from augforge.train.config import TrainConfig
from augforge.train.data.inputspec import InputSpec
from augforge.train.evaluation.evaluate import evaluate
from augforge.train.evaluation.tables import render_evaluation
from augforge.train.labels.groups import LabelGroup
from augforge.train.prediction.inference import Prediction, Window
from augforge.train.run import TrainingRun
from augforge.train.suspects import worst_predictions

OUTPUTS = ("heart", "lung")
SIZE = 64


def write_data(root: Path, groups: int = 4) -> None:
    """Two images a group: a lung of 20x20, a heart of 10x10 in the first one alone, and a border to ignore."""
    rng = np.random.default_rng(0)
    for g in range(groups):
        for i in range(2):
            name = f"P{g:02}/scan{i}.png"
            masks = {"lung": np.zeros((SIZE, SIZE), np.uint8)}
            masks["lung"][10:30, 10:30] = 255
            if i == 0:
                masks["heart"] = np.zeros((SIZE, SIZE), np.uint8)
                masks["heart"][40:50, 40:50] = 255
            masks["ignore"] = np.zeros((SIZE, SIZE), np.uint8)
            masks["ignore"][:, 60:] = 255
            for place, picture in [
                (root / "images" / name, rng.integers(0, 256, (SIZE, SIZE), np.uint8)),
                *((root / "masks" / label / name, mask) for label, mask in masks.items()),
            ]:
                place.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(place), picture)


RECIPE = """\
name: toy
split: {val: [P00, P01], test: [P02]}
source: {format: mask-folder, path: data, classes: [lung, ignore, heart]}
steps: []
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_data(folder / "data")
    (folder / "recipe.yaml").write_text(RECIPE)
    build(folder / "recipe.yaml", folder / "toy")
    return folder / "toy"


Answer = Callable[[np.ndarray, Sample], np.ndarray]


@dataclass
class FakeRun:
    """A run whose model gives 0.9 where `answer` says that a class is, of masks (C, H, W), and 0.1 elsewhere."""

    folder: Path
    answer: Answer = lambda masks, sample: masks
    outputs: tuple[str, ...] = OUTPUTS
    thresholds: tuple[float, ...] = (0.5, 0.5)
    datasets: tuple[dict[str, str], ...] = ()
    labels: tuple[str, ...] = ()
    spec: Any = field(default_factory=lambda: SimpleNamespace(task="segmentation", regions=(), monitor="mean_dice"))
    config: Any = field(default_factory=lambda: SimpleNamespace(init=None))
    asked: dict[str, Any] = field(default_factory=dict)
    preparations: tuple[Any, ...] = ()
    warnings: tuple[str, ...] = ()

    loaded: int = 0

    def predictor(self, **options: Any) -> FakeRun:
        self.asked, self.loaded = options, self.loaded + 1
        return self

    def with_steps(self, *steps_and_notes: Any) -> FakeRun:
        return self

    def pairs(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Prediction]]:
        for sample in samples:
            masks = np.stack([bitmask.class_mask(sample.masks, c) for c in (2, 0)]).astype(np.float32)
            seen = self.answer(masks, sample) * 0.8 + 0.1
            box = (0, 0, SIZE, SIZE)
            yield sample, Prediction(sample.name, seen.astype(np.float32), IDENTITY, box, SIZE, SIZE)

    def predict(self, samples: Iterable[Sample]) -> Iterator[Prediction]:
        return (prediction for _, prediction in self.pairs(samples))


@pytest.fixture
def judged(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Evaluates a fake run on the toy dataset."""

    def judge(run: FakeRun | None = None, paths: Iterable[Path] = (toy,), **options: Any) -> dict[str, Any]:
        found = run or FakeRun(tmp_path / "run")
        monkeypatch.setattr(TrainingRun, "open", lambda folder: found)
        return evaluate(tmp_path / "run", list(paths), **{"worst": 0, **options})

    return judge


def shifted_lung(masks: np.ndarray, sample: Sample) -> np.ndarray:
    """The lung 5 pixels further right in `scan1`, and the heart seen as lung too in `scan0` of P01."""
    spoilt: np.ndarray = masks.copy()
    if sample.name.endswith("scan1"):
        spoilt[1] = np.roll(masks[1], 5, axis=1)
    elif sample.name.startswith("P01"):
        spoilt[1] = np.maximum(masks[1], masks[0])
        spoilt[0] = 0
    return spoilt


def test_a_perfect_model(judged: Callable[..., dict[str, Any]], toy: Path, tmp_path: Path) -> None:
    found = judged()
    assert found["mean_dice"] == found["mean_iou"] == found["pooled_dice"] == found["surface_dice"] == 1
    assert found["hd95"] == 0
    assert found["samples"] == 4
    assert found["warnings"] == []
    assert found["classes"]["heart"]["hd95_images"] == 2  # the other two have none
    assert found["ece"] == pytest.approx(0.1)  # says 0.9 and 0.1 of what is sure
    folder = tmp_path / "run" / "evaluation" / f"toy-{open_dataset(toy).version}-val"
    assert found["folder"] == str(folder)
    assert json.loads((folder / "evaluation.json").read_text()) == found


def test_known_errors(judged: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    found = judged(FakeRun(tmp_path / "run", shifted_lung), surface_tolerance=1.0, worst=8, out=tmp_path / "out")
    # lung: once right, twice 20x20 shifted by 5 (300 of 400 in common), once with the heart's 100 beside its 400
    assert found["classes"]["lung"]["dice"] == pytest.approx((1 + 0.75 + 0.75 + 800 / 900) / 4)
    assert found["classes"]["heart"]["dice"] == pytest.approx(3 / 4)
    assert found["mean_dice"] == pytest.approx((found["classes"]["lung"]["dice"] + 3 / 4) / 2)
    assert found["classes"]["heart"]["confused_with"] == {"lung": 0.5}
    assert found["classes"]["lung"]["under_predicted"] == pytest.approx(200 / 1600)
    assert found["classes"]["lung"]["over_predicted"] == pytest.approx(300 / 1700)
    assert found["classes"]["lung"]["over_on_background"] == pytest.approx(200 / 1700)
    assert found["most_confused"] == [{"true": "heart", "predicted": "lung", "pixels": 100, "share": 0.5}]
    assert found["classes"]["heart"]["surface_dice"] == pytest.approx(0.5)
    assert [entry["name"] for entry in found["worst"]] == ["P01/scan0", "P00/scan1", "P01/scan1", "P00/scan0"]


def test_figures_of_the_set_are_those_of_one_confusion_matrix(
    judged: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    found = judged(FakeRun(tmp_path / "run", shifted_lung), out=tmp_path / "out")
    table = np.zeros((3, 3), int)
    for person in (0, 1):
        for scan in (0, 1):
            true = np.zeros((SIZE, 60), int)  # the border is ignored
            true[10:30, 10:30] = 2
            true[40:50, 40:50] = 1 - scan
            predicted = true.copy()
            if scan == 1:
                predicted[10:30, 10:15], predicted[10:30, 30:35] = 0, 2
            elif person == 1:
                predicted[predicted == 1] = 2
            np.add.at(table, (true, predicted), 1)
    ious = np.diag(table) / (table.sum(0) + table.sum(1) - np.diag(table))
    assert found["confusion"] == {"labels": ["background", "heart", "lung"], "pixels": table.tolist()}
    assert found["miou"] == found["pooled_iou_background"] == pytest.approx(ious.mean())
    assert found["pooled_iou"] == pytest.approx(ious[1:].mean())
    assert found["present_dice"] == pytest.approx((1 / 2 + found["classes"]["lung"]["dice"]) / 2)
    assert found["classes"]["heart"]["present"] == 2
    assert (found["overlaps"], found["overlap_dice"], found["monitor"]) == ([], None, "mean_dice")
    assert (tmp_path / "out" / "confusion.png").exists()
    out = io.StringIO()
    render_evaluation(found, Console(width=100, file=out))
    assert f"{found['pooled_dice']:.3f} Dice, {found['pooled_iou']:.3f} IoU" in out.getvalue()
    assert f"{found['miou']:.3f}  of exclusive classes and background" in out.getvalue()


def test_the_table_of_samples(judged: Callable[..., dict[str, Any]], toy: Path, tmp_path: Path) -> None:
    found = judged(FakeRun(tmp_path / "run", shifted_lung))
    table = pl.read_parquet(Path(found["folder"]) / "samples.parquet")
    index = open_dataset(toy).split("val").index
    assert table.select("id", "name", "group", "split").equals(index.select("id", "name", "group", "split"))
    row = table.filter(pl.col("name") == "P00/scan1").row(0, named=True)
    assert row["dice"] == {"heart": 1.0, "lung": 0.75}
    assert row["mean_dice"] == 0.875
    assert row["hd95"] == {"heart": None, "lung": 5.0}


def test_ignored_pixels_count_nowhere(judged: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    def over_the_border(masks: np.ndarray, sample: Sample) -> np.ndarray:
        masks[:, :, 60:] = 1
        return masks

    found = judged(FakeRun(tmp_path / "run", over_the_border))
    assert found["mean_dice"] == found["surface_dice"] == 1
    assert found["classes"]["lung"]["over_predicted"] == 0
    assert found["ece"] == pytest.approx(0.1)


def test_a_model_that_sees_nothing_is_told_too(judged: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    found = judged(FakeRun(tmp_path / "run", lambda masks, sample: masks * 0))
    assert found["mean_dice"] == pytest.approx((0.5 + 0) / 2)
    assert found["hd95"] is None
    assert found["classes"]["lung"]["over_predicted"] is None
    json.dumps(found, allow_nan=False)


def test_thresholds_of_the_run_decide(judged: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    found = judged(FakeRun(tmp_path / "run", thresholds=(0.5, 0.95)))
    assert found["classes"]["lung"]["dice"] == 0
    assert found["thresholds"] == {"heart": 0.5, "lung": 0.95}


def test_options_reach_the_predictor(judged: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run")
    judged(run, tta=("hflip",), weights="last")
    assert run.asked == {"tta": ("hflip",), "weights": "last"}


def test_as_many_of_the_worst_as_asked_for_and_no_stale_ones(
    judged: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    for count in (3, 1):
        found = judged(worst=count)
        assert len(found["worst"]) == count
        assert len(list(Path(found["folder"]).glob("worst-*.png"))) == count
    assert {path.name for path in Path(found["folder"]).iterdir()} == {
        "evaluation.json",
        "samples.parquet",
        "confusion.png",
        "errors.png",
        "reliability.png",
        "worst-1.png",
    }


def test_several_datasets_are_judged_together_by_a_network_that_is_loaded_once(
    judged: Callable[..., dict[str, Any]], toy: Path, tmp_path: Path
) -> None:
    run = FakeRun(tmp_path / "run")
    found = judged(run, paths=[toy, toy])
    assert run.loaded == 1
    assert found["samples"] == 8
    assert found["classes"]["lung"]["images"] == 8
    assert Path(found["folder"]).name.count("toy-") == 2


def test_a_split_that_is_not_there(judged: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(TrainError, match=r"no split 'dev'; it has .*val \(4 samples\).*--split"):
        judged(split="dev")


def test_other_classes_are_refused(judged: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"toy has other classes .* it lacks liver and also has heart"):
        judged(FakeRun(tmp_path / "run", outputs=("liver", "lung")))
    assert not (tmp_path / "run").exists()


def test_groups_that_were_trained_on_are_reported(
    judged: Callable[..., dict[str, Any]], toy: Path, tmp_path: Path
) -> None:
    entry = {"path": str(toy), "name": "toy", "version": open_dataset(toy).version}
    run = FakeRun(tmp_path / "run", datasets=(entry,))
    assert judged(run)["warnings"] == []
    (warning,) = judged(run, split="train")["warnings"]
    assert "trained on 1 of the 1 groups evaluated here (P03)" in warning


def test_a_dataset_that_is_gone_is_reported(judged: Callable[..., dict[str, Any]], toy: Path, tmp_path: Path) -> None:
    shutil.copytree(toy, tmp_path / "gone")
    entry = {"path": str(tmp_path / "gone"), "name": "toy", "version": open_dataset(toy).version}
    shutil.rmtree(tmp_path / "gone")
    (warning,) = judged(FakeRun(tmp_path / "run", datasets=(entry,)))["warnings"]
    assert "gone" in warning and "not known" in warning


def shown(found: dict[str, Any]) -> list[str]:
    out = io.StringIO()
    render_evaluation(found, Console(file=out, width=80))
    return out.getvalue().splitlines()


def test_people_see_the_worst_class_first(judged: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    found = judged(FakeRun(tmp_path / "run", shifted_lung))
    lines = shown({**found, "warnings": ["mind the gap"]})
    assert lines[0] == "Warning: mind the gap"
    order = [line.split()[0] for line in lines if line.startswith(("heart", "lung"))]
    assert order == ["heart", "lung"]
    heart = next(line for line in lines if line.startswith("heart"))
    assert heart.split()[1] == "0.750" and heart.split()[-1] == "lung"
    assert any(line.startswith("mean Dice") and "0.799" in line for line in lines)
    assert max(map(len, lines[:-1])) <= 80


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five bright and five dark images; two of the dark ones are not dark."""
    folder = tmp_path_factory.mktemp("levels")
    for label, grays in (("bright", [200] * 5), ("dark", [40, 40, 40, 190, 210])):
        (folder / "data" / label).mkdir(parents=True)
        for number, gray in enumerate(grays):
            cv2.imwrite(str(folder / "data" / label / f"{number}.png"), np.full((48, 48), gray, np.uint8))
    (folder / "recipe.yaml").write_text(
        "name: levels\nsource: {format: image-folder, path: data}\nsplit: {val: 0.99}\n"
    )
    build(folder / "recipe.yaml", folder / "levels")
    return folder / "levels"


class Brightness(torch.nn.Module):
    """Sure that an image is bright or dark."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        level = images.mean((1, 2, 3)) * 10 - 5
        return torch.stack([level, -level], dim=1)


@dataclass
class FakeClassifier(FakeRun):
    labels: tuple[str, ...] = ("bright", "dark")
    config: TrainConfig = field(default_factory=TrainConfig)
    window: Window | None = None
    spec: Any = field(
        default_factory=lambda: SimpleNamespace(
            sides=None, task="classification", groups=(LabelGroup("label", ("bright", "dark")),)
        )
    )
    input: InputSpec = field(
        default_factory=lambda: InputSpec.from_json(
            {"size": [32, 32], "channels": 1, "normalise": "unit", "mean": [], "std": []}
        )
    )

    def model(self, weights: str) -> torch.nn.Module:
        return Brightness()


def test_a_classifier(judged: Callable[..., dict[str, Any]], levels: Path, tmp_path: Path) -> None:
    index = open_dataset(levels).index
    dark = index.filter((pl.col("split") == "val") & pl.col("name").str.starts_with("dark"))
    wrong = [name for name in dark["name"] if name.endswith(("3", "4"))]
    assert wrong
    found = judged(FakeClassifier(tmp_path / "run"), [levels])
    assert found["samples"] == found["labelled"] == index.filter(pl.col("split") == "val").height
    assert found["accuracy"] == pytest.approx(1 - len(wrong) / found["samples"])
    assert found["classes"]["dark"]["recall"] == pytest.approx(1 - len(wrong) / dark.height)
    assert found["classes"]["dark"]["precision"] == 1
    table = pl.read_parquet(Path(found["folder"]) / "samples.parquet")
    surest = table.sort(pl.col("probability").struct.field("dark"))["name"].to_list()
    assert surest[-1].startswith("dark")
    assert any("accuracy" in line for line in shown(found))


def test_what_a_classifier_cannot_be_asked(
    judged: Callable[..., dict[str, Any]], levels: Path, toy: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainError, match="without windows"):
        judged(FakeClassifier(tmp_path / "run"), [levels], window=Window((32, 32)))
    with pytest.raises(TrainError, match=r"has the labels none; expected .* bright, dark"):
        judged(FakeClassifier(tmp_path / "run"), [toy])


# ---- what a review shows of it --------------------------------------------------------------------------------


def test_worst_predictions_are_those_of_the_lowest_dice(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FakeRun(
        tmp_path / "run", lambda masks, sample: np.roll(masks, 9, axis=2) if "scan1" in sample.name else masks
    )
    monkeypatch.setattr(TrainingRun, "open", lambda folder: run)
    with pytest.raises(TrainError, match=r"was not evaluated yet\. Do it first: augforge evaluate"):
        worst_predictions(run.folder, 5)
    result = evaluate(run.folder, [toy], worst=0)
    table = pl.read_parquet(Path(result["folder"]) / "samples.parquet").select("name", "mean_dice")
    scored = table.with_columns(pl.col("mean_dice").fill_nan(None)).drop_nulls()
    expected = scored.sort("mean_dice", "name")["name"].to_list()
    cases = worst_predictions(run.folder, 2)
    assert [case.name for case in cases] == expected[:2]
    assert cases[0].view.predict is not None and cases[0].view.predicted_classes == run.outputs
    sample: Any = cases[0].view.load()
    assert sample.name == open_dataset(toy).by_name(cases[0].name).name
    predicted = bitmask.to_masks(cases[0].view.predict(), 2)
    truth = [bitmask.class_mask(sample.masks, c) for c in (2, 0)]  # the order of the run's outputs
    shift = 9 if "scan1" in sample.name else 0
    for found, mask in zip(predicted, truth, strict=True):
        assert np.array_equal(found, np.roll(mask, shift, axis=1))
