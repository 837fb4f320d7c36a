"""Datasets in a PyTorch training loop of one's own: a map-style dataset, a sampler and a DataLoader.

    train = augforge.open_dataset("datasets/hands").split("train")
    loader = data_loader(train, batch_size=8, workers=4)
    for epoch in range(10):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            batch["image"], batch["masks"], batch["counted"]

Workers may be started by fork, spawn or forkserver. docs/pytorch.md shows more, and how to use it with Lightning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from numpy.typing import ArrayLike

from augforge.errors import MissingExtra, TrainError

try:
    import torch
except ImportError as error:
    raise MissingExtra("PyTorch", "train", "augforge.torch") from error

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torch.utils.data import Dataset as MapDataset
from torch.utils.data import Sampler as TorchSampler

from augforge import bitmask
from augforge.sample import Sample
from augforge.store.dataset import Dataset
from augforge.store.order import fill_up, global_order, share
from augforge.train.data.batch import unpack
from augforge.train.data.inputspec import channels_first, convert_channels
from augforge.train.data.workers import init_worker

__all__ = ["OrderSampler", "TorchDataset", "collate", "data_loader", "unpack"]

Item = dict[str, Any]


class TorchDataset(MapDataset[Any]):
    """The samples of a dataset, or of a part of one, as tensors.

    An item is a dict with these keys, of C classes without `ignore`:

    - ``name``: of the sample;
    - ``image``: (channels, H, W), float32 from 0 to 1, or as it is stored, uint8 or uint16;
    - with masks as channels: ``masks``, bool (C, H, W), and ``counted``, bool (C, H, W), or (C, 1, 1) if no class is
      `ignore`: the pixels that losses and scores should count, those of known classes that are not to be ignored;
    - with masks as planes: ``planes``, uint8 (P, H, W), and ``known``, bool, for each class of the dataset's table.
      `unpack` makes ``masks`` and ``counted`` of both, on the GPU if they are there: an eighth of the bytes travels;
    - ``label``: float32 (labels,), NaN for a sample without; only for datasets with labels.

    Args:
        dataset: such as ``augforge.open_dataset(folder).split("train")``.
        masks: as ``channels`` or as ``planes``.
        images: ``float`` or as they are ``stored``.
        channels: 1, for which colour becomes gray, or 3, to which gray is copied; transparency is dropped. None leaves
            the images as they are.
        transform: gets each item, and what it returns is given back in its place. For spawned workers it has to be
            something that can be pickled, so no lambda.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        masks: Literal["channels", "planes"] = "channels",
        images: Literal["float", "stored"] = "float",
        channels: Literal[1, 3] | None = None,
        transform: Callable[[Item], Any] | None = None,
    ) -> None:
        _check("masks", masks, ("channels", "planes"))
        _check("images", images, ("float", "stored"))
        _check("channels", channels, (1, 3, None))
        self.dataset, self.transform = dataset, transform
        self._masks, self._images, self._channels = masks, images, channels
        self._classes, self._labels = dataset.classes, len(dataset.labels)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> Any:
        """Item i, transformed.

        Raises:
            IndexError: i outside -len..len-1.
            DatasetError: the shard is missing or damaged, or the sample cannot be decoded.
        """
        sample = self.dataset[i]
        item = {"name": sample.name, "image": self._image(sample), **self._mask_tensors(sample)}
        if self._labels:
            label = np.full(self._labels, np.nan, np.float32) if sample.label is None else sample.label
            item["label"] = torch.from_numpy(label)
        return item if self.transform is None else self.transform(item)

    def _image(self, sample: Sample) -> Tensor:
        image = sample.image if self._channels is None else convert_channels(sample.image, self._channels)
        layers = torch.from_numpy(channels_first(image))
        if self._images == "float":
            layers = layers.float().div_(float(np.iinfo(image.dtype).max))
        return layers if self._channels is None else layers.expand(self._channels, -1, -1)

    def _mask_tensors(self, sample: Sample) -> Item:
        planes, known = bitmask.planar(sample.masks), bitmask.bits_to_flags(sample.known, len(self._classes))
        if self._masks == "planes":
            # The memory is the sample's own, and nobody else has the sample. Without digests it is that of bytes.
            own = torch.from_numpy(planes) if planes.flags.writeable else torch.tensor(planes)
            return {"planes": own, "known": torch.tensor(known)}
        masks, counted = unpack(planes, known, self._classes)
        return {"masks": torch.from_numpy(masks), "counted": torch.from_numpy(counted)}


