"""What sliding windows need of an image: its scale, a size of at least one window, and the gray values of each."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augforge.bitmask import Planes
from augforge.errors import MissingExtra
from augforge.lineage import compose
from augforge.ops.geometry import scale_image, scale_matrix
from augforge.sample import IDENTITY, Sample

_FLAT = 1e-4  # a smaller deviation is rounding error: the window has a single gray value


def standardise(images: Tensor) -> Tensor:
    """Bring each image of (N, channels, h, w) to mean 0 and deviation 1, as if it were a sample of its own."""
    centred = images - images.mean((1, 2, 3), keepdim=True)
    deviation = centred.square().mean((1, 2, 3), keepdim=True).sqrt()
    return centred / torch.where(deviation > _FLAT, deviation, 1)


def scale_sample(sample: Sample, scale: float) -> Sample:
    """Scale a sample's image; its masks are not needed and left empty."""
    old = (sample.width, sample.height)
    new = (max(1, round(old[0] * scale)), max(1, round(old[1] * scale)))
    image = scale_image(sample.image, *new)
    return sample.derive(image, _empty_masks(sample, image), matrix=scale_matrix(old, new))


def pad_sample(sample: Sample, size: tuple[int, int]) -> Sample:
    """Pad a sample's image with black on all sides to the size of a window, if it is smaller."""
    matrix = sample.placements[0].matrix if sample.placements else IDENTITY
    across, down = max(0, size[0] - sample.width), max(0, size[1] - sample.height)
    left, top = across // 2, down // 2
    image = cv2.copyMakeBorder(sample.image, top, down - top, left, across - left, cv2.BORDER_CONSTANT, value=0)
    return sample.derive(image, _empty_masks(sample, image), matrix=compose(((1, 0, left), (0, 1, top)), matrix))


def _empty_masks(sample: Sample, image: NDArray[Any]) -> Planes:
    return np.zeros((*image.shape[:2], len(sample.known)), np.uint8)


def load_sliding_window() -> Any:
    """MONAI's sliding window inference; MissingExtra if MONAI is not installed."""
    try:
        from monai.inferers.utils import sliding_window_inference
    except ImportError:
        raise MissingExtra("monai", "train", "predicting by sliding windows") from None
    return sliding_window_inference
