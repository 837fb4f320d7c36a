"""JSON files of a run: they live for years, are copied and edited, and so are not believed unchecked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from augforge.errors import TrainError, first_line, nearest


def read_facts(path: Path, keys: Sequence[str], remedy: str) -> dict[str, Any]:
    """What a JSON file of a run holds.

    Raises:
        TrainError: the file cannot be read, holds no keys and values, or lacks one of `keys`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TrainError(f"{path} is damaged ({first_line(error)}); expected what augforge wrote. {remedy}") from None
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing or not isinstance(content, dict):
        lacks = missing[0] if missing else "keys and values"
        raise TrainError(f"{path} is damaged: it lacks {lacks}; expected what augforge wrote. {remedy}")
    return content


def read_tuned(folder: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """What `augforge tune-thresholds` wrote into a run's folder, with ``thresholds`` by name; None if it did not.

    Args:
        folder: of the run.
        names: of its classes or labels.

    Raises:
        TrainError: the file is damaged, or a threshold is no number above 0 and below 1, or of no class of the run.
    """
    path, remedy = folder / "thresholds.json", "Tune again: augforge tune-thresholds; or delete the file"
    if not path.exists():
        return None
    content = read_facts(path, ("thresholds",), remedy)
    thresholds = content["thresholds"]
    if not isinstance(thresholds, dict):
        raise TrainError(f"{path}: thresholds is {thresholds!r:.50}; expected a number for each name. {remedy}")
    for name, value in thresholds.items():
        if name not in names:
            raise TrainError(f"{path}: the run does not predict '{name}'.{nearest(name, names)} {remedy}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
            raise TrainError(f"{path}: the threshold of {name} is {value!r:.50}; expected above 0, below 1. {remedy}")
    return content
