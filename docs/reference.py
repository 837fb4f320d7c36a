"""Write docs/commands.md, docs/configuration.md and docs/recipe.md from the code that they describe: ``make docs``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from typer.models import ArgumentInfo, OptionInfo

from augforge.checks.policy import Drift, PolicyKeys
from augforge.cli import app as cli
from augforge.errors import AugforgeError
from augforge.planning.splits import Split
from augforge.planning.steps import StepKeys
from augforge.recipe.recipe import Accept, Output, RecipeKeys, ReviewFile, Verdict
from augforge.report.fields import describe_fields
from augforge.sources import SOURCES, Source
from augforge.sources.licences import Licence
from augforge.sources.options import GroupBy, Join, MetadataColumns
from augforge.train.config import TrainConfig
from augforge.yamlfile import flow

FOLDER = Path(__file__).parent
WRITTEN = "Written by `make docs` from the code; change the code, not this page.\n"
INTRODUCTION = """\
A YAML file, given by `augforge train --config`. Every key has a default, unknown keys are errors, and
`--set model.encoder=resnet18` changes one key. `augforge train --show-config` prints them all.
"""
MACHINES = """\
With `--json` the result is JSON on standard output. Standard error then holds one JSON object a line, or nothing:
`{"notice": TEXT}` for what does not stop the command, and as the last line, if the command fails,
`{"error": {"code", "message", "file", "line", "docs", ...}}`. `file` and `line` are null unless the message begins with
a place in a file; `docs` is the section of [errors.md](errors.md) on the code, which people see in brackets at its
end; `task_error` has `failures` (sample, step, message) too, and `--debug` adds `traceback`. Codes stay as they
are, messages may change:

| code | exit | what went wrong |
|---|---|---|
{codes}

Without `--json`, long work shows a bar in a terminal; elsewhere it prints a line every ten seconds on standard error:
`stage 1/2: 120 of 800, 12.3/s, 55 s left`.
"""
_CODES = {
    "file_error": (1, "A file cannot be read or written"),
    "internal_error": (1, "A fault of augforge; `traceback` says where"),
    "usage_error": (2, "The command line is wrong"),
    "interrupted": (130, "Ctrl-C; 143 after SIGTERM, 129 after SIGHUP"),
}
POLICY = """\
A YAML file, `policy.yaml` beside the registry or the recipe, or `augforge check --policy FILE`. A key that is left out
demands nothing. [ci.md](ci.md) shows one.
"""
RECIPE = """\
A YAML file, given to `augforge build`. Unknown keys are errors with line and nearest name, and `--set split.val=0.3`
changes one key. The [README](../README.md) shows a recipe, `recipes/` has one for each use. The keys of every op stand
in [ops/README.md](ops/README.md). `augforge init FOLDER` writes a first recipe for a folder of data.

## In an editor

`augforge schema recipe` prints the JSON Schema of recipes (draft 2020-12), with the options of every format and the
parameters of every op; `schema train` and `schema review` do so for the other files that people write. Editors with the
YAML language server, such as VS Code with the extension YAML, complete and check a file whose first line names it:

    # yaml-language-server: $schema=recipe.schema.json

