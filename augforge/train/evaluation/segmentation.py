"""Everything that is measured of predictions, sample by sample, and what of it is written down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from augforge import bitmask
from augforge.files import replacing
from augforge.report.show import save_png
from augforge.sample import Sample
from augforge.store.dataset import Dataset
from augforge.train.evaluation import pictures
from augforge.train.evaluation.boundary import boundary
from augforge.train.evaluation.breakdown import Breakdown
from augforge.train.evaluation.calibration import Calibration
from augforge.train.evaluation.scores import PerClass, Scores, mean_known, none_if_nan, truth_of

if TYPE_CHECKING:
    from augforge.train.prediction.inference import Prediction

ID_COLUMNS = ("id", "name", "group", "split")
"""Columns of the index that tables of samples begin with."""


class SegmentationMetrics:
    """Collects what is measured, sample by sample; of pixels it keeps the encoded masks of the worst alone.

    Args:
        outputs: the classes that are predicted.
        thresholds: the probability from which a pixel is the class, of each.
        tolerance: pixels by which an outline may be off in surface Dice.
        worst: how many samples of the lowest mean Dice are drawn.
    """

    def __init__(self, outputs: Sequence[str], thresholds: Sequence[float], tolerance: float, worst: int) -> None:
        self.outputs, self.thresholds, self.tolerance, self._keep = tuple(outputs), thresholds, tolerance, worst
        self.scores = Scores(self.outputs)
        self.breakdown = Breakdown(self.outputs)
        self.calibration = Calibration(len(self.outputs))
        self._rows: list[dict[str, Any]] = []
        self._worst: list[tuple[float, int, Dataset, int, bytes]] = []

    def add(self, part: Dataset, i: int, sample: Sample, prediction: Prediction) -> None:
        """Measure the prediction of sample `i` of a dataset."""
        truth = truth_of(sample, part.classes, self.outputs)
        predicted = prediction.planes(self.thresholds)
        dices = self.scores.add(predicted, truth)
        self.calibration.add(prediction.layers(), predicted, truth)
        counted, true = truth.clear_uncounted(predicted), truth.clear_uncounted(truth.planes)
        self.breakdown.add(counted, true)
        surface, farthest = boundary(counted, true, len(self.outputs), self.tolerance)
        mean = mean_known(dices)
        figures = {"dice": self._named(dices), "surface_dice": self._named(surface), "hd95": self._named(farthest)}
        about = part.index.select(ID_COLUMNS).row(i, named=True)
        self._rows.append({**about, "mean_dice": mean, **figures})
        if mean is not None:
            self._worst.append((mean, len(self._rows) - 1, part, i, bitmask.encode(predicted)))
            self._worst = sorted(self._worst, key=lambda entry: entry[:2])[: self._keep]

    def _named(self, values: PerClass) -> dict[str, float | None]:
        return {name: none_if_nan(value) for name, value in zip(self.outputs, values, strict=True)}

    def write(self, folder: Path) -> dict[str, Any]:
        """Write ``samples.parquet`` and the pictures into a folder, and return `to_json` with the ``worst``."""
        self._write_samples(folder / "samples.parquet")
        found = self.to_json()
        save_png(pictures.confusion(found["classes"]), folder / "errors.png")
        save_png(pictures.reliability(found["classes"]), folder / "reliability.png")
        return {**found, "worst": self._draw_worst(folder)}

    def to_json(self) -> dict[str, Any]:
        """All figures: means over the classes, and each class's own in ``classes``."""
        score, errors, calibration = self.scores.score().to_json(), self.breakdown.to_json(), self.calibration.to_json()
        outlines = [self._over_samples(name) for name in self.outputs]
        columns = zip(self.outputs, outlines, errors["classes"], calibration["classes"], strict=True)
        classes = {name: {**score["classes"][name], **line, **wrong, **said} for name, line, wrong, said in columns}
        means = {key: mean_known(np.array([each[key] for each in outlines], float)) for key in ("surface_dice", "hd95")}
        return {
            **{key: score[key] for key in ("mean_dice", "mean_iou", "pooled_dice")},
            **means,
            "surface_tolerance": self.tolerance,
            "ece": calibration["ece"],
            "brier": calibration["brier"],
            "thresholds": dict(zip(self.outputs, self.thresholds, strict=True)),
            "classes": classes,
            "most_confused": errors["pairs"],
        }

    def _write_samples(self, path: Path) -> None:
        """A row a sample; `dice`, `surface_dice` and `hd95` are structs with a field for each class."""
        figures = pl.Struct(dict.fromkeys(self.outputs, pl.Float64))
        columns = dict.fromkeys(("dice", "surface_dice", "hd95"), figures)
        schema: dict[str, Any] = {**dict.fromkeys(ID_COLUMNS, pl.String), "mean_dice": pl.Float64, **columns}
        with replacing(path) as temporary:
            pl.DataFrame(self._rows, schema=schema).write_parquet(temporary)

    def _over_samples(self, name: str) -> dict[str, Any]:
        """Means of a class over the samples with an outline, and over how many HD95 is one."""
        surface, farthest = (
            np.array([row[key][name] for row in self._rows], float) for key in ("surface_dice", "hd95")
        )
        counted = int(np.count_nonzero(~np.isnan(farthest)))
        return {"surface_dice": mean_known(surface), "hd95": mean_known(farthest), "hd95_images": counted}

    def _draw_worst(self, folder: Path) -> list[dict[str, Any]]:
        """Draw the worst samples; returns their names, mean Dice and pictures."""
        for stale in folder.glob("worst-*.png"):
            stale.unlink()
        drawn = []
        for rank, (mean, row, part, i, masks) in enumerate(self._worst, start=1):
            sample = part[i]
            truth = truth_of(sample, part.classes, self.outputs)
            predicted = bitmask.decode(masks, sample.height, sample.width, len(self.outputs))
            picture = pictures.errors(sample, predicted, truth, self.outputs, self._rows[row]["dice"])
            save_png(picture, folder / f"worst-{rank}.png")
            drawn.append({"name": sample.name, "mean_dice": mean, "picture": f"worst-{rank}.png"})
        return drawn
