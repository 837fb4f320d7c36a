"""Copies of what lies behind URLs: where they are, and how much space shards among them may take.

They are in ``$AUGFORGE_CACHE``, by default ``augforge`` in the user's cache folder. ``$AUGFORGE_CACHE_GB`` is a ceiling
for copies of shards: those that were not used for the longest time go first.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from augforge.errors import DatasetError

LIMIT_VARIABLE = "AUGFORGE_CACHE_GB"
IN_USE_SECONDS = 60.0
"""A copy that was used so recently stays: another process may be about to open it."""


def cache_folder() -> Path:
    """The folder for copies of remote files."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "augforge"
    return Path(os.environ.get("AUGFORGE_CACHE") or usual).expanduser()


def cache_limit() -> float | None:
    """How many bytes copies of shards may take; None without a ceiling. DatasetError if the variable is no number."""
    text = os.environ.get(LIMIT_VARIABLE)
    if not text:
        return None
    try:
        return float(text) * 1e9
    except ValueError:
        raise DatasetError(f"{LIMIT_VARIABLE} is '{text}'; expected a number of gigabytes, such as 50") from None


def make_room(folder: Path, besides: Path) -> None:
    """Delete copies of shards until they take no more than the ceiling, those that were not used for longest first.

    A shard that a process has mapped stays readable there on POSIX; elsewhere it cannot be deleted, and stays.

    Args:
        folder: of all copies.
        besides: the copy that was just made, which stays.
    """
    limit = cache_limit()
    if limit is None:
        return
    found = sorted(_copies(folder), key=lambda copy: copy[1])
    total = sum(size for _, _, size in found)
    for path, used, size in found:
        if total <= limit or time.time() - used < IN_USE_SECONDS:
            return
        if path != besides:
            with suppress(OSError):
                path.unlink()
                total -= size


def _copies(folder: Path) -> list[tuple[Path, float, int]]:
    """All copies of shards, the time of their last use, and their sizes."""
    found = []
    for path in folder.glob("*/shards/*.parquet"):
        with suppress(FileNotFoundError):  # another process makes room as well
            status = path.stat()
            found.append((path, status.st_mtime, status.st_size))
    return found
