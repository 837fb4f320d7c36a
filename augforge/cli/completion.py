"""What the shell completes: ops, formats, datasets, samples and classes. Whatever goes wrong, nothing is completed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

_MOST = 200
"""Names that are offered at most."""


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in sorted(names) if name.startswith(incomplete)][:_MOST]


def complete_ops(incomplete: str) -> list[str]:
    """Names of ops."""
    from augforge.ops import OPS

    return _beginning(OPS, incomplete)


def complete_formats(incomplete: str) -> list[str]:
    """Names of the formats that recipes read."""
    from augforge.sources import SOURCES

    return _beginning(SOURCES, incomplete)


def complete_exports(incomplete: str) -> list[str]:
    """Names of the formats that datasets are exported to."""
    from augforge.export.formats import FORMATS

    return _beginning(FORMATS, incomplete)


def complete_datasets(incomplete: str) -> list[str]:
    """Datasets below the folder that was begun, or below datasets/."""
    begun = Path(incomplete)
    folders = [begun, begun.parent] if incomplete else [Path("datasets"), Path()]
    found = {str(path.parent) for folder in folders for path in folder.glob("*/manifest.yaml")}
    inner = {str(path.parent) for path in Path("datasets").glob("*/manifest.yaml")}
    return _beginning(found | inner, incomplete)


def complete_samples(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the samples of the dataset that the command line names."""
    return _beginning(_of_dataset(context, lambda dataset: dataset.index["name"].to_list()), incomplete)


def complete_classes(context: typer.Context, incomplete: str) -> list[str]:
    """Classes of the dataset that the command line names."""
    return _beginning(_of_dataset(context, lambda dataset: dataset.classes), incomplete)


def _of_dataset(context: typer.Context, take: Callable[[Any], Iterable[str]]) -> Iterable[str]:
    """Something of the first dataset on the command line; arguments before an option are not yet parsed."""
    from augforge.errors import AugforgeError
    from augforge.store.dataset import open_dataset

    for place in (context.params.get("dataset"), *context.args):
        if isinstance(place, str) and (Path(place) / "manifest.yaml").is_file():
            with suppress(AugforgeError, OSError):
                return take(open_dataset(place))
    return []
