"""Running a classifier over samples: probabilities of the labels, also as the mean of several views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from augforge.errors import TrainError
from augforge.ops.sides import Sides
from augforge.sample import Sample
from augforge.train.data.inputspec import InputSpec
from augforge.train.labels.groups import LabelGroup, labels_of, slices
from augforge.train.net.device import Precision, autocast, choose_device
from augforge.train.prediction.preparing import PassNotes, whole_preparer
from augforge.train.prediction.tta import Pairs, average_views, build_views, side_warnings
from augforge.train.preparation import PreparedStep

if TYPE_CHECKING:
    from augforge.train.run import TrainingRun, WeightsName


@dataclass(frozen=True, slots=True, eq=False)
class LabelPrediction:
    """The probabilities of a sample's labels, float32 (L,): of a single group they sum to 1."""

    name: str
    probabilities: NDArray[np.float32]

    def half(self) -> LabelPrediction:
        """The same: a few numbers need no less memory, as maps of probabilities do."""
        return self


class LabelPredictor:
    """Runs a classifier over samples, batch by batch; memory does not grow with their number.

    Args:
        network: images (N, channels, h, w) to logits (N, L).
        groups: of the L labels.
        spec: how an image becomes the network's input.
        device: where it computes.
        precision: ``bf16`` and ``fp16`` by autocast.
        batch_size: images at a time.
        tta: test-time augmentations whose probabilities are averaged with the plain ones; see `tta.build_views`.
        swap, sides: pairs of labels that mirrored views exchange; see `tta.build_views`.
    """

    def __init__(
        self,
        network: nn.Module,
        groups: Sequence[LabelGroup],
        spec: InputSpec,
        device: torch.device,
        precision: Precision = "fp32",
        *,
        batch_size: int = 8,
        tta: Sequence[str] = (),
        swap: Pairs | None = None,
        sides: Sides | None = None,
    ) -> None:
        self.network, self.groups, self.spec = network.to(device).eval(), tuple(groups), spec
        self.device, self.precision, self.batch_size = device, precision, batch_size
        self.outputs, self._prepare = labels_of(groups), whole_preparer((), PassNotes())
        self._views = build_views(tta, self.outputs, swap, sides)
        self.warnings = side_warnings(tta, self.outputs, swap, sides)

    def with_steps(self, steps: Sequence[PreparedStep], notes: PassNotes) -> LabelPredictor:
        """A predictor of the same network that takes samples through preparing steps first; see `whole_preparer`."""
        other = copy(self)
        other._prepare = whole_preparer(steps, notes)
        return other

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Normalised images (N, channels, h, w) to probabilities, float32 (N, L), the mean of all views."""
        # A view turns maps of probabilities back; those of a whole image are maps of one pixel.
        return average_views(self._forward, images.to(self.device), self._views, (1, 1))[..., 0, 0]

    def pairs(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, LabelPrediction]]:
        """Each sample with its prediction, in order; at most `batch_size` samples are read ahead."""
        stream = iter(samples)
        while batch := list(islice(stream, self.batch_size)):
            prepared = map(self._prepare, batch)
            images = torch.stack([self.spec.pixels(self.spec.fit(sample).image) for sample in prepared])
            for sample, row in zip(batch, self.probabilities(images).cpu().numpy(), strict=True):
                yield sample, LabelPrediction(sample.name, row)

    def predict(self, samples: Iterable[Sample]) -> Iterator[LabelPrediction]:
        """A prediction of each sample, in order."""
        return (prediction for _, prediction in self.pairs(samples))

    def _forward(self, images: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            logits: Tensor = self.network(images)
        return activate(logits.float(), self.groups)[..., None, None]


def activate(logits: Tensor, groups: Sequence[LabelGroup]) -> Tensor:
    """Probabilities of logits (N, L): softmax over the labels of a single group, sigmoid of those of others."""
    parts = ((group, logits[:, part]) for group, part in slices(groups))
    return torch.cat([part.sigmoid() if group.multi else part.softmax(dim=1) for group, part in parts], dim=1)


def label_predictor(run: TrainingRun, weights: WeightsName = "best", **options: Any) -> LabelPredictor:
    """A run's classifier, ready to predict; ``options`` are those of `LabelPredictor`, and may be None.

    Raises:
        TrainError: an option is for masks alone.
    """
    window = options.pop("window", None)
    if window is not None and window != run.window:
        raise TrainError(f"{run.folder} predicts labels of whole images, without windows. Leave --window out")
    given = {
        "batch_size": run.config.data.batch_size,
        "sides": run.spec.sides,
        **{key: each for key, each in options.items() if each is not None},
    }
    return LabelPredictor(run.model(weights), run.spec.groups, run.input, choose_device("auto"), **given)
