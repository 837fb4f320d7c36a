"""YAML with line numbers, and pydantic's complaints told as file, line, expectation and nearest known name."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.reader import ReaderError

from augforge.errors import AugforgeError, nearest

Path_ = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_WHOLE = re.compile(r"0|-?[1-9][0-9]*")
_TAG = "tag:yaml.org,2002:"
_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
}
_LIMITS = {
    "greater_than": "more than {gt:.12g}",
    "greater_than_equal": "at least {ge:.12g}",
    "less_than": "less than {lt:.12g}",
    "less_than_equal": "at most {le:.12g}",
    "too_short": "{min_length} or more items",
    "too_long": "{max_length} items",
    "literal_error": "{expected}",
    "missing": "more items",
    "finite_number": "a finite number",
}


@dataclass(frozen=True)
class YamlFile:
    """A parsed YAML file: plain data, and where each key or item stands.

    Attributes:
        name: the file, as messages name it.
        text: the file verbatim.
        error: the exception class its complaints are raised as.
        data: JSON-like (YAML 1.2: ``on`` and ``no`` are text, and so are dates); a key that is a whole number is text.
        places: key path to ``file:line``.
    """

    name: str
    text: str
    error: type[AugforgeError]
    data: dict[str, Any] = field(default_factory=dict)
    places: dict[Path_, str] = field(default_factory=dict)

    def where(self, path: Path_) -> str:
        """``file:line`` of a key path, or of its nearest ancestor that stands in the file."""
        ancestors = (path[:end] for end in range(len(path), -1, -1))
        return next((self.places[ancestor] for ancestor in ancestors if ancestor in self.places), self.name)

    def fail(self, path: Path_, message: str) -> AugforgeError:
        """The error to raise for something at a key path."""
        key = ".".join(str(part) for part in path)
        return self.error(f"{self.where(path)}: {key + ': ' if key else ''}{message}")

    def moved(self, path: Path_, value: Any, place: str) -> None:
        """Note that the value at a key path comes from another place, such as the command line."""
        for old in [old for old in self.places if old[: len(path)] == path]:
            del self.places[old]
        self.places.update(dict.fromkeys(_paths(value, path), place))
        for end in range(len(path)):
            self.places.setdefault(path[:end], place)

    def check(self, model: type[Model], data: Any, at: Path_ = ()) -> Model:
        """Validate data at a key path against a model; raise this file's error for the first complaints."""
        if not isinstance(data, Mapping):
            raise self.fail(at, f"expected keys and values, got {shown(data)}")
        try:
            return model.model_validate(data)
        except ValidationError as caught:
            raise self.error("\n".join(self._complaints(model, caught.errors(), at))) from None

    def _complaints(self, model: type[BaseModel], errors: Iterable[Any], at: Path_) -> Iterable[str]:
        """One line for each key at fault; the branches of a union that got furthest are joined by "or"."""
        found: dict[Path_, list[Any]] = {}
        for error in errors:
            loc = error["loc"][:-1] if error["type"] == "missing" else error["loc"]
            found.setdefault(self._standing(at, loc), []).append(error)
        for path, several in found.items():
            deeper = any(len(other) > len(path) and other[: len(path)] == path for other in found)
            limits = [error for error in several if error["type"] not in _KINDS]
            if limits or not deeper:
                yield from (str(self.fail(path, message)) for message in _messages(model, limits or several))

    def _standing(self, at: Path_, loc: Path_) -> Path_:
        """The path of a complaint without pydantic's names for the branches of a union, which stand in no file."""
        path = at
        for part in loc:
            path = (*path, part) if (*path, part) in self.places else path
        return path


def read_yaml(path: Path, error: type[AugforgeError]) -> YamlFile:
    """Parse a YAML file; `error` is raised, with file and line, for whatever is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file; expected a YAML file. Check the path") from None
    except OSError as caught:
        raise error(f"{path}: cannot be read ({caught.strerror}); expected a YAML file. Check the path") from None
    except UnicodeDecodeError as caught:
        line, byte = caught.object.count(b"\n", 0, caught.start) + 1, caught.object[caught.start]
        raise error(f"{path}:{line}: byte 0x{byte:02x} is not UTF-8. Save the file as UTF-8") from None
    return parse_yaml(text, str(path), error)


def parse_yaml(text: str, name: str, error: type[AugforgeError]) -> YamlFile:
    """Parse YAML text; `name` is what messages call it."""
    file = YamlFile(name, text, error)
    try:
        node, data = _load(text)
        if not isinstance(data, dict):
            raise error(f"{name}:1: expected keys and values at the top, got {shown(data)}")
        file.places[()] = f"{name}:{node.start_mark.line + 1}"
        file.data.update(_plain(node, data, (), file))
    except MarkedYAMLError as caught:
        line = caught.problem_mark.line + 1 if caught.problem_mark else 1
        raise error(f"{name}:{line}: not valid YAML: {_problem(caught)}") from None
    except ReaderError as caught:
        line = text.count("\n", 0, caught.position) + 1
        raise error(f"{name}:{line}: not valid YAML: character #x{caught.character:04x} is not allowed") from None
    except RecursionError:
        raise error(f"{name}: nested too deeply, or an alias stands inside what it names") from None
    except (YAMLError, ValueError) as caught:
        raise error(f"{name}: not valid YAML: {str(caught).splitlines()[0]}") from None
    return file


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
        return _load(text)[1]
    except (YAMLError, ValueError, RecursionError):
        return text


def shown(value: Any) -> str:
    """A value as messages show it, cut short."""
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False, default=str).replace('"', "'")
    return text if len(text) <= 60 else text[:57] + "..."


class _Constructor(SafeConstructor):
    """Plain data; a date is text, as YAML 1.2 has it."""


_Constructor.add_constructor(_TAG + "timestamp", SafeConstructor.construct_yaml_str)


def _load(text: str) -> tuple[Any, Any]:
    """The tree with its line numbers, merged keys in place, and the data."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    node = yaml.compose(text)
    return node, None if node is None else yaml.constructor.construct_document(node)


