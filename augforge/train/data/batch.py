"""A batch of samples, whose masks stay bit-planes until they are unpacked on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from augforge import bitmask
from augforge.sample import IGNORE
from augforge.train.data.inputspec import normalise


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples on their way from a loading process into the network.

    Attributes:
        names: names of the samples.
        images: uint8 or uint16 (N, C, H, W), not normalised; C is 1 for gray images, even if the network takes 3.
        shift_and_scale: float32 (N, 2, C or 1 or the network's channels), the normalisation of each image.
        planes: uint8 (N, P, H, W), planar bit-planes.
        known: bool (N, classes), in the order of the dataset's class table.
        labels: float32 (N, L), NaN for a sample without labels; L is 0 for a dataset without labels.
        weights: float32 (N, H, W), how much pixels count; None if all count alike.
        epoch, samples: where to go on after this batch: the epoch, and the samples that all ranks have read of it.
    """

    names: tuple[str, ...]
    images: Tensor
    shift_and_scale: Tensor
    planes: Tensor
    known: Tensor
    labels: Tensor
    weights: Tensor | None = None
    epoch: int = 0
    samples: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, from which a GPU copies faster."""
        return replace(
            self,
            images=self.images.pin_memory(),
            shift_and_scale=self.shift_and_scale.pin_memory(),
            planes=self.planes.pin_memory(),
            known=self.known.pin_memory(),
            labels=self.labels.pin_memory(),
            weights=None if self.weights is None else self.weights.pin_memory(),
        )


def targets_to_device(
    batch: Batch, classes: Sequence[str], device: torch.device | str, regions: Sequence[str] = ()
) -> tuple[Tensor, Tensor]:
    """What a step of segmentation compares with, on a device; copies from pinned memory are not waited for.

    Args:
        batch: from the loader.
        classes: the dataset's class table. The network predicts C of them, all but `ignore`.
        device: of the network.
        regions: classes that only weigh pixels, which the network does not predict either.

    Returns:
        target, float32 (N, C, H, W) of 0 and 1; counted, bool (N, C, H, W), or (N, C, 1, 1) if no class is `ignore`:
        the pixels that count.
    """
    planes, known = (each.to(device, non_blocking=True) for each in (batch.planes, batch.known))
    target, counted = unpack(planes, known, classes, regions)
    return target.float(), counted


def unpack(planes: Any, known: Any, classes: Sequence[str], regions: Sequence[str] = ()) -> tuple[Any, Any]:
    """A channel for each class of bit-planes, on the device of the planes, and what counts of it in losses and scores.

    Args:
        planes: planar, uint8 (..., P, H, W), a torch tensor or a numpy array.
        known: which classes were labelled, bool (..., classes), likewise.
        classes: the dataset's class table. There is a channel for each of its C classes but `ignore` and regions.
        regions: classes that only weigh pixels.

    Returns:
        masks, bool (..., C, H, W); counted, bool (..., C, H, W), or (..., C, 1, 1) if no class is `ignore`: pixels of
        known classes that are not marked to be ignored.
    """
    outputs = [c for c, name in enumerate(classes) if name != IGNORE and name not in regions]
    masks = _class_layers(planes, outputs)
    counted = known[..., outputs][..., None, None]
    if IGNORE in classes:
        counted = counted & ~_class_layers(planes, [classes.index(IGNORE)])
    return masks, counted


def _class_layers(planes: Any, classes: Sequence[int]) -> Any:
    """`bitmask.class_layers`; tensors in main memory as arrays, of which only the classes' boxes are unpacked."""
    if isinstance(planes, Tensor) and planes.device.type == "cpu":
        return torch.from_numpy(bitmask.class_layers(planes.numpy(), classes))
    return bitmask.class_layers(planes, classes)


def images_to_device(batch: Batch, device: torch.device | str, channels: int | None = None) -> Tensor:
    """The normalised images of a batch, float32 (N, channels, H, W), on a device; None keeps their own channels."""
    images = normalise(batch.images.to(device, non_blocking=True).float(), batch.shift_and_scale.to(device))
    return images if channels is None else images.expand(-1, channels, -1, -1)
