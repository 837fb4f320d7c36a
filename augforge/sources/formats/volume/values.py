"""The names of values in ``dataset.json``, as nnU-Net and the Medical Segmentation Decathlon keep them."""

from __future__ import annotations

from typing import Any

from augforge.sources.options import IGNORE
from augforge.sources.scan.documents import read_json
from augforge.sources.scan.scanning import Scan

_FILE = "dataset.json"


def named_values(scan: Scan, background: int | None) -> dict[int, str] | None:
    """The label of each value but the background; None where nothing is named, or where the recipe lists other classes.

    Read are ``{"labels": {"liver": 1}}`` (nnU-Net) and ``{"labels": {"1": "liver"}}`` (Decathlon). Regions of several
    values cannot be values' names, and are told. SourceError where the file is no JSON.
    """
    path = scan.root / _FILE
    document = read_json(path) if path.is_file() else None
    labels = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(labels, dict) or not labels:
        return None
    pairs = [_pair(key, value) for key, value in labels.items()]
    values = {pair[0]: pair[1] for pair in pairs if pair is not None and pair[0] != background}
    if scan.source.classes is not None and not {*scan.source.classes} <= {IGNORE, *scan.source.mapped(values.values())}:
        return None
    if None in pairs:
        scan.warnings.append(f"{_FILE} gives labels several values, so it names none; name them in source.values")
        return None
    return dict(sorted(values.items()))


def _pair(key: str, value: Any) -> tuple[int, str] | None:
    """A value and its label; None where it is neither of the two. Values may be text on either side."""
    if type(value) is int:
        return value, key
    if not isinstance(value, str):
        return None
    return (int(key), value) if key.isdecimal() else (int(value), key) if value.isdecimal() else None
