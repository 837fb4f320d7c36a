"""Datasets in formats that other tools read. One module a format; `FORMATS` names them, `export` writes one."""

from __future__ import annotations

from augforge.export.core import Entry, Format, Job, Options
from augforge.export.formats import FORMATS
from augforge.export.run import Exported, export
from augforge.export.shown import render_exported, settings

__all__ = ["FORMATS", "Entry", "Exported", "Format", "Job", "Options", "export", "render_exported", "settings"]
