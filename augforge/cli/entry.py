"""The entry point: runs a command, and tells people or machines how it ended."""

from __future__ import annotations

import sys
import warnings
from typing import Any, NoReturn

import typer

from augforge.cli import machine, terminal
from augforge.cli.everywhere import COMMON
from augforge.errors import AugforgeError, visible


def run_app(app: typer.Typer) -> None:
    """Run the command line: expected errors are printed without a traceback, and the exit code is 1.

    With ``--json`` every error, a wrong command line too, is a JSON object on standard error; see `cli.machine`.
    """
    COMMON.json, COMMON.told = machine.wants_json(sys.argv[1:]), False
    try:
        if COMMON.json:
            _run_for_machines(app)
        else:
            app()
    except AugforgeError as error:
        _fail(error.code, str(error), error, **machine.describe_error(error))
    except OSError as error:
        if error.strerror is None:
            raise
        place = f"{error.filename or 'a file'}: {error.strerror}"
        _fail("file_error", f"{place}. Check the path, the permissions and the free space", error)


def _run_for_machines(app: typer.Typer) -> None:
    """Run the command line; what ends it besides the errors that `run_app` tells becomes JSON here."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: machine.print_notice(str(message))
            code = app(standalone_mode=False) or 0
    except (AugforgeError, OSError):
        raise
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:
        if not hasattr(error, "format_message"):  # else the command line is wrong
            COMMON.debug = True  # it is a fault of augforge, so the traceback is needed
            _fail("internal_error", f"{type(error).__name__}: {error}", error)
        machine.print_error("usage_error", error.format_message())
        sys.exit(getattr(error, "exit_code", 2))
    if code == 130 and not COMMON.told:
        machine.print_error("interrupted", "stopped", exit_code=code)
    sys.exit(code)


def _fail(code: str, message: str, error: Exception, **more: Any) -> NoReturn:
    """Print an error, with its traceback if that is wanted, and exit with code 1."""
    traceback = machine.traceback_text(error) if COMMON.debug else None
    if COMMON.json:
        machine.print_error(code, message, **({"traceback": traceback} if traceback else {}), **more)
    else:
        if traceback:
            typer.echo(visible(traceback, lines=True), err=True)
        terminal.print_error(message, code)
    sys.exit(1)
