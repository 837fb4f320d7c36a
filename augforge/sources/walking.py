"""Walking folders: every file with its place, links looked through, and what cannot be used told apart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


class Found(NamedTuple):
    """Something that lies in a folder.

    Attributes:
        name: its path below the folder that was walked, with ``/``; ``?`` stands for what is not UTF-8.
        place: its path below the root.
        folder: whether it is a folder.
        readable: whether its name is UTF-8.
        fault: a reason in a few words and a message, for a link that cannot be followed.
    """

    name: str
    place: str
    folder: bool = False
    readable: bool = True
    fault: tuple[str, str] | None = None


def walk(root: Path, folder: str, deep: bool = True) -> Iterator[Found]:
    """All files below a folder of the root, by name, or what lies in it alone; a missing folder holds nothing.

    What operating systems leave behind is passed over. Raises OSError for a folder that cannot be read.
    """
    prefix = f"{folder.strip('/')}/" if folder.strip("/.") else ""
    top = str(root / folder)
    yield from _entries(top, prefix, "", (os.path.realpath(top),), os.path.realpath(root), deep)


def _entries(folder: str, prefix: str, inner: str, chain: tuple[str, ...], root: str, deep: bool) -> Iterator[Found]:
    """What lies in ``folder``; ``chain`` is its real path and those of the folders above."""
    for entry in _sorted_entries(folder):
        name = inner + entry.name
        readable = name.encode(errors="replace").decode()
        fault = _link_fault(entry.path, chain, root) if entry.is_symlink() else None
        if fault is None and deep and entry.is_dir():
            real = os.path.realpath(entry.path) if entry.is_symlink() else f"{chain[-1]}{os.sep}{entry.name}"
            yield from _entries(entry.path, prefix, f"{name}/", (*chain, real), root, deep)
        else:
            is_folder = not deep and fault is None and entry.is_dir()
            yield Found(readable, prefix + readable, is_folder, readable == name, fault)


def _sorted_entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = [e for e in entries if not e.name.startswith(".") and e.name.lower() not in _LITTER]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda entry: entry.name)


def _link_fault(path: str, chain: tuple[str, ...], root: str) -> tuple[str, str] | None:
    real = os.path.realpath(path)
    if not os.path.exists(real):  # noqa: PTH110
        reason, fact = "broken link", "leads nowhere"
    elif not below(real, root):
        reason, fact = "leaves the root", f"leads to {Path(path).readlink()}, out of the root"
    elif any(below(folder, real) for folder in chain):
        reason, fact = "link in a circle", "leads back to a folder that it lies in"
    else:
        return None
    return reason, f"{path} is a link that {fact}; expected a file or folder below the root. Copy it there."


def below(path: str, folder: str) -> bool:
    """Whether a real path is a folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
