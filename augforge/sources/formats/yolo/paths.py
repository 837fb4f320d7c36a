"""Paths in the files of a YOLO data set, which may have been written on another machine or from another folder."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence

from augforge.errors import SourceError
from augforge.sources.scan.own_splits import is_split_name
from augforge.sources.scan.records import place_inside
from augforge.sources.scan.scanning import Scan
from augforge.sources.scan.walking import is_below

_ABSOLUTE = re.compile(r"([A-Za-z]:)?/")
_USUAL = ("", "..", "data")
"""Leading folders that tools write by habit, and that mean nothing."""


def strip_lost_folders(
    scan: Scan, file: str, texts: Iterable[str], is_there: Callable[[str], bool], base: str = ""
) -> list[str]:
    """Paths in a file of a data set that may have been moved or copied since they were written, relative to its root.

    Leading folders that the root does not have, such as ``/content/cats/`` or ``data/``, are stripped from all of them:
    as few as are needed for one of the paths to exist, so none if one exists as it is. The last folder that names a
    split is never stripped: ``valid/images`` is not ``images``.

    Args:
        scan: gets warnings of what may be misread.
        file: the file that holds the paths, for messages.
        texts: the paths.
        is_there: whether a place below the root exists and is of the right kind.
        base: the folder that the paths start from, as written in the file; stripping it needs no warning.
    """
    roots = (os.path.abspath(scan.root), os.path.realpath(scan.root))  # noqa: PTH100
    paths = [_from_root(roots, text) for text in texts]
    start = _lost_start(paths, is_there)
    other = next((path for path in paths if path.startswith(start)), "")
    if _ABSOLUTE.match(start):
        if os.path.exists(other):  # noqa: PTH110
            scan.warnings.append(f"{file} names {other}, which exists; what was read lies below source.path")
    elif {*start.removeprefix(f"{_from_root(roots, base)}/").split("/")} - {*_USUAL, scan.root.name}:
        scan.warnings.append(f"{file} names {other}, which does not exist; {other.removeprefix(start)} was read")
    return [path.removeprefix(start) for path in paths]


def without_parent_folder(text: str) -> str:
    """A path of data.yaml without a leading ``../``: Roboflow writes ``../train/images`` for train/images."""
    return text.replace("\\", "/").removeprefix("../")


def below_root(scan: Scan, text: str, where: str) -> str:
    """A path as a place below the root. Raises SourceError if it leads out of it."""
    if _ABSOLUTE.match(text):
        fact = f"{where}: {text} is an absolute path, and not below {scan.root}"
        raise SourceError(f"{fact}; expected one relative to that. Correct it.")
    return place_inside(scan.root, text, where, scan.source.follows_links)


def _from_root(roots: Iterable[str], text: str) -> str:
    path = posixpath.normpath(text.replace("\\", "/"))
    return next((posixpath.relpath(path, root) for root in roots if is_below(path, root)), path)


def _lost_start(paths: Sequence[str], is_there: Callable[[str], bool]) -> str:
    for depth in range(max((path.count("/") for path in paths), default=0) + 1):
        for path in paths:
            lost, kept = path.split("/")[:depth], path.split("/")[depth:]
            if _may_strip(lost, kept) and is_there("/".join(kept)):
                return "".join(f"{part}/" for part in lost)
    return ""


def _may_strip(lost: Sequence[str], kept: Sequence[str]) -> bool:
    if not kept or kept[0] in ("", ".."):
        return False
    return any(map(is_split_name, kept)) or not any(map(is_split_name, lost))
