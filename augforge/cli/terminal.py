"""The terminal: progress bars, errors and output, for people and for machines."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar


_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_ECHO = 1.0  # seconds: closing a terminal may send SIGHUP twice, and the second must not cut a clean-up short


class RichProgress:
    """Progress bars with rate and time left; rich draws nothing where the output is no terminal."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task: Any = None

    def start(self, label: str, total: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, visible=False)
        self._task = self._bar.add_task(label, total=total)

    def advance(self, count: int) -> None:
        self._bar.advance(self._task, count)


@contextmanager
def progress_bars(quiet: bool) -> Iterator[RichProgress]:
    """Bars on standard error, none for machines."""
    from rich import progress as rich_progress

    errors = console(stderr=True)
    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        _rate_column(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=errors, disable=quiet or not errors.is_terminal) as bar:
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
    state: str = "what was finished is kept. The same command goes on from here",
) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP (a closed terminal) end with exit code 128 + their number and a word on what is left.

    All unwind as Ctrl-C does; what ``nohup`` ignores stays ignored.
    """
    taken: list[tuple[int, float]] = []

    def stop(number: int, frame: FrameType | None) -> None:
        echo = bool(taken) and time.monotonic() - taken[-1][1] < _ECHO
        taken.append((number, time.monotonic()))
        if not echo:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield
    except BaseException as error:  # libraries wrap an interruption in errors of their own, as Polars does
        if not taken and not isinstance(error, KeyboardInterrupt):
            raise
        console(stderr=True).print(f"stopped; {state}")
        raise typer.Exit(128 + (taken[0][0] if taken else signal.SIGINT)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def console(stderr: bool = False) -> Console:
    """Rich's console, without colouring numbers of its own accord."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def notice(text: str) -> None:
    """One line on standard error that changes nothing of the result."""
    console(stderr=True).print(f"[yellow]notice:[/yellow] {escaped(text)}", soft_wrap=True)


def output(data: Any, as_json: bool, render: Callable[[Console], None]) -> None:
    """Print data as JSON, or let `render` draw it for people."""
    if as_json:
        typer.echo(json.dumps(data, ensure_ascii=False, indent=2))
    else:
        render(console())


def escaped(text: str) -> str:
    """Text in which rich finds no markup."""
    from rich.markup import escape

    return escape(text)
