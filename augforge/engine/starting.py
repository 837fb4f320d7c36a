"""Starting worker processes while the source is listed: Python and its libraries take most of a second in each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from augforge.engine import execute
from augforge.engine.backends import on_cluster
from augforge.errors import AugforgeError


@contextmanager
def workers_starting(jobs: int) -> Iterator[None]:
    """Start worker processes of this machine beside what the block does; they are ready when it ends.

    The workers of a cluster run already. If the block fails, nobody waits for these: idle, they end after a while.

    Args:
        jobs: number of processes; 1 starts none.
    """
    if jobs == 1 or on_cluster():
        yield
        return
    thread = threading.Thread(target=copy_context().run, args=(_start_workers, jobs), daemon=True)
    thread.start()
    yield
    thread.join()


def _start_workers(jobs: int) -> None:
    """Let every worker import what tasks need; one that fails will say so again when it has work."""
    try:
        for _ in execute.map_unordered(import_worker, range(2 * jobs + 1), jobs):
            pass
    except AugforgeError:
        return


def import_worker(_number: int) -> None:
    """Import what performs tasks, in a worker process."""
    from augforge.engine import worker

    assert worker
