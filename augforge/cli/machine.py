"""With ``--json``: what machines read on standard error, a JSON object in each line.

A notice is ``{"notice": text}``. A command that fails ends with one line ``{"error": {...}}``, and nothing follows it.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from augforge.errors import AugforgeError, TaskError, visible_json

_PLACE = re.compile(r"(?P<file>[^\n]+?):(?P<line>\d+): ")


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; known before it is parsed, since it may be wrong."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def print_notice(text: str) -> None:
    """Print something that the user should know, on a line of its own."""
    _print({"notice": text})


def print_error(code: str, message: str, **more: Any) -> None:
    """Print the error that ends the command.

    Args:
        code: a name that stays, such as ``recipe_error``; docs/commands.md lists them.
        message: for people: the fact, what was expected, and the remedy. If it begins with a place in a file, that is
            given by itself too.
        more: what else is known.
    """
    place = _PLACE.match(message)
    file, line = (place["file"], int(place["line"])) if place else (None, None)
    docs = f"docs/errors.md#{code}"
    _print({"error": {"code": code, "message": message, "file": file, "line": line, "docs": docs, **more}})


def describe_error(error: AugforgeError) -> dict[str, Any]:
    """What is known of an error besides its code and message."""
    keys = ("sample", "step", "message")
    failures = error.failures if isinstance(error, TaskError) else ()
    found = [{key: getattr(failure, key) for key in keys} for failure in failures]
    return {"failures": found} if found else {}


def traceback_text(error: BaseException) -> str:
    """The traceback of an error, or those of the tasks that failed in worker processes, each once."""
    return "\n".join(dict.fromkeys(_tracebacks(error)))


def _tracebacks(error: BaseException) -> Iterator[str]:
    failures = error.failures if isinstance(error, TaskError) else ()
    if not failures:
        yield "".join(traceback.format_exception(error))
    told: set[str] = set()
    for failure in failures:
        if failure.traceback not in told:
            yield f"{failure.sample} ({failure.step}):\n{failure.traceback}"
        told.add(failure.traceback)


def _print(line: dict[str, Any]) -> None:
    typer.echo(visible_json(json.dumps(line, ensure_ascii=False, default=str)), err=True)
