"""Parsers of other libraries, which raise anything on damaged files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from augforge.errors import AugforgeError
from augforge.sources.scan.headers import damaged_error


@contextmanager
def parsing(path: Path, kind: str) -> Iterator[None]:
    """What is raised meanwhile becomes a SourceError that names the file; our own errors pass."""
    try:
        yield
    except AugforgeError:
        raise
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise damaged_error(path, f"the {kind} cannot be read ({text})") from error
