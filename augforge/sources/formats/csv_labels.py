"""Labels in the cells of a table: one by its name, or weights of several, of which some may be unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from augforge.errors import SourceError
from augforge.sources.scan.scanning import Scan
from augforge.sources.scan.tables import key_text

GivenLabel = int | list[float | None]
"""The index of an image's label, or the weights of all labels."""


def tell_empty_cells(scan: Scan, labels: Mapping[str, GivenLabel]) -> None:
    """Tell of labels that are unknown in some images."""
    partly = [name for name, label in labels.items() if not isinstance(label, int) and None in label]
    if partly:
        fact = (
            f"{len(partly)} of {len(labels)} images have cells of labels that are empty: these labels are unknown there"
        )
        scan.find("empty label cells", fact, "if empty means no, write 0", partly)


def names_of_given(label: GivenLabel, names: Sequence[str]) -> list[str]:
    """The labels that an image has."""
    if isinstance(label, int):
        return [names[label]]
    return [name for name, value in zip(names, label, strict=True) if value]


def label_text(label: GivenLabel, names: tuple[str, ...]) -> str:
    """A label as text that a folder may be named after: its name, or its weights if they name several."""
    weights = [] if isinstance(label, int) else [name for name, weight in zip(names, label, strict=True) if weight]
    return names[label] if isinstance(label, int) else "+".join(weights)


def read_weight(cell: Any, where: str) -> float | None:
    """The weight in a cell, 0 to 1; None if it is empty. Raises SourceError for anything else."""
    if key_text(cell) in ("", "nan"):
        return None
    try:
        weight = float(cell)
    except (TypeError, ValueError):
        weight = -1.0
    if not 0 <= weight <= 1:
        raise SourceError(f"{where} holds '{cell}'; expected a weight from 0 to 1, or nothing. Correct the cell.")
    return weight
