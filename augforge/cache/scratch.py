"""What is temporary: a SQLite database, for what may outgrow memory, and folders."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from augforge.errors import StorageError


class ScratchDatabase(sqlite3.Connection):
    """SQLite keeps it in memory while it is small and in a temporary file otherwise. It has no name and no journal."""

    def __init__(self, **options: Any) -> None:
        super().__init__("", check_same_thread=False, **options)
        self.executescript("PRAGMA journal_mode = OFF")

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Run a statement. StorageError if there is no space for the temporary file."""
        try:
            return super().execute(*arguments)
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"SQLite's temporary file cannot be written: {error}. It is in the folder of SQLITE_TMPDIR or TMPDIR, "
                "or else in /var/tmp or /tmp: free some space there, or set SQLITE_TMPDIR to a folder on another disk, "
                "then run the same command again"
            ) from error


_DAY = 24 * 60 * 60


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A folder in the system's temporary folder, which is deleted at the end.

    Those of this user that processes left there which were killed more than a day ago are deleted too.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # another process may delete it at the same time
            status = left.lstat()
            own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            if own and left.is_dir() and not left.is_symlink() and time.time() - status.st_mtime > _DAY:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        yield Path(folder)
