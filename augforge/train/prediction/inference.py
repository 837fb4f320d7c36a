"""Running a network over samples: probabilities at its input's pixels, and from there at an image's own pixels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.errors import TrainError
from augforge.lineage import Lineage, Root, compose
from augforge.ops.geometry import scale_matrix
from augforge.ops.sides import Sides
from augforge.sample import IDENTITY, Box, Matrix, Placement, Sample
from augforge.train.data.inputspec import InputSpec
from augforge.train.net.device import Precision, autocast
from augforge.train.net.pixels import decide_exclusive
from augforge.train.prediction.blend import blend
from augforge.train.prediction.preparing import PassNotes, Preparer, View
from augforge.train.prediction.tta import Pairs, average_views, build_views, side_warnings
from augforge.train.prediction.windows import load_sliding_window, pad_sample, scale_sample, standardise
from augforge.train.preparation import PreparedStep

Layer = NDArray[np.float32]
"""Probabilities of one class, float32 (H, W), 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Probabilities of each class for an image, kept at the network's input pixels.

    At 2048x2048 pixels, 29 classes would take half a gigabyte, so they are resampled to the image's pixels one class at
    a time, bilinearly. Where the network did not see the image, they are 0.

    Attributes:
        name: of the image.
        probabilities: (C, h, w), 0 to 1, float32; float16 if they are blended from windows.
        matrix: 2x3, image pixel to input pixel; pixel centres are at integers.
        clip: x0, y0, x1, y1 in input pixels, half-open: nothing of the image lies outside.
        width, height: of the image, pixels.
    """

    name: str
    probabilities: NDArray[np.floating[Any]]
    matrix: Matrix
    clip: Box
    width: int
    height: int

    def layers(self) -> Iterator[Layer]:
        """Each class at the image's pixels, (H, W), in order, one at a time."""
        x0, y0, x1, y1 = self.clip
        resample = self._resampler()
        return (resample(np.ascontiguousarray(layer[y0:y1, x0:x1], np.float32)) for layer in self.probabilities)

    def planes(self, thresholds: Sequence[float]) -> Planes:
        """Bit-planes (H, W, P): a pixel is a class where its probability reaches the class's threshold."""
        return planes_from_layers(self.layers(), thresholds)

    def in_source(self, root: Root) -> Prediction:
        """The same prediction for the source image of the predicted sample; `root` says where it lies in the sample."""
        placed = root.transform(Placement(self.matrix, self.clip))
        width, height = root.size
        return replace(self, name=root.name, matrix=placed.matrix, clip=placed.clip, width=width, height=height)

    def half(self) -> Prediction:
        """The same in half precision, which halves the memory."""
        return replace(self, probabilities=self.probabilities.astype(np.float16))

    def _resampler(self) -> Callable[[Layer], Layer]:
        """A function that takes one class's probabilities inside `clip` to the image's pixels."""
        x0, y0, x1, y1 = self.clip
        seen, size = (x1 - x0, y1 - y0), (self.width, self.height)
        if 0 in seen or 0 in size:
            return lambda part: np.zeros(size[::-1], np.float32)
        if np.allclose(self.matrix, scale_matrix(size, seen, (x0, y0)), rtol=0, atol=1e-6):
            # The image was only scaled: resizing is much faster than warping.
            return lambda part: np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR))
        matrix = np.array(compose(((1, 0, -x0), (0, 1, -y0)), self.matrix))
        linear, nearest = (flag | cv2.WARP_INVERSE_MAP for flag in (cv2.INTER_LINEAR, cv2.INTER_NEAREST))
        inside = cv2.warpAffine(np.ones(seen[::-1], np.float32), matrix, size, flags=nearest)
        edge = cv2.BORDER_REPLICATE
        return lambda part: np.multiply(cv2.warpAffine(part, matrix, size, flags=linear, borderMode=edge), inside)


def planes_from_layers(layers: Iterable[Layer], thresholds: Sequence[float]) -> Planes:
    """Bit-planes (H, W, P) of layers, one class at a time: set where a layer reaches its class's threshold."""
    return bitmask.from_masks((layer >= t for layer, t in zip(layers, thresholds, strict=True)), len(thresholds))


@dataclass(frozen=True, slots=True)
class Window:
    """Sliding windows over an image that is larger than what the network sees at once.

    Attributes:
        size: width and height in pixels, multiples of 32; None is the network's input size.
        overlap: share of a window that the next one covers too, from 0 to below 1.
        scale: factor by which the image is scaled first. 1 suits a network that was trained on windows as samples; each
            window is normalised by itself, as those samples were. None scales and normalises the whole image as in
            training, which suits a network that was trained with `data.crop`.
    """

    size: tuple[int, int] | None = None
    overlap: float = 0.25
    scale: float | None = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise TrainError(f"windows overlap by {self.overlap:g}; expected a share from 0 to below 1, such as 0.25")
        if self.scale is not None and not 0 < self.scale <= 16:
            raise TrainError(f"windows are cut at scale {self.scale:g}; expected a factor above 0 and at most 16")
        if self.size is not None and any(side < 32 or side % 32 for side in self.size):
            raise TrainError(f"windows have {self.size[0]}x{self.size[1]} pixels; expected multiples of 32")


