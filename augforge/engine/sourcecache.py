"""Source samples that a worker read last, so that tasks with several inputs need not read each of them again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from augforge.keys import Id
from augforge.sample import Sample

DEFAULT_MB = 512
"""Of a worker. A sample of 2048x2048 with 29 classes takes 20 MB."""


class SourceCache:
    """Samples by their ids, which stand for pixels and annotation; those used least recently make room for new ones.

    Kept samples are read-only: an op that writes into its inputs, which is against its contract, fails at once instead
    of changing other tasks' results. A worker of dask may have several threads, which share one cache.
    """

    def __init__(self) -> None:
        self._samples: OrderedDict[Id, Sample] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, sample_id: Id, load: Callable[[], Sample], ceiling: int, *, keep: bool) -> Sample:
        """A sample, loaded unless it is here.

        Args:
            sample_id: of the source sample.
            load: reads it.
            ceiling: bytes of pixels that may be kept.
            keep: whether other tasks may need it; if not, it is handed out and forgotten.
        """
        with self._lock:
            sample = self._take(sample_id)
        if sample is None:
            sample = load()
        with self._lock:
            if keep and _size(sample) <= ceiling:
                self._take(sample_id)  # another thread may have loaded it meanwhile
                sample.image.setflags(write=False)
                sample.masks.setflags(write=False)
                self._samples[sample_id] = sample  # the last one: it is used most recently
                self._bytes += _size(sample)
            while self._bytes > ceiling:
                self._bytes -= _size(self._samples.popitem(last=False)[1])
        return sample

    def _take(self, sample_id: Id) -> Sample | None:
        sample = self._samples.pop(sample_id, None)
        self._bytes -= 0 if sample is None else _size(sample)
        return sample


def _size(sample: Sample) -> int:
    return sample.image.nbytes + sample.masks.nbytes
