"""Progress without a terminal: a line from time to time, and none for quick work."""

from __future__ import annotations

import threading
import time

import pytest

from augforge.cli import progress_lines as module
from augforge.cli import terminal
from augforge.cli.progress_lines import ProgressLines, progress_lines


def test_a_line_says_stage_count_rate_and_time_left() -> None:
    now = [100.0]
    progress = ProgressLines(lambda: now[0])
    assert progress.line() is None, "nothing has begun"
    progress.start("stage 1/2", 2000)
    now[0] += 10
    assert progress.line() == "stage 1/2: 0 of 2,000"
    progress.advance(500)
    assert progress.line() == "stage 1/2: 500 of 2,000, 50.0/s, 30 s left"
    progress.advance(1500)
    assert progress.line() is None, "it is done"
    progress.start("encode", 3)
    assert progress.line() == "encode: 0 of 3", "each stage counts anew"


def test_lines_are_printed_while_the_work_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    with progress_lines(every=0.02) as progress:
        progress.start("stage 1/1", 4)
        time.sleep(0.1)
    printed = capsys.readouterr()
    assert printed.out == "" and set(printed.err.splitlines()) == {"stage 1/1: 0 of 4"}
    assert threading.active_count() == before


def test_without_a_terminal_lines_are_used_and_machines_get_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for quiet, told in ((False, True), (True, False)):
        with terminal.progress_bars(quiet=quiet) as progress:
            assert isinstance(progress, ProgressLines) == told
    assert capsys.readouterr().err == "" and module.EVERY == 10
