"""A page for every op, source and export format, generated from the code, so that it is never outdated."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from augforge.catalogue import origin_of
from augforge.errors import AugforgeError, nearest
from augforge.export.formats import FORMATS
from augforge.ops import OPS, Op
from augforge.planning.steps import SPLITS, StepKeys
from augforge.report.fields import describe_fields, example_values, valid_example
from augforge.report.tables import block, pairs, plural, table
from augforge.sources import SOURCES, Source
from augforge.sources.class_lists import CLASS_LISTS
from augforge.yamlfile import flow

_ROLES = {
    "prepare": "prepares samples",
    "augment": "makes new samples",
    "filter": "drops or tags samples",
}
_FILTER_KEYS = ("on",)
_ON_TYPE = f"{' | '.join(SPLITS)}, or a list"


def op_page(name: str) -> dict[str, Any]:
    """The documentation of an op, JSON-like; AugforgeError with the nearest name if there is no such op."""
    if name not in OPS:
        raise AugforgeError(f"no op is named '{name}'.{nearest(name, OPS)} See them all: augforge ops")
    op = OPS[name]
    params = valid_example(op.params)
    return {
        "name": op.name,
        "version": op.version,
        "plugin": op.origin,
        "summary": summary_of(op.params),
        "description": text_of(op.params),
        "role": op.role,
        "on": _default_splits(op),
        "inputs": op.inputs(op.params.model_construct(**params)),
        "draws": op.draw is not None,
        "measures": op.measure is not None,
        "fits": op.fit is not None,
        "reads": list(op.reads),
        "parameters": describe_fields(op.params),
        "step_keys": _step_keys(op),
        "example": f"- {flow(_example(op, params))}",
    }


def _default_splits(op: Op[Any]) -> list[str]:
    """Where a step of this op acts if the recipe does not say; as `augforge.recipe` decides it."""
    return list(SPLITS) if op.role == "prepare" else ["train"]


def _step_keys(op: Op[Any]) -> list[dict[str, Any]]:
    """The step's own keys that this op's steps may have, with the default of `on` filled in."""
    keys = [key for key in describe_fields(StepKeys) if key["name"] != "op"]
    return [
        {**key, "type": _ON_TYPE, "default": _default_splits(op)} if key["name"] == "on" else key
        for key in keys
        if op.role != "filter" or key["name"] in _FILTER_KEYS
    ]


def _example(op: Op[Any], params: dict[str, Any]) -> dict[str, Any]:
    return {"op": op.name, **params, **({"keep_input": True} if op.role == "augment" else {})}


def source_page(name: str) -> dict[str, Any]:
    """The documentation of a source, JSON-like; AugforgeError with the nearest name if there is no such format."""
    if name not in SOURCES:
        raise AugforgeError(
            f"no source format is named '{name}'.{nearest(name, SOURCES)} See them all: augforge sources"
        )
    source = SOURCES[name]
    return {
        "name": name,
        "version": source.adapter_version,
        "plugin": origin_of(source.__module__),
        "summary": summary_of(source),
        "description": text_of(source),
        "layout": source.layout,
        "options": [_name_class_list(option) for option in describe_fields(source) if option["name"] != "format"],
        "class_lists": sorted(CLASS_LISTS),
        "example": _source_example(name, source),
    }


def _name_class_list(option: dict[str, Any]) -> dict[str, Any]:
    """The option; if its default is one of the named class lists, its default is that list's name instead."""
    names = [name for name, classes in CLASS_LISTS.items() if list(classes) == option["default"]]
    return {**option, "default": names[0]} if names else option


def _source_example(name: str, source: type[Source]) -> str:
    fields = source.model_fields
    required = {key: value for key, value in example_values(source, 0).items() if key not in ("format", "path")}
    path = {"path": "../data/FOLDER"} if fields["path"].is_required() else {}
    classes = {"classes": name} if name in CLASS_LISTS and not fields["classes"].is_required() else {}
    options = {"format": name, **path, **classes, **required}
    return "\n".join(["source:", *(f"  {key}: {flow(value)}" for key, value in options.items())])


def export_page(name: str) -> dict[str, Any]:
    """The documentation of an export format, JSON-like; AugforgeError with the nearest name for an unknown one."""
    if name not in FORMATS:
        raise AugforgeError(
            f"no export format is named '{name}'.{nearest(name, FORMATS)} See them all: augforge exports"
        )
    options = FORMATS[name].options
    return {
        "name": name,
        "summary": summary_of(options),
        "description": text_of(options),
        "layout": options.layout,
        "options": describe_fields(options),
        "example": f"augforge export DATASET -o OUT --to {name}",
        "read_back": options.read_back,
    }


def text_of(model: type[BaseModel]) -> str:
    """The docstring of a model, each paragraph in one line."""
    text = inspect.cleandoc(model.__doc__ or "").replace("``", "`")
    return re.sub(r"(?<!\n)\n(?![\n\s*-])", " ", text)


