"""Cross-validation by groups: every sample predicted by a model that never saw its patient, and its labels judged."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from rich.console import Console
from rich.text import Text

from augforge import bitmask
from augforge.files import replacing
from augforge.keys import digest
from augforge.progress import Progress, Silent
from augforge.report.tables import pairs, table
from augforge.store.dataset import Dataset
from augforge.train.config import TrainConfig
from augforge.train.measure.scores import Truth, dice, number, overlap, truth_of
from augforge.train.prediction.table import About, ClassFound, Predicted, Predictions, image_of, write_predictions
from augforge.train.run import write_json
from augforge.train.study.bootstrap import over_classes
from augforge.train.study.folds import Fold, folds_of
from augforge.train.study.learner import Learn, Learned, Titled, learn, unwatched
from augforge.train.study.quality import class_quality, plainest, propose_drops, source_table, write_table

if TYPE_CHECKING:
    from augforge.train.prediction.inference import Prediction

FOUND = {
    "source": pl.String,
    "name": pl.String,
    "group": pl.String,
    "fold": pl.Int64,
    "class": pl.String,
    "dice": pl.Float64,
    "quality": pl.Float64,
}
"""Columns of `samples.parquet`, one row a sample and class; null where the sample does not know the class."""


class Judged(NamedTuple):
    """Files of a judged fold."""

    scores: Path
    predictions: Path


def crossval(
    dataset: Dataset,
    config: TrainConfig,
    out: Path,
    *,
    folds: int = 5,
    split_seed: int = 0,
    propose: int = 0,
    progress: Progress | None = None,
    learn: Learn = learn,
) -> dict[str, Any]:
    """Train on all folds but one, in turn, and judge the samples of that one.

    Takes the samples of ``train`` and ``val``. Each model is the one at the end of its run. A fold is a folder below
    ``out``, named by what decides it; calling again goes on, and reuses what is finished. ``out`` also gets

    - ``predictions.parquet``: what each sample's model predicts for it, as `augforge predict` writes it,
    - ``samples.parquet``: Dice and label quality of each sample and class,
    - ``label_quality.csv``: one row a source image, for a recipe's ``source.metadata`` (see `quality.source_table`),
    - ``review.yaml``, if asked for: the source images of the lowest quality, as a review file that drops them,
    - ``crossval.json``: what is returned.

    Args:
        dataset: the dataset.
        config: of each run.
        out: folder of the cross-validation.
        folds: how many.
        split_seed: of the hash that deals groups into folds.
        propose: how many source images stand in ``review.yaml``.
        progress: is told how far the work is.
        learn: trains a model; the bundled trainer.

    Raises:
        TrainError: fewer groups than folds, or a fold without a sample to train or judge.
    """
    config, parts = unwatched(config), folds_of(dataset, folds, split_seed)
    told = [Titled(f"fold {fold.number}", progress or Silent()) for fold in parts]
    judged = [_judged(fold, config, out, titled, learn) for fold, titled in zip(parts, told, strict=True)]
    samples = pl.concat([pl.read_parquet(each.scores) for each in judged])
    _write_all(judged, out / "predictions.parquet")
    sources = source_table(samples)
    with replacing(out / "samples.parquet") as path:
        samples.write_parquet(path)
    write_table(sources, out / "label_quality.csv")
    if propose:
        propose_drops(sources, out / "review.yaml", propose)
    found = _found(dataset, parts, samples, sources, out, propose)
    write_json(out / "crossval.json", found)
    return found


# ---- judging a fold --------------------------------------------------------------------------------------------------


def _judged(fold: Fold, config: TrainConfig, out: Path, progress: Progress, learn: Learn) -> Judged:
    """The judgement of a fold, whose model is trained as far as it is not yet."""
    dataset = fold.train
    decides = digest(config.model_dump(mode="json"), dataset.version, sorted(fold.groups))[:8]
    run = out / f"fold{fold.number}-{decides}"
    judged = Judged(run / "judged.parquet", run / "predictions.parquet")
    if not judged.scores.exists():
        learned = learn(dataset, config, run, progress, (fold.train, fold.held))
        scores = judge(fold, learned, judged.predictions, progress)
        with replacing(judged.scores) as temporary:
            scores.write_parquet(temporary)
    return judged


def judge(fold: Fold, learned: Learned, out: Path, progress: Progress) -> pl.DataFrame:
    """Predict the held samples of a fold, at their own pixels, and compare with their labels.

    Args:
        fold: the fold.
        learned: a model that was not trained on it.
        out: the table of predictions to write.
        progress: is told how far the work is.

    Returns:
        a row for each sample and class, see `FOUND`.
    """
    progress.start("judge", len(fold.held))
    rows: list[tuple[Any, ...]] = []
    thresholds = (learned.threshold,) * len(learned.outputs)
    about = About(learned.outputs, thresholds, {"crossval": fold.held.version, "fold": fold.number})
    write_predictions(out, about, _images(fold, learned, rows, progress))
    return pl.DataFrame(rows, schema=FOUND, orient="row").with_columns(pl.col("dice", "quality").fill_nan(None))


def _images(fold: Fold, learned: Learned, rows: list[tuple[Any, ...]], progress: Progress) -> Iterator[Predicted]:
    """Predictions of the held samples, whose judgement is added to the rows."""
    sources = fold.held.index["lineage"].struct.field("roots").list.first().struct.field("name").to_list()
    for source, sample, prediction in zip(sources, fold.held, learned.predict(iter(fold.held)), strict=True):
        truth = truth_of(sample, fold.held.classes, learned.outputs)
        judging = _Judging(truth, learned)
        yield image_of(sample.name, f"{sample.name}.png", judging.classes(prediction))
        scores = zip(learned.outputs, judging.dice(), judging.quality.tolist(), strict=True)
        rows += [(source, sample.name, sample.group, fold.number, *each) for each in scores]
        progress.advance(1)


class _Judging:
    """The judgement of one sample, class by class as its prediction passes."""

    def __init__(self, truth: Truth, learned: Learned) -> None:
        self._truth, self._threshold = truth, learned.threshold
        self._planes = np.zeros_like(bitmask.contiguous(truth.planes))
        self.quality = np.full(len(learned.outputs), np.nan)

    def classes(self, prediction: Prediction) -> Iterator[ClassFound]:
        """Each class's mask, after it is judged."""
        true = bitmask.to_masks(self._truth.planes, len(self.quality))
        for c, (layer, mask) in enumerate(zip(prediction.layers(), true, strict=True)):
            found = layer >= self._threshold
            bitmask.merge_class(self._planes, c, found)
            if self._truth.known[c]:
                self.quality[c] = class_quality(layer, mask, self._truth.ignore)
            yield found, self._threshold, None

    def dice(self) -> list[float]:
        """By class, NaN where the sample does not know it."""
        overlaps = overlap(self._planes, self._truth.planes, len(self.quality), self._truth.ignore)
        found: list[float] = np.where(self._truth.known, dice(overlaps), np.nan).tolist()
        return found


