"""Running augforge's commands on hostile input in processes of their own, and seeing what each did and took.

Python and the libraries take a second to start, so one process imports them, and forks a child for each command.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SECONDS, MEGABYTES = 2.0, 500
PATIENCE = 30
"""Seconds after which a child is killed; it fails the test, since its CPU time or its silence is too much."""


@dataclass(frozen=True)
class Seen:
    """What a command did.

    Attributes:
        code: exit code; negative for a signal.
        seconds: of CPU time, which other processes of the machine do not change.
        wall: seconds.
        megabytes: the most memory that it had.
        text: what it printed, both streams.
    """

    code: int
    seconds: float
    wall: float
    megabytes: float
    text: str

    def faults(self) -> list[str]:
        """What is wrong with how it ended."""
        checks = {
            f"exit code {self.code}": self.code not in (0, 1, 2, 3),
            "a traceback": "Traceback (most recent call last)" in self.text or "panicked at" in self.text,
            f"{self.seconds:.1f} s of CPU time": self.seconds > SECONDS,
            f"{self.megabytes:.0f} MB": self.megabytes > MEGABYTES,
            "raw control characters": any(c in self.text for c in "\x1b\x9b\u202e\x07\x08\r"),
        }
        return [fault for fault, found in checks.items() if found]


class Commands:
    """A process that runs commands; see `running`."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log

    def run(self, arguments: Sequence[str | Path], folder: Path) -> Seen:
        """Run ``augforge ARGUMENTS`` in a folder."""
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {"arguments": list(map(str, arguments)), "folder": str(folder), "log": str(self._log)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        return Seen(**found, text=self._log.read_text(encoding="utf-8", errors="backslashreplace"))


@contextmanager
def running(scratch: Path) -> Iterator[Commands]:
    """A process that runs commands until the block ends."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "AUGFORGE_CACHE": str(scratch / "cache")}
    command = [sys.executable, "-W", "ignore", __file__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:  # closes the pipes, and waits
        yield Commands(process, scratch / "log.txt")


def contents(root: Path, but: Sequence[Path] = ()) -> dict[str, str]:
    """SHA-256 of every file below a folder, without those in some folders: to see that nothing else was written."""
    found = {}
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if Path(folder, name) not in but]
        for name in files:
            path = Path(folder, name)
            whole = path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 24
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if whole else "-"
    return found


# ---- the process that runs them ----


def _serve(orders: IO[str], answers: IO[str]) -> None:
    import augforge.engine.builder
    import augforge.export.formats
    import augforge.report.inspect
    import augforge.report.show
    import augforge.store.verify  # noqa: F401
    from augforge.cli import main

    for line in orders:
        order = json.loads(line)
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            _run(order, main)
        while not (ended := os.wait4(child, os.WNOHANG))[0]:
            if time.monotonic() - begun > PATIENCE:
                os.kill(child, 9)
            time.sleep(0.005)
        _, status, used = ended
        found = {
            "code": os.waitstatus_to_exitcode(status),
            "seconds": used.ru_utime + used.ru_stime,
            "wall": time.monotonic() - begun,
            "megabytes": used.ru_maxrss / 1024,
        }
        answers.write(json.dumps(found) + "\n")
        answers.flush()


def _run(order: dict[str, object], main: object) -> None:
    code = 99
    log = os.open(str(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        sys.stdout, sys.stderr = (os.fdopen(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
        os.chdir(str(order["folder"]))
        sys.argv = ["augforge", *order["arguments"]]  # type: ignore[misc]
        main()  # type: ignore[operator]
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path = [part for part in sys.path if Path(part) != Path(__file__).parent]
    _serve(sys.stdin, sys.stdout)
