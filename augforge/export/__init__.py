"""Datasets in formats that other tools read. One module per format; `FORMATS` names them, `export` writes one."""

from __future__ import annotations

from augforge.export.core import Entry, Format, Job, Options
from augforge.export.exporting import ExportSummary, export, parse_settings, render_export_summary
from augforge.export.formats import FORMATS

__all__ = [
    "FORMATS",
    "Entry",
    "ExportSummary",
    "Format",
    "Job",
    "Options",
    "export",
    "parse_settings",
    "render_export_summary",
]
