"""Judging a run by a split of datasets: overlap, outlines, calibration, errors by class, and the worst samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain, tee
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from augforge.errors import DatasetError, TrainError
from augforge.files import replacing
from augforge.progress import Progress, Silent
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.evaluation.labels import label_scores
from augforge.train.evaluation.scores import check_classes
from augforge.train.evaluation.segmentation import ID_COLUMNS, SegmentationMetrics
from augforge.train.run import TrainingRun, write_json

_NAMED = 5


def evaluate(
    run_folder: str | Path,
    dataset_paths: Sequence[str | Path],
    *,
    split: str = "val",
    surface_tolerance: float = 2.0,
    worst: int = 8,
    out: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Judge a run's model by the samples of a split, at their stored size, and write down what was found.

    Beside ``evaluation.json``, which is what is returned, the folder holds ``samples.parquet`` (a row a sample, with
    structs of figures by class), ``worst-N.png``, ``errors.png`` and ``reliability.png``.

    Args:
        run_folder: of a training run.
        dataset_paths: datasets, judged together.
        split: which of their samples.
        surface_tolerance: pixels by which an outline may be off in surface Dice.
        worst: samples of the lowest mean Dice to draw.
        out: folder to write into; by default ``RUN/evaluation/<dataset>-<version>-<split>``.
        progress: shown the samples.
        options: Predictor's own: ``tta``, ``window``, ``batch_size``; and ``weights`` of `TrainingRun.predictor`.

    Returns:
        JSON-like: `Score.to_json`, with ``surface_dice`` and ``hd95`` (see `boundary`), what `Breakdown` and
        `Calibration` say, all of them by class in ``classes`` and in the mean, ``worst``, ``warnings``, ``folder``.
        For a classifier, `label_scores`.

    Raises:
        TrainError: no run there, no such split, or classes that the model was not trained for.
    """
    run = TrainingRun.open(run_folder)
    parts = [_part(open_dataset(path), split) for path in dataset_paths]
    for part in parts:
        _check_fit(run, part)
    folder = out or run.folder / "evaluation" / "+".join(f"{part.name}-{part.version}-{split}" for part in parts)
    folder.mkdir(parents=True, exist_ok=True)
    progress = progress or Silent()
    progress.start("evaluate", sum(map(len, parts)))
    if run.spec.task == "classification":
        found = _classification(run, parts, folder, progress, **options)
    else:
        metrics = SegmentationMetrics(run.outputs, run.thresholds, surface_tolerance, worst)
        _segmentation(run, parts, metrics, progress, options)
        found = metrics.write(folder)
    warnings = [*_trained_on(run, parts), *_tuned_on(run, parts, split)]
    report = {**_about(run, parts, split), **found, "warnings": warnings, "folder": str(folder)}
    write_json(folder / "evaluation.json", report)
    return report


def _tuned_on(run: TrainingRun, parts: Sequence[Dataset], split: str) -> list[str]:
    """A warning where the thresholds were tuned on what is judged here."""
    path = run.folder / "thresholds.json"
    if not path.exists():
        return []
    tuned = json.loads(path.read_text(encoding="utf-8"))
    if tuned["split"] != split or tuned["version"] not in [part.version for part in parts]:
        return []
    return [f"the thresholds of {path} were tuned on this very split, so the figures flatter: judge on another"]


def _about(run: TrainingRun, parts: Sequence[Dataset], split: str) -> dict[str, Any]:
    return {
        "run": str(run.folder),
        "task": run.spec.task,
        "datasets": [{"path": str(part.folder), "name": part.name, "version": part.version} for part in parts],
        "split": split,
        "samples": sum(map(len, parts)),
    }


def _part(dataset: Dataset, split: str) -> Dataset:
    splits = dataset.manifest.splits
    if not splits.get(split):
        have = ", ".join(f"{name} ({count:,} samples)" for name, count in splits.items() if count)
        raise TrainError(f"{dataset.folder} has no split '{split}'; it has {have}. Choose one of these: --split")
    return dataset.split(split)


def _check_fit(run: TrainingRun, part: Dataset) -> None:
    """Raise TrainError unless a dataset has the classes, or for a classifier the labels, of the run."""
    if run.spec.task == "segmentation":
        check_classes(part.classes, run.outputs, str(part.folder))
    elif part.labels != tuple(run.labels):
        raise TrainError(
            f"{part.folder} has the labels {', '.join(part.labels) or 'none'}; expected those that the model was "
            f"trained for: {', '.join(run.labels)}. Choose another dataset"
        )


def _segmentation(
    run: TrainingRun, parts: Sequence[Dataset], metrics: SegmentationMetrics, progress: Progress, options: Any
) -> None:
    predictor = run.predictor(**options)
    places = ((part, i) for part in parts for i in range(len(part)))
    ahead, here = tee(chain.from_iterable(parts))  # the predictor reads a batch ahead
    for (part, i), sample, prediction in zip(places, here, predictor.predict(ahead), strict=True):
        metrics.add(part, i, sample, prediction)
        progress.advance(1)


def _classification(
    run: TrainingRun,
    parts: Sequence[Dataset],
    folder: Path,
    progress: Progress,
    weights: Literal["best", "last"] = "best",
    batch_size: int = 8,
    **others: Any,
) -> dict[str, Any]:
    """Measure a classifier by the samples that have a label."""
    wanted = [name for name, value in others.items() if value]
    if wanted:
        raise TrainError(f"{run.folder} is a classifier, so it is judged without {', '.join(wanted)}. Leave that out")
    from augforge.train.net.device import choose_device
    from augforge.train.prediction.classifier import label_probabilities

    labelled = [part.where(pl.col("label").is_not_null()) for part in parts]
    device, seen, rows = choose_device("auto"), chain.from_iterable(labelled), []
    network = run.model(weights).to(device)
    for probabilities in label_probabilities(network, seen, run.input, device, batch_size=batch_size):
        rows.append(probabilities)
        progress.advance(1)
    about = pl.concat([part.index.select(*ID_COLUMNS, "label") for part in labelled])
    said, truth = np.array(rows).reshape(-1, len(run.labels)), np.array(about["label"].to_list())
    with replacing(folder / "samples.parquet") as temporary:
        named = [dict(zip(run.labels, row, strict=True)) for row in said.tolist()]
        figures = pl.Struct(dict.fromkeys(run.labels, pl.Float64))
        about.with_columns(probability=pl.Series(named, dtype=figures)).write_parquet(temporary)
    return {**label_scores(said, truth.reshape(said.shape), run.labels), "labelled": len(rows)}


def _trained_on(run: TrainingRun, parts: Sequence[Dataset]) -> list[str]:
    """Warnings: groups that are judged and were trained on, and where that cannot be told."""
    judged = {group for part in parts for group in part.groups}
    warnings = []
    for entry in run.datasets:
        try:
            dataset = open_dataset(entry["path"], entry["version"])
        except DatasetError:
            place = f"{entry['path']}, version {entry['version']}, that the model was trained on"
            warnings.append(f"{place}, is not there any more, so it is not known whether it held any group judged here")
            continue
        shared = sorted(judged & dataset.where(pl.col("split") == "train").groups)
        if shared:
            named = ", ".join(shared[:_NAMED]) + (" ..." if len(shared) > _NAMED else "")
            warnings.append(
                f"the model was trained on {len(shared)} of the {len(judged)} groups judged here ({named}), so the "
                f"figures flatter it. Judge by groups that {entry['path']} does not train on, such as its split val"
            )
    return warnings
