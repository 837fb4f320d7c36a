"""Predicting labels: views, tables, thresholds and ensembles, by a network whose answers are known."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from fakelabels import label_dataset
from PIL import Image
from torch import nn

from augforge.errors import TrainError
from augforge.ops.core import OPS
from augforge.store.dataset import Dataset
from augforge.train.config import TrainConfig
from augforge.train.data.inputspec import InputSpec
from augforge.train.labels.ensemble import ensemble_labels
from augforge.train.labels.groups import LabelGroup
from augforge.train.labels.predictor import LabelPredictor, activate
from augforge.train.labels.table import LabelHeader, LabelRow, LabelTable, write_label_csv, write_labels
from augforge.train.labels.thresholds import tune
from augforge.train.prediction.ensemble import ensemble
from augforge.train.prediction.inference import Window
from augforge.train.prediction.predict import predict
from augforge.train.prediction.thresholds import tune_thresholds
from augforge.train.preparation import Preparation, PreparedStep

SIDES = (LabelGroup("side", ("left", "right")),)
GRAYS = (LabelGroup("gray", ("bright", "dark"), multi=True),)
UNIT = InputSpec((32, 32), 1, "unit")


class Brighter(nn.Module):
    """Says on which side the image is brighter: logits of the mean of its left and its right half."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        half = images.shape[3] // 2
        return torch.stack([images[..., :half].mean((1, 2, 3)), images[..., half:].mean((1, 2, 3))], dim=1)


