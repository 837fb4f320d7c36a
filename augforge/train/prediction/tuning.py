"""What tuning thresholds finds, of classes and of labels: the file in the run, which `TrainingRun.thresholds` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from augforge.store.dataset import Dataset

if TYPE_CHECKING:
    from augforge.train.run import TrainingRun


def write_thresholds(
    run: TrainingRun,
    part: Dataset,
    split: str,
    figure: str,
    classes: Sequence[Mapping[str, Any]],
    tuned: str,
    **facts: Any,
) -> dict[str, Any]:
    """Write ``thresholds.json`` and return what it holds.

    Args:
        run: a training run.
        part, split: the samples that thresholds were tuned on.
        figure: key of the mean of what they were chosen by, before and after.
        classes: for each class or label its ``name``, its ``threshold``, and the figure ``before`` and ``after``.
        tuned: key of an entry of `classes` that says whether it counts in the mean.
        facts: further ones.
    """
    from augforge.train.run import write_json

    counted = [entry for entry in classes if entry[tuned]]
    result = {
        "run": str(run.folder),
        **facts,
        "dataset": part.name,
        "version": part.version,
        "split": split,
        "images": len(part),
        figure: {key: _mean([entry[key] for entry in counted]) for key in ("before", "after")},
        "classes": classes,
        "thresholds": {entry["name"]: entry["threshold"] for entry in classes},
    }
    write_json(run.folder / "thresholds.json", result)
    return result


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
