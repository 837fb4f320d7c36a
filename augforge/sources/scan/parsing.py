"""Calling parsers of other libraries, which may raise any exception on damaged files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from augforge.errors import AugforgeError
from augforge.sources.scan.headers import damaged_error


@contextmanager
def parsing(path: Path, kind: str) -> Iterator[None]:
    """Turn any exception raised inside into a SourceError that names the file; augforge's own errors pass unchanged."""
    try:
        yield
    except AugforgeError:
        raise
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise damaged_error(path, f"the {kind} cannot be read ({text})") from error
