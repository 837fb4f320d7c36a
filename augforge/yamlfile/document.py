"""A parsed YAML file, and pydantic's complaints about it told as file, line, expectation and nearest known name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from augforge.errors import AugforgeError, nearest, shorten

KeyPath = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

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
    places: dict[KeyPath, str] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """``file:line`` of a key path, or of its nearest ancestor that stands in the file."""
        ancestors = (path[:end] for end in range(len(path), -1, -1))
        return next((self.places[ancestor] for ancestor in ancestors if ancestor in self.places), self.name)

    def fail(self, path: KeyPath, message: str) -> AugforgeError:
        """The error to raise for something at a key path."""
        key = ".".join(str(part) for part in path)
        return self.error(f"{self.where(path)}: {key + ': ' if key else ''}{message}")

    def moved(self, path: KeyPath, value: Any, place: str) -> None:
        """Note that the value at a key path comes from another place, such as the command line."""
        for old in [old for old in self.places if old[: len(path)] == path]:
            del self.places[old]
        self.places.update(dict.fromkeys(_paths(value, path), place))
        for end in range(len(path)):
            self.places.setdefault(path[:end], place)

    def check(self, model: type[Model], data: Any, at: KeyPath = ()) -> Model:
        """Validate data at a key path against a model; raise this file's error for the first complaints."""
        if not isinstance(data, Mapping):
            raise self.fail(at, f"expected keys and values, got {shorten(data)}")
        try:
            return model.model_validate(data)
        except ValidationError as caught:
            raise self.error("\n".join(self._complaints(model, caught.errors(), at))) from None

    def _complaints(self, model: type[BaseModel], errors: Iterable[Any], at: KeyPath) -> Iterable[str]:
        """One line for each key at fault; the branches of a union that got furthest are joined by "or"."""
        found: dict[KeyPath, list[Any]] = {}
        for error in errors:
            loc = error["loc"][:-1] if error["type"] == "missing" else error["loc"]
            found.setdefault(self._standing(at, loc), []).append(error)
        for path, several in found.items():
            deeper = any(len(other) > len(path) and other[: len(path)] == path for other in found)
            limits = [error for error in several if error["type"] not in _KINDS]
            if limits or not deeper:
                yield from (str(self.fail(path, message)) for message in _messages(model, limits or several))

    def _standing(self, at: KeyPath, loc: KeyPath) -> KeyPath:
        """The path of a complaint without pydantic's names for the branches of a union, which stand in no file."""
        path = at
        for part in loc:
            path = (*path, part) if (*path, part) in self.places else path
        return path


def _paths(value: Any, path: KeyPath) -> Iterable[KeyPath]:
    """The key path and all below it."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from _paths(child, (*path, key))


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
            wanted = expected.setdefault(f"{shorten(error['input'])}{_meant(error)}", [])
            wanted += {template.format(**error.get("ctx", {}))} - {*wanted}
    yield from (f"expected {' or '.join(wanted)}, got {got}" for got, wanted in expected.items())


def _meant(error: Any) -> str:
    """The word of a choice that a mistyped one is nearest to, as a further sentence."""
    if error["type"] != "literal_error" or not isinstance(error["input"], str):
        return ""
    hint = nearest(error["input"], re.findall(r"'([^']+)'", error["ctx"]["expected"]))
    return f".{hint}" if "Did you mean" in hint else ""


def _known(model: type[BaseModel], loc: KeyPath) -> Iterable[str]:
    """The keys of the model that a location lies in."""
    fields = _fields(model)
    for part in loc[:-1]:
        kinds = (fields[part].annotation, *get_args(fields[part].annotation)) if part in fields else ()
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        fields = _fields(inner[0]) if inner else fields
    return [str(name) for name in fields]


def _fields(model: type[BaseModel]) -> Mapping[str | int, FieldInfo]:
    return {info.alias or name: info for name, info in model.model_fields.items()}