class Predictor:
    """Runs a network over samples, batch by batch; memory does not grow with their number.

    Args:
        model: images (N, channels, h, w) to logits (N, C, h, w).
        outputs: the C classes.
        spec: how an image becomes the network's input.
        device: where it computes.
        precision: ``bf16`` and ``fp16`` by autocast.
        batch_size: images, or windows, at a time.
        tta: test-time augmentations whose probabilities are averaged with the plain ones; see `tta.build_views`.
        window: predict by sliding windows instead of the whole image at once.
        swap, sides: pairs of classes that mirrored views exchange; see `tta.build_views`.
        exclusive: whether classes exclude each other: then the most probable one reaches 0.5; see `decide_exclusive`.

    Attributes:
        warnings: what a person should know of its views.
    """

    def __init__(  # noqa: PLR0913 - swap and sides are one thing said by two
        self,
        model: nn.Module,
        outputs: tuple[str, ...],
        spec: InputSpec,
        device: torch.device,
        precision: Precision,
        *,
        batch_size: int = 8,
        tta: Sequence[str] = (),
        window: Window | None = None,
        swap: Pairs | None = None,
        sides: Sides | None = None,
        exclusive: bool = False,
    ) -> None:
        self.model, self.outputs, self.spec = model.to(device).eval(), outputs, spec
        self.device, self.precision, self._exclusive = device, precision, exclusive
        self.batch_size, self.window, self._views = batch_size, window, build_views(tta, outputs, swap, sides)
        self.warnings = side_warnings(tta, outputs, swap, sides)
        self._prepare: Preparer | None = None

    def with_steps(self, steps: Sequence[PreparedStep], notes: PassNotes) -> Predictor:
        """A predictor of the same network that takes samples through preparing steps first; see `preparing`.

        Predictions are of the samples all the same, at their own pixels. `notes` get what happens on the way.
        """
        other = copy(self)
        other._prepare = Preparer(steps, self.outputs, other._predict_views, notes) if steps else None
        return other

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Normalised images (N, channels, h, w) to probabilities, float32 (N, C, h, w), the mean of all views."""
        return average_views(self._forward, images.to(self.device), self._views)

    def predict(self, samples: Iterable[Sample]) -> Iterator[Prediction]:
        """A prediction of each sample, in order, for its own pixels; at most `batch_size` samples are read ahead."""
        if self._prepare is None:
            yield from self._predict_prepared(samples)
            return
        prepared: deque[list[View]] = deque()

        def views(prepare: Preparer) -> Iterator[Sample]:
            for sample in samples:
                prepared.append(prepare(sample))
                yield from (view.sample for view in prepared[-1])

        predictions = self._predict_prepared(views(self._prepare))
        for first in predictions:  # asking for it prepared its sample; the predictions of its other views follow
            roots = [view.root for view in prepared.popleft()]
            yield _in_image([first, *islice(predictions, len(roots) - 1)], roots)

    def _predict_views(self, views: Sequence[View]) -> Prediction:
        """The prediction of the image that all views show, at its own pixels."""
        return _in_image([*self._predict_prepared(view.sample for view in views)], [view.root for view in views])

    def _predict_prepared(self, samples: Iterable[Sample]) -> Iterator[Prediction]:
        stream = iter(samples)
        while batch := list(islice(stream, self.batch_size if self.window is None else 1)):
            yield from (
                self._predict_whole(batch) if self.window is None else self._predict_windows(batch[0], self.window)
            )

    def pairs(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Prediction]]:
        """Like `predict`, with each prediction's sample."""
        read: deque[Sample] = deque()

        def remember() -> Iterator[Sample]:
            for sample in samples:
                read.append(sample)
                yield sample

        return ((read.popleft(), prediction) for prediction in self.predict(remember()))

    def _forward(self, images: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            logits: Tensor = self.model(images)
        return decide_exclusive(logits.float()) if self._exclusive else logits.float().sigmoid()

    def _predict_whole(self, samples: Sequence[Sample]) -> Iterator[Prediction]:
        fitted = [self.spec.fit(sample) for sample in samples]
        images = torch.stack([self.spec.pixels(each.image) for each in fitted])
        probabilities = self.probabilities(images).cpu().numpy()
        for sample, each, of_sample in zip(samples, fitted, probabilities, strict=True):
            yield _to_prediction(sample, of_sample, each.placements[0])

    def _predict_windows(self, sample: Sample, window: Window) -> Iterator[Prediction]:
        """Predict by windows, blended with Gaussian weights around their centres (Isensee et al., nnU-Net, 2021)."""
        size = window.size or self.spec.size
        scaled = pad_sample(self.spec.fit(sample) if window.scale is None else scale_sample(sample, window.scale), size)
        by_itself = window.scale is not None and self.spec.normalise == "sample"
        # The blended probabilities get the dtype of the image: half precision halves the memory.
        image = self.spec.pixels(scaled.image)[None].half()
        with torch.inference_mode():
            blended: Tensor = load_sliding_window()(
                image,
                roi_size=size[::-1],
                sw_batch_size=self.batch_size,
                predictor=lambda part: self.probabilities(standardise(part.float()) if by_itself else part.float()),
                overlap=window.overlap,
                mode="gaussian",
                sw_device=self.device,
                device="cpu",
            )
        yield _to_prediction(sample, blended[0].numpy(), scaled.placements[0])


def _in_image(predictions: Sequence[Prediction], roots: Sequence[Root]) -> Prediction:
    """The prediction of an image by those of its views; `roots` say where the image lies in each.

    Those of several views, such as windows, are blended at the image's own pixels, in half precision.
    """
    name, (width, height) = roots[0].name, roots[0].size
    if len(predictions) == 1:
        return predictions[0].in_source(roots[0])
    layers = [layer.astype(np.float16) for layer in blend([each.half() for each in predictions], roots)]
    return Prediction(name, np.stack(layers), IDENTITY, (0, 0, width, height), width, height)


def _to_prediction(sample: Sample, probabilities: NDArray[np.floating[Any]], placement: Placement) -> Prediction:
    width, height = sample.width, sample.height
    placed = Lineage.of_source(sample.name, width, height).roots[0].transform(placement)
    return Prediction(sample.name, probabilities, placed.matrix, placed.clip, width, height)
