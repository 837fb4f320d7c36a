"""Training batches straight from shards, in one global order whatever the number of ranks and workers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from augforge import bitmask
from augforge.errors import AugforgeError, TrainError
from augforge.keys import rng_for
from augforge.ops import BoundOp, Context
from augforge.ops.crops import CropNonEmpty
from augforge.ops.geometry import width_height
from augforge.sample import Sample
from augforge.store.order import Positions, global_order, occurrences, share
from augforge.train.config import DataConfig
from augforge.train.data.batch import Batch
from augforge.train.data.inputspec import InputSpec, channels_first, in_channels
from augforge.train.data.online import Online, online_steps
from augforge.train.data.trainingset import TrainingSet

MOST_WORKERS = 16
ANYWHERE = 0.5
"""Share of windows that lie anywhere, or background would never be learnt (after nnU-Net, Isensee et al. 2021)."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A sample as arrays; see Batch."""

    name: str
    image: NDArray[Any]
    shift_and_scale: NDArray[np.float32]
    planes: NDArray[np.uint8]
    known: NDArray[np.bool_]
    label: NDArray[np.float32]


class _Reader:
    """Makes the network's input of samples: what a worker does."""

    def __init__(self, samples: TrainingSet, spec: InputSpec, data: DataConfig, seed: int) -> None:
        self._samples, self._spec, self._seed = samples, spec, seed
        self._context = Context(samples.classes, samples.labels)
        self._deep, self._layers = samples.deep, spec.channels if samples.colour else 1
        self._online = Online(online_steps(data.online), self._context, len(samples), self._load)
        self._crop = None if data.crop is None else width_height(data.crop)

    def __getitem__(self, turn: tuple[int, int, int]) -> _Item | AugforgeError:
        """A sample of an epoch. An error is handed over, not raised: a worker would tell it with its trace."""
        epoch, position, occurrence = turn
        try:
            sample = self._online.sample(position, self._seed, epoch, occurrence)
            sample = self._uniform(sample)
            if (sample.width, sample.height) != self._spec.size:
                sample = self._spec.fit(sample)
            return self._item(sample, rng_for("crop", self._seed, epoch, occurrence, sample.name))
        except AugforgeError as error:
            return error

    def _load(self, position: int) -> Sample:
        sample = self._spec.fit(self._uniform(self._samples[position]))
        return replace(sample, masks=bitmask.contiguous(sample.masks))

    def _uniform(self, sample: Sample) -> Sample:
        """The sample in the dtype and with the channels that all samples have."""
        image = in_channels(sample.image, self._layers)
        if image.ndim == 2 and self._layers == 3:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB))
        if self._deep and image.dtype == np.uint8:
            image = image.astype(np.uint16) * 257  # 255 becomes 65535
        return replace(sample, image=image)

    def _item(self, sample: Sample, rng: np.random.Generator) -> _Item:
        normalisation = self._spec.shift_and_scale(sample.image)  # of the whole sample: a window is no lighter than it
        if self._crop is not None:
            sample = self._window(sample, self._crop, rng)
        label = np.full(len(self._samples.labels), np.nan, np.float32) if sample.label is None else sample.label
        known = bitmask.bits_to_flags(sample.known, len(self._samples.classes))
        planes = bitmask.planar(sample.masks)
        return _Item(sample.name, channels_first(sample.image), normalisation, planes, known, label)

    def _window(self, sample: Sample, size: tuple[int, int], rng: np.random.Generator) -> Sample:
        """A random window: one in two holds a drawn class, so that rare ones are seen; the others lie anywhere."""
        params = CropNonEmpty(size=size, ignore=self._context.classes if rng.random() < ANYWHERE else ())
        made = BoundOp("crop_nonempty", params).call([sample], self._context, rng).results
        return next(window for window in made if isinstance(window, Sample))


def _collated(items: Sequence[_Item | AugforgeError]) -> Batch | AugforgeError:
    failed = next((item for item in items if isinstance(item, AugforgeError)), None)
    if failed is not None:
        return failed
    found = [item for item in items if isinstance(item, _Item)]
    return Batch(
        names=tuple(item.name for item in found),
        images=_stacked(item.image for item in found),
        shift_and_scale=_stacked(item.shift_and_scale for item in found),
        planes=_stacked(item.planes for item in found),
        known=_stacked(item.known for item in found),
        labels=_stacked(item.label for item in found),
    )


