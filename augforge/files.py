"""Files: atomic writing, so that a reader sees the old or the new content and never half of it; lock and digest."""

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
    """A temporary path beside `path`: the file written to it replaces `path` when the block succeeds.

    It is deleted if the block fails. Missing parent folders are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Write UTF-8 text atomically.

    With ``durable`` it is on disk when the function returns: even a power cut leaves the old or the new content.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        if durable:
            os.fsync(stream.fileno())


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Make this process the only writer of a dataset: two builds would delete each other's unfinished work.

    A folder that did not exist is removed again if the block fails before it wrote a result.

    Raises:
        DatasetError: another process is writing to the dataset.
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
