"""What a process does to files, in order: a hook before each operation, to record it or to die at it.

Python's own operations alone are seen: a Parquet file that Arrow writes is noticed when it is synced and renamed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch


@dataclass(frozen=True)
class Operation:
    """One operation: fsync, open (for writing), replace, rename, unlink, mkdir; `target` of a rename."""

    kind: str
    path: Path
    target: Path | None = None
    inode: tuple[int, int] = (0, 0)


Hook = Callable[[Operation], None]


@contextmanager
def before_each_operation(hook: Hook) -> Iterator[None]:
    """Call a hook before each operation on files, in this process."""

    def wrap(kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(path: Path, *arguments: Any, **options: Any) -> Any:
            target = Path(arguments[0]) if kind in ("replace", "rename") else None
            hook(Operation(kind, Path(path), target))
            return real(path, *arguments, **options)

        return operation

    def opening(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if set(mode) & set("wxa"):
            hook(Operation("open", path))
        return real_open(path, mode, *arguments, **options)

    def syncing(handle: int) -> None:
        status = os.fstat(handle)
        hook(Operation("fsync", _path_of(handle), inode=(status.st_dev, status.st_ino)))
        real_fsync(handle)

    real_open, real_fsync = Path.open, os.fsync
    kinds = ("replace", "rename", "unlink", "mkdir")
    wrapped: dict[str, Any] = {kind: wrap(kind, getattr(Path, kind)) for kind in kinds}
    with patch.multiple(Path, **wrapped, open=opening), patch("os.fsync", syncing):
        yield


def _path_of(handle: int) -> Path:
    try:
        return Path(os.readlink(f"/proc/self/fd/{handle}"))  # noqa: PTH115 (a deleted file's link leads nowhere)
    except OSError:  # no /proc: the inode says which file it is
        return Path()


class Durability:
    """Keeps what is on disk for good by the operations seen so far, as the strictest file system would have it.

    Attributes:
        operations: all of them, in order.
        synced: the state in which each file was synced last.
        unsynced_names: in each folder the names that were created, renamed or removed since it was synced.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.synced: dict[tuple[int, int], tuple[int, int]] = {}
        self.unsynced_names: dict[Path, set[str]] = {}

    def __call__(self, operation: Operation) -> None:
        self.operations.append(operation)
        kind, path = operation.kind, operation.path
        if kind == "fsync":
            self.unsynced_names.pop(path, None)
            if path.is_file():
                self.synced[operation.inode] = _state(path)
        elif kind != "open" or not path.exists():
            for changed in filter(None, (path, operation.target)):
                self.unsynced_names.setdefault(changed.absolute().parent.resolve(), set()).add(changed.name)

    def problems(self, files: list[Path]) -> list[str]:
        """Why a power cut now might lose some of these files."""
        found = []
        for path in files:
            status = path.stat()
            if self.synced.get((status.st_dev, status.st_ino)) != _state(path):
                found.append(f"{path} was not synced since it was written")
            found += [
                f"{place.parent} was not synced since it has the name {place.name}"
                for place in (path.resolve(), *path.resolve().parents)
                if place.name in self.unsynced_names.get(place.parent, ())
            ]
        return found

    def index(self, kind: str, name: str) -> int:
        """Number of the last operation of a kind on a file name; of a rename, the new name."""
        matching = (
            i for i, op in enumerate(self.operations) if op.kind == kind and (op.target or op.path).name == name
        )
        return max(matching)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
