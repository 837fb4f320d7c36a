"""Whether this process may use Polars. One that was forked from a process with Polars would wait for ever.

Polars computes on a pool of threads. A fork copies the memory, which says that the pool is there, but no thread except
the one that forks.
"""

from __future__ import annotations

import os
import sys

from augforge.errors import DatasetError


class _Inherited:
    polars = False


def _note_polars() -> None:
    _Inherited.polars = "polars" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_polars)


def refuse_polars_after_fork(what: str) -> None:
    """DatasetError if this process was forked from one that had loaded Polars.

    Args:
        what: what needs Polars, for the message.
    """
    if _Inherited.polars:
        raise DatasetError(
            f"{what} needs Polars, which hangs in a process that was forked from one that has loaded it, such as a "
            f"DataLoader's worker. Use {what} before the processes start, and read samples in them; or start them by "
            "'spawn' or 'forkserver' (multiprocessing_context of a DataLoader)"
        )
