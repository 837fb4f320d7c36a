"""The trainer as comparison and cross-validation use it: train or resume a model, then predict with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from augforge.progress import Progress

if TYPE_CHECKING:
    from augforge.sample import Sample
    from augforge.store.dataset import Dataset
    from augforge.train.config import TrainConfig
    from augforge.train.labels.groups import LabelGroup
    from augforge.train.rundata import TrainAndVal


@dataclass(frozen=True, slots=True)
class TitledProgress:
    """The progress of one of several runs, whose labels begin with the run's title."""

    title: str
    progress: Progress

    def start(self, label: str, total: int) -> None:
        """Start a bar whose label begins with the title."""
        self.progress.start(f"{self.title}: {label}", total)

    def advance(self, count: int) -> None:
        """Move the bar on."""
        self.progress.advance(count)


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained model.

    Attributes:
        outputs: the classes that it predicts, in order.
        threshold: probability from which a pixel is a class.
        predict: predictions of samples, in order; of a classifier they are `LabelPrediction`.
        regions: classes that only weighed pixels in training.
        groups: of the labels that a classifier predicts.
    """

    outputs: tuple[str, ...]
    threshold: float
    predict: Callable[[Iterable[Sample]], Iterator[Any]]
    regions: tuple[str, ...] = ()
    groups: tuple[LabelGroup, ...] = ()


class ModelTrainer(Protocol):
    """Trains a model in a folder, unless that was done before, and returns it."""

    def __call__(
        self,
        dataset: Dataset,
        config: TrainConfig,
        out: Path,
        progress: Progress,
        train_and_val: TrainAndVal | None = None,
    ) -> TrainedModel: ...


def without_validation(config: TrainConfig) -> TrainConfig:
    """The configuration without validations during the run, which take time and whose scores are not used here.

    The schedule ``plateau`` needs their scores, so with it they stay.
    """
    return config if config.schedule.name == "plateau" else config.model_copy(update={"validate_every": 0})


def train_model(
    dataset: Dataset, config: TrainConfig, out: Path, progress: Progress, train_and_val: TrainAndVal | None = None
) -> TrainedModel:
    """Train with the bundled trainer; a stopped run is resumed, a finished one is used as it is.

    The model is the one at the end of the run, with the configured threshold. The best model and tuned thresholds would
    have been chosen by the very samples that the model is scored on here.
    """
    from augforge.train.labels.predictor import label_predictor
    from augforge.train.loop import train
    from augforge.train.run import TrainingRun

    if not (out / "summary.json").exists():
        resume = (out / "run.json").exists()
        train([dataset], config, out, resume=resume, progress=progress, train_and_val=train_and_val)
    run = TrainingRun.open(out)
    if run.spec.task == "classification":
        return TrainedModel((), config.threshold, label_predictor(run, "last").predict, groups=run.spec.groups)
    return TrainedModel(run.outputs, config.threshold, run.predictor("last").predict, run.spec.regions)
