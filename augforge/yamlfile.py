"""YAML with line numbers, and pydantic's complaints told as file, line, expectation and nearest known name."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from augforge.errors import AugforgeError, nearest

Path_ = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class YamlFile:
    """A parsed YAML file: plain data, and the line each key or item stands on.

    Attributes:
        name: the file, as messages name it.
        text: the file verbatim.
        data: plain dicts, lists and scalars (YAML 1.2: ``on`` and ``no`` are strings).
        lines: key path to line number, from 1.
        error: the exception class its complaints are raised as.
    """

    name: str
    text: str
    data: dict[str, Any]
    error: type[AugforgeError]
    lines: dict[Path_, int] = field(default_factory=dict)

    def where(self, path: Path_) -> str:
        """``file:line`` of a key path, or of its nearest ancestor that stands in the file."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return f"{self.name}:{self.lines[path[:end]]}"
        return self.name

    def fail(self, path: Path_, message: str) -> AugforgeError:
        """The error to raise for something at a key path."""
        key = ".".join(str(part) for part in path)
        return self.error(f"{self.where(path)}: {key + ': ' if key else ''}{message}")

    def check(self, model: type[Model], data: Any, at: Path_ = ()) -> Model:
        """Validate data at a key path against a model; raise this file's error for the first complaints."""
        if not isinstance(data, Mapping):
            raise self.fail(at, f"expected a mapping of keys and values, got {_shown(data)}")
        try:
            return model.model_validate(data)
        except ValidationError as caught:
            raise self.error("\n".join(self._complaints(model, caught, at))) from None

    def _complaints(self, model: type[BaseModel], caught: ValidationError, at: Path_) -> list[str]:
        """One line for each key at fault; the branches of a union are joined by "or"."""
        said: dict[Path_, list[str]] = {}
        for error in caught.errors():
            path = self._known_part(at + error["loc"], len(at) + 1)
            said.setdefault(path, []).append(_message(error, model))
        return [str(self.fail(path, ", or ".join(dict.fromkeys(messages)))) for path, messages in said.items()]

    def _known_part(self, path: Path_, least: int) -> Path_:
        """The path without pydantic's names for the branches of a union, which stand in no file."""
        end = len(path)
        while end > least and path[:end] not in self.lines:
            end -= 1
        return path[:end]


def read_yaml(path: Path, error: type[AugforgeError]) -> YamlFile:
    """Parse a YAML file; `error` is raised, with file and line, for whatever is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file; expected a YAML file. Check the path") from None
    except (OSError, UnicodeDecodeError) as caught:
        raise error(f"{path}: cannot be read as UTF-8 text ({caught})") from None
    return parse_yaml(text, str(path), error)


def parse_yaml(text: str, name: str, error: type[AugforgeError]) -> YamlFile:
    """Parse YAML text; `name` is what messages call it."""
    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as caught:
        line = caught.problem_mark.line + 1 if caught.problem_mark else 1
        problem = str(caught.problem or caught.context).strip().splitlines()[0]
        raise error(f"{name}:{line}: not valid YAML: {problem}") from None
    except YAMLError as caught:
        raise error(f"{name}: not valid YAML: {str(caught).splitlines()[0]}") from None
    if not isinstance(tree, CommentedMap):
        raise error(f"{name}: expected keys and values at the top, got {_shown(tree)}")
    lines: dict[Path_, int] = {}
    data = _plain(tree, (), lines)
    return YamlFile(name, text, data, error, lines)


def dump_yaml(data: Any) -> str:
    """YAML text of plain data, keys in the order given."""
    yaml = YAML(typ="rt")
    yaml.width = 120
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def parse_scalar(text: str) -> Any:
    """A value from the command line, read as YAML: numbers, lists and booleans as in a recipe."""
    try:
        return _plain(YAML(typ="rt").load(text), (), {})
    except YAMLError:
        return text


def _plain(node: Any, path: Path_, lines: dict[Path_, int]) -> Any:
    """Plain data of a ruamel tree, filling in the line of each key and item."""
    if isinstance(node, CommentedMap):
        return {key: _child(node.lc.key, node, key, path, lines) for key in node}
    if isinstance(node, CommentedSeq):
        return [_child(node.lc.item, node, index, path, lines) for index in range(len(node))]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _child(locate: Callable[[Any], Any], node: Any, key: Any, path: Path_, lines: dict[Path_, int]) -> Any:
    here = (*path, key)
    lines[here] = locate(key)[0] + 1
    return _plain(node[key], here, lines)


def _message(error: Any, model: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        known = model.model_fields if len(error["loc"]) == 1 else ()
        return f"unknown key.{nearest(str(error['loc'][-1]), known)}"
    if error["type"] == "missing":
        return "is missing; it has no default"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return message if error["type"] == "value_error" else f"{message}, got {_shown(error['input'])}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
