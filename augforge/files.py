"""Files: writing that is atomic and, where it has to be, durable; leftovers of killed writers; lock and digest.

Atomic: a reader sees the old or the new content and never half of it. Durable: after a power cut it is still there.
A rename is durable only when the folder that holds the name is synced too, so a durable file takes `replacing` with
``durable`` and then `sync_folder`; several files of one folder share one `sync_folder`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EDQUOT, EFBIG, EINVAL, EIO, ENOSPC, ENOTSUP, EPERM, EROFS
from pathlib import Path

from filelock import FileLock, Timeout

from augforge.errors import DatasetError, StorageError

_AGAIN = "then run the same command again"
_REMEDIES = {
    ENOSPC: f"The disk of {{folder}} is full: free some space there, {_AGAIN}",
    EDQUOT: f"Your quota on the disk of {{folder}} is used up: delete something there, {_AGAIN}",
    EROFS: "{folder} is on a read-only disk: choose a folder on another one, or have it mounted for writing",
    EACCES: "You may not write in {folder}: choose another folder, or get the right to",
    EPERM: "You may not write in {folder}: choose another folder, or get the right to",
    EFBIG: f"Files in {{folder}} may not grow so large: raise the limit (ulimit -f) or use another disk, {_AGAIN}",
    EIO: f"The disk of {{folder}} reports a fault: check it, {_AGAIN}",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a block raises because `path` cannot be written into a StorageError with file, folder and remedy.

    An OSError that names a file elsewhere, such as one that is read and copied, passes.
    """
    try:
        yield
    except OSError as error:
        # A failing write, unlike a failing open, names no file.
        elsewhere = error.filename is not None and Path(os.fsdecode(error.filename)).parent != path.parent
        if error.errno not in _REMEDIES or (elsewhere and Path(os.fsdecode(error.filename)) not in path.parents):
            raise
        raise storage_error(path, error) from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError of the block name a file: that of a failing write, unlike that of a failing open, names none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def storage_error(path: Path, error: OSError) -> StorageError:
    """The error for a file that cannot be written, as an OSError says."""
    fact = os.strerror(error.errno) if error.errno else str(error)
    remedy = _REMEDIES.get(error.errno or 0, "Check the path, the rights and the space of {folder}")
    return StorageError(f"{path} cannot be written: {fact}. {remedy.format(folder=path.parent)}")


def temporary_path(path: Path) -> Path:
    """A new path beside `path`, to be written and then renamed; `remove_temporary_files` knows such names."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """A temporary path beside `path`: the file written to it replaces `path` when the block succeeds.

    It is deleted if the block fails. Missing parent folders are created. StorageError if there is no space or right.

    Args:
        path: the file to write.
        durable: sync the content to disk before the rename, so that the name never stands for less than all of it.
            Caches do without. The new name itself is durable after `sync_folder`.
    """
    temporary = temporary_path(path)
    with writing(path):
        make_folder(path.parent)
        try:
            yield temporary
            if durable:
                sync_file(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Write UTF-8 text atomically.

    With ``durable`` it is on disk when the function returns: even a power cut leaves the old or the new content.
    """
    with replacing(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    if durable:
        sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents; each new name is durable when the function returns."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_file(path: Path) -> None:
    """Return when the file's content is on disk, whoever wrote it."""
    with path.open("r+b") as stream:  # Windows syncs only files that are open for writing
        _sync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on disk: those that were created, renamed and removed."""
    if sys.platform == "win32":  # there a folder cannot be opened, and NTFS writes names to its journal in order
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder above the dataset that this user may pass through, but not read
        return
    try:
        _sync(handle)
    except OSError as error:
        if error.errno not in _FOLDER_SYNC_UNSUPPORTED:
            raise
    finally:
        os.close(handle)


_FOLDER_SYNC_UNSUPPORTED = {EINVAL, ENOTSUP}
"""What network file systems answer that cannot sync a folder; SQLite ignores it too."""


def _sync(handle: int) -> None:
    if sys.platform == "darwin":  # where fsync leaves the content in the drive's own cache
        import fcntl

        fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
    else:
        os.fsync(handle)


def remove_temporary_files(folder: Path, pattern: str = "*") -> None:
    """Delete what writers that were killed left in a folder: the temporary files of names that match a pattern.

    Call it only while holding `writer_lock`: the files of a running writer look the same.
    """
    for path in folder.glob(f".{pattern}.tmp"):
        if not path.is_dir():
            path.unlink(missing_ok=True)


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Make this process the only writer of a dataset: two builds would delete each other's unfinished work.

    A folder that did not exist is removed again if the block fails before it wrote a result.

    Raises:
        DatasetError: another process is writing to the dataset.
    """
    new = not folder.exists()
    make_folder(folder / "work")
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
