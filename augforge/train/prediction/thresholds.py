"""Tuning, for each class by itself, the probability from which a pixel is the class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from augforge import bitmask
from augforge.errors import TrainError
from augforge.progress import Progress, Silent
from augforge.report.tables import plural, table
from augforge.store.dataset import Dataset
from augforge.train.evaluation.scores import Truth, dice, truth_of
from augforge.train.labels.thresholds import render_label_thresholds, tune_label_thresholds
from augforge.train.prediction.remaining import remaining_steps, render_preparation
from augforge.train.prediction.tuning import write_thresholds

if TYPE_CHECKING:
    from augforge.train.prediction.inference import Layer
    from augforge.train.run import TrainingRun

GRID = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""0.05, 0.1, ..., 0.95."""


def tune_thresholds(
    run: TrainingRun,
    dataset: Dataset,
    split: str = "val",
    *,
    grid: Sequence[float] = GRID,
    as_is: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Find each class's threshold of the highest mean Dice and write them to the run's ``thresholds.json``.

    Labels get the threshold of the highest F1, see `tune_label_thresholds`.

    Dice is computed as in `evaluation.scores`: by image at the sample's own pixels, 1 if neither prediction nor label
    has any, the mean over the images in which the class is known; ignored pixels do not count. Among equally good
    thresholds, the one nearest to the configured threshold is taken. A class without a positive sample in the split
    keeps the configured threshold: otherwise the highest one would always win.

    The thresholds fit this split; how good they are must be evaluated on another one.

    Args:
        run: a training run.
        dataset: one that the run was not trained on, or one with a validation split.
        split: of the dataset.
        grid: thresholds to try, above 0 and below 1.
        as_is: samples do not go through the preparing steps of the run's datasets; see `evaluate`.
        progress: advances with each sample.
        options: of the predictor: batch_size, tta, window, swap.

    Returns:
        JSON-like: mean Dice before and after, over the classes with positive samples, and the same for each class.

    Raises:
        TrainError: an empty split, a class table that does not fit, or a grid beyond 0 to 1.
    """
    if not run.outputs:
        return tune_label_thresholds(run, dataset, split, grid, progress, as_is=as_is, **options)
    part = dataset.split(split)
    tuning = ThresholdTuner(run.outputs, [*grid, run.config.threshold])
    progress = progress or Silent()
    progress.start("tune thresholds", len(part))
    remaining = remaining_steps(run, part, as_is=as_is)
    predictor = remaining.prepare_for(run.predictor(**options))
    for sample, prediction in predictor.pairs(part):
        tuning.add(prediction.layers(), truth_of(sample, part.classes, run.outputs, run.spec.regions))
        progress.advance(1)
    classes = tuning.classes(run.config.threshold)
    return write_thresholds(
        run,
        part,
        split,
        "mean_dice",
        classes,
        "positive",
        preparation=remaining.report(),
        warnings=[*predictor.warnings, *remaining.warnings()],
    )


class ThresholdTuner:
    """Collects the Dice of each class at each threshold, image by image.

    Each pixel at or above the lowest threshold is counted once: how many pixels lie between two neighbouring
    thresholds, and how many of these are the class, is all that the exact Dice at each threshold needs.

    Args:
        outputs: the classes.
        thresholds: to try.

    Raises:
        TrainError: a threshold that is not above 0 and below 1.
    """

    def __init__(self, outputs: Sequence[str], thresholds: Sequence[float]) -> None:
        self.outputs, self.grid = tuple(outputs), sorted(set(thresholds))
        if not 0 < self.grid[0] <= self.grid[-1] < 1:
            raise TrainError(f"thresholds go from {self.grid[0]:g} to {self.grid[-1]:g}; expected above 0 and below 1")
        self._dice = np.zeros((len(outputs), len(self.grid)))
        self._images = np.zeros((2, len(outputs)), np.int64)  # in which the class is known, and that show it

    def add(self, layers: Iterable[Layer], truth: Truth) -> None:
        """Add an image: its probabilities, float32 (H, W) for each class, and its truth."""
        for c, layer in enumerate(layers):
            if truth.known[c]:
                counts = self._counts(layer, bitmask.class_mask(truth.planes, c).astype(bool), truth.ignore)
                self._dice[c] += dice(counts)
                self._images[:, c] += [1, counts[2, 0] > 0]

    def _counts(self, layer: Layer, mask: NDArray[np.bool_], ignore: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Pixels at each threshold, (3, thresholds): in the intersection, predicted, true."""
        grid = np.array(self.grid, np.float32)
        likely = layer >= grid[0]
        if ignore is not None:
            likely, mask = likely & ~ignore, mask & ~ignore
        reached = np.searchsorted(grid, layer[likely], "right")  # how many thresholds each pixel reaches
        per_step = [np.bincount(part, minlength=len(grid) + 1)[1:] for part in (reached[mask[likely]], reached)]
        at_or_above = [part[::-1].cumsum()[::-1] for part in per_step]
        return np.stack([*at_or_above, np.full(len(grid), np.count_nonzero(mask))])

    def classes(self, default: float) -> list[dict[str, Any]]:
        """For each class: threshold, mean Dice before (at the default) and after, images that know and that show it."""
        entries = []
        for name, dices, known, positive in zip(self.outputs, self._dice, *self._images.tolist(), strict=True):
            best = self._best(dices, default) if positive else self.grid.index(default)
            before, after = (float(dices[i] / known) if known else None for i in (self.grid.index(default), best))
            counts = {"known": known, "positive": positive}
            entries.append({"name": name, "threshold": self.grid[best], "before": before, "after": after, **counts})
        return entries

    def _best(self, dices: NDArray[np.float64], default: float) -> int:
        best = np.flatnonzero(dices >= dices.max() - 1e-9)
        return int(min(best, key=lambda i: abs(self.grid[i] - default)))


def render_thresholds(result: dict[str, Any], console: Console) -> None:
    """Print the result of `tune_thresholds`."""
    if result.get("task") == "classification":
        render_label_thresholds(result, console)
        return
    shown = table("class", "threshold", "Dice before", "after", "samples with it", right=4)
    for entry in result["classes"]:
        dices = ("" if entry[key] is None else f"{entry[key]:.4f}" for key in ("before", "after"))
        style = "" if entry["positive"] else "yellow"
        shown.add_row(Text(entry["name"]), f"{entry['threshold']:.2f}", *dices, f"{entry['positive']:,}", style=style)
    console.print(shown, "", sep="\n")
    render_preparation(result, console)
    kept = [entry["name"] for entry in result["classes"] if not entry["positive"]]
    if kept:
        console.print(Text(f"In no sample of {result['split']}, so not tuned: {', '.join(kept)}\n", "yellow"))
    before, after = result["mean_dice"].values()
    mean = "" if before is None else f"; mean Dice {before:.4f}, now {after:.4f}"
    console.print(Text(f"{plural(result['images'], 'sample')}{mean}: {result['run']}/thresholds.json"), soft_wrap=True)
