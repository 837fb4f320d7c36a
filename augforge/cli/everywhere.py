"""Options that every command takes: plugins, and the traceback of an error."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="A Python file that registers ops or sources; it is run. May be given several times.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Print the traceback of an error too.")]


@dataclass
class Common:
    """What the common options of the running command say.

    Attributes:
        debug: whether to print the traceback of an error.
        json: whether machines read what is printed.
        told: whether they were told the error that ends the command.
    """

    debug: bool = False
    json: bool = False
    told: bool = False


COMMON = Common()


def use_common_options(plugin: list[Path] | None, debug: bool) -> None:
    """Load plugins, and note whether tracebacks are wanted."""
    COMMON.debug = debug
    if plugin:
        from augforge.catalogue import load_plugin

        for path in plugin:
            load_plugin(path)


def with_common_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes ``--plugin`` and ``--debug`` too; both take effect before it runs."""

    @wraps(command)
    def run(*, plugin: list[Path] | None, debug: bool, **arguments: Any) -> None:
        use_common_options(plugin, debug or COMMON.debug)  # they may stand before the command too
        command(**arguments)

    own = inspect.signature(command, eval_str=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter("plugin", keyword, default=None, annotation=Plugins),
        inspect.Parameter("debug", keyword, default=False, annotation=Debug),
    ]
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
    run.__annotations__ = {name: each.annotation for name, each in run.__signature__.parameters.items()}  # type: ignore[attr-defined]
    return run
