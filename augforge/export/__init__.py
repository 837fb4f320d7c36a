"""Datasets in formats that other tools read. One module per format; `FORMATS` names them, `export` writes one.

The names are imported on first use: what predictions take of single modules here must not load every format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULES = {
    "core": ("Entry", "Format", "Job", "Options"),
    "exporting": ("ExportSummary", "export", "parse_settings", "render_export_summary"),
    "formats": ("FORMATS",),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"augforge.export.{module}"), name)
    raise AttributeError(f"module 'augforge.export' has no attribute '{name}'")
