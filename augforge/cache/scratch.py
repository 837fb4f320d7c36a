"""A temporary SQLite database, for what may outgrow memory."""

from __future__ import annotations

import sqlite3
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
