"""A manifest as YAML text. Its list of shards, which may have tens of thousands, is written and read by its lines.

A YAML library takes a millisecond a shard. The lines are those that it would write, and only these are read this way:
text in any other form, such as a file that somebody edited, goes to the library as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from augforge.errors import AugforgeError
from augforge.yamlfile import YamlFile, dump_yaml, parse_yaml

_SHA256 = r"(?!0b)(?=[0-9e]*[a-df])[0-9a-f]{64}"
"""Digits that YAML takes for text as they are, and not for a number."""
_ENTRY = re.compile(
    r"- path: (?P<path>shards/[A-Za-z0-9][A-Za-z0-9._-]*\.parquet)\n"
    r"  split: (?P<split>train|val|test)\n"
    r"  rows: (?P<rows>0|[1-9][0-9]{0,17})\n"
    r"  bytes: (?P<bytes>0|[1-9][0-9]{0,17})\n"
    rf"  sha256: (?P<sha256>{_SHA256})\n"
)
_HEADING = "\nshards:\n"


def dump_manifest(data: Mapping[str, Any]) -> str:
    """YAML text of a manifest's data, whose last key is ``shards``: what `dump_yaml` gives, without its time."""
    rest, shards = {key: value for key, value in data.items() if key != "shards"}, data["shards"]
    lines = "".join(map(_entry_text, shards))
    if not shards or list(data)[-1] != "shards" or _entries(lines) != shards:
        return dump_yaml(dict(data))
    return dump_yaml(rest) + _HEADING[1:] + lines


def _entry_text(shard: Mapping[str, Any]) -> str:
    return "- " + "  ".join(f"{key}: {value}\n" for key, value in shard.items())


def parse_manifest(text: str, name: str, error: type[AugforgeError], max_bytes: int) -> YamlFile:
    """What `parse_yaml` gives of a manifest, without its time; `error` is raised for text that is not YAML."""
    head, heading, rest = text.partition(_HEADING)
    lines, comment, last = rest.partition("# ")  # the seal
    shards = _entries(lines) if heading and "\n" not in last[:-1] and (comment or not last) else None
    if shards:
        file = parse_yaml(f"{head}\n", name, error, max_bytes)
        if "shards" not in file.data:
            file.data["shards"] = shards
            return replace(file, text=text)
    return parse_yaml(text, name, error, max_bytes)


def _entries(lines: str) -> Sequence[dict[str, Any]] | None:
    """The shards of a list in exactly the form in which it is written; None if a single letter is otherwise."""
    found, at = [], 0
    for entry in _ENTRY.finditer(lines):
        if entry.start() != at:
            return None
        shard: dict[str, Any] = entry.groupdict()
        found.append({**shard, "rows": int(shard["rows"]), "bytes": int(shard["bytes"])})
        at = entry.end()
    return found if at == len(lines) else None