once that file lies beside the recipe: `augforge schema recipe > recipe.schema.json`. With `--plugin FILE.py` it knows
the ops and sources of a plugin too. For a whole repository, say it in the editor's settings instead (VS Code:
`"yaml.schemas": {"recipe.schema.json": "recipes/*.yaml"}`). An entry in the catalogue of SchemaStore would have
`"name": "augforge recipe"`, `"fileMatch": ["*.augforge.yaml", "*.augforge.yml"]`, and a release's schema as its `url`.
`augforge --install-completion` makes the shell complete ops, formats, datasets, samples and classes.
"""
SOURCES_TEXT = """\
These keys are those of every format, but for what a format says otherwise below. `augforge sources FORMAT` prints the
files that it expects, and an example.
"""
STEPS_TEXT = """\
`steps` is a list of mappings. These keys belong to the step, every other one to its op. A step that prepares (resize,
windows) acts on every split by default, one that augments on train; a filter drops from train and tags elsewhere.
"""
_VALUES = {int: "N", float: "X", Path: "PATH", str: "TEXT"}


def main() -> None:
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


# ---- errors ----


ERRORS = """\
An error ends with its code in brackets, such as `[recipe_error]`; with `--json` it is the key `code`. Codes stay as
they are, messages may change. Each message has the fact, what was expected, and the remedy; these pages say what the
errors of a code have in common.
"""


def errors_page() -> str:
    """Every code with what it means, what leads to it, and what to do."""
    sections = [(kind.code, 1, inspect.getdoc(kind) or "") for kind in error_classes()[1:]]
    sections += [(code, status, f"{text}.") for code, (status, text) in _CODES.items()]
    parts = [f"## {code}\n\nExit code {status}. {_without_fields(text)}\n" for code, status, text in sections]
    anything = "## error\n\nExit code 1. Anything else that augforge says on purpose; the message has the remedy.\n"
    return "\n".join(["# Errors\n", WRITTEN, ERRORS, *parts, anything])


def _without_fields(text: str) -> str:
    """A docstring without its sections for programmers."""
    return re.split(r"\n\n(?:Args|Attributes|Raises):", text)[0]


# ---- commands --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """An argument or option of a command, as its function declares it."""

    name: str
    kind: Any
    info: ArgumentInfo | OptionInfo
    default: Any

    @property
    def repeats(self) -> bool:
        return any(get_origin(kind) is list for kind in (self.kind, *get_args(self.kind)))

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


def commands_page() -> str:
    """Every command with its help, arguments and options."""
    found = dict(_functions())
    lines = [f"- [{name}](#{name}): {_first_sentence(function)}" for name, function in sorted(found.items())]
    head = "Results go to `-o/--out`, and datasets are plain arguments. `augforge --version` prints the version.\n"
    pages = (_command(name, function) for name, function in sorted(found.items()))
    machines = MACHINES.replace("{codes}", "\n".join(_code_lines()))
    return "\n".join(["# Commands\n", WRITTEN, head, *lines, "", "## For machines\n", machines, *pages])


def _code_lines() -> Iterator[str]:
    """The codes of errors as rows of a table."""
    found = {kind.code: (1, _first_sentence(kind).rstrip(".")) for kind in error_classes()}
    found["error"] = (1, "Anything else that augforge says on purpose")
    for code, (status, text) in {**found, **_CODES}.items():
        yield f"| `{code}` | {status} | {text} |"


def error_classes() -> list[type[AugforgeError]]:
    """The classes of errors with a code of their own, in the order of augforge/errors.py."""
    found = [kind for kind in AugforgeError.__subclasses__() if kind.__module__ == "augforge.errors"]
    return [AugforgeError, *found]


def _functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions behind the commands, by the commands' names."""
    for command in cli.app.registered_commands:
        if command.callback is not None:
            yield command.name or command.callback.__name__.replace("_", "-"), command.callback


def _first_sentence(function: Any) -> str:
    return re.split(r"(?<=[.?])\s", inspect.getdoc(function) or "", maxsplit=1)[0]


def _parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = get_args(hints[name])
        if not info.hidden:
            yield Parameter(name, kind, info, parameter.default)