def _stacked(arrays: Iterable[NDArray[Any]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(list(arrays)))


@dataclass(frozen=True, slots=True)
class _Turns:
    """What the workers are asked for: batch after batch, epoch after epoch, lists of (epoch, position, occurrence)."""

    samples: int
    seed: int
    weights: NDArray[np.float64] | None
    batch_size: int
    world: int
    rank: int
    epoch: int
    start: int

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        for epoch, start in self._epochs():
            positions, times = self._plan(epoch, start)
            for row, nth in zip(positions.tolist(), times.tolist(), strict=True):
                yield [(epoch, position, time) for position, time in zip(row, nth, strict=True)]

    def places(self) -> Iterator[tuple[int, int]]:
        """Epoch and count of samples to go on from after each batch."""
        step = self.batch_size * self.world
        for epoch, start in self._epochs():
            yield from ((epoch, seen) for seen in range(start + step, self.samples, step))
            if start < self.samples:
                yield epoch + 1, 0

    def _epochs(self) -> Iterator[tuple[int, int]]:
        yield self.epoch, self.start
        yield from ((epoch, 0) for epoch in count(self.epoch + 1))

    def _plan(self, epoch: int, start: int) -> tuple[Positions, Positions]:
        """Positions and occurrences of this rank's batches of an epoch, (steps, batch size) each."""
        order = global_order(self.samples, self.seed, epoch, self.weights)
        step = self.batch_size * self.world
        order = np.resize(order, start + -(-max(0, self.samples - start) // step) * step)
        parts = (share(part, self.world, self.rank, start) for part in (order, occurrences(order)))
        positions, times = (part.reshape(-1, self.batch_size) for part in parts)
        return positions, times


class TrainingBatches:
    """Batches of a training set, epoch after epoch; the same for any number of workers.

    The epoch's global order (`Dataset.order`) is cut into global batches of ``batch_size * world`` samples, of which
    each rank takes every world-th. Where the last one is not full, the order begins again from its beginning: every
    sample is read, all ranks make the same number of steps, all batches have one shape, and a set smaller than a batch
    trains too. What chance decides of a sample hangs on seed, epoch, name and how often it came before in the epoch, so
    neither rank, worker nor resumption changes it.

    Args:
        samples: what to train on.
        spec: the network's input.
        data: batch size, online steps, crop, sampling, workers.
        seed: of order and augmentation.
        world, rank: how many processes train, and which this one is.
        pin: put batches into pinned memory, for CUDA.

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
    ) -> None:
        self._samples, self._data, self._seed = samples, data, seed
        self._world, self._rank, self._pin = world, rank, pin
        self._reader = _Reader(samples, spec, data, seed)
        self._weights = samples.rarity() if data.sampling == "class" else None

    @property
    def steps(self) -> int:
        """Batches of a whole epoch, for each rank."""
        return -(-len(self._samples) // (self._data.batch_size * self._world))

    def stream(self, epoch: int = 0, start: int = 0) -> Generator[Batch]:
        """This rank's batches without end, those of the next epoch loaded ahead while this one is worked on.

        Args:
            epoch: to begin in.
            start: samples that all ranks together have read of it, with whatever number of ranks.

        Raises:
            AugforgeError: a sample cannot be read or augmented, or a worker died.
        """
        size, count = self._data.batch_size, len(self._samples)
        turns = _Turns(count, self._seed, self._weights, size, self._world, self._rank, epoch, start)
        for batch, (after, seen) in zip(self._loaded(turns), turns.places(), strict=False):
            if isinstance(batch, AugforgeError):
                raise batch
            yield replace(batch, epoch=after, samples=seen)

    def _loaded(self, turns: _Turns) -> Iterator[Batch | AugforgeError]:
        try:
            yield from self._loader(turns)
        except RuntimeError as error:
            if "DataLoader worker (pid" not in str(error):
                raise
            raise TrainError(
                "a loading process was ended from outside, most often for want of memory, or of shared memory "
                "(/dev/shm). Give it more, or go on with fewer data.workers: 0 loads without any. In a script, "
                "train below `if __name__ == '__main__':`, for loading processes import it"
            ) from error

    def _loader(self, turns: _Turns) -> DataLoader[Any]:
        workers = default_workers(self._world) if self._data.workers is None else self._data.workers
        return DataLoader(
            self._reader,  # type: ignore[arg-type]
            batch_sampler=turns,
            num_workers=workers,
            collate_fn=_collated,
            worker_init_fn=_one_thread,
            multiprocessing_context=("forkserver" if sys.platform == "linux" else "spawn") if workers else None,
            pin_memory=self._pin,
            generator=torch.Generator(),  # or it would draw from the global one, which a resumed run has not drawn from
        )


def default_workers(world: int = 1) -> int:
    """Loading processes of one rank: a core each but one for the rank itself, 16 at most."""
    return max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // world - 1))


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the process that trains, which ends its workers