class OrderSampler(TorchSampler[int]):
    """Which samples one process reads in an epoch, in the order of `Dataset.order`: by seed and epoch alone.

    All processes together read every sample; if their number does not divide that of the samples, a few are read twice,
    so that all processes make as many steps. Call `set_epoch` before each epoch (Lightning does).

    Args:
        dataset: what is read.
        seed: of the order.
        shuffle: False reads the samples in the dataset's own order.
        weights: one number per sample: as many samples are drawn, with replacement, in proportion to them.
        world, rank: how many processes read, and which this one is; None asks torch.distributed, and is 1 and 0 if
            that was not started.
    """

    def __init__(
        self,
        dataset: Dataset | TorchDataset,
        seed: int = 0,
        *,
        shuffle: bool = True,
        weights: ArrayLike | None = None,
        world: int | None = None,
        rank: int | None = None,
    ) -> None:
        self._samples, self._seed, self._shuffle = len(dataset), seed, shuffle
        self._weights = None if weights is None else np.asarray(weights, np.float64)
        self._world, self._rank = world, rank
        self._epoch = self._start = 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Go to an epoch.

        Args:
            epoch: from 0.
            start: number of its samples that all processes together have trained on already, to go on after them. Their
                number may have been another one.
        """
        self._epoch, self._start = epoch, start

    def __len__(self) -> int:
        return max(0, math.ceil((self._samples - self._start) / self._place()[0]))

    def __iter__(self) -> Iterator[int]:
        world, rank = self._place()
        shuffled = self._shuffle or self._weights is not None
        order = (
            global_order(self._samples, self._seed, self._epoch, self._weights)
            if shuffled
            else np.arange(self._samples, dtype=np.int64)
        )
        return iter(share(fill_up(order, self._start, world), world, rank, self._start).tolist())

    def _place(self) -> tuple[int, int]:
        started = torch.distributed.is_available() and torch.distributed.is_initialized()
        world = (torch.distributed.get_world_size() if started else 1) if self._world is None else self._world
        rank = (torch.distributed.get_rank() if started else 0) if self._rank is None else self._rank
        return world, rank


def data_loader(
    dataset: Dataset | TorchDataset,
    batch_size: int,
    *,
    seed: int = 0,
    shuffle: bool = True,
    weights: ArrayLike | None = None,
    workers: int = 0,
    **options: Any,
) -> DataLoader[Any]:
    """A DataLoader of a dataset. Its ``sampler`` is an `OrderSampler`, whose `set_epoch` is to be called.

    Args:
        dataset: what to read; a `TorchDataset` to choose the form of images and masks, or to transform them.
        batch_size: samples of a batch of one process.
        seed, shuffle, weights: of the order; see `OrderSampler`.
        workers: loading processes; 0 loads in this one.
        options: of `torch.utils.data.DataLoader`, such as ``multiprocessing_context``, ``pin_memory``, ``drop_last``,
            ``persistent_workers``.
    """
    items = dataset if isinstance(dataset, TorchDataset) else TorchDataset(dataset)
    own: Item = {"collate_fn": collate, "worker_init_fn": init_worker if workers else None}
    sampler = OrderSampler(items, seed, shuffle=shuffle, weights=weights)
    return DataLoader(items, batch_size, sampler=sampler, num_workers=workers, **{**own, **options})


def collate(items: Sequence[Any]) -> Any:
    """A batch of items, as PyTorch's `default_collate` makes it.

    Raises:
        TrainError: images of different shapes or types, which no tensor can hold together.
    """
    images = [item["image"] for item in items if isinstance(item, Mapping) and isinstance(item.get("image"), Tensor)]
    kinds = {f"{tuple(image.shape)} {str(image.dtype).removeprefix('torch.')}" for image in images}
    if len(kinds) > 1:
        raise TrainError(
            f"a batch has images of {' and '.join(sorted(kinds)[:3])}; expected one shape and one type. Let the "
            "recipe make them alike (output: {size: 512}), or TorchDataset (channels, images, transform)"
        )
    return default_collate(list(items))


def _check(name: str, value: Any, known: Sequence[Any]) -> None:
    if value not in known:
        raise ValueError(f"{name}={value!r}; expected one of {', '.join(map(repr, known))}")
