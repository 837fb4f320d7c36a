"""Networks whose answer is known: classes that stand in the pixels themselves, so that geometry shows to the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from augforge import bitmask
from augforge.sample import Sample
from augforge.train.data.inputspec import InputSpec
from augforge.train.prediction.inference import Predictor
from augforge.train.run import TrainingRun

CPU = torch.device("cpu")


class Bright(nn.Module):
    """A class for each channel: where it is 128 or more. Remembers the sizes (w, h) that it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[int, int]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown += [(images.shape[3], images.shape[2])] * len(images)
        return (images - 127.5 / 255) * 8


def spec(width: int, height: int, channels: int = 1, normalise: Any = "unit") -> InputSpec:
    return InputSpec((width, height), channels, normalise)


def predictor(model: nn.Module, outputs: Sequence[str], into: InputSpec, **options: Any) -> Predictor:
    return Predictor(model, tuple(outputs), into, CPU, "fp32", **options)


def sample_of(image: np.ndarray, name: str = "one") -> Sample:
    """An image of which no class is known."""
    height, width = image.shape[:2]
    return Sample(name, image, bitmask.empty(height, width, 1), np.zeros(1, np.uint8))


@dataclass
class OracleRun:
    """A run whose network is `Bright`, as far as predicting needs it."""

    folder: Path
    input: InputSpec
    outputs: tuple[str, ...] = ("red", "green", "blue")
    thresholds: tuple[float, ...] = (0.5, 0.5, 0.5)
    datasets: tuple[dict[str, str], ...] = ({"path": "/made", "name": "made", "version": "0123"},)
    config: Any = field(default_factory=lambda: SimpleNamespace(threshold=0.5, init=None))
    spec: Any = field(default_factory=lambda: SimpleNamespace(regions=()))
    model: nn.Module = field(default_factory=Bright)
    window: Any = None
    preparations: tuple[Any, ...] = ()

    def predictor(self, **options: Any) -> Predictor:
        return predictor(self.model, self.outputs, self.input, **options)


def oracle_run(folder: Path, into: InputSpec, **fields: Any) -> TrainingRun:
    """An `OracleRun` in the place of a run that was trained."""
    return cast("TrainingRun", OracleRun(folder, into, **fields))


def shapes(width: int, height: int, seed: int) -> np.ndarray:
    """RGB: an ellipse in each channel, which overlap; the second and third lie apart, so that they make an axis."""
    rng, image = np.random.default_rng(seed), np.zeros((height, width, 3), np.uint8)
    for channel, (x, y) in enumerate([(0.5, 0.5), (0.3, 0.7), (0.6, 0.25)]):
        centre = (int(width * (x + rng.uniform(-0.05, 0.05))), int(height * (y + rng.uniform(-0.05, 0.05))))
        axes = (int(width * rng.uniform(0.12, 0.2)), int(height * rng.uniform(0.08, 0.15)))
        layer = np.zeros((height, width), np.uint8)
        cv2.ellipse(layer, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
        image[..., channel] = layer
    return image


def write_shapes(root: Path, sizes: Sequence[tuple[int, int]]) -> Path:
    """A mask-folder data set of `shapes`, an image each size: ``P0/shape``, ``P1/shape``, ..."""
    for number, (width, height) in enumerate(sizes):
        image = shapes(width, height, number)
        put(root / f"images/P{number}/shape.png", image)
        for channel, name in enumerate(("red", "green", "blue")):
            put(root / f"masks/{name}/P{number}/shape.png", image[..., channel])
    return root


def put(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    swapped = image if image.ndim == 2 else image[..., ::-1]
    path.write_bytes(cv2.imencode(path.suffix, swapped)[1].tobytes())


def truth(image: np.ndarray) -> np.ndarray:
    """What `Bright` should find, bool (H, W, C)."""
    return np.atleast_3d(image) >= 128


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


class Remember(nn.Module):
    """The same answer everywhere, by the sum of the pixels' values: a probability for each image it was told of."""

    def __init__(self, answers: dict[int, float]) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, images: Tensor) -> Tensor:
        levels = [self.answers[round(float(image.double().sum() * 255))] for image in images]
        return torch.logit(torch.tensor(levels))[:, None, None, None].expand(images.shape).clone()
