"""Training batches straight from shards, in one global order whatever the number of ranks and workers."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from augforge import bitmask
from augforge.errors import AugforgeError, TrainError
from augforge.keys import rng_for
from augforge.ops.bound import BoundOp
from augforge.ops.core import Context
from augforge.ops.geometry import width_height
from augforge.sample import Sample
from augforge.store.order import Positions, fill_up, global_order, occurrences, share
from augforge.train.data.batch import Batch
from augforge.train.data.inputspec import InputSpec, channels_first, convert_channels
from augforge.train.data.online import Online, online_steps
from augforge.train.data.pixelweights import pixel_weights
from augforge.train.data.workers import default_workers, init_worker

if TYPE_CHECKING:  # each loading process imports this module, so it imports only what reading samples needs
    from augforge.train.config import DataConfig
    from augforge.train.data.trainingset import TrainingSet
    from augforge.train.weighting import WeightsConfig

UNIFORM_SHARE = 0.5
"""Share of the random windows that may lie anywhere, so that background is learnt too (after nnU-Net, Isensee 2021)."""

Request = tuple[int, int, int]
"""What a worker is asked for: epoch, a sample's position in the training set, how often it came before in the epoch."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A sample as arrays: a row of a `Batch`, where they are described."""

    name: str
    image: NDArray[Any]
    shift_and_scale: NDArray[np.float32]
    planes: NDArray[np.uint8]
    known: NDArray[np.bool_]
    label: NDArray[np.float32]
    weights: NDArray[np.float32] | None


class _Reader:
    """Reads and augments samples and turns them into the network's input: all that a worker does."""

    def __init__(
        self, samples: TrainingSet, spec: InputSpec, data: DataConfig, seed: int, weights: WeightsConfig | None
    ) -> None:
        self._samples, self._spec, self._seed = samples, spec, seed
        self._weights = weights if weights is not None and weights.of_pixels else None
        self._context = Context(samples.classes, samples.labels)
        self._uint16, self._channels = samples.has_uint16, spec.channels if samples.has_colour else 1
        self._online = Online(online_steps(data.online), self._context, len(samples), self._load, samples.sides)
        self._crop = None if data.crop is None else width_height(data.crop)

    def __getitem__(self, request: Request) -> _Item | AugforgeError:
        """The requested sample. An error is returned, not raised: a worker would print it with its traceback."""
        epoch, position, occurrence = request
        try:
            sample = self._online.sample(position, self._seed, epoch, occurrence)
            sample = self._unify_format(sample)  # again: a step may give another dtype, as normalise_intensity does
            if (sample.width, sample.height) != self._spec.size:
                sample = self._spec.fit(sample)
            return self._to_item(sample, rng_for("crop", self._seed, epoch, occurrence, sample.name))
        except AugforgeError as error:
            return error

    def _load(self, position: int) -> Sample:
        """A stored sample as online steps take it: at the network's size, masks interleaved as in a build."""
        sample = self._spec.fit(self._unify_format(self._samples[position]))
        return replace(sample, masks=bitmask.contiguous(sample.masks))

    def _unify_format(self, sample: Sample) -> Sample:
        """Convert the image to the dtype and the number of channels that all samples of the training set share."""
        image = convert_channels(sample.image, self._channels)
        if image.ndim == 2 and self._channels == 3:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB))
        if self._uint16 and image.dtype == np.uint8:
            image = image.astype(np.uint16) * 257  # 255 becomes 65535
        return replace(sample, image=image)

    def _to_item(self, sample: Sample, rng: np.random.Generator) -> _Item:
        # Normalised by the whole sample, not by the window: a dark part of it stays darker than a light one.
        normalisation = self._spec.shift_and_scale(sample.image)
        if self._crop is not None:
            sample = self._crop_window(sample, self._crop, rng)
        label = np.full(len(self._samples.labels), np.nan, np.float32) if sample.label is None else sample.label
        known = bitmask.bits_to_flags(sample.known, len(self._samples.classes))
        planes, weights = bitmask.planar(sample.masks), None
        if self._weights is not None:
            weights = pixel_weights(sample.masks, self._samples.classes, self._weights)
        return _Item(sample.name, channels_first(sample.image), normalisation, planes, known, label, weights)

    def _crop_window(self, sample: Sample, size: tuple[int, int], rng: np.random.Generator) -> Sample:
        """A random window. One in two is drawn to hold a class, so that rare classes are seen; others lie anywhere."""
        from augforge.ops.crops import CropNonEmpty  # only runs with data.crop need it and what it imports

        anywhere = rng.random() < UNIFORM_SHARE
        params = CropNonEmpty(size=size, ignore=self._context.classes if anywhere else ())
        made = BoundOp("crop_nonempty", params).call([sample], self._context, rng).results
        return next(window for window in made if isinstance(window, Sample))


def _collate(items: Sequence[_Item | AugforgeError]) -> Batch | AugforgeError:
    """A batch of the items, or the first error among them."""
    error = next((item for item in items if isinstance(item, AugforgeError)), None)
    if error is not None:
        return error
    good = [item for item in items if isinstance(item, _Item)]
    return Batch(
        names=tuple(item.name for item in good),
        images=_stack(item.image for item in good),
        shift_and_scale=_stack(item.shift_and_scale for item in good),
        planes=_stack(item.planes for item in good),
        known=_stack(item.known for item in good),
        labels=_stack(item.label for item in good),
        weights=_stack(weights) if (weights := [item.weights for item in good if item.weights is not None]) else None,
    )


