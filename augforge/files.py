"""Files: writing that is atomic and, where it has to be, durable; leftovers of killed writers; lock and digest.

Atomic: a reader sees the old or the new content and never half of it. Durable: after a power cut it is still there.
A rename is durable only when the folder that holds the name is synced too, so a durable file takes `replacing` with
``durable`` and then `sync_folder`; several files of one folder share one `sync_folder`.
"""

from __future__ import annotations

import getpass
import hashlib
import io
import json
import os
import platform
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EDQUOT, EFBIG, EINVAL, EIO, ENOSPC, ENOTSUP, EPERM, EROFS
from pathlib import Path
from typing import Any, BinaryIO, Literal

from filelock import FileLock, Timeout

from augforge.errors import DatasetError, StorageError

_AGAIN = "then run the same command again"
STORAGE_ERRORS = {
    ENOSPC: f"The disk of {{folder}} is full: free some space there, {_AGAIN}",
    EDQUOT: f"Your quota on the disk of {{folder}} is used up: delete something there, {_AGAIN}",
    EROFS: "{folder} is on a read-only disk: choose another folder, or mount the disk for writing",
    EACCES: "You may not write in {folder}: choose another folder, or get the right to",
    EPERM: "You may not write in {folder}: choose another folder, or get the right to",
    EFBIG: f"Files in {{folder}} may not grow so large: raise the limit (ulimit -f) or use another disk, {_AGAIN}",
    EIO: f"The disk of {{folder}} reports a fault: check it, {_AGAIN}",
}
"""What an OSError says if there is no space or right to write, and what to do about it."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a block raises because `path` cannot be written into a StorageError with file, folder and remedy.

    Args:
        path: a file; or a folder, if all that the block writes is below it. An OSError that names a file elsewhere,
            such as one that is read and copied, passes.
    """
    try:
        yield
    except OSError as error:
        # A failing write, unlike a failing open, names no file.
        named = path if error.filename is None else Path(os.fsdecode(error.filename))
        full, own = named.absolute(), path.absolute()  # libraries may name a file by its full path
        below = own in full.parents
        if error.errno not in STORAGE_ERRORS or not (below or full.parent == own.parent or full in own.parents):
            raise
        raise storage_error(named if below else path, error) from error


class _NamedFile(io.FileIO):
    """A file whose failing writes name it, as its failing open does."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self.name
            raise


def open_named(path: Path, mode: Literal["w", "a"] = "w") -> BinaryIO:
    """Open a file for writing or appending bytes; an OSError of a write names it too."""
    return io.BufferedWriter(_NamedFile(path, mode))


def storage_error(path: Path, error: OSError) -> StorageError:
    """The error for a file that cannot be written, as an OSError says."""
    fact = os.strerror(error.errno) if error.errno else str(error)
    remedy = STORAGE_ERRORS.get(error.errno or 0, "Check the path, the rights and the space of {folder}")
    return StorageError(f"{path} cannot be written: {fact}. {remedy.format(folder=path.parent)}")


def temporary_path(path: Path) -> Path:
    """A new path beside `path`, to be written and then renamed; `remove_temporary_files` knows such names."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def is_temporary(path: Path) -> bool:
    """Whether a path has a name that `temporary_path` makes."""
    return re.fullmatch(r"\..+\.[0-9a-f]{8}\.tmp", path.name) is not None


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
def writer_lock(folder: Path, action: str = "build") -> Iterator[None]:
    """Make this process the only writer of a dataset: two builds would delete each other's unfinished work.

    A folder that did not exist is removed again if the block fails before it wrote a result. The lock is the
    operating system's, so that of a process that was killed is free; what it noted about itself is then overwritten.

    Args:
        folder: of the dataset.
        action: what this process does, such as ``gc``, for the error that others get meanwhile.

    Raises:
        DatasetError: another process is writing to the dataset. The message says what it does, whose it is, since when.
        StorageError: the folder cannot be made, or written to.
    """
    new = not folder.exists()
    lock, note = FileLock(folder / ".lock", timeout=0), folder / "work" / ".owner"
    try:
        with writing(folder / ".lock"):
            make_folder(folder / "work")
            lock.acquire()
        try:
            with suppress(StorageError):  # gc has to run where the disk is full
                write_text(note, json.dumps({"action": action, **_this_process()}), durable=False)
            yield
        finally:
            with suppress(OSError):
                note.unlink(missing_ok=True)
            lock.release()
    except Timeout:
        raise DatasetError(
            f"another {_describe_owner(note)} is writing to {folder}. Wait until it has ended, or stop it"
        ) from None
    except BaseException:
        if new and {path.name for path in folder.rglob("*")} <= {".lock", "work", "files.sqlite"}:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _this_process() -> dict[str, str | int]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        user = "unknown"
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return {"user": user, "host": platform.node(), "pid": os.getpid(), "since": since}


def _describe_owner(note: Path) -> str:
    """What the process that has a lock noted about itself: ``gc (anna on host, process 12, since ...)``.

    ``command`` if it has noted nothing yet, or if the note is that of a process on this machine that is gone.
    """
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
        if found["host"] == platform.node() and not is_running(int(found["pid"])):
            return "command"
        return "{action} ({user} on {host}, process {pid}, since {since})".format(**found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return "command"


def is_running(pid: int) -> bool:
    """Whether a process of this machine is alive; True where it cannot be asked without disturbing it."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except OSError as error:  # any other one says that it belongs to somebody else
        return not isinstance(error, ProcessLookupError)
    return True


def is_url(path: str | Path) -> bool:
    """Whether a place is no folder or file, but a URL such as ``s3://bucket/datasets/hands``."""
    return "://" in str(path)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; OSError for a pipe or a device, which whoever opens it might wait for."""
    stream = open(path, "rb", opener=_open_at_once)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(EINVAL, "it is no regular file", str(path))
    return stream


def read_limited(path: Path, most: int) -> bytes:
    """The bytes of a file; OSError if it is no regular file, or has more than `most`."""
    with open_regular(path) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise OSError(EFBIG, f"it has more than {most:,} bytes", str(path))
    return data


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits; read in blocks of 1 MiB."""
    state = hashlib.sha256()
    with open_regular(file) as stream:
        while block := stream.read(1 << 20):
            state.update(block)
    return state.hexdigest()
