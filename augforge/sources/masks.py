"""Deprecated: reading masks is in `augforge.sources.raster.masks`."""

from __future__ import annotations

from augforge.errors import moved_names

__getattr__ = moved_names(
    __name__,
    {
        "read_mask": "augforge.sources.raster.masks.read_mask",
        "read_values": "augforge.sources.raster.masks.read_values",
    },
)
