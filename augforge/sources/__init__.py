"""Adapters that list annotated data sets and load their samples. `SOURCES` imports them at the first look-up."""

from __future__ import annotations

from augforge.sources.core import SOURCES, Listing, Record, Records, Refused, Source, source

__all__ = ["SOURCES", "Listing", "Record", "Records", "Refused", "Source", "source"]
