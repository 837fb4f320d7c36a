"""Judging a network between epochs: mean Dice at full size, or accuracy where there are only labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, tee
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import nn

from augforge.sample import Sample
from augforge.store.dataset import Dataset
from augforge.train.data.inputspec import InputSpec
from augforge.train.measure.scores import Scores, truth_of
from augforge.train.net.device import Precision
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
        seen, compared = tee(_share(dataset, accelerator))  # a batch apart at most
        for prediction, sample in zip(predictor.predict(seen), compared, strict=True):
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


def label_probabilities(
    network: nn.Module,
    samples: Iterable[Sample],
    spec: InputSpec,
    device: torch.device,
    precision: Precision = "fp32",
    batch_size: int = 8,
) -> Iterator[NDArray[np.float32]]:
    """A classifier's probabilities of the labels, float32 (L,), sample by sample."""
    low = torch.float16 if precision == "fp16" else torch.bfloat16
    source = iter(samples)
    while several := list(islice(source, batch_size)):
        images = torch.stack([spec.pixels(spec.fit(sample).image) for sample in several]).to(device)
        with torch.inference_mode(), torch.autocast(device.type, low, enabled=precision != "fp32"):
            logits = network(images)
        yield from logits.float().softmax(dim=1).cpu().numpy()


def _share(dataset: Dataset, accelerator: Accelerator) -> Iterator[Sample]:
    """This process's samples of a dataset."""
    return (dataset[i] for i in range(accelerator.process_index, len(dataset), accelerator.num_processes))
