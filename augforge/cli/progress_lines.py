"""Progress where there is no terminal, as in CI: a line from time to time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from augforge.errors import visible

EVERY = 10.0
"""Seconds between two lines."""


class ProgressLines:
    """How far the work is, as a line of text.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._label, self._total, self._done, self._begun = "", 0, 0, clock()

    def start(self, label: str, total: int) -> None:
        """Begin a new piece of work."""
        self._label, self._total, self._done, self._begun = label, total, 0, self._clock()

    def advance(self, count: int) -> None:
        """Count units that are done."""
        self._done += count

    def line(self) -> str | None:
        """``stage 1/2: 120 of 800, 12.3/s, 55 s left``; None if nothing is going on."""
        if self._done >= self._total:
            return None
        text, seconds = f"{self._label}: {self._done:,} of {self._total:,}", self._clock() - self._begun
        if not self._done or seconds <= 0:
            return text
        from augforge.report.summary import human_seconds

        rate = self._done / seconds
        return f"{text}, {rate:.1f}/s, {human_seconds((self._total - self._done) / rate)} left"


@contextmanager
def progress_lines(every: float = EVERY) -> Iterator[ProgressLines]:
    """Progress whose line is printed on standard error every so many seconds; quick work prints nothing."""
    progress, ended = ProgressLines(), threading.Event()

    def report() -> None:
        while not ended.wait(every):
            line = progress.line()
            if line is not None:
                typer.echo(visible(line), err=True)

    reporter = threading.Thread(target=report, name="progress", daemon=True)
    reporter.start()
    try:
        yield progress
    finally:
        ended.set()
        reporter.join()
