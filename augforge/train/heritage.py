"""What a network has seen: the data of its own run, and of the runs that it began with (`init`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from augforge.errors import DatasetError, TrainError, some
from augforge.store.dataset import open_dataset

if TYPE_CHECKING:
    from augforge.train.run import TrainingRun

SHOWN = 5
"""Groups that a message lists at most."""


def datasets_seen(run: TrainingRun) -> Iterator[dict[str, str]]:
    """Path and version of each dataset that a run, or a run before it, was trained on.

    Of a run before it that is gone, its folder as the path, and no version.
    """
    yield from run.datasets
    yield from datasets_before(run.config.init)


def datasets_before(init: str | None) -> Iterator[dict[str, str]]:
    """The same for the run that ``init`` names, if it names one."""
    from augforge.train.run import TrainingRun

    passed: set[Path] = set()  # a run that is trained anew, beginning with one that began with it, closes a ring
    while init is not None and Path(init).resolve() not in passed:
        passed.add(Path(init).resolve())
        try:
            run = TrainingRun.open(init)
        except TrainError:
            yield {"path": init, "version": "unknown"}
            return
        yield from run.datasets
        init = run.config.init


def check_not_seen(init: str | None, judged: Iterable[str]) -> None:
    """Raise TrainError if the run that ``init`` names was trained on groups that models are to be judged by."""
    for entry in datasets_before(init):
        try:
            trained = open_dataset(entry["path"], entry["version"]).where(pl.col("split") == "train").groups
        except DatasetError:
            raise TrainError(
                f"init: it is not known which groups {init} was trained on, since {entry['path']} is gone, and models "
                "may be judged here by what they have seen. Leave init out"
            ) from None
        if shared := sorted(set(judged) & set(trained)):
            raise TrainError(
                f"init: {init} was trained on groups that models are judged by here ({some(shared, SHOWN)}), so they "
                "would be judged by what they have seen. Leave init out"
            )
