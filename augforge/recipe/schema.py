"""JSON Schema (draft 2020-12) of the files that people write, from the models that check them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from augforge.ops import OPS, Op
from augforge.planning.steps import SPLITS, StepKeys
from augforge.recipe.recipe import RecipeKeys, ReviewFile
from augforge.sources import SOURCES
from augforge.sources.class_lists import CLASS_LISTS
from augforge.sources.raster.palettes import PALETTES

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""The name of the draft, by which validators know it; nothing is fetched."""
_DEFS = "#/$defs/"
_FILTER_KEYS = ("op", "on")


def recipe_schema() -> Schema:
    """The schema of recipes: keys, the options of every format, the parameters of every op."""
    schema = schema_of(RecipeKeys, "A recipe of augforge")
    schema["properties"]["source"] = _chosen_by("format", "source", SOURCES, schema["properties"]["source"])
    schema["properties"]["steps"]["items"] = {"$ref": f"{_DEFS}step"}
    for name, source in SOURCES.items():
        schema["$defs"][f"source-{name}"] = _own(source, schema["$defs"], source.__doc__)
    _add_steps(schema)
    return schema


def review_schema() -> Schema:
    """The schema of review files."""
    return schema_of(ReviewFile, "A review of augforge: a person's verdicts on source samples")


def config_schema(model: type[BaseModel]) -> Schema:
    """The schema of training configurations, whose `data.online` are steps as in a recipe.

    Args:
        model: that checks them, which lies in a layer above this one.
    """
    schema = schema_of(model, "A training configuration of augforge")
    schema["$defs"]["DataConfig"]["properties"]["online"]["items"] = {"$ref": f"{_DEFS}step"}
    _add_steps(schema)
    return schema


def schema_of(model: type[BaseModel], title: str) -> Schema:
    """The schema of a model, with what pydantic's own leaves out: texts that stand for a list, and the draft's name."""
    schema = model.model_json_schema(mode="validation", ref_template=_DEFS + "{model}")
    schema.setdefault("$defs", {})
    _add_spellings(schema)
    return {"$schema": DIALECT, **schema, "title": title}


def _add_steps(schema: Schema) -> None:
    """Add the definition of a step to a schema, and one for each op, which it chooses by the key ``op``."""
    keys = _own(StepKeys, schema["$defs"], None)["properties"]
    told = {"description": "an op, its parameters, and how often it acts"}
    schema["$defs"]["step"] = _chosen_by("op", "op", OPS, told)
    for name, each in OPS.items():
        schema["$defs"][f"op-{name}"] = _op_schema(each, keys, schema["$defs"])


def _op_schema(op: Op[Any], keys: Mapping[str, Any], defs: Schema) -> Schema:
    """The keys of a step of one op: those of steps and its own parameters. A filter's step has few keys."""
    own = {key: value for key, value in keys.items() if op.role != "filter" or key in _FILTER_KEYS}
    schema = _own(op.params, defs, op.params.__doc__)
    schema["properties"] = {**own, "op": {"const": op.name}, **schema.get("properties", {})}
    return schema


def _own(model: type[BaseModel], defs: Schema, text: str | None) -> Schema:
    """The schema of a model without its definitions, which go to the others."""
    schema = schema_of(model, model.__name__)
    inner = schema.pop("$defs")
    renamed = {name: f"{model.__name__}-{name}" for name, value in inner.items() if defs.get(name, value) != value}
    for name, value in _renamed(inner, renamed).items():
        defs[renamed.get(name, name)] = value
    schema = {**_renamed(schema, renamed)}
    schema.pop("$schema")
    return schema | ({"description": inspect.cleandoc(text)} if text else {})


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    """A schema whose references to definitions have other names: two models may have inner ones of the same name."""
    if isinstance(schema, dict):
        return {
            key: _DEFS + names.get(value.removeprefix(_DEFS), value.removeprefix(_DEFS))
            if key == "$ref" and isinstance(value, str)
            else _renamed(value, names)
            for key, value in schema.items()
        }
    return [_renamed(item, names) for item in schema] if isinstance(schema, list) else schema


def _chosen_by(key: str, kind: str, names: Iterable[str], more: Mapping[str, Any]) -> Schema:
    """An object whose other keys depend on the value of one key; a value of a plugin's is taken with any keys."""
    known = sorted(names)
    branches = [
        {
            "if": {"properties": {key: {"const": name}}, "required": [key]},
            "then": {"$ref": f"{_DEFS}{kind}-{name}"},
        }
        for name in known
    ]
    choice = {"enum": known, "description": f"augforge {'ops' if key == 'op' else 'sources'} lists them"}
    base = {name: value for name, value in more.items() if name in ("description", "title")}
    return {**base, "type": "object", "required": [key], "properties": {key: choice}, "allOf": branches}


def _add_spellings(schema: Any) -> None:
    """Add, in place, what validators turn into the type that a field has before pydantic checks it.

    A named list stands for `classes`, a palette for `colors`, one split for a list of splits.
    """
    if isinstance(schema, list):
        for item in schema:
            _add_spellings(item)
    if not isinstance(schema, dict):
        return
    for value in schema.values():
        _add_spellings(value)
    for key, names in _SPELLINGS.items():
        field = schema.get("properties", {}).get(key)
        if isinstance(field, dict) and {"enum": names} not in field.get("anyOf", []) and _takes_list(key, field):
            types = field.pop("anyOf", None) or [{name: field.pop(name) for name in _KEYWORDS if name in field}]
            field["anyOf"] = [{"enum": names}, *types]


_SPELLINGS: Mapping[str, list[str]] = {"classes": sorted(CLASS_LISTS), "colors": sorted(PALETTES), "on": list(SPLITS)}
"""Fields that may be a name, and the names."""
_KEYWORDS = ("type", "items", "prefixItems", "minItems", "maxItems", "additionalProperties")


def _takes_list(key: str, field: Mapping[str, Any]) -> bool:
    """Whether a field is the one that is meant, by its type: an op may have a parameter of the same name."""
    kinds = {each.get("type") for each in field.get("anyOf", [field])}
    return bool(kinds & ({"object"} if key == "colors" else {"array"}))
