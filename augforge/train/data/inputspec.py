"""What goes into the network and what comes out of it; the same in training and in prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from augforge.ops.core import Context, Size
from augforge.ops.geometry import Resize, resize
from augforge.ops.sides import Sides
from augforge.sample import Image, Sample
from augforge.train.labels.groups import ONLY_GROUP, LabelGroup, main_figure

_NO_CONTEXT = Context(())  # resizing looks at neither classes nor labels


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How samples are converted into the network's input.

    Attributes:
        size: width and height in pixels that a sample is scaled to, letterboxed.
        channels: 1, for which colour becomes gray, or 3, all of which gray is copied to. Transparency is dropped.
        normalise: ``sample``: to mean 0 and deviation 1, over all pixels and channels of the scaled sample with its
            border; ``encoder``: by `mean` and `std`; ``unit``: to the range 0 to 1.
        mean, std: of each channel on the scale 0 to 1.
    """

    size: Size
    channels: int
    normalise: Literal["sample", "encoder", "unit"] = "sample"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON-like, as ``run.json`` holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> InputSpec:
        """`to_json` undone."""
        size, mean, std = (tuple(data[key]) for key in ("size", "mean", "std"))
        return cls((size[0], size[1]), data["channels"], data["normalise"], mean, std)

    def fit(self, sample: Sample) -> Sample:
        """Scale a sample to the network's input; ``placements[0].matrix`` of the result maps its pixels there."""
        [fitted] = resize.apply([sample], None, Resize(size=self.size), _NO_CONTEXT)
        assert isinstance(fitted, Sample)
        return fitted

    def shift_and_scale(self, image: Image) -> NDArray[np.float32]:
        """What to subtract from an image's values and to divide them by: float32 (2, channels), or (2, 1) for all."""
        largest = float(np.iinfo(image.dtype).max)
        if self.normalise == "unit":
            return np.array([[0.0], [largest]], np.float32)
        if self.normalise == "encoder":
            return np.asarray(np.array([self.mean, self.std], np.float32) * np.float32(largest))
        mean, deviation = cv2.meanStdDev(image.reshape(image.shape[0], -1))
        return np.array([mean[0], np.where(deviation[0] > 0, deviation[0], 1)], np.float32)

    def pixels(self, image: Image) -> torch.Tensor:
        """A scaled image as the network takes it: float32 (channels, H, W)."""
        values = convert_channels(image, self.channels)
        layers = torch.from_numpy(channels_first(values)).float()
        return normalise(layers, torch.from_numpy(self.shift_and_scale(values))).expand(self.channels, -1, -1)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a training run learns, from which data; the trainer derives it when the run begins.

    Attributes:
        task: ``segmentation`` into `outputs`, or ``classification`` into `labels`.
        outputs: classes that the network predicts, in order; never `ignore`.
        labels: that the network predicts, in order.
        datasets: path, name and version of each dataset that is trained on.
        input: the network's input.
        regions: classes that weigh pixels in training and are neither learnt nor judged.
        monitor: the figure of validation that chooses the best network. Runs that an earlier version began have that of
            the contest.
        groups: of the labels, in their order; empty for segmentation.
        sides: which outputs or labels a mirror exchanges; None in a run that was begun before augforge knew sides.
    """

    task: Literal["segmentation", "classification"]
    outputs: tuple[str, ...]
    labels: tuple[str, ...]
    datasets: tuple[dict[str, str], ...]
    input: InputSpec
    regions: tuple[str, ...] = ()
    monitor: str = "mean_dice"
    groups: tuple[LabelGroup, ...] = ()
    sides: Sides | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunSpec:
        """`to_json` undone."""
        tables: dict[str, Any] = {key: tuple(data[key]) for key in ("outputs", "labels", "datasets")}
        groups = tuple(map(LabelGroup.from_json, data["groups"])) if "groups" in data else _groups_before(data)
        given: dict[str, Any] = {
            "regions": tuple(data.get("regions", ())),
            "monitor": data.get("monitor") or (main_figure(groups) if groups else "mean_dice"),
            "sides": None if data.get("sides") is None else Sides.from_json(data["sides"]),
        }
        return cls(data["task"], **tables, input=InputSpec.from_json(data["input"]), groups=groups, **given)


def _groups_before(data: Mapping[str, Any]) -> tuple[LabelGroup, ...]:
    """The groups of a run of a version that had none: its labels were alternatives."""
    return (LabelGroup(ONLY_GROUP, tuple(data["labels"])),) if data["task"] == "classification" else ()


def normalise(layers: torch.Tensor, shift_and_scale: torch.Tensor) -> torch.Tensor:
    """Normalise float images (..., C, H, W) by (..., 2, C or 1)."""
    return (layers - shift_and_scale[..., 0, :, None, None]) / shift_and_scale[..., 1, :, None, None]


def channels_first(image: Image) -> Image:
    """Convert (H, W) or (H, W, C) to contiguous (C, H, W)."""
    return np.ascontiguousarray(image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0))


def convert_channels(image: Image, channels: int) -> Image:
    """Drop transparency, and convert colour to gray (H, W) for one channel; a gray image stays (H, W) for three."""
    if image.ndim == 3 and channels == 1:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY))
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., :3])
