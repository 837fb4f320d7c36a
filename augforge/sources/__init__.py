"""Adapters that list annotated data sets and load their samples. One adapter a file; this dict names them."""

from __future__ import annotations

from augforge.sources.core import Listing, Record, Refused, Source
from augforge.sources.hand_bone import HandBone
from augforge.sources.mask_folder import MaskFolder

SOURCES: dict[str, type[Source]] = {"hand-bone": HandBone, "mask-folder": MaskFolder}

__all__ = ["SOURCES", "HandBone", "Listing", "Record", "Refused", "Source"]