def _plain(node: Node, value: Any, path: Path_, file: YamlFile) -> Any:
    """The value of a node, seen to be JSON-like, filling in the place of each key and item."""
    if isinstance(node, MappingNode) and isinstance(value, dict):
        plain: dict[str, Any] = {}
        for key, child in node.value:
            name, held = _key(key, file)
            if held != name and name in value:
                raise file.error(f"{file.name}:{key.start_mark.line + 1}: the key {name} stands there as text too")
            plain[name] = _child(key, child, value[held], (*path, name), file)
        return plain
    if isinstance(node, SequenceNode) and isinstance(value, list):
        return [_child(child, child, value[i], (*path, i), file) for i, child in enumerate(node.value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise file.fail(path, f"expected a finite number, got {node.value}")
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise file.fail(
            path, f"nothing is done with the tag '{str(node.tag).replace(_TAG, '!!')}'; expected a plain value"
        )
    return value


def _key(key: Node, file: YamlFile) -> tuple[str, Any]:
    """A key as text, as in JSON, and as the data holds it: text, or a whole number such as a pixel value."""
    if key.tag in (_TAG + "str", _TAG + "timestamp"):
        return key.value, key.value
    if key.tag == _TAG + "int" and _WHOLE.fullmatch(key.value):
        return key.value, int(key.value)
    raise file.error(
        f"{file.name}:{key.start_mark.line + 1}: a key is neither text nor a plain whole number; put it in quotes"
    )


def _child(place: Node, node: Node, value: Any, path: Path_, file: YamlFile) -> Any:
    file.places[path] = f"{file.name}:{place.start_mark.line + 1}"
    return _plain(node, value, path, file)


def _paths(value: Any, path: Path_) -> Iterable[Path_]:
    """The key path and all below it."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from _paths(child, (*path, key))


def _problem(caught: MarkedYAMLError) -> str:
    """What the parser says, with a remedy for the common slips."""
    problem = str(caught.problem or caught.context).strip().splitlines()[0]
    if problem.startswith("but "):
        problem = f"{str(caught.context).splitlines()[0]} {problem}"
    problem = problem.replace("could not determine a constructor for the tag", "nothing is known of the tag")
    remedies = {"'\\t'": "indent with spaces", "<block": "check the indentation", "the tag": "expected a plain value"}
    remedy = next((f"; {remedy}" for sign, remedy in remedies.items() if sign in problem), "")
    return problem.replace(_TAG, "!!") + remedy


def _messages(model: type[BaseModel], errors: Iterable[Any]) -> Iterable[str]:
    """What to say of one key: its facts, and what was expected instead of what is there."""
    expected: dict[str, list[str]] = {}
    for error in errors:
        template = {**_KINDS, **_LIMITS}.get(error["type"])
        if error["type"] == "extra_forbidden":
            yield f"unknown key.{nearest(str(error['loc'][-1]), _known(model, error['loc']))}"
        elif error["type"] == "missing" and isinstance(error["loc"][-1], str):
            yield f"'{error['loc'][-1]}' is missing; it has no default"
        elif template is None:
            yield error["msg"].removeprefix("Value error, ")
        else:
            wanted = expected.setdefault(shown(error["input"]), [])
            wanted += {template.format(**error.get("ctx", {}))} - {*wanted}
    yield from (f"expected {' or '.join(wanted)}, got {got}" for got, wanted in expected.items())


def _known(model: type[BaseModel], loc: Path_) -> Iterable[str]:
    """The keys of the model that a location lies in."""
    fields = _fields(model)
    for part in loc[:-1]:
        kinds = (fields[part].annotation, *get_args(fields[part].annotation)) if part in fields else ()
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        fields = _fields(inner[0]) if inner else fields
    return [str(name) for name in fields]


def _fields(model: type[BaseModel]) -> Mapping[str | int, FieldInfo]:
    return {info.alias or name: info for name, info in model.model_fields.items()}
