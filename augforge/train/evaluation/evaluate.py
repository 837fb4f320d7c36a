"""Evaluating a run on a split of datasets: overlap, outlines, calibration, errors by class, and the worst samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from augforge.errors import DatasetError, TrainError
from augforge.files import make_folder, writing
from augforge.progress import Progress, Silent
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.evaluation.scores import check_classes
from augforge.train.evaluation.segmentation import SegmentationMetrics
from augforge.train.facts import read_tuned
from augforge.train.heritage import datasets_seen
from augforge.train.labels.evaluation import check_labels, evaluate_labels
from augforge.train.prediction.remaining import Remaining, remaining_steps
from augforge.train.run import TrainingRun, write_json

_MAX_GROUPS_NAMED = 5


def evaluate(
    run_folder: str | Path,
    dataset_paths: Sequence[str | Path],
    *,
    split: str = "val",
    surface_tolerance: float = 2.0,
    worst: int = 8,
    out: Path | None = None,
    as_is: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Evaluate a run's model on the samples of a split, at their stored size, and write the results to a folder.

    The folder gets ``evaluation.json`` (the result that is returned), ``samples.parquet`` (one row per sample, with
    structs of scores by class), ``worst-N.png``, ``errors.png``, ``reliability.png``, and ``confusion.png``
    if no two classes are true at one pixel.

    Args:
        run_folder: of a training run.
        dataset_paths: datasets, evaluated together.
        split: which of their samples.
        surface_tolerance: pixels by which an outline may be off in surface Dice.
        worst: number of samples with the lowest mean Dice to draw.
        out: folder to write into; by default ``RUN/evaluation/<dataset>-<version>-<split>``.
        as_is: samples do not go through the preparing steps of the run's datasets; they do otherwise, if their dataset
            was not built by the same steps. They are judged at their own pixels all the same.
        progress: advances with each sample.
        options: of `TrainingRun.predictor`: ``weights``, ``tta``, ``swap``, ``window``, ``batch_size``.

    Returns:
        JSON-like: `Score.to_json`, ``surface_dice`` and ``hd95`` (see `boundary`), and the results of `Breakdown` and
        `Calibration`: by class in ``classes``, and as means; also ``worst``, ``warnings``, ``folder``. For labels,
        what `evaluate_labels` returns.

    Raises:
        TrainError: the folder is no run, there is no such split, or the model was not trained for the classes.
    """
    run = TrainingRun.open(run_folder)
    parts = [_select_split(open_dataset(path), split) for path in dataset_paths]
    for part in parts:
        _check_classes_or_labels(run, part)
    folder = out or run.folder / "evaluation" / "+".join(f"{part.name}-{part.version}-{split}" for part in parts)
    with writing(folder):
        make_folder(folder)
    progress = progress or Silent()
    progress.start("evaluate", sum(map(len, parts)))
    remaining = [remaining_steps(run, part, as_is=as_is) for part in parts]
    if run.spec.task == "classification":
        result = evaluate_labels(run, parts, remaining, folder, worst, progress, **options)
        own = result.pop("warnings")
    else:
        metrics = SegmentationMetrics(run.outputs, run.thresholds, surface_tolerance, worst, run.spec.regions)
        own = _evaluate_segmentation(run, parts, remaining, metrics, progress, options)
        result = {"monitor": run.spec.monitor, **metrics.write(folder)}
    warnings = [*own, *_training_warnings(run, parts), *_tuning_warning(run, parts, split)]
    warnings += (text for each in remaining for text in each.warnings())
    facts = _describe(run, parts, split, remaining)
    report = {**facts, **result, "warnings": [*dict.fromkeys(warnings)], "folder": str(folder)}
    write_json(folder / "evaluation.json", report)
    return report


def _tuning_warning(run: TrainingRun, parts: Sequence[Dataset], split: str) -> list[str]:
    """A warning if the thresholds were tuned on the samples that are evaluated here."""
    tuned = read_tuned(run.folder, run.outputs or run.labels)
    if tuned is None or tuned.get("split") != split or tuned.get("version") not in [part.version for part in parts]:
        return []
    place = run.folder / "thresholds.json"
    return [f"the thresholds of {place} were tuned on this very split, so scores are too good: evaluate on another one"]


def _describe(run: TrainingRun, parts: Sequence[Dataset], split: str, remaining: Sequence[Remaining]) -> dict[str, Any]:
    return {
        "run": str(run.folder),
        "task": run.spec.task,
        "datasets": [
            {"path": str(part.folder), "name": part.name, "version": part.version, "preparation": each.report()}
            for part, each in zip(parts, remaining, strict=True)
        ],
        "split": split,
        "samples": sum(map(len, parts)),
    }


def _select_split(dataset: Dataset, split: str) -> Dataset:
    splits = dataset.manifest.splits
    if not splits.get(split):
        existing = ", ".join(f"{name} ({count:,} samples)" for name, count in splits.items() if count)
        raise TrainError(f"{dataset.folder} has no split '{split}'; it has {existing}. Choose one of these: --split")
    return dataset.split(split)


def _check_classes_or_labels(run: TrainingRun, part: Dataset) -> None:
    """Raise TrainError unless a dataset has the classes, or for a classifier the labels, of the run."""
    if run.spec.task == "segmentation":
        check_classes(part.classes, run.outputs, str(part.folder), run.spec.regions)
    else:
        check_labels(run, part)


def _evaluate_segmentation(
    run: TrainingRun,
    parts: Sequence[Dataset],
    remaining: Sequence[Remaining],
    metrics: SegmentationMetrics,
    progress: Progress,
    options: Any,
) -> list[str]:
    """Evaluate all samples; what a person should know of how they were predicted."""
    predictor = run.predictor(**options)
    for part, each in zip(parts, remaining, strict=True):
        for i, (sample, prediction) in enumerate(each.prepare_for(predictor).pairs(part)):
            metrics.add(part, i, sample, prediction)
            progress.advance(1)
    return predictor.warnings


def _training_warnings(run: TrainingRun, parts: Sequence[Dataset]) -> list[str]:
    """Warnings if the model was trained on groups that are evaluated here, or may have been."""
    evaluated = {group for part in parts for group in part.groups}
    warnings = []
    for entry in datasets_seen(run):
        try:
            dataset = open_dataset(entry["path"], entry["version"])
        except DatasetError:
            dataset_version = f"{entry['path']}, version {entry['version']}, that the model was trained on"
            warnings.append(
                f"{dataset_version}, does not exist any more, so it is not known whether it held groups evaluated here"
            )
            continue
        shared = sorted(evaluated & dataset.where(pl.col("split") == "train").groups)
        if shared:
            named = ", ".join(shared[:_MAX_GROUPS_NAMED]) + (" ..." if len(shared) > _MAX_GROUPS_NAMED else "")
            warnings.append(
                f"the model was trained on {len(shared)} of the {len(evaluated)} groups evaluated here ({named}), so "
                f"its scores are too good. Evaluate on groups that {entry['path']} does not train on, such as its "
                "split val"
            )
    return warnings
