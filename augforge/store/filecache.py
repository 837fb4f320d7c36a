"""Deprecated: `FileCache` is in `augforge.cache.filecache`."""

from __future__ import annotations

from augforge.errors import moved_names

__getattr__ = moved_names(
    __name__,
    {
        "FileCache": "augforge.cache.filecache.FileCache",
        "file_sha256": "augforge.files.file_sha256",
    },
)
