"""What comparison and cross-validation ask of the trainer: train on this or go on with it, then predict that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from augforge.errors import TrainError
from augforge.progress import Progress
from augforge.sample import IGNORE, Sample
from augforge.store.dataset import Dataset
from augforge.train.config import TrainConfig

if TYPE_CHECKING:
    from augforge.train.material import Parts
    from augforge.train.prediction.inference import Prediction


@dataclass(frozen=True, slots=True)
class Titled:
    """Progress of one of several runs, which says of which."""

    title: str
    progress: Progress

    def start(self, label: str, total: int) -> None:
        self.progress.start(f"{self.title}: {label}", total)

    def advance(self, count: int) -> None:
        self.progress.advance(count)


@dataclass(frozen=True, slots=True)
class Learned:
    """A trained model.

    Attributes:
        outputs: the classes that it predicts, in order.
        threshold: probability from which a pixel is a class.
        predict: predictions of samples, in order.
    """

    outputs: tuple[str, ...]
    threshold: float
    predict: Callable[[Iterable[Sample]], Iterator[Prediction]]


class Learn(Protocol):
    """Trains in a folder unless that is done, and hands over the model."""

    def __call__(
        self, dataset: Dataset, config: TrainConfig, out: Path, progress: Progress, parts: Parts | None = None
    ) -> Learned: ...


def need_masks(dataset: Dataset) -> None:
    """Raise TrainError where a dataset has labels alone: there is no Dice to judge by."""
    if set(dataset.classes) <= {IGNORE}:
        raise TrainError(
            f"{dataset.folder} has no classes with masks, and here models are judged by the Dice of masks. For "
            "labels there are augforge train and augforge evaluate"
        )


def unwatched(config: TrainConfig) -> TrainConfig:
    """The configuration without validations on the way: nothing is chosen by them here, and they take time.

    The schedule ``plateau`` goes by them, so there they stay.
    """
    return config if config.schedule.name == "plateau" else config.model_copy(update={"validate_every": 0})


def learn(dataset: Dataset, config: TrainConfig, out: Path, progress: Progress, parts: Parts | None = None) -> Learned:
    """Train with the bundled trainer; a run that was stopped goes on, a finished one is taken as it is.

    The model is the one at the end of the run with the configuration's threshold: the best of the validations and
    tuned thresholds are chosen by the very samples that it is judged on here.
    """
    from augforge.train.loop import train
    from augforge.train.run import Run

    if not (out / "summary.json").exists():
        train([dataset], config, out, resume=(out / "run.json").exists(), progress=progress, parts=parts)
    run = Run.open(out)
    return Learned(run.outputs, config.threshold, run.predictor("last").predict)