def summary_of(model: type[BaseModel]) -> str:
    """The first paragraph of a model's docstring."""
    return text_of(model).partition("\n")[0]


def ops_table(console: Console) -> None:
    """Print all ops, a line or two for each."""
    shown = table("op", "role", "inputs", "what it does")
    for page in map(op_page, sorted(OPS)):
        shown.add_row(Text(page["name"], "bold"), page["role"], str(page["inputs"]), _summary_line(page))
    console.print(shown, "", "One of them: augforge ops NAME", sep="\n")


def _summary_line(page: dict[str, Any]) -> Text:
    """The summary of an op or source; that of a plugin names it."""
    return Text(page["summary"] + (f" (plugin {page['plugin']})" if page["plugin"] else ""))


def sources_table(console: Console) -> None:
    """Print all source formats, a line or two for each."""
    shown = table("format", "what it reads")
    for page in map(source_page, sorted(SOURCES)):
        shown.add_row(Text(page["name"], "bold"), _summary_line(page))
    console.print(shown, "", "One of them: augforge sources NAME", sep="\n")


def exports_table(console: Console) -> None:
    """Print all export formats, a line or two for each."""
    shown = table("format", "what it writes")
    for page in map(export_page, sorted(FORMATS)):
        shown.add_row(Text(page["name"], "bold"), Text(page["summary"]))
    console.print(shown, "", "One of them: augforge exports NAME", sep="\n")


def render_op(page: dict[str, Any], console: Console) -> None:
    """Print what `op_page` gives."""
    _title(page, console)
    console.print(pairs(_op_facts(page)), "", sep="\n")
    _render_fields("parameter", page["parameters"], console)
    _render_fields("step's key", page["step_keys"], console)
    _render_block("in a recipe", page["example"], console)


def _op_facts(page: dict[str, Any]) -> dict[str, str | Text]:
    facts: dict[str, str | Text] = {
        "role": f"{page['role']}: {_ROLES[page['role']]}, by default of {', '.join(page['on'])}",
        "inputs": plural(page["inputs"], "sample") + (" with these defaults" if page["inputs"] > 1 else ""),
        "chance": "draws, and records what it drew" if page["draws"] else "none",
    }
    if page["measures"]:
        fitted = ", then takes thresholds from the training split" if page["fits"] else ""
        facts["measures"] = f"every sample once, kept for the next build{fitted}"
    if page["reads"]:
        facts["reads"] = f"metadata: {', '.join(page['reads'])}"
    return facts


def render_source(page: dict[str, Any], console: Console) -> None:
    """Print what `source_page` gives."""
    _title(page, console)
    _render_block("layout", page["layout"], console, "")
    console.print()
    _render_fields("option", page["options"], console)
    console.print(pairs({"class lists": ", ".join(page["class_lists"])}), "", sep="\n")
    _render_block("in a recipe", page["example"], console)


def render_export(page: dict[str, Any], console: Console) -> None:
    """Print what `export_page` gives."""
    _title(page, console)
    _render_block("layout", page["layout"], console, "")
    console.print()
    _render_fields("option", page["options"], console)
    _render_block("in the shell, options as --set NAME=VALUE", page["example"], console)
    console.print()
    _render_block("read back", page["read_back"], console)


def _title(page: dict[str, Any], console: Console) -> None:
    version = f"  version {page['version']}" if "version" in page else ""
    version += f"  of the plugin {page['plugin']}" if page.get("plugin") else ""
    console.print(Text.assemble((page["name"], "bold"), version))
    console.print(block(Text(page["description"])), "", sep="\n")


def _render_fields(kind: str, fields: list[dict[str, Any]], console: Console) -> None:
    if not fields:
        console.print(f"It has no {kind}s.\n")
        return
    shown = table(kind, "type", "default", "")
    for field in fields:
        about = f"{field['description']} ({field['range']})" if field["range"] else field["description"]
        default = Text("required", "yellow") if field["required"] else Text(flow(field["default"]))
        shown.add_row(Text(field["name"], "bold"), Text(field["type"]), default, Text(about))
    console.print(shown, "", sep="\n")


def _render_block(title: str, text: str, console: Console, style: str = "cyan") -> None:
    console.print(Text(title, "dim"), block(Text(text, style)), sep="\n", soft_wrap=True)


class Kind(NamedTuple):
    """One kind of pages.

    Attributes:
        names: of all pages.
        page: returns a page by name, JSON-like.
        table: prints all names with their summaries.
        render: prints a page.
    """

    names: Iterable[str]
    page: Callable[[str], dict[str, Any]]
    table: Callable[[Console], None]
    render: Callable[[dict[str, Any], Console], None]


KINDS = {
    "ops": Kind(OPS, op_page, ops_table, render_op),
    "sources": Kind(SOURCES, source_page, sources_table, render_source),
    "exports": Kind(FORMATS, export_page, exports_table, render_export),
}
