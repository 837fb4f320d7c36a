"""Making records of image files: names, groups and places."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from sys import intern
from typing import Any

from augforge.errors import SourceError, moved_names
from augforge.keys import digest
from augforge.sources.core import Record
from augforge.sources.looks import as_it_looks
from augforge.sources.scan.walking import is_below


def make_record(
    name: str,
    place: str,
    facts: Mapping[str, Any],
    content: Any,
    *,
    group: str | None = None,
    split: str | None = None,
    data: Mapping[str, Any] | None = None,
    size: tuple[int, int] | None = None,
    drawn: Iterable[str] | None = None,
) -> Record:
    """The record of an image file.

    Args:
        name: the sample's.
        place: of the image, relative to the root; `load` finds it in ``data["image"]``.
        facts: its `image_facts`.
        content: the sample's own annotation in canonical form (or its digest), JSON-like, and everything else that
            decides what `load` gives, such as the known classes.
        group: the name, if None.
        split: the one that the data set prescribes.
        data: what else `load` needs.
        drawn: the classes that its annotation draws, or the labels that it gives, if that is known.
    """
    width, height = size or (facts["width"], facts["height"])
    return Record(
        name=name,
        group=name if group is None else group,
        split=split,
        width=width,
        height=height,
        bytes=facts["bytes"],
        content=digest(facts["sha256"], content, *(["as stored"] if "as_stored" in facts else [])),
        data={"image": place, **({"as_stored": True} if "as_stored" in facts else {}), **(data or {})},
        image_sha256=facts["sha256"],
        drawn=None if drawn is None else tuple(map(intern, sorted(set(drawn)))),
    )


def composed(record: Record) -> Record:
    """The record with its name and group composed (NFC), as a dataset holds them, however the disk does.

    macOS writes accents in parts (NFD); the places of files stay as they are.
    """
    if record.name.isascii() and record.group.isascii():
        return record
    return replace(record, name=as_it_looks(record.name), group=as_it_looks(record.group))


def name_of(place: str, folder: str = "") -> str:
    """The sample's name: a file's place below a folder, without its suffix."""
    inner = place.removeprefix(f"{folder.strip('/')}/") if folder.strip("/.") else place
    return os.path.splitext(inner)[0]  # noqa: PTH122 (called 100,000 times)


def normal_folder(folder: str) -> str:
    """A folder from a recipe in the form that places begin with: no ``./``, no trailing ``/``; ``.`` is the root."""
    return os.path.normpath(folder)


def folder_or_name(name: str) -> str:
    """The usual group: the folder of a sample's name, or the whole name if it has no folder."""
    return name.rpartition("/")[0] or name


def place_inside(root: Path, place: str, where: str, follow: bool = False) -> str:
    """A path from an annotation file as a place below the root. Raises SourceError if it leads out of the root.

    With ``follow`` links may lead out of it, but the path itself may not.
    """
    text = place.encode(errors="replace").decode()  # no file name holds lone surrogates
    path = PurePosixPath(text.replace("\\", "/").replace("\0", "/../../"))
    plain = os.path.normpath(path)
    leaves = path.is_absolute() or plain == ".." or plain.startswith("../")
    if leaves or not (follow or is_below(os.path.realpath(root / path), os.path.realpath(root))):
        remedy = (
            "Correct the path, or move the file there."
            if leaves
            else "Move the file there, or set 'links: follow' if a link leads out of it that you trust."
        )
        raise SourceError(f"{where}: '{text}' leaves {root}; expected a path below it. {remedy}")
    return plain


__getattr__ = moved_names(__name__, {"record_of": f"{__name__}.make_record", "inside": f"{__name__}.place_inside"})
