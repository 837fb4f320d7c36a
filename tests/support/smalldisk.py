"""A small disk in memory, to be filled; and the one error that is allowed when it is full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from augforge.errors import StorageError


@pytest.fixture(name="disk")
def disk_fixture(tmp_path: Path) -> Iterator[Path]:
    """A small disk in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.name == "posix" and os.geteuid() == 0 and resize(place, "64m", "-t", "tmpfs", "none")
    if not mounted:
        pytest.skip("needs root on Linux, to mount a tmpfs")
    yield place
    subprocess.run(["umount", place], check=True)


def resize(place: Path, size: str, *kind: str, remount: str = "") -> bool:
    command = ["mount", *kind, "-o", f"{remount}size={size}", str(place)]
    return subprocess.run(command, capture_output=True).returncode == 0


def kilobytes(folder: Path) -> int:
    return sum(4 * -(-path.stat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


def fails(run: Callable[[], object], folder: Path) -> bool:
    """Whether a command fails with the one error that is allowed, which names file, folder and remedy."""
    try:
        run()
    except StorageError as error:
        message = str(error)
        assert str(folder) in message and " cannot be written: " in message, message
        assert "run the same command again" in message or "choose another folder" in message.lower(), message
        return True
    return False