def _write_all(judged: Sequence[Judged], out: Path) -> None:
    """One table of the predictions of all folds."""
    tables = [Predictions(each.predictions) for each in judged]
    about = replace(tables[0].about, made_by={"crossval": tables[0].about.made_by["crossval"]})
    write_predictions(out, about, heapq.merge(*tables, key=lambda image: image.name))


# ---- what it says ----------------------------------------------------------------------------------------------------


def _found(
    dataset: Dataset, parts: Sequence[Fold], samples: pl.DataFrame, sources: pl.DataFrame, out: Path, propose: int
) -> dict[str, Any]:
    classes = samples["class"].unique(maintain_order=True).to_list()
    judged = plainest(samples)
    scores = np.array([_class_means(judged.filter(pl.col("fold") == fold.number), classes) for fold in parts])
    means = over_classes(scores)
    return {
        "dataset": {"name": dataset.name, "folder": str(dataset.folder), "version": dataset.version},
        "folds": [
            {
                "fold": fold.number,
                "groups": len(fold.groups),
                "train": len(fold.train),
                "held": len(fold.held),
                "dice": number(mean),
            }
            for fold, mean in zip(parts, means, strict=True)
        ],
        "mean": _spread(means),
        "by_class": {name: _spread(scores[:, c]) for c, name in enumerate(classes)},
        "samples": samples["name"].n_unique(),
        "sources": sources.height,
        "predictions": str(out / "predictions.parquet"),
        "label_quality": str(out / "label_quality.csv"),
        "review": str(out / "review.yaml") if propose else None,
        "worst": sources.head(max(10, propose)).to_dicts(),
    }


def _class_means(samples: pl.DataFrame, classes: Sequence[str]) -> list[float]:
    found: dict[str, float | None] = dict(samples.group_by("class").agg(pl.col("dice").mean()).iter_rows())
    return [np.nan if (mean := found.get(name)) is None else mean for name in classes]


def _spread(values: Any) -> dict[str, float | None]:
    """Mean and standard deviation over folds."""
    known = values[np.isfinite(values)]
    sd = float(known.std(ddof=1)) if len(known) > 1 else None
    return {"dice": float(known.mean()) if len(known) else None, "sd": sd}


def render_crossval(found: dict[str, Any], console: Console) -> None:
    """Print what `crossval` found."""
    folds = table("fold", "groups", "trained on", "judged", "Dice", right=4)
    for entry in found["folds"]:
        counts = (f"{entry[key]:,}" for key in ("groups", "train", "held"))
        folds.add_row(str(entry["fold"]), *counts, _said(entry["dice"]))
    console.print(folds, "", sep="\n")
    classes = table("class", "Dice", "sd over folds", right=2)
    for name, entry in (("mean", found["mean"]), *found["by_class"].items()):
        classes.add_row(Text(name, "bold" if name == "mean" else ""), _said(entry["dice"]), _said(entry["sd"]))
    console.print(classes, "", sep="\n")
    worst = table("lowest label quality", "quality", "Dice", "worst class", "its Dice", right=4)
    for row in found["worst"]:
        scores = (_said(row["quality"]), _said(row["dice"]), Text(row["worst_class"]), _said(row["worst_dice"]))
        worst.add_row(Text(row["name"]), *scores)
    console.print(worst, "", sep="\n")
    files = {
        "predictions": found["predictions"],
        "label quality": found["label_quality"],
        "proposed drops": found["review"],
    }
    console.print(pairs({what: place for what, place in files.items() if place}))


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
