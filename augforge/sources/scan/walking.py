"""Walking folders: every file with its place. Links are followed; entries that cannot be used are marked."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_MAX_WAYS = 64
"""How many links may lead to one folder: a few links in each folder multiply to very many paths."""

_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


class Found(NamedTuple):
    """An entry of a folder.

    Attributes:
        name: its path below the folder that was walked, with ``/``; bytes that are not UTF-8 are replaced by ``?``.
        place: its path below the root.
        folder: whether it is a folder.
        readable: whether its name is UTF-8.
        fault: reason and message, for a link that cannot be followed or something that is neither file nor folder.
    """

    name: str
    place: str
    folder: bool = False
    readable: bool = True
    fault: tuple[str, str] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether it is a link that leads nowhere, and by its name may have led to a folder."""
        return self.fault is not None and self.fault[0] == NOWHERE and may_be_folder(self.place)


def walk(root: Path, folder: str, deep: bool = True, follow: bool = False) -> Iterator[Found]:
    """All files below a folder of the root, sorted by name; nothing if the folder is missing.

    Hidden files and what operating systems leave behind are skipped. Raises OSError for an unreadable folder.

    Args:
        root: the source's root.
        folder: where to start, relative to the root.
        deep: False gives the entries of the folder itself, files and folders.
        follow: links may lead out of the root.
    """
    prefix = f"{folder.strip('/')}/" if folder.strip("/.") else ""
    top = str(root / folder)
    limit = os.sep if follow else os.path.realpath(root)
    yield from _entries(top, prefix, "", (os.path.realpath(top),), limit, deep, Counter())


def _entries(
    folder: str, prefix: str, inner: str, chain: tuple[str, ...], root: str, deep: bool, ways: Counter[str]
) -> Iterator[Found]:
    """The entries of ``folder``; ``chain`` is its real path and those of the folders above, ``ways`` counts links.

    Links may not lead out of ``root``.
    """
    for entry in _sorted_entries(folder):
        name = inner + entry.name
        readable = name.encode(errors="replace").decode()
        fault = _link_problem(entry.path, chain, root, ways) if entry.is_symlink() else None
        fault = fault or _kind_problem(entry)
        if fault is None and deep and entry.is_dir():
            real = os.path.realpath(entry.path) if entry.is_symlink() else f"{chain[-1]}{os.sep}{entry.name}"
            yield from _entries(entry.path, prefix, f"{name}/", (*chain, real), root, deep, ways)
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


def _kind_problem(entry: os.DirEntry[str]) -> tuple[str, str] | None:
    """The problem of an entry that is no file or folder: reading a pipe or a device may block forever."""
    if entry.is_file() or entry.is_dir():
        return None
    return "no file", f"{entry.path} is a pipe, socket or device; expected a file or folder. Remove it."


def _link_problem(path: str, chain: tuple[str, ...], root: str, ways: Counter[str]) -> tuple[str, str] | None:
    real = os.path.realpath(path)
    ways[real] += os.path.isdir(real)  # noqa: PTH112
    if not os.path.exists(real):  # noqa: PTH110
        reason, fact = NOWHERE, "leads nowhere"
    elif not is_below(real, root):
        fact = f"{path} is a link that leads to {Path(path).readlink()}, out of the root"
        remedy = "Copy the file or folder there, or set 'links: follow' if you trust where it leads"
        return "leaves the root", f"{fact}; expected one that stays below it. {remedy}."
    elif any(is_below(folder, real) for folder in chain):
        reason, fact = CIRCLE, "leads back to a folder that it lies in"
    elif ways[real] > _MAX_WAYS:
        reason, fact = "too many links", f"is one of more than {_MAX_WAYS} ways to {real}"
    else:
        return None
    return reason, f"{path} is a link that {fact}; expected a file or folder below the root. Copy it there."


CIRCLE, NOWHERE = "link in a circle", "broken link"
"""Reasons of faults: such a link shows nothing that is not there already, or nothing at all."""

_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{0,5}")
_LOOKED_AT = 200
"""Entries of a folder that are looked at: enough to see whether it holds data, however large it is."""


def is_needed(root: Path, file: Found, suffixes: Collection[str]) -> bool:
    """Whether something that cannot be followed may be wanted: a file of these suffixes, or a folder that holds one.

    A link that leads nowhere is wanted if its name has such a suffix; a folder that it led to cannot be looked at.
    """
    suffix = os.path.splitext(file.place)[1].lower()  # noqa: PTH122
    if file.fault is None or file.fault[0] == CIRCLE:
        return False
    if os.path.isdir(root / file.place):  # noqa: PTH112
        return holds_file(root / file.place, lambda name: os.path.splitext(name)[1].lower() in suffixes)  # noqa: PTH122
    return suffix in suffixes


def may_be_folder(place: str) -> bool:
    """Whether a name is one of a folder rather than of a file: it has no usual suffix."""
    return not _SUFFIX.fullmatch(os.path.splitext(place)[1].lower())  # noqa: PTH122


def holds_file(folder: Path, wanted: Callable[[str], bool]) -> bool:
    """Whether one of the first entries in a folder, or in folders below, is a file whose name is wanted."""
    left, folders = _LOOKED_AT, [str(folder)]
    while folders and left > 0:
        try:
            with os.scandir(folders.pop(0)) as entries:
                for entry in islice(entries, left):
                    left -= 1
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif wanted(entry.name):
                        return True
        except OSError:
            continue
    return False


def outermost(folders: Iterable[str]) -> list[str]:
    """Those of the folders that do not lie in another one of them, sorted."""
    paths = sorted({PurePosixPath(folder) for folder in folders})
    return [str(path) for path in paths if not set(path.parents) & set(paths)]


def is_below(path: str, folder: str) -> bool:
    """Whether a real path is a folder, or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def places_outside(places: Iterable[str], folders: Iterable[str]) -> list[str]:
    """The places that lie in none of the folders."""
    inner = tuple(f"{folder}/" for folder in folders)
    return [place for place in places if not place.startswith(inner)]
