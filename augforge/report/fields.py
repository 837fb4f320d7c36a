"""Fields of pydantic models for documentation: type, range, default, and an example value."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from augforge.yamlfile import flow

_NAMES = {type(None): "null", str: "text", float: "number", Any: "anything"}
_SEQUENCES = (tuple, list, set, frozenset)
_USUAL_INT, _USUAL_FLOAT = 512, 0.5


def describe_fields(model: type[BaseModel]) -> list[dict[str, Any]]:
    """One dict per field: name, type, range, required, default (JSON-like), description."""
    return [
        {
            "name": field.alias or name,
            "type": type_name(field.annotation),
            "range": range_text(field),
            "required": field.is_required(),
            "default": default_of(field),
            "description": _description(model, name),
        }
        for name, field in model.model_fields.items()
    ]


def _description(model: type[BaseModel], name: str) -> str:
    """The description of a field, or of the field in a base class that it overrides."""
    bases = (base for base in model.__mro__ if issubclass(base, BaseModel) and base is not BaseModel)
    found = (base.model_fields[name].description for base in bases if name in base.model_fields)
    return next((text for text in found if text), "")


def default_of(field: FieldInfo) -> Any:
    """The default, JSON-like; None for a required field too."""
    return None if field.is_required() else to_jsonable_python(field.get_default(call_default_factory=True))


def type_name(annotation: Any) -> str:
    """A type in words for authors of recipes: ``int or [int, int]``, ``cover | contain``, ``list of text``."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_name(arg) for arg in _sort_null_last(args)))
    if origin is Literal:
        return " | ".join(flow(arg) for arg in args)
    if origin in _SEQUENCES:
        return f"list of {type_name(args[0])}" if _is_open(origin, args) else f"[{', '.join(map(type_name, args))}]"
    if origin is dict:
        return f"{{{type_name(args[0])}: {type_name(args[1])}}}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = (f"{f.alias or name}: {type_name(f.annotation)}" for name, f in annotation.model_fields.items())
        return f"{{{', '.join(fields)}}}"
    return _NAMES.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _sort_null_last(args: Iterable[Any]) -> list[Any]:
    return sorted(args, key=lambda arg: arg is type(None))


def _is_open(origin: Any, args: tuple[Any, ...]) -> bool:
    """Whether a sequence type accepts any number of items."""
    return origin is not tuple or args[-1] is Ellipsis


def range_text(field: FieldInfo) -> str:
    """``1 to 8``, ``above 0, below 1``; empty unless all numbers in the field share one range."""
    found = {text for constraints in _constraints(field.annotation, field.metadata) if (text := _bounds(constraints))}
    return found.pop() if len(found) == 1 else ""


def _constraints(annotation: Any, metadata: Iterable[Any]) -> Iterator[list[Any]]:
    """The constraints of a type, and of each type nested in it."""
    yield [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        yield from _constraints(inner, extra)
    elif get_origin(annotation) is not Literal:
        for arg in get_args(annotation):
            yield from _constraints(arg, ())


def _limits(constraints: Iterable[Any]) -> dict[str, Any]:
    return {key: getattr(part, key) for part in constraints for key in ("ge", "gt", "le", "lt") if hasattr(part, key)}


def _bounds(constraints: Iterable[Any]) -> str:
    limits = _limits(constraints)
    if {"ge", "le"} <= set(limits):
        return f"{limits['ge']} to {limits['le']}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(f"{words[key]} {limits[key]}" for key in words if key in limits)


def example_values(model: type[BaseModel], shown: int = 2) -> dict[str, Any]:
    """Values for an example: all required fields, those with ``examples``, and up to ``shown`` non-trivial defaults."""
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        default = default_of(field)
        if field.examples or field.is_required():
            values[field.alias or name] = example_value(field)
        elif shown and default not in (None, False, "", [], {}):
            values[field.alias or name] = default
            shown -= 1
    return values


def valid_example(model: type[BaseModel]) -> dict[str, Any]:
    """`example_values` that the model accepts.

    If it refuses them because one of several fields is needed, as in "either pixels or share", one field is added. If
    that does not help, they are returned as they are: then fields need ``examples``.
    """
    values = example_values(model)
    optional = {field.alias or name: field for name, field in model.model_fields.items()}
    more = [{**values, name: example_value(field)} for name, field in optional.items() if name not in values]
    return next((candidate for candidate in (values, *more) if _fits(model, candidate)), values)


def _fits(model: type[BaseModel], values: dict[str, Any]) -> bool:
    try:
        model.model_validate(values)
    except ValidationError:
        return False
    return True


def example_value(field: FieldInfo) -> Any:
    """A field's first example, the text after "such as: " in its description, or a value that its type allows."""
    if field.examples:
        return to_jsonable_python(field.examples[0])
    _, marker, example = (field.description or "").partition("such as: ")
    if marker and field.annotation in (str, str | None):
        return example
    return _value(field.annotation, _limits(next(_constraints(None, field.metadata))))


def _value(annotation: Any, limits: dict[str, Any]) -> Any:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(args[0], _limits(next(_constraints(None, args[1:]))))
    if origin in (Union, types.UnionType):
        return _value(_sort_null_last(args)[0], limits)
    if origin is Literal:
        return args[0]
    if origin in _SEQUENCES:
        return [_value(arg, {}) for arg in (args[:1] if _is_open(origin, args) else args)]
    if origin is dict:
        return {_value(args[0], {}): _value(args[1], {})}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return example_values(annotation, 0)
    return _plain_value(annotation, limits)


def _plain_value(annotation: Any, limits: dict[str, Any]) -> Any:
    if annotation is bool:
        return True
    if annotation not in (int, float):
        return "NAME"
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    usual = _USUAL_INT if annotation is int else _USUAL_FLOAT
    if (low is None or low < usual) and (high is None or usual < high):
        return usual
    return annotation(high if low is None else low if high is None else (low + high) / 2)
