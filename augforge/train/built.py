"""How a dataset was built, by what it says itself: the manifest's recipe and the log's last entry."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from augforge.errors import TrainError
from augforge.store.dataset import Dataset
from augforge.yamlfile import YamlFile, override, parse_yaml


def built_recipe(dataset: Dataset) -> YamlFile:
    """The recipe of the manifest, with the overrides of the last build."""
    file = parse_yaml(dataset.manifest.recipe.text, f"recipe of {dataset.folder}", TrainError)
    for key, value in last_build(dataset).get("overrides", {}).items():
        override(file, f"{key}={json.dumps(value)}")
    return file


def last_build(dataset: Dataset) -> dict[str, Any]:
    """The last entry of the dataset's log for its version; nothing where there is none."""
    log = dataset.folder / "log.jsonl"
    found: dict[str, Any] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        with suppress(json.JSONDecodeError):  # a build that was killed may have left half a line
            entry = json.loads(line)
            found = entry if entry["version"] == dataset.version else found
    return found
