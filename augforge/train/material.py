"""What a run is made from: the samples to train on and to judge by, what the network predicts of them, its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import torch

from augforge.errors import TrainError, some
from augforge.sample import IGNORE, NO_CLASSES
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.config import TrainConfig
from augforge.train.data.inputspec import input_spec
from augforge.train.data.loading import TrainingBatches
from augforge.train.data.trainingset import TrainingSet
from augforge.train.run import Described

Parts = tuple[Dataset, Dataset]
"""The samples to train on and those to validate on, where the splits do not say it."""
SHOWN = 10


class Material:
    """The data of a run.

    Attributes:
        training, validation: the samples of each; no validation where the configuration wants none.
        described: what there is to predict, and the network's input.
        warnings: what a person should know before the run.

    Raises:
        TrainError: a split is missing, or datasets, configuration and task do not go together.
    """

    def __init__(
        self, datasets: Sequence[str | Path | Dataset], config: TrainConfig, device: torch.device, parts: Parts | None
    ) -> None:
        opened = [each if isinstance(each, Dataset) else open_dataset(each) for each in datasets]
        wanted = bool(config.validate_every)
        train = [parts[0]] if parts else [_split(dataset, "train") for dataset in opened]
        judge = [parts[1]] if parts else [_split(dataset, "val") for dataset in opened]
        self.config = config
        self.training = TrainingSet(list(map(_learnable, train)))
        self.validation = [part for part in map(_learnable, judge) if len(part)] if wanted else []
        if wanted and not self.validation:
            held = ", ".join(sorted({split for dataset in opened for split, n in dataset.manifest.splits.items() if n}))
            raise TrainError(f"{opened[0].folder} has no labelled split 'val'; there is: {held}. {_NO_VAL}")
        self.described = self._described(opened, device)
        self.warnings = [*self._warnings(), *_leaks(train, self.validation)]

    def _described(self, opened: Sequence[Dataset], device: torch.device) -> Described:
        classes, labels = self.training.classes, self.training.labels
        outputs = () if classes == NO_CLASSES else tuple(name for name in classes if name != IGNORE)
        if not outputs and not labels:
            raise TrainError(f"{opened[0].folder} has neither classes nor labels, so there is nothing to learn")
        return Described(
            task="segmentation" if outputs else "classification",
            outputs=outputs,
            labels=labels,
            datasets=tuple(
                {"path": str(d.remote.url if d.remote else d.folder), "name": d.name, "version": d.version}
                for d in opened
            ),
            input=input_spec(self.config, self.training, device.type),
        )

    def _warnings(self) -> Iterator[str]:
        """Classes that there is nothing to learn of."""
        if self.described.task == "classification":
            return
        present = {
            name for name, held in zip(self.training.classes, self.training.present.T, strict=True) if held.any()
        }
        absent = [name for name in self.described.outputs if name not in present]
        if len(absent) == len(self.described.outputs):
            raise TrainError(
                "no training sample has a pixel of any class, so there is nothing to learn. "
                "Look at the masks: augforge show"
            )
        if absent:
            yield (
                f"no training sample has a pixel of {some(absent, SHOWN)}: the network learns that it is never there. "
                "Leave it out with class_map, or add samples"
            )

    def batches(self, world: int, rank: int, pin: bool) -> TrainingBatches:
        """A process's training batches; `pin` puts them into pinned memory, for CUDA."""
        spec = self.described.input
        return TrainingBatches(self.training, spec, self.config.data, self.config.seed, world=world, rank=rank, pin=pin)


_NO_VAL = (
    "Give the recipe a split, such as split: {val: 0.2}, and build again; or train without being judged: "
    "--set validate_every=0"
)


def _split(dataset: Dataset, name: str) -> Dataset:
    """The samples of a split, which may be none."""
    return dataset.where(pl.col("split") == name)


def _learnable(part: Dataset) -> Dataset:
    """The samples of which something is known: a class, or labels where there are no classes."""
    if part.classes == NO_CLASSES:
        return part.where(pl.col("label").is_not_null())
    known = [pl.col("area").struct.field(name).is_not_null() for name in part.classes if name != IGNORE]
    return part.where(pl.any_horizontal(known)) if known else part.where(pl.lit(False))


def _leaks(training: Sequence[Dataset], validation: Sequence[Dataset]) -> Iterator[str]:
    """Groups that one dataset trains on and another one judges by."""
    judged = {group for part in validation for group in part.groups}
    shared = sorted(judged & {group for part in training for group in part.groups})
    if shared:
        yield (
            f"{len(shared)} groups are trained on and judged by, such as {shared[0]}, so validation is flattered. "
            "Split the datasets alike, unless the same name means another person"
        )
