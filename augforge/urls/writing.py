"""Writing objects: whole or not at all, and a commit that notices when somebody else was quicker."""

from __future__ import annotations

import getpass
import json
import os
import platform
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from augforge.errors import DatasetError
from augforge.files import is_running
from augforge.urls.access import attempt, open_file_system, protocol_of
from augforge.urls.reading import read_if_there

_CONDITIONAL = {"s3", "s3a"}
"""Stores that put an object only if the one that is there is the one that is meant: ``If-Match``, ``If-None-Match``."""
_WHOLE_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory"}
"""Stores where an object appears when all of it was sent. Elsewhere it is written under another name, and renamed."""
_READ_ONLY = {"http", "https", "data", "github", "zip", "tar"}
LOCK_SECONDS = 600.0
"""A lock object of this age was left by a process that died: a commit takes a moment."""


class AnotherCommit(DatasetError):
    """Somebody else has written the object since it was read."""


def check_writable(url: str) -> None:
    """Raise DatasetError if nothing can be written to such a URL; MissingExtra if a package for it is missing."""
    if protocol_of(url) in _READ_ONLY:
        raise DatasetError(
            f"{url} cannot be written: {protocol_of(url)} only reads. Give a URL of a store, such as "
            "s3://bucket/hands, or a folder"
        )
    open_file_system(url)


def put_file(path: Path, url: str) -> None:
    """Write a file to a URL; large ones in several parts, as the store's client does. Twice does no harm."""
    file_system, there = open_file_system(url)
    size = path.stat().st_size

    def put() -> None:
        with _appearing_whole(file_system, url, there) as target:
            file_system.put_file(str(path), target)
        file_system.invalidate_cache()
        if file_system.size(there) != size:
            raise EOFError(f"{url} has another size than the {size} bytes that were sent")

    attempt(put)


def put_object(url: str, data: bytes) -> None:
    """Write a small object to a URL."""
    file_system, there = open_file_system(url)

    def put() -> None:
        with _appearing_whole(file_system, url, there) as target:
            file_system.pipe_file(target, data)

    attempt(put)


def remove_objects(urls: list[str]) -> None:
    """Delete objects, in this order; those that are gone already are none the worse."""
    for url in urls:
        file_system, there = open_file_system(url)
        with suppress(FileNotFoundError):
            attempt(partial(file_system.rm_file, there))


@contextmanager
def _appearing_whole(file_system: Any, url: str, there: str) -> Iterator[str]:
    """Where to write an object so that it appears when all of it is there."""
    if protocol_of(url) in _WHOLE_OBJECTS:
        yield there
        return
    folder, _, name = there.rpartition("/")
    temporary = f"{folder}/.{name}.{secrets.token_hex(4)}.tmp"
    file_system.makedirs(folder, exist_ok=True)
    try:
        yield temporary
        file_system.mv(temporary, there)
    finally:
        with suppress(Exception):  # it was renamed; or it cannot be deleted, and the first error says more
            file_system.rm_file(temporary)


# ---- commits ---------------------------------------------------------------------------------------------------------


def replace_object(url: str, data: bytes, before: bytes | None) -> None:
    """Write an object if the one that is there is still `before`; None if there was none. This is a commit.

    S3 compares and writes in one request (``If-None-Match: *`` for a first object, else ``If-Match``). In other stores
    a lock object beside it, with its owner's name, keeps writers apart while one of them compares and writes.

    Raises:
        AnotherCommit: somebody else has written the object.
        DatasetError: somebody else is writing it.
    """
    file_system, there = open_file_system(url)
    if protocol_of(url) in _CONDITIONAL:
        attempt(lambda: _put_if_unchanged(file_system, there, url, data, before))
        return
    with _lock(file_system, f"{url}.lock"):
        if read_if_there(url) != before:
            raise AnotherCommit(f"{url} was written by somebody else meanwhile")
        put_object(url, data)


def _put_if_unchanged(file_system: Any, there: str, url: str, data: bytes, before: bytes | None) -> None:
    mark = None if before is None else _mark(file_system, there)
    now = read_if_there(url)
    if now == data:  # an earlier attempt, whose answer was lost
        return
    if now != before:
        raise AnotherCommit(f"{url} was written by somebody else meanwhile")
    condition = {"IfNoneMatch": "*"} if mark is None else {"IfMatch": mark}
    try:
        file_system.pipe_file(there, data, **condition)
    except FileExistsError:  # between comparing and writing; or an earlier attempt of this one, as above
        if read_if_there(url) != data:
            raise AnotherCommit(f"{url} was written by somebody else meanwhile") from None


def _mark(file_system: Any, there: str) -> str:
    file_system.invalidate_cache()
    return str(file_system.info(there)["ETag"])


@contextmanager
def _lock(file_system: Any, url: str) -> Iterator[None]:
    """Hold a lock object, which says whose it is; one that a process left behind which died is taken over."""
    _, there = open_file_system(url)
    note = json.dumps({**_this_process(), "token": secrets.token_hex(8)}).encode()
    file_system.makedirs(there.rpartition("/")[0], exist_ok=True)
    try:
        attempt(lambda: file_system.pipe_file(there, note, mode="create"))
    except FileExistsError:
        _take_over(file_system, there, url, note)
    if read_if_there(url) != note:  # a store without exclusive creation: the last writer has the lock
        raise DatasetError(f"{url}: somebody else commits at this moment. Run the same command again")
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            attempt(lambda: file_system.rm_file(there))


def _take_over(file_system: Any, there: str, url: str, note: bytes) -> None:
    """Take a lock whose owner must have died; DatasetError with the owner's name if it may still be at work."""
    try:
        owner = json.loads(read_if_there(url) or b"{}")
        age = time.time() - float(owner["since"])
        name = "{user} on {host}, process {pid}".format(**owner)
        if owner["host"] == platform.node() and not is_running(int(owner["pid"])):
            age = LOCK_SECONDS
    except (ValueError, LookupError, TypeError):
        age, name = 0.0, "somebody"
    if age < LOCK_SECONDS:
        raise DatasetError(
            f"{url}: {name} commits at this moment. Run the same command again; if that process has died, delete this "
            "object"
        )
    file_system.pipe_file(there, note)


def _this_process() -> dict[str, str | int | float]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        user = "unknown"
    return {"user": user, "host": platform.node(), "pid": os.getpid(), "since": time.time()}
