"""What goes into the network: size, channels, normalisation; the same in training and in prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from augforge.errors import TrainError
from augforge.ops import Context
from augforge.ops.core import Size
from augforge.ops.geometry import Resize, resize, width_height
from augforge.sample import Image, Sample
from augforge.train.config import STRIDE, TrainConfig

if TYPE_CHECKING:
    from augforge.train.data.trainingset import TrainingSet

LARGEST = {"cpu": 128}
LARGEST_GPU = 512
_EMPTY = Context(())


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What samples are made into before they go into the network.

    Attributes:
        size: width and height in pixels that a sample is scaled to, letterboxed.
        channels: 1, where colour becomes gray, or 3, where gray stands in all of them. Transparency is left out.
        normalise: ``sample``: to mean 0 and deviation 1, over all pixels and channels of the scaled sample, border
            included; ``encoder``: by `mean` and `std`; ``unit``: to the range 0 to 1.
        mean, std: of each channel on the scale 0 to 1.
    """

    size: Size
    channels: int
    normalise: Literal["sample", "encoder", "unit"] = "sample"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> InputSpec:
        size, mean, std = (tuple(data[key]) for key in ("size", "mean", "std"))
        return cls((size[0], size[1]), data["channels"], data["normalise"], mean, std)

    def fit(self, sample: Sample) -> Sample:
        """The sample scaled into the network's input; ``placements[0].matrix`` takes its pixels there."""
        [fitted] = resize.apply([sample], None, Resize(size=self.size), _EMPTY)
        assert isinstance(fitted, Sample)
        return fitted

    def shift_and_scale(self, image: Image) -> NDArray[np.float32]:
        """What to subtract from an image's values and to divide them by: float32 (2, channels), or (2, 1) for all."""
        most = float(np.iinfo(image.dtype).max)
        if self.normalise == "unit":
            return np.array([[0.0], [most]], np.float32)
        if self.normalise == "encoder":
            return np.array([self.mean, self.std], np.float32) * np.float32(most)
        mean, deviation = cv2.meanStdDev(image.reshape(image.shape[0], -1))
        return np.array([mean[0], np.where(deviation[0] > 0, deviation[0], 1)], np.float32)

    def pixels(self, image: Image) -> torch.Tensor:
        """A fitted image as the network takes it: float32 (channels, H, W)."""
        values = in_channels(image, self.channels)
        layers = torch.from_numpy(channels_first(values)).float()
        return normalised(layers, torch.from_numpy(self.shift_and_scale(values))).expand(self.channels, -1, -1)


def normalised(layers: torch.Tensor, shift_and_scale: torch.Tensor) -> torch.Tensor:
    """Float images (..., C, H, W), normalised by (..., 2, C or 1)."""
    return (layers - shift_and_scale[..., 0, :, None, None]) / shift_and_scale[..., 1, :, None, None]


def channels_first(image: Image) -> Image:
    """(H, W) or (H, W, C) as contiguous (C, H, W)."""
    return np.ascontiguousarray(image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0))


def in_channels(image: Image, channels: int) -> Image:
    """An image without transparency, and gray (H, W) where one channel is wanted; gray stays (H, W) for three."""
    if image.ndim == 3 and channels == 1:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY))
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., :3])


def input_spec(config: TrainConfig, samples: TrainingSet, device: str) -> InputSpec:
    """Decide what the configuration leaves to the data.

    Args:
        config: what the run is told.
        samples: what it trains on.
        device: ``cpu``, ``cuda`` or ``mps``.

    Raises:
        TrainError: a crop that is larger than the samples.
    """
    data = config.data
    size = _stored(samples.sizes, LARGEST.get(device, LARGEST_GPU)) if data.size is None else width_height(data.size)
    if data.crop is not None:
        crop = width_height(data.crop)
        if crop[0] > size[0] or crop[1] > size[1]:
            raise TrainError(
                f"data.crop is {list(crop)}, but samples are scaled to {list(size)}. Make the crop smaller"
            )
    channels = data.channels or (3 if samples.colour else 1)
    return InputSpec(size, channels, data.normalise, *_pretraining(config, channels))


def _pretraining(config: TrainConfig, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation that the encoder was pretrained with; nothing where they are not asked for."""
    if config.data.normalise != "encoder":
        return (), ()
    from augforge.train.net.model import encoder_normalisation

    mean, std = encoder_normalisation(config.model, channels)
    return tuple(mean), tuple(std)


def _stored(sizes: NDArray[np.int64], most: int) -> Size:
    """The largest stored side in multiples of 32, at most `most`, with the median picture's proportions."""
    ratio = float(np.median(sizes[:, 0] / sizes[:, 1]))
    longest = min(most, _up(int(sizes.max())))
    return (longest, _up(longest / ratio)) if ratio >= 1 else (_up(longest * ratio), longest)


def _up(length: float) -> int:
    return max(1, int(np.ceil(np.round(length / STRIDE, 6)))) * STRIDE
