"""A batch: masks travel as bit-planes and become tensors on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from augforge import bitmask
from augforge.sample import IGNORE
from augforge.train.data.inputspec import normalise


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples on their way into the network.

    Attributes:
        names: of the samples.
        images: uint8 or uint16 (N, C, H, W), not normalised; C is 1 for gray, also where the network takes 3.
        shift_and_scale: float32 (N, 2, C or 1 or the network's channels), the normalisation of each.
        planes: uint8 (N, P, H, W), planar bit-planes.
        known: bool (N, classes), of the dataset's class table.
        labels: float32 (N, L), NaN for a sample without; L is 0 without label table.
        epoch, samples: where to go on after this batch: the epoch, and the samples that all ranks have read of it.
    """

    names: tuple[str, ...]
    images: Tensor
    shift_and_scale: Tensor
    planes: Tensor
    known: Tensor
    labels: Tensor
    epoch: int = 0
    samples: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device; from pinned memory without waiting for it."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        return self._each(Tensor.pin_memory)

    def _each(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            images=function(self.images),
            shift_and_scale=function(self.shift_and_scale),
            planes=function(self.planes),
            known=function(self.known),
            labels=function(self.labels),
        )


def to_device(
    batch: Batch, classes: Sequence[str], device: torch.device | str, channels: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """What a step of segmentation needs, made on the device.

    Args:
        batch: as the loader gives it.
        classes: the dataset's class table. C are those that the network predicts, all but `ignore`.
        device: where to.
        channels: of the network's input; None for those of the images.

    Returns:
        images, float32 (N, channels, H, W), normalised; target, float32 (N, C, H, W) of 0 and 1; counted, bool
        (N, C, H, W), or (N, C, 1, 1) where no class is `ignore`: the pixels that count.
    """
    batch = batch.to(device)
    outputs = [c for c, name in enumerate(classes) if name != IGNORE]
    target = bitmask.class_layers(batch.planes, outputs).float()
    counted = batch.known[:, outputs, None, None]
    if IGNORE in classes:
        counted = counted & ~bitmask.class_layers(batch.planes, [classes.index(IGNORE)])
    return images_to_device(batch, device, channels), target, counted


def images_to_device(batch: Batch, device: torch.device | str, channels: int | None = None) -> Tensor:
    """The normalised images of a batch, float32 (N, channels, H, W), on a device."""
    images = normalise(batch.images.to(device, non_blocking=True).float(), batch.shift_and_scale.to(device))
    return images if channels is None else images.expand(-1, channels, -1, -1)
