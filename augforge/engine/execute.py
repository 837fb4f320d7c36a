"""Mapping a function over items, in this process or in several. Knows nothing of samples."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

import cv2
import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from augforge.errors import AugforgeError

Item = TypeVar("Item")
Result = TypeVar("Result")

PARENT_POLL = 0.5
"""Seconds between two looks of a worker at whether its parent still lives."""


def worker_count(jobs: int) -> int:
    """Number of processes that `jobs` asks for: 0 and -1 are all cores, -2 is all but one, and so on."""
    if jobs > 0:
        return jobs
    return max(1, (os.cpu_count() or 1) + min(0, jobs + 1))


def map_unordered(function: Callable[[Item], Result], items: Sequence[Item], jobs: int) -> Iterator[Result]:
    """Call a function on each item, in this process or in several; results in the order in which they are finished.

    Args:
        function: importable, with picklable arguments and results.
        items: what to call it on.
        jobs: number of processes; 1 stays in this one. OpenCV keeps to one thread in each.

    Raises:
        AugforgeError: a worker process died (usually memory).
    """
    if jobs == 1 or len(items) <= 2 * jobs:  # not worth starting processes for
        yield from _run_here(function, items)
        return
    parallel = joblib.Parallel(
        n_jobs=jobs,
        backend="loky",
        return_as="generator_unordered",
        pre_dispatch="2*n_jobs",
        initializer=_end_with_parent,
        initargs=(os.getpid(),),
    )
    results = parallel(joblib.delayed(_single_threaded)(function, item) for item in items)
    try:
        for result in results:  # noqa: UP028 - `yield from` would close `results` too, outside the block below that silences joblib
            yield result
    except TerminatedWorkerError:
        raise AugforgeError(
            "a worker process was ended from outside, most often because memory ran out. What was finished is kept: "
            "run the same command again with fewer --jobs"
        ) from None
    finally:
        with warnings.catch_warnings():  # whoever stops early has a reason; joblib would warn of results not taken
            warnings.simplefilter("ignore", UserWarning)
            results.close()


def _run_here(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
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


def _end_with_parent(parent: int) -> None:
    """Start a thread that ends this worker process soon after its parent; a killed parent cannot end it itself.

    Linux could do that (PR_SET_PDEATHSIG), but it ends the worker as soon as the parent's *thread* that started it
    ends, and workers are kept for the next build, which may come from another thread.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    if sys.platform == "win32":  # where a process keeps the number of a parent that has ended
        synchronize, forever = 0x00100000, -1
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, parent)
        ctypes.windll.kernel32.WaitForSingleObject(handle, forever)
    else:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL)
    os._exit(1)


@cache
def _keep_memory() -> None:
    """Tell glibc to keep large blocks instead of handing them back to the system: a seventh of a flip's time less."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(trim_threshold, 1 << 29)
        libc.mallopt(mmap_threshold, 1 << 28)
