"""augforge: annotated images in, versioned training sets out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from augforge.checks.run import check
    from augforge.engine.builder import build
    from augforge.engine.explaining import explain as plan
    from augforge.engine.previewing import preview_recipe as preview
    from augforge.export.exporting import export as export_dataset
    from augforge.report.difference import compare_versions as diff
    from augforge.report.html.page import report_dataset as write_report
    from augforge.sample import Sample
    from augforge.store.dataset import Dataset, open_dataset
    from augforge.store.verify import verify

__all__ = [
    "Dataset",
    "Sample",
    "build",
    "check",
    "diff",
    "export_dataset",
    "open_dataset",
    "plan",
    "preview",
    "verify",
    "write_report",
]

# Packages are called `export` and `report`, so the functions cannot be.
_HOMES = {
    "Dataset": "store.dataset:Dataset",
    "Sample": "sample:Sample",
    "build": "engine.builder:build",
    "check": "checks.run:check",
    "diff": "report.difference:compare_versions",
    "export_dataset": "export.exporting:export",
    "open_dataset": "store.dataset:open_dataset",
    "plan": "engine.explaining:explain",
    "preview": "engine.previewing:preview_recipe",
    "verify": "store.verify:verify",
    "write_report": "report.html.page:report_dataset",
}


def __getattr__(name: str) -> Any:
    """Import on first use: `augforge --help` must not wait for Arrow and OpenCV."""
    if name not in _HOMES:
        raise AttributeError(f"module 'augforge' has no attribute '{name}'")
    from importlib import import_module

    module, _, function = _HOMES[name].partition(":")
    return getattr(import_module(f"augforge.{module}"), function)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
