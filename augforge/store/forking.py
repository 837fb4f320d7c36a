"""Whether this process may use Polars. One that was forked from a process that used it would wait for ever.

Polars computes on a pool of threads, which it starts when it first needs them. A fork copies the memory, which says
that the pool is there, but no thread except the one that forks.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from augforge.errors import DatasetError

_THREADS = Path("/proc/self/task")


class _Pool:
    """Whether Polars' threads run in this process at the last fork, and whether its parent's did when it was forked."""

    runs = False
    was_lost = False


def _note_pool() -> None:
    _Pool.runs = "polars" in sys.modules and _has_polars_threads()


def _note_loss() -> None:
    _Pool.was_lost = _Pool.runs or _Pool.was_lost


def _has_polars_threads() -> bool:
    """Whether the pool was started; where the system does not name its threads, that Polars is loaded is enough."""
    if not _THREADS.is_dir():
        return True
    names = []
    for thread in _THREADS.iterdir():
        with suppress(OSError):  # it ended meanwhile
            names.append((thread / "comm").read_text(encoding="utf-8"))
    return any(name.startswith("polars-0") for name in names)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_note_pool, after_in_child=_note_loss)


def refuse_polars_after_fork(what: str) -> None:
    """DatasetError if this process was forked from one that had used Polars.

    Args:
        what: what needs Polars, for the message.
    """
    if _Pool.was_lost:
        raise DatasetError(
            f"{what} needs Polars, which hangs in a process that was forked from one that has used it, such as a "
            f"DataLoader's worker. Use {what} before the processes start, and read samples in them; or start them by "
            "'spawn' or 'forkserver' (multiprocessing_context of a DataLoader)"
        )