def _stack(arrays: Iterable[NDArray[Any]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(list(arrays)))


@dataclass(frozen=True, slots=True)
class _BatchSampler:
    """Which samples make up this rank's batches: lists of requests, batch after batch and epoch after epoch.

    The DataLoader takes requests before earlier batches were trained on. What a checkpoint has to hold is therefore
    yielded apart, by `progress_after`, which is to be read along with the batches that come back.

    Attributes:
        samples: size of the training set.
        seed, weights: of the global order.
        batch_size, world, rank: samples of a batch; number of ranks; which of them this is.
        epoch, start: the first epoch, and how many of its samples all ranks together have read already.
    """

    samples: int
    seed: int
    weights: NDArray[np.float64] | None
    batch_size: int
    world: int
    rank: int
    epoch: int
    start: int

    def __iter__(self) -> Iterator[list[Request]]:
        for epoch, start in self._epochs():
            positions, occurrences_of = self._rank_order(epoch, start)
            for row, nth in zip(positions.tolist(), occurrences_of.tolist(), strict=True):
                yield [(epoch, position, occurrence) for position, occurrence in zip(row, nth, strict=True)]

    def progress_after(self) -> Iterator[tuple[int, int]]:
        """After each batch, where to go on: the epoch, and the samples that all ranks together have read of it.

        After the last batch of an epoch that is sample 0 of the next one.
        """
        step = self.batch_size * self.world
        for epoch, start in self._epochs():
            yield from ((epoch, seen) for seen in range(start + step, self.samples, step))
            if start < self.samples:
                yield epoch + 1, 0

    def _epochs(self) -> Iterator[tuple[int, int]]:
        """Each epoch with the samples to skip: the first one may be half done, in a run that was resumed."""
        yield self.epoch, self.start
        yield from ((epoch, 0) for epoch in count(self.epoch + 1))

    def _rank_order(self, epoch: int, start: int) -> tuple[Positions, Positions]:
        """Positions and occurrences of this rank's batches of an epoch, (steps, batch size) each."""
        order = global_order(self.samples, self.seed, epoch, self.weights)
        order = fill_up(order, start, self.batch_size * self.world)
        parts = (share(part, self.world, self.rank, start) for part in (order, occurrences(order)))
        positions, occurrences_of = (part.reshape(-1, self.batch_size) for part in parts)
        return positions, occurrences_of


class TrainingBatches:
    """Batches of a training set, epoch after epoch; the same for any number of workers.

    The epoch's global order (`global_order`) is cut into global batches of ``batch_size * world`` samples, of which
    each rank takes every world-th. If the last one is not full, it is filled up from the beginning of the order: every
    sample is read, all ranks make the same number of steps, all batches have the same shape, and even a set smaller
    than a batch can be trained on. Random augmentation of a sample depends on the seed, the epoch, its name and how
    often it came before in the epoch, and so not on rank, worker or whether the run was resumed.

    Args:
        samples: what to train on.
        spec: the network's input.
        data: batch size, online steps, crop, sampling, workers.
        seed: of the order and of augmentation.
        world, rank: how many processes train, and which of them this is.
        pin: put batches into pinned memory, for CUDA.
        weights: how much pixels count.

    Raises:
        TrainError: online steps that do not fit.
    """

    def __init__(
        self,
        samples: TrainingSet,
        spec: InputSpec,
        data: DataConfig,
        seed: int,
        *,
        world: int = 1,
        rank: int = 0,
        pin: bool = False,
        weights: WeightsConfig | None = None,
    ) -> None:
        self._samples, self._data, self._seed = samples, data, seed
        self._world, self._rank, self._pin = world, rank, pin
        self._reader = _Reader(samples, spec, data, seed, weights)
        self._weights = samples.rarity_weights() if data.sampling == "class" else None

    @property
    def per_epoch(self) -> int:
        """Number of batches of a whole epoch, for each rank."""
        return -(-len(self._samples) // (self._data.batch_size * self._world))

    def stream(self, epoch: int = 0, start: int = 0) -> Generator[Batch]:
        """This rank's batches without end; batches of the next epoch are loaded while this one is trained on.

        Args:
            epoch: to begin in.
            start: samples of that epoch that all ranks together have read, whatever the number of ranks was.

        Raises:
            AugforgeError: a sample cannot be read or augmented, or a worker died.
        """
        size, count = self._data.batch_size, len(self._samples)
        sampler = _BatchSampler(count, self._seed, self._weights, size, self._world, self._rank, epoch, start)
        # Not strict: neither sequence ends.
        for batch, (epoch_after, samples_after) in zip(
            self._load_batches(sampler), sampler.progress_after(), strict=False
        ):
            if isinstance(batch, AugforgeError):
                raise batch
            yield replace(batch, epoch=epoch_after, samples=samples_after)

    def _load_batches(self, sampler: _BatchSampler) -> Iterator[Batch | AugforgeError]:
        try:
            yield from self._build_loader(sampler)
        except RuntimeError as error:
            if "DataLoader worker (pid" not in str(error):
                raise
            raise TrainError(
                "a loading process was ended from outside, most often because memory or shared memory "
                "(/dev/shm) ran out. Give it more, or go on with fewer data.workers: 0 loads without any. In a script, "
                "train below `if __name__ == '__main__':`, because loading processes import the script"
            ) from error

    def _build_loader(self, sampler: _BatchSampler) -> DataLoader[Any]:
        workers = default_workers(self._world) if self._data.workers is None else self._data.workers
        return DataLoader(
            self._reader,  # type: ignore[arg-type]
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=_collate,
            worker_init_fn=init_worker,
            multiprocessing_context=("forkserver" if sys.platform == "linux" else "spawn") if workers else None,
            pin_memory=self._pin,
            # A DataLoader draws a seed whenever it starts. From the global generator a resumed run would draw once more
            # than a run that was never stopped, and differ from it.
            generator=torch.Generator(),
        )
