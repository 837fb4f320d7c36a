"""Deprecated: making records is in `augforge.sources.scan.records`."""

from __future__ import annotations

from augforge.errors import moved_names

__getattr__ = moved_names(
    __name__,
    {
        "name_of": "augforge.sources.scan.records.name_of",
        "record_of": "augforge.sources.scan.records.make_record",
        "folder_or_name": "augforge.sources.scan.records.folder_or_name",
        "inside": "augforge.sources.scan.records.place_inside",
    },
)
