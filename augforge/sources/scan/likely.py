"""What a folder seems to hold, for the error where ``source.format`` does not fit it; and images that are not read."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from augforge.errors import SourceError
from augforge.sources.core import SOURCES, Source
from augforge.sources.detecting.glance import IMAGES, Glance
from augforge.sources.listing import Refused

if TYPE_CHECKING:
    from augforge.sources.scan.reporting import ScanReport

_UNREAD = (
    *(".heic", ".heif", ".avif", ".jxl", ".gif", ".jp2", ".j2k", ".psd", ".tga", ".pgm", ".ppm", ".pnm", ".svg"),
    *(".cr2", ".nef", ".arw", ".dng", ".svs", ".ndpi", ".npy", ".npz", ".mat", ".exr", ".hdr", ".ico"),
)
"""Suffixes of images that are not read."""


_ANY = frozenset({"datumaro", "union"})
"""Formats that read folders of others."""

CLEAR = frozenset({"coco", "cvat", "dataset", "dicom", "hand-bone", "labelme", "yolo"})
"""Formats whose marks are theirs alone."""


def likely_formats(root: Path) -> list[str]:
    """The formats whose marks lie in a folder, the clearest first; at most a few thousand entries are looked at."""
    from augforge.sources.detecting.clues import find_clues  # only errors need it

    found = dict.fromkeys(clue.format for clue in find_clues(Glance.at(root)))
    return [name for name in found if name in SOURCES]


def layout_error(source: Source, fact: str, remedy: str = "Correct source.path.") -> SourceError:
    """The error for a folder that is not laid out as the format has it; it names the one that it seems to be in.

    Args:
        source: its root and format.
        fact: what is wrong, without what is expected.
        remedy: what to do, if the format is right.
    """
    return SourceError(f"{fact}; expected\n{source.layout}\n{remedy}{likely_hint(source)}")


def likely_hint(source: Source) -> str:
    """A sentence on the format that a folder seems to be in, if that is another; it begins with a space."""
    if source.format in _ANY or not source.root.is_dir():
        return ""
    found = likely_formats(source.root)
    if not found or source.format in found:
        return ""
    return f" {source.root} looks like format {found[0]}: if it is, set 'format: {found[0]}'."


def clear_hint(source: Source) -> str:
    """`likely_hint` for errors that have other causes as well: only for a folder of a format with clear marks."""
    hint = likely_hint(source)
    return hint if any(hint.endswith(f"'format: {name}'.") for name in CLEAR) else ""


def unread_images(refused: Iterable[Refused]) -> set[str]:
    """The suffixes of the refused files that are images of a kind that is not read."""
    suffixes = {os.path.splitext(row.detail)[1].lower() for row in refused if row.reason == "not an image"}  # noqa: PTH122
    return suffixes.intersection(_UNREAD)


def report_unread(scan: ScanReport, unread: Collection[str]) -> None:
    """Tell of images that are left out since their kind, given by suffixes, is not read."""
    if unread:
        names = sorted(row.detail for row in scan.refused if is_unread(row.detail))
        fact = f"{len(names)} images are left out, such as {names[0]}, since their kind is not read"
        scan.find("images of a kind that is not read", fact, conversion_of(unread), names)


def conversion_of(suffixes: Iterable[str]) -> str:
    """What is read in place of files with these suffixes, and how to convert them."""
    ends = sorted(suffixes)
    commands = " and ".join(f"magick mogrify -format png *{end}" for end in ends)
    return f"{', '.join(ends)} is not read, but {', '.join(sorted(IMAGES))}. Convert the files, as by: {commands}"


def is_unread(place: str) -> bool:
    """Whether a file is an image that is not read, by its name."""
    return os.path.splitext(place)[1].lower() in _UNREAD  # noqa: PTH122
