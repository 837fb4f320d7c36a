"""Mapping a function over items, in this process or in several. Knows nothing of samples."""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

import cv2
import joblib

from augforge.engine.backends import Backend, active_backend
from augforge.errors import AugforgeError, shorten

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int,
    name: Callable[[Item], str] = shorten,
    check: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Call a function on each item, in this process or in several; results in the order in which they are finished.

    A worker that is lost costs the items that were in work: they are tried again one at a time, so that the one which
    ends its worker is known; then the others go on.

    Args:
        function: importable, with picklable arguments and results.
        items: what to call it on.
        jobs: number of workers; 1 stays in this process. OpenCV keeps to one thread in each.
        name: of an item, for the error.
        check: importable; called by each worker of a cluster before its first item, to raise if it is not fit.

    Raises:
        AugforgeError: an item ended its worker twice, usually because memory ran out.
    """
    backend = active_backend(jobs)
    few = not backend.is_cluster and len(items) <= 2 * jobs  # not worth starting processes for
    if jobs == 1 or backend.name == "serial" or few:
        yield from _run_here(function, items)
        return
    call = _Call(function, check if backend.is_cluster else None)
    left = dict(enumerate(items))
    while left:  # each round finishes all of them, or tries those alone that a lost worker may have had
        begun = yield from _run_there(backend, call, left, jobs)
        suspects = sorted(begun & left.keys())
        if left and not suspects:  # the backend ends its workers whatever they do
            raise _lost_worker(name(next(iter(left.values()))))
        for number in suspects:
            alone = {number: left.pop(number)}
            yield from _run_there(backend, call, alone, jobs)
            if alone:
                raise _lost_worker(name(alone[number]))


def _lost_worker(name: str) -> AugforgeError:
    return AugforgeError(
        f"a worker process was ended from outside while it performed {name}, and again when that was tried alone; most "
        "often because memory ran out. What was finished is kept: run the same command again with fewer --jobs"
    )


def _run_there(backend: Backend, call: _Call, left: dict[int, Any], jobs: int) -> Generator[Any, None, set[int]]:
    """Perform items by a backend; those that are finished are taken out of `left`.

    Returns:
        The numbers of the items that were begun. If a worker was lost, some of them are still in `left`.
    """
    begun: set[int] = set()

    def tasks() -> Iterator[Any]:
        for number, item in list(left.items()):
            begun.add(number)
            yield joblib.delayed(call)(_Parcel(number, item))

    with joblib.parallel_config(**backend.config):
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch="2*n_jobs")
    results = parallel(tasks())
    try:
        for number, result in results:
            del left[number]
            yield result
    except backend.lost:
        pass  # what the worker had is still in `left`, and the caller tries it again
    finally:
        with warnings.catch_warnings():  # whoever stops early has a reason; joblib would warn of results not taken
            warnings.simplefilter("ignore", UserWarning)
            results.close()
    return begun


class _Call:
    """A function and the check of the worker that calls it."""

    def __init__(self, function: Callable[[Any], Any], check: Callable[[], None] | None) -> None:
        self._function, self._check = function, check

    def __call__(self, parcel: _Parcel) -> tuple[int, Any]:
        """The item's number and the result."""
        if self._check is not None:
            self._check()
        return parcel.number, _single_threaded(self._function, parcel.item)


class _Parcel:
    """An item on its way to a worker. Closed, since dask would search an open one for results of other tasks."""

    __slots__ = ("item", "number")

    def __init__(self, number: int, item: Any) -> None:
        self.number, self.item = number, item


def _run_here(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    threads = cv2.getNumThreads()
    try:
        for item in items:
            yield _single_threaded(function, item)
    finally:
        cv2.setNumThreads(threads)


def _single_threaded(function: Callable[[Any], Result], item: Any) -> Result:
    cv2.setNumThreads(1)
    _keep_memory()
    return function(item)


@cache
def _keep_memory() -> None:
    """Tell glibc to keep large blocks instead of handing them back to the system: a seventh of a flip's time less."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(trim_threshold, 1 << 29)
        libc.mallopt(mmap_threshold, 1 << 28)
