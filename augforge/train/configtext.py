"""A training configuration as YAML with comments: what each key means, and what it may be."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from pydantic import BaseModel

from augforge.report.fields import describe_fields
from augforge.train.config import TrainConfig
from augforge.yamlfile import flow

_WIDTH = 100


def commented_yaml(config: TrainConfig) -> str:
    """The whole configuration, to begin a file from; each key stands below a comment with its meaning and choices."""
    head = [
        "# yaml-language-server: $schema=train.schema.json",
        "# Editors complete and check this file if that one lies beside it: augforge schema train > train.schema.json",
        "# Every key stands at its value of now; a key that is left out has its default.",
    ]
    return "\n".join([*head, *_keys(config, "")]) + "\n"


def _keys(model: BaseModel, indent: str) -> Iterator[str]:
    """The keys of a model with comments; models within it are indented, lists of models are one item a line."""
    values = model.model_dump(mode="json")
    for field, name in zip(describe_fields(type(model)), type(model).model_fields, strict=True):
        inner = getattr(model, name)
        if not indent:
            yield ""
        yield from _comment(field, indent, isinstance(inner, BaseModel))
        if isinstance(inner, BaseModel):
            yield f"{indent}{field['name']}:"
            yield from _keys(inner, f"{indent}  ")
        else:
            yield from _value(f"{indent}{field['name']}:", values[name], indent)


def _value(key: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        yield key
        yield from (f"{indent}  - {flow(item)}" for item in value)
    else:
        yield f"{key} {flow(value)}"


def _comment(field: dict[str, Any], indent: str, nested: bool) -> Iterator[str]:
    """What a key means, and the type and range of its value, in lines of comments."""
    kind = "" if nested else f" [{field['type']}{', ' + field['range'] if field['range'] else ''}]"
    for line in wrap(f"{field['description']}{kind}".strip(), _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"{indent}# {line}"
