"""Scoring a network between epochs: mean Dice at full size; of labels accuracy, or mAP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import nn

from augforge.errors import TrainError
from augforge.sample import Sample
from augforge.train.evaluation.scores import truth_of
from augforge.train.evaluation.totals import Scores
from augforge.train.labels.groups import settle_unknown
from augforge.train.labels.predictor import LabelPredictor
from augforge.train.labels.scores import label_scores
from augforge.train.net.device import Precision
from augforge.train.prediction.inference import Predictor

if TYPE_CHECKING:
    from augforge.store.dataset import Dataset
    from augforge.train.run import TrainingRun


def validate(
    network: nn.Module, datasets: Sequence[Dataset], run: TrainingRun, precision: Precision, accelerator: Accelerator
) -> dict[str, Any]:
    """Score a network on the validation samples; each process predicts its share of them.

    Returns:
        ``score``, by which the best network is kept: the figure that the run monitors; all `FIGURES` and ``classes``
        (Dice by name); for labels ``accuracy`` or ``mean_average_precision`` of the first group, and
        ``balanced_accuracy``.
    """
    if accelerator.num_processes > 1:  # until the next step, each process has batch norm statistics of its own
        for buffer in network.buffers():
            broadcast(buffer)
    score = _score_segmentation if run.spec.task == "segmentation" else _score_classification
    return score(network.eval(), datasets, run, precision, accelerator)


def _score_segmentation(
    network: nn.Module, datasets: Sequence[Dataset], run: TrainingRun, precision: Precision, accelerator: Accelerator
) -> dict[str, Any]:
    size = run.config.data.batch_size
    predictor = Predictor(
        network,
        run.outputs,
        run.input,
        accelerator.device,
        precision,
        batch_size=size,
        window=run.window,
        exclusive=run.exclusive,
    )
    # Always the configured threshold: tuned ones may be in the folder of a run that goes on.
    scores, thresholds = Scores(run.outputs), [run.config.threshold] * len(run.outputs)
    for dataset in datasets:
        for sample, prediction in predictor.pairs(_own_samples(dataset, accelerator)):
            truth = truth_of(sample, dataset.classes, run.outputs, run.spec.regions)
            scores.add(prediction.planes(thresholds), truth, prediction.layers)
    of_all = Scores(run.outputs)
    of_all.merge(gather_object([scores]))
    total = of_all.score()
    figures, dices = total.figures(), {name: values["dice"] for name, values in total.classes.items()}
    return {"score": _monitored(figures, run.spec.monitor), **figures, "classes": dices}


def _monitored(figures: Mapping[str, float | None], monitor: str) -> float:
    """The figure that chooses the best network; TrainError if the data never has it."""
    value = figures[monitor]
    reasons = {"miou": "two classes are true at one pixel of the validation samples"}
    reasons |= dict.fromkeys(("overlap_dice", "overlap_iou"), "nowhere are two classes true at one pixel")
    if value is None and monitor in reasons:
        raise TrainError(f"monitor: {monitor} has no value here: {reasons[monitor]}. Take another, such as pooled_dice")
    return value or 0.0


def _score_classification(
    network: nn.Module, datasets: Sequence[Dataset], run: TrainingRun, precision: Precision, accelerator: Accelerator
) -> dict[str, Any]:
    size, groups = run.config.data.batch_size, run.spec.groups
    predictor = LabelPredictor(network, groups, run.input, accelerator.device, precision, batch_size=size)
    rows = []
    for dataset in datasets:
        labelled = (sample for sample in _own_samples(dataset, accelerator) if sample.label is not None)
        columns = [dataset.labels.index(label) for label in run.labels]
        rows += [(each.probabilities, sample.label[columns]) for sample, each in predictor.pairs(labelled)]  # type: ignore[index]
    probabilities, truth = (np.array(each, np.float64) for each in zip(*gather_object(rows), strict=True))
    found = label_scores(probabilities, settle_unknown(groups, truth), groups, [run.config.threshold] * len(run.labels))
    main = run.spec.monitor
    return {"score": found[main] or 0.0, main: found[main], "balanced_accuracy": found["balanced_accuracy"]}


def _own_samples(dataset: Dataset, accelerator: Accelerator) -> Iterator[Sample]:
    """This process's share of a dataset."""
    return (dataset[i] for i in range(accelerator.process_index, len(dataset), accelerator.num_processes))