class Gray(nn.Module):
    """Logits of bright and dark: how far the mean is above or below the middle."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        level = images.mean((1, 2, 3)) * 4 - 2
        return torch.stack([level, -level], dim=1)


@dataclass
class FakeRun:
    folder: Path
    network: nn.Module = field(default_factory=Gray)
    groups: tuple[LabelGroup, ...] = GRAYS
    thresholds: tuple[float, ...] = (0.5, 0.5)
    outputs: tuple[str, ...] = ()
    window: Window | None = None
    input: InputSpec = UNIT
    config: TrainConfig = field(default_factory=TrainConfig)
    datasets: tuple[dict[str, str], ...] = ({"name": "d", "version": "v"},)
    preparations: tuple[Any, ...] = ()

    @property
    def spec(self) -> Any:
        return SimpleNamespace(task="classification", groups=self.groups, sides=None)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(label for group in self.groups for label in group.labels)

    def model(self, weights: str) -> nn.Module:
        return self.network


def run(folder: Path, **values: Any) -> Any:
    folder.mkdir(exist_ok=True)
    return FakeRun(folder, **values)


def gray(value: float) -> float:
    """What `Gray` gives for bright."""
    return float(1 / (1 + np.exp(-(value / 255 * 4 - 2))))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name, value in {"a": 30, "P1/b": 200}.items():
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 40), value, np.uint8)).save(path)
    return tmp_path / "images"


def test_alternatives_sum_to_one_and_others_do_not() -> None:
    groups = (*SIDES, LabelGroup("found", ("x",), multi=True))
    found = activate(torch.tensor([[1.0, 2.0, 0.0]]), groups)[0].tolist()
    assert found == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e), 0.5])


def test_mirrored_views_exchange_the_labels_of_sides() -> None:
    images = torch.zeros(1, 1, 32, 32)
    images[..., :16] = 1.0  # bright on the left: logits 1 and 0

    def found(*tta: str, swap: Any = None) -> list[float]:
        predictor = LabelPredictor(Brighter(), SIDES, UNIT, torch.device("cpu"), tta=tta, swap=swap)
        return list(map(float, predictor.probabilities(images)[0]))

    sure = float(math.e / (1 + math.e))
    assert found() == pytest.approx([sure, 1 - sure])
    assert found("hflip", swap=[("left", "right")]) == pytest.approx([sure, 1 - sure])
    assert found("hflip", swap=[]) == pytest.approx([0.5, 0.5])
    assert found("vflip") == pytest.approx([0.5, 0.5]), "any mirror exchanges sides"
    assert found("vflip", "scale2", swap=[]) == pytest.approx([sure, 1 - sure], abs=2e-3), "scaling blurs the edge"


def test_a_folder_is_predicted(tmp_path: Path, images: Path) -> None:
    out, table = tmp_path / "p.parquet", tmp_path / "p.csv"
    found = predict(run(tmp_path / "run"), images, out, csv=table, overlays=tmp_path / "pictures")
    assert found["images"] == 2 and found["task"] == "classification"
    frame = pl.read_parquet(out)
    assert frame["name"].to_list() == ["P1/b", "a"] and frame["width"].to_list() == [40, 40]
    assert [row["bright"] for row in frame["probability"]] == pytest.approx([gray(200), gray(30)], abs=1e-6)
    assert frame["predicted"].to_list() == [["bright"], ["dark"]]
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0] == ["image_name", "bright", "dark", "predicted"]
    assert [(row[0], row[3]) for row in rows[1:]] == [("b.png", "bright"), ("a.png", "dark")]
    assert float(rows[1][1]) == pytest.approx(gray(200), abs=1e-5)
    assert (tmp_path / "pictures/P1/b.png").exists()
    assert [entry["images"] for entry in found["classes"]] == [1, 1]
    assert found["classes"][0]["probability"] == pytest.approx((gray(200) + gray(30)) / 2)


def test_tuned_thresholds_decide(tmp_path: Path, images: Path) -> None:
    predict(run(tmp_path / "run", thresholds=(0.9, 0.1)), images, tmp_path / "p.parquet")
    assert pl.read_parquet(tmp_path / "p.parquet")["predicted"].to_list() == [["dark"], ["dark"]]


def test_windows_of_an_image_get_their_mean(tmp_path: Path) -> None:
    rows = {f"P{n}/x": [float(n % 2), 1.0] for n in range(4)}
    windows = "[{op: sliding_window, size: 32, stride: 32}]"
    dataset = label_dataset(tmp_path, ("bright", "dark"), rows, split="{}", steps=windows, side=64)
    assert len(dataset) == 16
    predict(run(tmp_path / "run"), dataset, tmp_path / "p.parquet")
    frame = pl.read_parquet(tmp_path / "p.parquet")
    assert frame["name"].to_list() == sorted(rows) and frame["width"].to_list() == [64] * 4
    assert [row["bright"] for row in frame["probability"]] == pytest.approx([gray(3 * n) for n in range(4)], abs=1e-6)


def test_what_happens_while_images_are_prepared_is_told(tmp_path: Path, images: Path) -> None:
    """A classifier finds no masks to turn images by, and the step would drop them: told of those of all batches."""
    for name, value in {"c": 120, "P1/d": 7}.items():
        Image.fromarray(np.full((40, 40), value, np.uint8)).save(images / f"{name}.png")
    params = {"axis": {"from": ["a"], "to": ["b"]}, "fallback": "drop"}
    version = OPS["rotate_normalise"].version
    step = PreparedStep("upright", "rotate_normalise", version, "", 0, params, None, ("a", "b"), 0)
    prepared = run(tmp_path / "run", preparations=(Preparation("d", "v", (step,)),))
    found = predict(prepared, images, tmp_path / "p.parquet", batch_size=1)
    assert [text.partition(";")[0].partition(" to turn")[0] for text in found["warnings"]] == [
        "no classes",
        "a preparing step would have dropped the image",
    ]
    assert all(text.endswith(": P1/b, P1/d, a, c") for text in found["warnings"])
    assert predict(prepared, images, tmp_path / "q.parquet", as_is=True)["warnings"] == []


def test_windows_are_refused(tmp_path: Path, images: Path) -> None:
    with pytest.raises(TrainError, match="without windows"):
        predict(run(tmp_path / "run"), images, tmp_path / "p.parquet", window=Window((32, 32)))
    with pytest.raises(TrainError, match="called 'predicted', as a column of the CSV is"):
        named = (LabelGroup("x", ("predicted", "b")),)
        predict(run(tmp_path / "run", groups=named), images, tmp_path / "p.parquet", csv=tmp_path / "p.csv")
    assert not (tmp_path / "p.parquet").exists()


# ---- thresholds ------------------------------------------------------------------------------------------------------


def test_the_threshold_of_the_highest_f1_nearest_to_the_configured_one(tmp_path: Path) -> None:
    said = np.array([[0.1, 0.1, 0.2], [0.32, 0.2, 0.3], [0.46, 0.9, 0.4], [0.9, 0.95, 0.5]], np.float32)
    true = np.array([[0, 1, 0], [0, 0, 0], [1, 1, 0], [1, 0, 0]], bool)
    groups = (LabelGroup("found", ("a", "b", "never"), multi=True),)
    entries = tune(
        run(tmp_path / "run", groups=groups), said, true, np.ones_like(true), (0.05, 0.35, 0.4, 0.45, 0.5, 0.95)
    )
    assert [entry["threshold"] for entry in entries] == [0.45, 0.05, 0.5]
    assert entries[0]["before"] == pytest.approx(2 / 3) and entries[0]["after"] == 1
    assert entries[1]["after"] == pytest.approx(2 * 2 / (2 + 4))
    assert [entry["tuned"] for entry in entries] == [True, True, False]


def test_tuning_writes_what_predicting_reads(tmp_path: Path) -> None:
    rows = {f"P{n}/x": [float(n > 6), float(n < 3)] for n in range(10)}
    dataset: Dataset = label_dataset(tmp_path, ("bright", "dark"), rows, split="{val: 0.5}")
    found = tune_thresholds(run(tmp_path / "run"), dataset, "val", grid=(0.1, 0.12, 0.14, 0.9))
    assert found["task"] == "classification" and (tmp_path / "run/thresholds.json").exists()
    assert set(found["thresholds"]) == {"bright", "dark"}
    with pytest.raises(TrainError, match="predicts the likeliest of left, right, which has no threshold"):
        tune_thresholds(run(tmp_path / "run", groups=SIDES), dataset, "val")
    with pytest.raises(TrainError, match=r"has the labels bright, dark; expected those .* bright, grim"):
        grim = (LabelGroup("gray", ("bright", "grim"), multi=True),)
        tune_thresholds(run(tmp_path / "run", groups=grim), dataset, "val")


# ---- ensembles -------------------------------------------------------------------------------------------------------


def write(path: Path, groups: tuple[LabelGroup, ...], rows: Sequence[Sequence[float]], threshold: float = 0.5) -> Path:
    labels = sum(len(group.labels) for group in groups)
    header = LabelHeader(groups, (threshold,) * labels, {"run": path.stem})
    names = [f"i{n}" for n in range(len(rows))]
    images = [
        LabelRow(name, f"{name}.png", 8, 8, np.array(row, np.float32)) for name, row in zip(names, rows, strict=True)
    ]
    write_labels(path, header, images)
    return path


def joined(out: Path) -> list[list[str]]:
    return pl.read_parquet(out)["predicted"].to_list()


def test_the_mean_of_probabilities(tmp_path: Path) -> None:
    a = write(tmp_path / "a.parquet", GRAYS, [[0.2, 0.9], [0.6, 0.3]], 0.4)
    turned = (LabelGroup("gray", ("dark", "bright"), multi=True),)  # labels are found by name
    b = write(tmp_path / "b.parquet", turned, [[0.5, 0.8], [0.1, 0.3]], 0.6)
    found = ensemble([a, b], tmp_path / "m.parquet", "mean", weights=[3, 1], csv=tmp_path / "m.csv")
    rows = [list(row.values()) for row in pl.read_parquet(tmp_path / "m.parquet")["probability"]]
    np.testing.assert_allclose(rows, [[0.35, 0.8], [0.525, 0.25]], atol=1e-6)
    assert LabelTable(tmp_path / "m.parquet").header.thresholds == (0.45, 0.45)
    assert joined(tmp_path / "m.parquet") == [["dark"], ["bright"]]
    assert found["weights"] == [0.75, 0.25]
    ensemble([a, b], tmp_path / "m.parquet", "mean", weights=[3, 1], threshold=0.35)
    assert joined(tmp_path / "m.parquet")[0] == ["bright", "dark"], "a probability that reaches the threshold"


def test_the_majority_of_votes(tmp_path: Path) -> None:
    rows: list[list[float]] = [[0.9, 0.6], [0.9, 0.4], [0.1, 0.55], [0, 0]]
    members = [write(tmp_path / f"{n}.parquet", GRAYS, [row]) for n, row in enumerate(rows)]
    ensemble(members, tmp_path / "v.parquet")
    assert joined(tmp_path / "v.parquet") == [[]], "half of the weight is not enough"
    ensemble(members[:3], tmp_path / "v.parquet")
    assert joined(tmp_path / "v.parquet") == [["bright", "dark"]]
    ensemble(members, tmp_path / "v.parquet", threshold=0.5)
    assert joined(tmp_path / "v.parquet") == [["bright", "dark"]]


def test_equal_votes_for_alternatives_go_to_the_likelier(tmp_path: Path) -> None:
    a = write(tmp_path / "a.parquet", SIDES, [[0.55, 0.45]])
    b = write(tmp_path / "b.parquet", SIDES, [[0.2, 0.8]])
    ensemble([a, b], tmp_path / "v.parquet")
    assert joined(tmp_path / "v.parquet") == [["right"]]
    ensemble([a, a, b], tmp_path / "v.parquet")
    assert joined(tmp_path / "v.parquet") == [["left"]], "more votes outdo any probability"
    with pytest.raises(TrainError, match="so there is no threshold"):
        ensemble([a, b], tmp_path / "v.parquet", threshold=0.4)


def probabilities(out: Path) -> list[list[Any]]:
    return [list(row.values()) for row in pl.read_parquet(out)["probability"]]


def test_tables_weigh_label_by_label(tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    turned = (LabelGroup("gray", ("dark", "bright"), multi=True),)
    a = write(tmp_path / "a.parquet", GRAYS, [[0.2, 0.9]], 0.4)
    b = write(tmp_path / "b.parquet", turned, [[0.5, 0.8]], 0.6)
    found = ensemble([a, b], out, "mean", weights=[3, 1], class_weights={"dark": [0, 5], "bright": [1, 1]})
    assert found["class_weights"] == {"dark": [0, 1], "bright": [0.5, 0.5]}
    np.testing.assert_allclose(probabilities(out), [[0.5, 0.5]], atol=1e-6)
    assert LabelTable(out).header.thresholds == (0.5, 0.6)
    assert joined(out) == [["bright"]]
    ensemble([a, a, b], out, class_weights={"dark": [1, 1, 3]})
    np.testing.assert_allclose(probabilities(out), [[1 / 3, 0.4]], atol=1e-6)


def test_weighed_alternatives_sum_to_one(tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    a = write(tmp_path / "a.parquet", SIDES, [[0.6, 0.4], [0, 1]])
    b = write(tmp_path / "b.parquet", SIDES, [[0.2, 0.8], [1, 0]])
    ensemble([a, b], out, "mean", class_weights={"left": [1, 0]})
    np.testing.assert_allclose(probabilities(out), [[0.6 / 1.2, 0.6 / 1.2], [0.0, 1.0]], atol=1e-6)
    ensemble([a, b], out, "mean", class_weights={"left": [1, 0], "right": [0, 1]})
    np.testing.assert_allclose(probabilities(out), [[0.6 / 1.4, 0.8 / 1.4], [0.5, 0.5]], atol=1e-6)
    ensemble([a, b], out, class_weights={"left": [3, 1], "right": [3, 1]})
    assert joined(out) == [["left"], ["right"]]
    with pytest.raises(TrainError, match=r"class weights name 'lefd', .* Did you mean 'left'\?"):
        ensemble([a, b], out, class_weights={"lefd": [1, 2]})


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a.parquet", SIDES, [[0.5, 0.5]])
    others = {
        "labels: left, up": ((LabelGroup("side", ("up", "right")),), [[0.5, 0.5]]),
        "another task": ((LabelGroup("side", ("left", "right"), multi=True),), [[0.5, 0.5]]),
        "has no image i1": (SIDES, [[0.5, 0.5]] * 2),
    }
    for message, (groups, rows) in others.items():
        with pytest.raises(TrainError, match=message):
            ensemble([a, write(tmp_path / "b.parquet", groups, rows)], tmp_path / "v.parquet")
    (tmp_path / "no.parquet").write_text("x")
    with pytest.raises(TrainError, match=r"no.parquet is no table of predicted labels"):
        ensemble_labels([a, tmp_path / "no.parquet"], tmp_path / "v.parquet", "mean", [0.5, 0.5])
    with pytest.raises(TrainError, match="comes after i1"):
        wrong = [LabelRow(name, name, 8, 8, np.zeros(2, np.float32)) for name in ("i1", "i0")]
        write_labels(tmp_path / "w.parquet", LabelHeader(SIDES, (0.5, 0.5), {}), wrong)


def test_names_of_images_in_the_csv(tmp_path: Path) -> None:
    rows = [LabelRow(name, f"{name}.png", 8, 8, np.array([0.25, 0.75], np.float32)) for name in ("A/one", "B/one")]
    write_labels(tmp_path / "t.parquet", LabelHeader(SIDES, (0.5, 0.5), {}), rows)
    write_label_csv(tmp_path / "t.parquet", tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "A/one.png,0.25,0.75,right"
    with pytest.raises(TrainError, match=r"2 images have the file name one\.png"):
        write_label_csv(tmp_path / "t.parquet", tmp_path / "t.csv", "file")
