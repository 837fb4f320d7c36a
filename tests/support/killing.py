"""Commands in a process of their own that is killed before a chosen operation on files, or at a chosen time.

Processes come from a fork server that has imported augforge already, so that a trial takes a fraction of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from recorder import Operation, before_each_operation

from augforge.progress import Silent

SERVER: Any = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
PRELOADED = [
    "augforge.engine.builder",
    "augforge.engine.repair",
    "augforge.export",
    "augforge.store.gc",
    "augforge.store.pack",
    "augforge.engine.repair",
    "augforge.sources.formats.hand_bone",
]
PATIENCE = 120  # seconds
if os.name == "posix":
    SERVER.set_forkserver_preload(PRELOADED)


def build(recipe: Path, out: Path, jobs: int = 1) -> None:
    from augforge.engine.builder import build as run

    run(recipe, out, jobs=jobs)


class _Deadly(Silent):
    """A display of progress that kills its process after some batches."""

    def __init__(self, batches: int) -> None:
        self._left = batches

    def advance(self, count: int) -> None:
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def build_some_batches(recipe: Path, out: str | Path, backend: str, address: str | None, batches: int) -> None:
    """Begin a build, which is killed when one batch more than these is finished."""
    from augforge.engine.builder import build as run

    run(recipe, out, backend=backend, address=address, progress=_Deadly(batches))


def gc(folder: Path) -> None:
    from augforge.store.gc import collect

    collect(folder, keep=1, now=True)


def export(folder: Path, out: Path, to: str = "coco") -> None:
    from augforge.export import export as run
    from augforge.store.dataset import open_dataset

    run(open_dataset(folder), out, to)


def pack(folder: Path, out: Path) -> None:
    from augforge.store.pack import pack as run

    run(folder, out)


def repair(folder: Path) -> None:
    from augforge.engine.repair import repair as run

    run(folder)


def checkout(folder: Path, version: str) -> None:
    from augforge.store.history import checkout as run

    run(folder, version)


def run_here(
    pipe: Any, at: int | None, scratch: Path | None, command: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """Run a command and send the names of its operations; or die before operation number `at`."""
    done: list[str] = []
    if scratch is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)

    def hook(operation: Operation) -> None:
        if len(done) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(f"{operation.kind} {(operation.target or operation.path).name}")

    with before_each_operation(hook):
        command(*arguments)
    pipe.send(done)
    os._exit(0)  # multiprocessing would wait for the threads of joblib's executor, which keeps its workers for minutes


def run(
    command: Callable[..., None],
    *arguments: Any,
    at: int | None = None,
    after: float | None = None,
    scratch: Path | None = None,
) -> list[str] | None:
    """Run a command in a process of its own.

    Args:
        command: one of this module.
        arguments: its own.
        at: number of the operation before which the process kills itself.
        after: seconds after which it is killed.
        scratch: what the process, and its workers, take for the system's temporary folder.

    Returns:
        The names of its operations on files; None if it was killed.
    """
    here, there = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=run_here, args=(there, at, scratch, command, arguments))
    process.start()
    there.close()
    try:
        process.join(PATIENCE if after is None else after)
        process.kill()
        process.join()
        with suppress(EOFError):
            return list(here.recv())
        assert at is not None or after is not None, f"{command.__name__} failed; its traceback is above"
        return None
    finally:
        here.close()
        process.close()
