"""Decoded files, kept for the next sample of the same file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from augforge.errors import SourceError

Thing = TypeVar("Thing")

RECENT_BYTES = 1 << 29
"""Memory that a process spends on decoded files: 512 MiB; more only for one that is larger by itself."""


class RecentFiles:
    """What was read from files, the most recently used within a limit. A file that changed is read again."""

    def __init__(self, limit: int = RECENT_BYTES) -> None:
        self._limit, self._lock = limit, Lock()
        self._things: OrderedDict[tuple[str, str], tuple[tuple[int, ...], Any, int]] = OrderedDict()

    def get(self, path: Path, kind: str, read: Callable[[], Thing], size: Callable[[Thing], int]) -> Thing:
        """The result of ``read()``, or the kept one of an earlier call.

        Args:
            path: the file or folder that it is read from.
            kind: names what is read, and everything besides the file that decides the result.
            read: reads it.
            size: gives the number of bytes that a result holds.

        Raises:
            SourceError: the file is gone.
        """
        try:
            key, stat = (str(path), kind), path.stat()
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror}. Restore the file and build again.") from error
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        with self._lock:
            known = self._things.pop(key, None)
            if known is None or known[0] != stamp:
                thing = read()
                known = (stamp, thing, size(thing))
            self._things[key] = known
            self._trim()
        found: Thing = known[1]
        return found

    def _trim(self) -> None:
        while len(self._things) > 1 and sum(size for _, _, size in self._things.values()) > self._limit:
            self._things.popitem(last=False)


RECENT_FILES = RecentFiles()
"""Those of this process."""
