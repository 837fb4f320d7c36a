"""Source images that models disagree with: labels that a cross-validation doubts, and worst predictions of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from augforge.bitmask import Planes
from augforge.errors import TrainError
from augforge.report.review.case import Case, Reason, View
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.study.quality import least_derived

if TYPE_CHECKING:
    from augforge.sample import Sample


def doubted_labels(folder: Path, worst: int) -> list[Case]:
    """The source images of the lowest label quality of a cross-validation, each with what was predicted for it.

    Args:
        folder: that `augforge crossval` wrote.
        worst: how many.

    Raises:
        TrainError: the folder is no cross-validation.
        DatasetError: its dataset is gone.
    """
    result = _read_json(folder / "crossval.json", f"{folder} is no cross-validation. Make one: augforge crossval")
    entry = result["dataset"]
    dataset = open_dataset(entry["folder"], entry["version"])
    quality = pl.read_csv(folder / "label_quality.csv", schema_overrides={"name": pl.String})
    scores = pl.read_parquet(folder / "samples.parquet", glob=False)
    samples = least_derived(scores.select("source", "name").unique())
    shown = dict(samples.sort("source", "name", descending=True).iter_rows())  # of several, the first by name
    predicted = (
        _Stored(folder / "predictions.parquet") if "dice" in scores.columns else None
    )  # of labels there are none
    return [
        _doubted(row, dataset, shown[row["name"]], predicted)
        for row in quality.sort("quality", "name").head(worst).iter_rows(named=True)
        if row["name"] in shown
    ]


def _doubted(row: dict[str, Any], dataset: Dataset, name: str, predicted: _Stored | None) -> Case:
    worst = row.get("worst_class")
    text = f"labels and model agree with {row['quality']:.3f}" + (f", worst in {worst}" if worst else "")
    view = View(lambda: dataset.by_name(name), dataset.classes)
    if predicted is not None:
        view = replace(view, predict=lambda: predicted.planes(name), predicted_classes=predicted.classes)
    reason = Reason("label quality", text, row["quality"])
    return Case(row["name"], *_group_and_split(dataset, name), (reason,), view)


def _group_and_split(dataset: Dataset, name: str) -> tuple[str, str]:
    group, split = dataset.index.select("group", "split").row(dataset.position(name))
    return group, split


def worst_predictions(run_folder: Path, worst: int) -> list[Case]:
    """The source images of the samples with the lowest mean Dice in the evaluations of a run.

    A sample is predicted when it is looked at. One that was made of several images is a case of each.

    Args:
        run_folder: of a training run that was evaluated.
        worst: how many samples.

    Raises:
        TrainError: the folder is no run, predicts labels, or was not evaluated.
        DatasetError: a dataset that it was evaluated on is gone.
    """
    from augforge.train.run import TrainingRun

    run = TrainingRun.open(run_folder)
    if run.spec.task != "segmentation":
        raise TrainError(f"{run_folder} predicts labels; expected a run that predicts masks")
    folders = sorted(path.parent for path in run_folder.glob("evaluation/*/evaluation.json"))
    if not folders:
        raise TrainError(f"{run_folder} was not evaluated yet. Do it first: augforge evaluate {run_folder} DATASET")
    rows = [row for folder in folders for row in _evaluated(folder)]
    rows.sort(key=lambda row: (row[0], row[2]))
    predict = _predict_by(run)
    return [
        case for dice, dataset, name in rows[:worst] for case in _mistaken(dice, dataset, name, predict, run.outputs)
    ]


def _evaluated(folder: Path) -> Iterator[tuple[float, Dataset, str]]:
    """Mean Dice, dataset and name of each sample of an evaluation that has a Dice."""
    result = _read_json(folder / "evaluation.json", f"{folder} is damaged. Evaluate the run again")
    table = pl.read_parquet(folder / "samples.parquet", glob=False).select("name", pl.col("mean_dice").fill_nan(None))
    for entry in result["datasets"]:
        dataset = open_dataset(entry["path"], entry["version"])
        names = {*dataset.index["name"]}
        for name, mean in table.drop_nulls().iter_rows():
            if name in names:
                yield mean, dataset, name


def _mistaken(
    dice: float, dataset: Dataset, name: str, predict: Callable[[Dataset, Sample], Planes], outputs: Sequence[str]
) -> Iterator[Case]:
    reason = Reason("prediction", f"mean Dice {dice:.3f} of {name}", dice)
    view = View(
        lambda: dataset.by_name(name),
        dataset.classes,
        (),
        lambda: predict(dataset, dataset.by_name(name)),
        tuple(outputs),
    )
    group, split = _group_and_split(dataset, name)
    for root in dataset.by_name(name).lineage.roots:
        yield Case(root.name, group, split, (reason,), view)


def _predict_by(run: Any) -> Callable[[Dataset, Sample], Planes]:
    """Predicts a sample of a dataset, after the preparing steps that it still has to go through."""
    from augforge.train.prediction.inference import planes_from_layers
    from augforge.train.prediction.remaining import remaining_steps

    @cache
    def predictor(dataset: Dataset) -> Any:
        return remaining_steps(run, dataset).prepare_for(run.predictor())

    def predict(dataset: Dataset, sample: Sample) -> Planes:
        (prediction,) = predictor(dataset).predict(iter([sample]))
        return planes_from_layers(prediction.layers(), run.thresholds)

    return predict


class _Stored:
    """The stored predictions of a cross-validation; the table is read once, and kept encoded."""

    def __init__(self, path: Path) -> None:
        from augforge.train.prediction.table import Predictions

        table = Predictions(path)
        self.classes = tuple(table.header.classes)
        self._images = {image.name: image for image in table}

    def planes(self, name: str) -> Planes:
        """What was predicted for an image, in planes of `classes`."""
        return self._images[name].planes()


def _read_json(path: Path, otherwise: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise TrainError(otherwise) from None
