"""The terminal: progress bars, errors and output, for people and for machines."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from augforge.cli import machine
from augforge.cli.everywhere import COMMON
from augforge.cli.progress_lines import progress_lines
from augforge.errors import visible_json
from augforge.progress import Progress, Silent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar


_STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_REPEAT = 1.0  # seconds: closing a terminal may send SIGHUP twice, and the second must not interrupt the clean-up


class RichProgress:
    """Progress bars with rate and remaining time."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task: Any = None

    def start(self, label: str, total: int) -> None:
        """Show a new bar instead of the last one."""
        if self._task is not None:
            self._bar.update(self._task, visible=False)
        self._task = self._bar.add_task(label, total=total)

    def advance(self, count: int) -> None:
        """Move the bar on."""
        self._bar.advance(self._task, count)


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Progress]:
    """Bars on standard error, or lines if that is no terminal; nothing if `quiet`, for machines."""
    errors = console(stderr=True)
    if quiet or not errors.is_terminal:
        with nullcontext(Silent()) if quiet else progress_lines() as progress:
            yield progress
        return
    from rich import progress as rich_progress

    columns = (
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        _rate_column(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=errors) as bar:
        yield RichProgress(bar)


def _rate_column() -> Any:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    return Rate()


@contextmanager
def interruptible(
    state: str = "what was finished is kept. The same command continues from here",
) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP (a closed terminal) exit with code 128 + their number, and `state` says what is left.

    All of them unwind the stack as Ctrl-C does, so that clean-ups run. A signal that ``nohup`` ignores stays ignored.
    """
    received: list[tuple[int, float]] = []

    def stop(number: int, frame: FrameType | None) -> None:
        repeated = bool(received) and time.monotonic() - received[-1][1] < _REPEAT
        received.append((number, time.monotonic()))
        if not repeated:
            raise KeyboardInterrupt

    before = {
        number: signal.signal(number, stop) for number in _STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    except BaseException as error:  # libraries wrap an interruption in errors of their own, as Polars does
        if not received and not isinstance(error, KeyboardInterrupt):
            raise
        code = 128 + (received[0][0] if received else signal.SIGINT)
        _print_interruption(f"stopped; {state}", code)
        raise typer.Exit(code) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_interruption(text: str, code: int) -> None:
    if COMMON.json:
        machine.print_error("interrupted", text, exit_code=code)
        COMMON.told = True
    else:
        console(stderr=True).print(text)


def console(stderr: bool = False) -> Console:
    """A console for text of others, which colours no numbers by itself."""
    from augforge.cli.safeconsole import SafeConsole

    return SafeConsole(stderr=stderr, highlight=False)


def print_error(message: str, code: str) -> None:
    """Print an error on standard error, with its code at the end.

    Further lines are indented, so that no name can forge a line of its own.
    """
    first, *others = f"{message} [{code}]".split("\n")
    stderr = console(stderr=True)
    stderr.print(f"[bold red]error:[/bold red] {escape(first)}", soft_wrap=True)
    for line in others:
        stderr.print(escape(line if line.startswith(" ") else f"  {line}"), soft_wrap=True)


def notice(text: str) -> None:
    """Print one line on standard error; the result and standard output stay the same."""
    if COMMON.json:
        machine.print_notice(text)
        return
    console(stderr=True).print(f"[yellow]notice:[/yellow] {escape(text)}", soft_wrap=True)


def remark(text: str) -> None:
    """Print on standard error what was done besides the result, such as a picture that was written."""
    if COMMON.json:
        machine.print_notice(text)
        return
    console(stderr=True).print(escape(text), soft_wrap=True)


def output(data: Any, as_json: bool, render: Callable[[Console], None]) -> None:
    """Print data as JSON, or let `render` draw it for people."""
    if as_json:
        typer.echo(visible_json(json.dumps(data, ensure_ascii=False, indent=2)))
    else:
        render(console())


def escape(text: str) -> str:
    """Escape what rich would read as markup, such as ``[a, b]`` in a message."""
    from rich import markup

    return markup.escape(text)
