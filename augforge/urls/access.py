"""The file system behind a URL, and what is done when it fails: another attempt, or an error that names the URL."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC, EROFS
from typing import Any, TypeVar

from augforge.errors import AugforgeError, DatasetError, MissingExtra, StorageError, first_line

Result = TypeVar("Result")

ATTEMPTS = 5
FIRST_PAUSE = 0.2
"""Seconds before the second attempt; the pause doubles each time, and is shortened by chance so that many workers that
failed at once do not come back at once."""
TIMEOUT_VARIABLE = "AUGFORGE_TIMEOUT"
_FULL_HERE = {ENOSPC, EDQUOT, EFBIG, EROFS}
"""What only the disk of this machine raises, and no server."""
_FINAL = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, ImportError, NotImplementedError)
"""Errors that another attempt does not change."""
_EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "http": ("aiohttp", "http"), "https": ("aiohttp", "http")}
"""The package that a kind of URL needs beside fsspec, and the extra that installs it."""


def protocol_of(url: str) -> str:
    """The kind of a URL: ``s3`` for ``s3://bucket/hands``."""
    return url.partition("://")[0]


def open_file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, with time limits, and the path in it.

    Raises:
        MissingExtra: a package that such URLs need is not installed.
        ValueError: fsspec knows no such URLs.
    """
    try:
        from fsspec.core import url_to_fs  # an optional dependency
    except ImportError as error:
        raise MissingExtra("fsspec", "s3", f"access to {url}") from error
    try:
        file_system, path = url_to_fs(url, **_time_limits(protocol_of(url)))
    except ImportError as error:
        package, extra = _EXTRAS.get(protocol_of(url), (str(error.name), ""))
        if not extra:  # fsspec says which package it is
            raise
        raise MissingExtra(package, extra, f"access to {url}") from error
    return file_system, str(path)


def _time_limits(protocol: str) -> dict[str, Any]:
    """Limits for a server that stops answering. They are for silence, so large files may take as long as they need."""
    seconds = float(os.environ.get(TIMEOUT_VARIABLE) or 30)
    if protocol in ("s3", "s3a"):
        config = {"connect_timeout": min(seconds, 10), "read_timeout": seconds, "retries": {"max_attempts": 1}}
        return {"config_kwargs": config}  # `attempt` and s3fs try again, so the client below them need not
    if protocol in ("http", "https"):
        import aiohttp

        return {"client_kwargs": {"timeout": aiohttp.ClientTimeout(sock_connect=min(seconds, 10), sock_read=seconds)}}
    return {}


def attempt(action: Callable[[], Result]) -> Result:
    """What an action gives, after up to ATTEMPTS attempts; it must do no harm to do it twice.

    Raises:
        Exception: what the last attempt raised, or the first one that another attempt does not change.
    """
    for number in range(1, ATTEMPTS + 1):
        try:
            return action()
        except Exception as error:
            if number == ATTEMPTS or not _may_pass(error):
                raise
            time.sleep(FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1))  # noqa: S311
    raise AssertionError("unreachable")


def _may_pass(error: Exception) -> bool:
    """Whether an error may be gone at the next attempt: each file system raises what its client raises."""
    full = isinstance(error, OSError) and error.errno in _FULL_HERE
    return not full and not isinstance(error, (*_FINAL, AugforgeError, ValueError))


@contextmanager
def naming(url: str, missing: str = "", deed: str = "read") -> Iterator[None]:
    """Turn what a block raises into an error that names the URL, but for what this machine's disk raises.

    It is a DatasetError for what cannot be read, and a StorageError for what cannot be written.

    Args:
        url: that is read or written.
        missing: what to say if there is nothing at the URL.
        deed: ``read``, ``written`` or ``deleted``.
    """
    try:
        yield
    except AugforgeError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(missing or f"{url} is missing. Check the address") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL_HERE:
            raise
        kind = DatasetError if deed == "read" else StorageError
        raise kind(
            f"{url} cannot be {deed} ({type(error).__name__}: {first_line(error)}). Check the address, the network and "
            "your rights"
        ) from error