def _command(name: str, function: Callable[..., Any]) -> str:
    parameters = list(_parameters(function))
    arguments = [parameter for parameter in parameters if isinstance(parameter.info, ArgumentInfo)]
    options = [parameter for parameter in parameters if isinstance(parameter.info, OptionInfo)]
    usage = " ".join(["augforge", name, *map(_usage, arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"## {name}\n", f"`{usage}`\n", f"{inspect.getdoc(function)}\n"]
    if arguments:
        rows = ((f"`{argument.info.metavar}`", argument.info.help or "") for argument in arguments)
        parts.append(_table(("argument", "meaning"), rows))
    if options:
        parts.append(_table(("option", "default", "meaning"), map(_option, options)))
    return "\n".join(parts)


def _usage(argument: Parameter) -> str:
    name = argument.info.metavar if argument.required else f"[{argument.info.metavar}]"
    return f"{name}..." if argument.repeats else f"{name}"


def _option(option: Parameter) -> tuple[str, str, str]:
    long = f"--{option.name.replace('_', '-')}"
    declared = (option.info.default, *(option.info.param_decls or ()))  # typer keeps the first one as the default
    spellings = [str(text) for text in declared if str(text).startswith("-")] or [long]
    spellings.sort(key=lambda text: text.startswith("--"))
    if option.kind is bool and option.default is True:
        spellings.append(f"--no-{option.name}")
    value = "" if option.kind is bool else f" {option.info.metavar or _value_name(option.kind)}"
    least = "" if option.info.min is None else f" At least {option.info.min}."
    names = ", ".join(f"`{text}{value if text == spellings[-1] else ''}`" for text in spellings)
    return names, _default(option), f"{option.info.help}{least}"


def _value_name(kind: Any) -> str:
    return next(_VALUES[inner] for inner in (kind, *get_args(kind), *_inner(kind)) if inner in _VALUES)


def _inner(kind: Any) -> Iterator[Any]:
    """The types within lists."""
    return (inner for part in (kind, *get_args(kind)) for inner in get_args(part))


def _default(option: Parameter) -> str:
    if option.required:
        return "required"
    shown = option.info.show_default if isinstance(option.info.show_default, str) else option.default
    if shown is None or shown is False:
        return ""
    return f"`--{option.name}`" if shown is True else f"`{shown}`"


# ---- configuration ---------------------------------------------------------------------------------------------------


def configuration_page() -> str:
    """Every key of a training configuration, then of a policy: type, default, meaning."""
    sections = dict(_sections())
    own = [field for field in describe_fields(TrainConfig) if field["name"] not in sections]
    contents = "".join(f"- [`{name}`](#{name}): {_about(model)}\n" for name, model in sections.items())
    parts = [
        "# The configuration of a training run\n",
        WRITTEN,
        INTRODUCTION,
        _keys(own),
        "Sections, each a mapping with keys of its own:\n",
        contents,
        *(f"## {name}\n\n{_about(model)}\n\n{_keys(describe_fields(model))}" for name, model in sections.items()),
        f"## The policy of augforge check\n\n{POLICY}\n{_keys(describe_fields(PolicyKeys))}",
        f"### max_drift\n\n{_about(Drift)}\n\n{_keys(describe_fields(Drift))}",
    ]
    return "\n".join(parts)


# ---- recipe ----------------------------------------------------------------------------------------------------------


def recipe_page() -> str:
    """Every key of a recipe: type, default, meaning."""
    common, own = describe_fields(Source), {name: _own_keys(SOURCES[name]) for name in sorted(SOURCES)}
    parts = [
        "# The keys of a recipe\n",
        WRITTEN,
        RECIPE,
        _keys(_without_sections(describe_fields(RecipeKeys))),
        f"## source\n\n{SOURCES_TEXT}\n{_keys(common)}",
        *(_part(f"source.{name}", model) for name, model in _SOURCE_PARTS.items()),
        *(
            f"### format: {name}\n\n{_first_sentence(SOURCES[name])}\n\n{_keys(keys)}"
            for name, keys in own.items()
            if keys
        ),
        *(_part(name, model, "##") for name, model in _RECIPE_PARTS.items()),
        f"## steps\n\n{STEPS_TEXT}\n{_keys(describe_fields(StepKeys))}",
        f"## review\n\n{_about(ReviewFile)}\n\n{_keys([*describe_fields(ReviewFile), *describe_fields(Verdict)])}",
    ]
    return "\n".join(parts)


_SOURCE_PARTS: dict[str, type[BaseModel]] = {"group": GroupBy, "metadata": Join, "licence": Licence}
_RECIPE_PARTS: dict[str, type[BaseModel]] = {
    "split": Split,
    "metadata": MetadataColumns,
    "output": Output,
    "accept": Accept,
}


def _own_keys(model: type[Source]) -> list[dict[str, Any]]:
    """The fields of a format that are not those of every source, or say something else."""
    common = {field["name"]: field for field in describe_fields(Source)}
    found = ({**field, "default": common.get(field["name"], field)["default"]} for field in describe_fields(model))
    return [
        field
        for field, changed in zip(describe_fields(model), found, strict=True)
        if field["name"] != "format" and changed != common.get(field["name"])
    ]


def _without_sections(fields: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fields whose keys have a table of their own, without the type that lists these keys."""
    sections = {"split", "metadata", "output", "accept"}
    return [
        {**field, "type": f"[{field['name']}](#{field['name']})"} if field["name"] in sections else field
        for field in fields
    ]


def _part(name: str, model: type[BaseModel], level: str = "###") -> str:
    return f"{level} {name}\n\n{_about(model)}\n\n{_keys(describe_fields(model))}"


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """The keys whose value is a mapping, or a list of mappings."""
    for name, field in TrainConfig.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        yield from ((name, kind) for kind in kinds if issubclass(kind, BaseModel))


def _about(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "").replace("``", "`")


def _keys(fields: Iterable[dict[str, Any]]) -> str:
    return _table(("key", "type", "default", "meaning"), map(_key, fields))


def _key(field: dict[str, Any]) -> tuple[str, str, str, str]:
    if field["type"].startswith(f"[{field['name']}]("):  # a link to the keys inside, which have defaults of their own
        return f"`{field['name']}`", f"keys of {field['type']}", "", field["description"]
    default = "required" if field["required"] else f"`{flow(field['default'])}`"
    kind = f"`{field['type']}`" + (f", {field['range']}" if field["range"] else "")
    return f"`{field['name']}`", kind, default, field["description"]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "configuration.md": configuration_page,
    "errors.md": errors_page,
    "recipe.md": recipe_page,
}

if __name__ == "__main__":
    main()
