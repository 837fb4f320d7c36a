"""Whether a folder is as it was: one digest over the names, sizes, times and inodes of everything in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISDIR
from typing import NamedTuple

import xxhash

RACY_NS = 2_000_000_000
"""A file changed so shortly before it was read may change again without another time: FAT counts by 2 s."""


class FolderState(NamedTuple):
    """A digest over all entries of a folder, and the time of the latest change of one of them or of its own, in ns."""

    digest: str
    changed_ns: int

    def is_settled(self, since_ns: int) -> bool:
        """Whether nothing in it was changed after a time, or so shortly before that its times may not show it."""
        return self.changed_ns < since_ns - RACY_NS


def folder_state(folder: Path) -> FolderState | None:
    """The state of a folder and of all below it; None if that cannot be told.

    A file stands with its size and inode and the times of its last change, of its content and of anything else: what
    is put in another's place with its time set back shows too. Links to files stand with what they lead to. A link to a
    folder may lead anywhere, so with one in it nothing is said.

    A folder stands with its entries alone. Its own times count among the changes, since nothing else tells that a file
    was there a moment ago.
    """
    digest, latest = xxhash.xxh3_128(), 0
    try:
        for name, status in _entries(str(folder), ""):
            latest = max(latest, status.st_mtime_ns, status.st_ctime_ns)
            stamp = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
            if S_ISDIR(status.st_mode):  # its entries say all
                stamp = ""
            digest.update(os.fsencode(f"{name}\0{stamp}\0"))
    except OSError:
        return None
    return FolderState(digest.hexdigest(), latest)


def _entries(folder: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    """A folder and everything below it, in the order of the names; OSError for a link to a folder."""
    yield prefix, os.stat(folder)  # noqa: PTH116 - as of the entries below
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir():
            if entry.is_symlink():
                raise OSError(f"{entry.path} is a link to a folder")
            yield from _entries(entry.path, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.stat(follow_symlinks=False)
            if entry.is_symlink():
                yield f"{prefix}{entry.name}@", entry.stat()
