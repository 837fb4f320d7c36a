"""The log of a dataset, `log.jsonl`: what a version does not record, such as when and from where it was built."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augforge.errors import AugforgeError, DatasetError
from augforge.files import writing
from augforge.store.manifest import Manifest
from augforge.yamlfile import YamlFile, override, parse_yaml

LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class Log:
    """What a dataset's log says.

    Attributes:
        entries: the lines that can be read, oldest first.
        damaged: numbers of the other lines, from 1: a build that was killed may have left half a line.
    """

    entries: tuple[dict[str, Any], ...]
    damaged: tuple[int, ...]


def read_log(folder: Path) -> Log:
    """Read the log of a dataset; an empty one if there is no file."""
    path = folder / LOG
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    entries, damaged = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        entry = _parse_line(line)
        if entry is None:
            damaged.append(number)
        else:
            entries.append(entry)
    return Log(tuple(entries), tuple(damaged))


def append_entry(folder: Path, entry: Mapping[str, Any]) -> None:
    """Append an entry and its time to the log; on a line of its own, even if a killed build left half a line."""
    path, now = folder / LOG, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with writing(path), path.open("a+b") as stream:
        if stream.tell():
            stream.seek(-1, 2)
            broken = stream.read() != b"\n"
            stream.write(b"\n" * broken)
        stream.write(json.dumps({"time": now, **entry}).encode() + b"\n")


def _parse_line(line: bytes) -> dict[str, Any] | None:
    """A line of the log; None if it cannot be read."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    sound = all(entry.get(key) is None or isinstance(entry[key], kind) for key, kind in _KINDS.items())
    failures = (entry.get("failures") or ()) if sound else ()
    return entry if sound and all(isinstance(failure, dict) for failure in failures) else None


_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("version", "time", "recipe", "source", "checkout"), str),
    "overrides": dict,
    "failures": list,
    "gc": dict,
    "tags": dict,
    "made": int,
    "reused": int,
    "seconds": (int, float),
}
"""What the values of a line are. It is damaged, or forged, if one is something else."""


def last_build(folder: Path, version: str) -> dict[str, Any]:
    """The log entry of the last build that gave a version; empty if there is none."""
    entries = (entry for entry in reversed(read_log(folder).entries) if entry.get("version") == version)
    return next(entries, {})


def last_tags(folder: Path) -> dict[str, Any]:
    """The tags that the log's last entry about them says; none if the log has no such entry."""
    found = (entry["tags"] for entry in reversed(read_log(folder).entries) if "tags" in entry)
    return dict(next(found, None) or {})


def recorded_overrides(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """What ``--set`` changed in the recipe of a version.

    The manifest has it, but for the source's path, which is the log's of the last build, as is everything in format 1.
    """
    logged = last_build(folder, manifest.version).get("overrides") or {}
    if manifest.format == 1:
        return dict(logged)
    path = {key: value for key, value in logged.items() if key == "source.path"}
    return {**path, **manifest.recipe.overrides}


def built_recipe(folder: Path, manifest: Manifest, error: type[AugforgeError] = DatasetError) -> YamlFile:
    """The recipe of a version with its overrides."""
    file = parse_yaml(manifest.recipe.text, f"recipe of {folder}", error)
    for key, value in recorded_overrides(folder, manifest).items():
        override(file, f"{key}={json.dumps(value)}")
    return file
