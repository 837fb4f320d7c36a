"""A stand-in for the trainer: its models know the answers, and spoil them as they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.progress import Progress
from augforge.sample import IDENTITY, IGNORE, Sample
from augforge.store.dataset import Dataset
from augforge.train.config import TrainConfig
from augforge.train.prediction.inference import Prediction
from augforge.train.rundata import TrainAndVal
from augforge.train.study.learner import TrainedModel

Masks = NDArray[np.float32]
Spoil = Callable[[Masks, Sample, Dataset, int], Masks]
"""Masks (C, H, W) of a sample, the sample, the dataset trained on and the seed, to what the model answers."""


def as_it_is(masks: Masks, sample: Sample, dataset: Dataset, seed: int) -> Masks:
    return masks


@dataclass
class FakeLearner:
    """Predicts 0.9 where a class is and 0.1 elsewhere, after `spoil`; and remembers what it was asked to train."""

    spoil: Spoil = as_it_is
    trained: list[tuple[Path, Dataset, TrainConfig, TrainAndVal | None]] = field(default_factory=list)
    stop_after: int = 10**6

    def __call__(
        self,
        dataset: Dataset,
        config: TrainConfig,
        out: Path,
        progress: Progress,
        train_and_val: TrainAndVal | None = None,
    ) -> TrainedModel:
        if len(self.trained) == self.stop_after:
            raise KeyboardInterrupt
        self.trained.append((out, dataset, config, train_and_val))
        outputs = tuple(name for name in dataset.classes if name != IGNORE)
        places = [dataset.classes.index(name) for name in outputs]

        def predict(samples: Iterable[Sample]) -> Iterator[Prediction]:
            for sample in samples:
                masks = np.stack([bitmask.class_mask(sample.masks, c) for c in places]).astype(np.float32)
                seen = self.spoil(masks, sample, dataset, config.seed) * 0.8 + 0.1
                box = (0, 0, sample.width, sample.height)
                yield Prediction(sample.name, seen, IDENTITY, box, sample.width, sample.height)

        return TrainedModel(outputs, config.threshold, predict)
