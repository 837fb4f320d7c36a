"""Judging a network between epochs: mean Dice at full size, or accuracy where there are only labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import tee
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from augforge.sample import Sample
from augforge.store.dataset import Dataset
from augforge.train.measure.scores import Scores, truth_of
from augforge.train.net.device import Precision
from augforge.train.prediction.classifier import label_probabilities
from augforge.train.prediction.inference import Predictor
from augforge.train.run import Run


def validate(
    network: nn.Module, datasets: Sequence[Dataset], run: Run, precision: Precision, accelerator: Accelerator
) -> dict[str, Any]:
    """Judge a network by the samples of the validation splits; each process takes its share of them.

    Returns:
        ``score``, by which the best network is kept: ``mean_dice``, with ``classes``; or ``accuracy``.
    """
    task = run.described.task
    judge = _segmentation if task == "segmentation" else _classification
    return judge(network.eval(), datasets, run, precision, accelerator)


def _segmentation(
    network: nn.Module, datasets: Sequence[Dataset], run: Run, precision: Precision, accelerator: Accelerator
) -> dict[str, Any]:
    size = run.config.data.batch_size
    predictor = Predictor(
        network, run.outputs, run.input, accelerator.device, precision, batch_size=size, window=run.window
    )
    scores, thresholds = Scores(run.outputs), [run.config.threshold] * len(run.outputs)
    for dataset in datasets:
        for sample, prediction in predictor.pairs(_share(dataset, accelerator)):
            scores.add(prediction.planes(thresholds), truth_of(sample, dataset.classes, run.outputs))
    parts = gather_object([(scores.table, scores.images)])
    scores.table, scores.images = sum(table for table, _ in parts), sum(images for _, images in parts)
    found = scores.score()
    dices = {name: values["dice"] for name, values in found.classes.items()}
    return {"score": found.mean_dice or 0.0, "mean_dice": found.mean_dice, "classes": dices}


def _classification(
    network: nn.Module, datasets: Sequence[Dataset], run: Run, precision: Precision, accelerator: Accelerator
) -> dict[str, Any]:
    device, size = accelerator.device, run.config.data.batch_size
    hits: list[bool] = []
    for dataset in datasets:
        seen, compared = tee(sample for sample in _share(dataset, accelerator) if sample.label is not None)
        likely = label_probabilities(network, seen, run.input, device, precision, size)
        hits += [row.argmax() == np.argmax(sample.label) for row, sample in zip(likely, compared, strict=True)]  # type: ignore[arg-type]
    found = gather_object(hits)
    accuracy = sum(found) / len(found) if found else 0.0
    return {"score": accuracy, "accuracy": accuracy}


def _share(dataset: Dataset, accelerator: Accelerator) -> Iterator[Sample]:
    """This process's samples of a dataset."""
    return (dataset[i] for i in range(accelerator.process_index, len(dataset), accelerator.num_processes))
