"""Deprecated: `Scan` is in `augforge.sources.scan.scanning`."""

from __future__ import annotations

from augforge.errors import moved_names

__getattr__ = moved_names(
    __name__,
    {
        "Scan": "augforge.sources.scan.scanning.Scan",
        "IMAGES": "augforge.sources.scan.scanning.IMAGES",
    },
)
