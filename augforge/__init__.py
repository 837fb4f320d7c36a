"""augforge: annotated images in, versioned training sets out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from augforge.engine.builder import build
    from augforge.sample import Sample
    from augforge.store.dataset import Dataset, open_dataset

__all__ = ["Dataset", "Sample", "build", "open_dataset"]

_HOMES = {"build": "engine.builder", "Sample": "sample", "Dataset": "store.dataset", "open_dataset": "store.dataset"}


def __getattr__(name: str) -> Any:
    """Import on first use: `augforge --help` must not wait for Arrow and OpenCV."""
    if name not in _HOMES:
        raise AttributeError(f"module 'augforge' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"augforge.{_HOMES[name]}"), name)
