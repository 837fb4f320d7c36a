"""Changes to a recipe from the command line: ``--set key.path=value``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from augforge.errors import RecipeError
from augforge.yamlfile.document import YamlFile
from augforge.yamlfile.parsing import parse_scalar


def override(file: YamlFile, text: str) -> tuple[str, Any]:
    """Apply one ``key.path=value`` to the file's data."""
    key, equals, value = text.partition("=")
    parents = key.split(".")
    last = parents.pop()
    if not equals or not all([*parents, last]):
        raise RecipeError(f"--set {text}: expected key=value, such as source.path=data/hands or steps.1.p=0.5")
    node: Any = file.data
    path: tuple[str | int, ...] = ()
    for part in parents:
        path = (*path, _slot(node, part, text))
        node = _below(node, path[-1], text)
    path = (*path, _slot(node, last, text))
    node[path[-1]] = found = parse_scalar(value)
    if re.fullmatch(r"source(\.sources\.\d+)+\.path", key) and isinstance(found, str) and "://" not in found:
        node[path[-1]] = str(Path(found).absolute())  # a path from the command line is relative to the shell's folder
    file.moved(path, node[path[-1]], f"--set {text}")
    return key, node[path[-1]]


def _slot(node: Any, part: str, text: str) -> str | int:
    """A part of a key path as the key of a dict or the index of a list."""
    if isinstance(node, dict):
        return part
    if not part.isdecimal() or int(part) >= len(node):
        raise RecipeError(f"--set {text}: '{part}' is no item of a list of {len(node)}; items count from 0")
    return int(part)


def _below(node: Any, slot: str | int, text: str) -> Any:
    """The dict or list at a key or index; made where there is nothing yet."""
    if isinstance(node, dict) and node.get(slot) is None:
        node[slot] = {}
    if not isinstance(node[slot], (dict, list)):
        raise RecipeError(f"--set {text}: '{slot}' is a plain value; nothing can stand below it")
    return node[slot]
