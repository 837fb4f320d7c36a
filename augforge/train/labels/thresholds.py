"""Tuning, for each label that is judged by itself, the probability from which it is predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from augforge.errors import TrainError
from augforge.progress import Progress, Silent
from augforge.report.tables import plural, table
from augforge.store.dataset import Dataset
from augforge.train.data.trainingset import label_vectors
from augforge.train.labels.groups import Flags, select_labels, slices, true_labels
from augforge.train.labels.predictor import label_predictor
from augforge.train.prediction.remaining import remaining_steps, render_preparation
from augforge.train.prediction.tuning import write_thresholds

if TYPE_CHECKING:
    from augforge.train.run import TrainingRun


def tune_label_thresholds(
    run: TrainingRun,
    dataset: Dataset,
    split: str,
    grid: Sequence[float],
    progress: Progress | None,
    *,
    as_is: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Find each label's threshold of the highest F1 on a split and write them to the run's ``thresholds.json``.

    Among equally good thresholds, the one nearest to the configured threshold is taken. A label that no sample of the
    split has, or that all have, keeps the configured threshold. Labels of single groups have none.

    Args:
        run: a classifier.
        dataset, split: the samples; those without labels are left out.
        grid: thresholds to try, above 0 and below 1.
        progress: advances with each sample.
        as_is: samples do not go through the preparing steps of the run's datasets.
        options: of `label_predictor`.

    Returns:
        JSON-like: mean F1 before and after over the labels that were tuned, and the same for each label.

    Raises:
        TrainError: no group is judged label by label, no sample, or a grid beyond 0 to 1.
    """
    from augforge.train.labels.evaluation import check_labels

    if not any(group.multi for group in run.spec.groups):
        raise TrainError(
            f"{run.folder} predicts the likeliest of {', '.join(run.labels)}, which has no threshold to tune. Train "
            "with task: multi to judge each label by itself"
        )
    check_labels(run, dataset)
    part = dataset.split(split).where(pl.col("label").is_not_null())
    if not len(part):
        raise TrainError(f"{dataset.folder} has no sample with labels in the split '{split}'. Choose another one")
    truth = select_labels(run.spec.groups, part.labels, label_vectors(part), part.index["name"].to_list())
    progress = progress or Silent()
    progress.start("tune thresholds", len(part))
    remaining, rows = remaining_steps(run, part, as_is=as_is), []
    predictor = remaining.prepare_for(label_predictor(run, **options))
    for each in predictor.predict(part):
        rows.append(each.probabilities)
        progress.advance(1)
    classes = tune(run, np.array(rows), true_labels(run.spec.groups, truth), ~np.isnan(truth), grid)
    return write_thresholds(
        run,
        part,
        split,
        "mean_f1",
        classes,
        "tuned",
        task="classification",
        preparation=remaining.report(),
        warnings=[*predictor.warnings, *remaining.warnings()],
    )


def tune(
    run: TrainingRun, probabilities: NDArray[np.float32], true: Flags, known: Flags, grid: Sequence[float]
) -> list[dict[str, Any]]:
    """For each label judged by itself: threshold, F1 before (at the default) and after, samples, and if it was tuned.

    Args:
        run: its groups and its configured threshold.
        probabilities, true, known: (N, L).
        grid: thresholds to try besides the configured one.
    """
    default, tried = run.config.threshold, sorted({*grid, run.config.threshold})
    if not 0 < tried[0] <= tried[-1] < 1:
        raise TrainError(f"thresholds go from {tried[0]:g} to {tried[-1]:g}; expected above 0 and below 1")
    entries = []
    for group, part in slices(run.spec.groups):
        for label, c in zip(group.labels, range(part.start, part.stop), strict=True) if group.multi else ():
            said, holds = probabilities[known[:, c], c], true[known[:, c], c]
            scores = {t: _f1(said >= np.float32(t), holds) for t in tried}
            positive = int(np.count_nonzero(holds))
            tuned = 0 < positive < len(holds)
            best = max(tried, key=lambda t: (round(scores[t], 9), -abs(t - default))) if tuned else default
            counts = {"known": len(holds), "positive": positive, "tuned": tuned}
            entries.append(
                {"name": label, "threshold": best, "before": scores[default], "after": scores[best], **counts}
            )
    return entries


def _f1(predicted: Flags, true: Flags) -> float:
    """2 TP / (positive + predicted); 0 if there are neither."""
    both = np.count_nonzero(predicted) + np.count_nonzero(true)
    return float(2 * np.count_nonzero(predicted & true) / both) if both else 0.0


def render_label_thresholds(result: Mapping[str, Any], console: Console) -> None:
    """Print the result of `tune_label_thresholds`."""
    shown = table("label", "threshold", "F1 before", "after", "samples with it", right=4)
    for entry in result["classes"]:
        numbers = (f"{entry['threshold']:.2f}", f"{entry['before']:.4f}", f"{entry['after']:.4f}")
        shown.add_row(Text(entry["name"]), *numbers, f"{entry['positive']:,}", style="" if entry["tuned"] else "yellow")
    console.print(shown, "", sep="\n")
    render_preparation(result, console)
    kept = [entry["name"] for entry in result["classes"] if not entry["tuned"]]
    if kept:
        console.print(Text(f"In no sample of {result['split']} or in all, so not tuned: {', '.join(kept)}\n", "yellow"))
    before, after = result["mean_f1"].values()
    mean = "" if before is None else f"; mean F1 {before:.4f}, now {after:.4f}"
    console.print(Text(f"{plural(result['images'], 'sample')}{mean}: {result['run']}/thresholds.json"), soft_wrap=True)
