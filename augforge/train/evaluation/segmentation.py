"""All metrics of segmentation, sample by sample, and the files they are written to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from augforge import bitmask
from augforge.report.paint import Picture
from augforge.report.show import save_png
from augforge.sample import Sample
from augforge.store.dataset import Dataset
from augforge.train.evaluation import pictures
from augforge.train.evaluation.boundary import boundary
from augforge.train.evaluation.breakdown import Breakdown
from augforge.train.evaluation.calibration import Calibration
from augforge.train.evaluation.scores import PerClass, mean_known, mean_of, none_if_nan, truth_of
from augforge.train.evaluation.totals import FIGURES, Scores
from augforge.train.run import write_frame

if TYPE_CHECKING:
    from augforge.train.prediction.inference import Prediction

ID_COLUMNS = ("id", "name", "group", "split")
"""Columns of the index that come first in tables of samples."""


class SegmentationMetrics:
    """Collects the metrics of predictions, sample by sample; it keeps no pixels but the masks of the worst samples.

    Args:
        outputs: the classes that are predicted.
        thresholds: for each class, the probability from which a pixel is the class.
        tolerance: pixels by which an outline may be off in surface Dice.
        worst: number of samples with the lowest mean Dice to draw.
        regions: classes that only weighed pixels in training.
    """

    def __init__(
        self,
        outputs: Sequence[str],
        thresholds: Sequence[float],
        tolerance: float,
        worst: int,
        regions: Sequence[str] = (),
    ) -> None:
        self.outputs, self.thresholds, self.tolerance, self._keep = tuple(outputs), thresholds, tolerance, worst
        self.scores, self._regions = Scores(self.outputs), regions
        self.breakdown = Breakdown(self.outputs)
        self.calibration = Calibration(len(self.outputs))
        self._rows: list[dict[str, Any]] = []
        self._worst: list[tuple[float, int, Dataset, int, bytes]] = []

    def add(self, part: Dataset, i: int, sample: Sample, prediction: Prediction) -> None:
        """Add the prediction of sample `i` of a dataset."""
        truth = truth_of(sample, part.classes, self.outputs, self._regions)
        predicted = prediction.planes(self.thresholds)
        dices = self.scores.add(predicted, truth, prediction.layers)
        self.calibration.add(prediction.layers(), predicted, truth)
        counted, counted_truth = truth.clear_uncounted(predicted), truth.clear_uncounted(truth.planes)
        self.breakdown.add(counted, counted_truth)
        surface, farthest = boundary(counted, counted_truth, len(self.outputs), self.tolerance)
        mean = mean_known(dices)
        by_class = {
            "dice": self._by_class(dices),
            "surface_dice": self._by_class(surface),
            "hd95": self._by_class(farthest),
        }
        ids = part.index.select(ID_COLUMNS).row(i, named=True)
        self._rows.append({**ids, "mean_dice": mean, **by_class})
        if mean is not None:
            self._worst.append((mean, len(self._rows) - 1, part, i, bitmask.encode(predicted)))
            self._worst = sorted(self._worst, key=lambda entry: entry[:2])[: self._keep]

    def _by_class(self, values: PerClass) -> dict[str, float | None]:
        return {name: none_if_nan(value) for name, value in zip(self.outputs, values, strict=True)}

    def write(self, folder: Path) -> dict[str, Any]:
        """Write ``samples.parquet`` and the pictures to a folder; return `to_json` and the ``worst`` samples."""
        self._write_samples(folder / "samples.parquet")
        result = self.to_json()
        save_png(pictures.confusion(result["classes"]), folder / "errors.png")
        (folder / "confusion.png").unlink(missing_ok=True)
        if result["confusion"] is not None:
            save_png(pictures.label_confusion(result["confusion"]), folder / "confusion.png")
        save_png(pictures.reliability(result["classes"]), folder / "reliability.png")
        return {**result, "worst": pictures.save_worst(self._draw_worst(), folder)}

    def to_json(self) -> dict[str, Any]:
        """All metrics: means over the classes, and each class's own in ``classes``."""
        score, errors, calibration = self.scores.score().to_json(), self.breakdown.to_json(), self.calibration.to_json()
        outlines = [self._class_means(name) for name in self.outputs]
        columns = zip(self.outputs, outlines, errors["classes"], calibration["classes"], strict=True)
        classes = {
            name: {**score["classes"][name], **outline, **breakdown, **reliability}
            for name, outline, breakdown, reliability in columns
        }
        means = {key: mean_of(outlines, key) for key in ("surface_dice", "hd95")}
        return {
            **{key: score[key] for key in FIGURES},
            **means,
            "surface_tolerance": self.tolerance,
            "ece": calibration["ece"],
            "brier": calibration["brier"],
            "thresholds": dict(zip(self.outputs, self.thresholds, strict=True)),
            "classes": classes,
            "most_confused": errors["pairs"],
            "overlaps": score["overlaps"],
            "confusion": self._confusion(),
        }

    def _confusion(self) -> dict[str, Any] | None:
        """Pixels by true label (row) and predicted label (column), the background first; None if classes overlap."""
        found = self.scores.confusion
        return {"labels": ["background", *self.outputs], "pixels": found.table.tolist()} if found.exclusive else None

    def _write_samples(self, path: Path) -> None:
        """Write one row per sample; `dice`, `surface_dice` and `hd95` are structs with a field for each class."""
        by_class = pl.Struct(dict.fromkeys(self.outputs, pl.Float64))
        columns = dict.fromkeys(("dice", "surface_dice", "hd95"), by_class)
        schema: dict[str, Any] = {**dict.fromkeys(ID_COLUMNS, pl.String), "mean_dice": pl.Float64, **columns}
        write_frame(path, pl.DataFrame(self._rows, schema=schema))

    def _class_means(self, name: str) -> dict[str, Any]:
        """Means of a class over the samples that have them, and the number of samples with an HD95."""
        surface, farthest = (
            np.array([row[key][name] for row in self._rows], float) for key in ("surface_dice", "hd95")
        )
        counted = int(np.count_nonzero(~np.isnan(farthest)))
        return {"surface_dice": mean_known(surface), "hd95": mean_known(farthest), "hd95_images": counted}

    def _draw_worst(self) -> Iterator[tuple[Picture, dict[str, Any]]]:
        """Pictures of the worst samples, and their names and mean Dice."""
        for mean, row, part, i, masks in self._worst:
            sample = part[i]
            truth = truth_of(sample, part.classes, self.outputs, self._regions)
            predicted = bitmask.decode(masks, sample.height, sample.width, len(self.outputs))
            picture = pictures.errors(sample, predicted, truth, self.outputs, self._rows[row]["dice"])
            yield picture, {"name": sample.name, "mean_dice": mean}
