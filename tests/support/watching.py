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
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

SECONDS, MEGABYTES = 2.0, 500
PATIENCE = 20
"""Seconds a command after which a child is killed: it waits for something."""


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

    def run(self, *commands: Sequence[str | Path], folder: Path) -> list[Seen]:
        """Run ``augforge ARGUMENTS`` in a folder, one command after the other, all in one child.

        The memory is the most since the child began. If it dies, the commands after that one are left out.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {"commands": [list(map(str, each)) for each in commands], "folder": str(folder), "log": str(self._log)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        ended = json.loads(self._process.stdout.readline())
        found = []
        for number in range(len(commands)):
            log, facts = Path(f"{self._log}.{number}"), Path(f"{self._log}.{number}.json")
            text = log.read_text(encoding="utf-8", errors="backslashreplace") if log.exists() else ""
            if not facts.exists():
                found.append(Seen(**ended, text=text))
                break
            found.append(Seen(**json.loads(facts.read_text()), text=text))
        for path in self._log.parent.glob("log.*"):
            path.unlink()
        return found


@contextmanager
def running(scratch: Path) -> Iterator[Commands]:
    """A process that runs commands until the block ends."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "AUGFORGE_CACHE": str(scratch / "cache")}
    command = [sys.executable, "-W", "ignore", __file__]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        yield Commands(process, scratch / "log")  # afterwards the pipes are closed, so it ends


def check(orders: Sequence[Sequence[str | Path]], found: Sequence[Seen]) -> None:
    """Assert that each command ended as it should. With AUGFORGE_HOSTILE_LOG, note there what each one took."""
    if "AUGFORGE_HOSTILE_LOG" in os.environ:
        with Path(os.environ["AUGFORGE_HOSTILE_LOG"]).open("a", encoding="utf-8") as stream:
            for order, seen in zip(orders, found, strict=False):
                line = f"{seen.code} {seen.seconds:.3f} {seen.megabytes:.0f} {' '.join(map(str, order))}"
                stream.write(line.replace("\n", " ") + "\n")
    faults = [
        f"{' '.join(map(str, order))}: {fault}\n{seen.text[-1500:]}"
        for order, seen in zip(orders, found, strict=False)
        for fault in seen.faults()
    ]
    assert not faults, "\n".join(faults)
    assert len(found) == len(orders)


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
            _run_all(order, main)
        while not (ended := os.wait4(child, os.WNOHANG))[0]:
            if time.monotonic() - begun > PATIENCE * len(order["commands"]):
                os.kill(child, 9)
            time.sleep(0.005)
        _, status, used = ended
        found = _facts(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, begun, used)
        answers.write(json.dumps(found) + "\n")
        answers.flush()


def _facts(code: int, seconds: float, begun: float, used: resource.struct_rusage) -> dict[str, float]:
    wall = time.monotonic() - begun
    return {"code": code, "seconds": seconds, "wall": wall, "megabytes": used.ru_maxrss / 1024}


def _run_all(order: Any, main: Callable[[], None]) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(order["folder"])
    for number, arguments in enumerate(order["commands"]):
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        code = _run(arguments, f"{order['log']}.{number}", main)
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        Path(f"{order['log']}.{number}.json").write_text(json.dumps(_facts(code, seconds, begun, used)))
    os._exit(0)


def _run(arguments: Sequence[str], log: str, main: Callable[[], None]) -> int:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))
    sys.argv = ["augforge", *arguments]
    try:
        main()
        return 0
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    sys.path = [part for part in sys.path if Path(part) != Path(__file__).parent]
    _serve(sys.stdin, sys.stdout)
