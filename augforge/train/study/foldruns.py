"""The models of a cross-validation as one: each image gets the mean of their probabilities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augforge.errors import TrainError
from augforge.train.run import TrainingRun

if TYPE_CHECKING:
    from torch import nn

    from augforge.train.preparation import Preparation
    from augforge.train.run import WeightsName


@dataclass(frozen=True, slots=True)
class FoldRuns(TrainingRun):
    """The runs of a cross-validation's folds, which predict together: configuration and spec are the first one's.

    Attributes:
        runs: one of each fold.
    """

    runs: tuple[TrainingRun, ...] = ()

    @classmethod
    def open(cls, folder: str | Path) -> FoldRuns:
        """Read the folder that `augforge crossval` wrote.

        Raises:
            TrainError: the folder is none, the cross-validation is not finished, or its runs do not fit together.
        """
        folder = Path(folder).expanduser()
        try:
            result = json.loads((folder / "crossval.json").read_text(encoding="utf-8"))
            runs = [TrainingRun.open(_run_folder(folder, entry)) for entry in result["folds"]]
        except (OSError, ValueError, KeyError):
            raise TrainError(
                f"{folder} is no finished cross-validation; expected crossval.json, as augforge crossval writes it"
            ) from None
        _check_alike(runs)
        return cls(folder, runs[0].config, runs[0].spec, tuple(runs))

    def model(self, weights: WeightsName = "best") -> nn.Module:
        """The networks at the ends of their runs, whose mean probabilities count: folds have no best one."""
        return self.mixture([run.model("last") for run in self.runs])

    @property
    def preparations(self) -> tuple[Preparation, ...]:
        """How the datasets of all folds were prepared: alike, as parts of one."""
        return self.runs[0].preparations


def _run_folder(folder: Path, entry: dict[str, Any]) -> Path:
    """The folder of a fold's run: named in crossval.json, or by an earlier version the only one of that fold."""
    if "run" in entry:
        return folder / str(entry["run"])
    found = sorted(folder.glob(f"fold{entry['fold']}-*"))
    if len(found) != 1:
        raise TrainError(
            f"{folder} holds {len(found)} runs of fold {entry['fold']}, and an earlier version did not note which one "
            "counts. Call augforge crossval again as then: it finds its finished runs"
        )
    return found[0]


def _check_alike(runs: Sequence[TrainingRun]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if (run.outputs, run.spec.groups, run.input) != (first.outputs, first.spec.groups, first.input):
            raise TrainError(
                f"{run.folder} and {first.folder} have other classes, labels or inputs, so they cannot predict "
                "together. Set data.size, and cross-validate again"
            )
