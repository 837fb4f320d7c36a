"""Writing files so that a reader sees the old one or the new one, never half of one; locks and digests of files."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from augforge.errors import DatasetError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends well, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Write UTF-8 text atomically; durably too, so that after a power cut the file is the old or the new one, whole."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        if durable:
            os.fsync(stream.fileno())


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Sole writer of a dataset: two builds would sweep up each other's unfinished work.

    A folder that is new is removed again if the block fails before it left anything but its own scaffolding.
    """
    new = not folder.exists()
    (folder / "work").mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise DatasetError(f"another build is writing to {folder}. Wait for it, or choose another folder") from None
    except BaseException:
        if new and {path.name for path in folder.rglob("*")} <= {".lock", "work", "files.sqlite"}:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def is_url(path: str | Path) -> bool:
    """Whether a place is no folder or file, but a URL such as ``s3://bucket/datasets/hands``."""
    return "://" in str(path)


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits; read in blocks of 1 MiB."""
    state = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            state.update(block)
    return state.hexdigest()
