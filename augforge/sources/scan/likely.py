"""What a folder seems to hold, for the error where ``source.format`` does not fit it; and images that are not read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from augforge.errors import SourceError
from augforge.sources.core import SOURCES, Source
from augforge.sources.listing import Refused

if TYPE_CHECKING:
    from augforge.sources.scan.reporting import ScanReport

_ENTRIES, _DEPTH, _HEAD = 2000, 4, 1 << 16
"""How many entries of a folder, how deep, and how many bytes of a file are looked at."""

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
"""Suffixes of the images that are read."""

_UNREAD = (
    *(".heic", ".heif", ".avif", ".jxl", ".gif", ".jp2", ".j2k", ".psd", ".tga", ".pgm", ".ppm", ".pnm", ".svg"),
    *(".cr2", ".nef", ".arw", ".dng", ".svs", ".ndpi", ".npy", ".npz", ".mat", ".exr", ".hdr", ".ico"),
)
"""Suffixes of images that are not read."""


@dataclass(frozen=True)
class Glance:
    """What the first files of a folder are called, and how a few of them begin."""

    root: Path
    places: Sequence[str]

    def has(self, pattern: str) -> bool:
        """Whether a place matches a regular expression from its start."""
        return any(re.match(pattern, place, re.IGNORECASE) for place in self.places)

    def begins(self, suffix: str, *words: str) -> bool:
        """Whether one of the first files with a suffix holds all words near its start."""
        files = [place for place in self.places if place.lower().endswith(suffix)][:5]
        return any(all(word in text for word in words) for text in map(self._head, files))

    def has_masks(self, folders: int) -> bool:
        """Whether masks/ holds a mask of an image in images/, below that many folders more."""
        pictures = [place for place in self.places if os.path.splitext(place)[1].lower() in IMAGES]  # noqa: PTH122
        images = {_stem(place) for place in pictures if place.startswith("images/")}
        masks = (_stem(place).split("/") for place in pictures if place.startswith("masks/"))
        return any("/".join(parts[folders:]) in images for parts in masks)

    def _head(self, place: str) -> str:
        path = self.root / place
        if not path.is_file() or path.is_symlink():
            return ""
        try:
            with path.open("rb") as file:
                return file.read(_HEAD).decode("utf-8", "replace")
        except OSError:
            return ""


_PIXELS = rf"[^/]+\.({'|'.join(suffix[1:] for suffix in sorted(IMAGES))})$"
_MARKS: dict[str, Callable[[Glance], bool]] = {
    "dataset": lambda found: found.has(r"manifest\.yaml$") and found.has(r"index/"),
    "hand-bone": lambda found: found.has(r"train/DCM/") and found.has(r"train/outputs_json/"),
    "coco": lambda found: found.begins(".json", '"images"', '"annotations"') or found.begins(".json", '"categories"'),
    "labelme": lambda found: found.begins(".json", '"shapes"', '"imagePath"'),
    "cvat": lambda found: found.begins(".xml", "<annotations"),
    "datumaro": lambda found: found.begins(".xml", "<annotation") or found.begins(".json", '"items"', '"infos"'),
    "yolo": lambda found: found.has(r"(.*/)?labels/.*\.txt$") or found.begins("data.yaml", "names"),
    "volume": lambda found: found.has(r".*\.(nii|nii\.gz|mha|mhd)$"),
    "dicom": lambda found: found.has(r".*\.dcm$"),
    "index-mask": lambda found: found.has_masks(0),
    "mask-folder": lambda found: found.has_masks(1),
    "csv": lambda found: found.has(r"[^/]+\.(csv|xlsx|parquet)$") and found.has(rf"(.*/)?{_PIXELS}"),
    "image-folder": lambda found: found.has(rf"[^/]+/(.*/)?{_PIXELS}") and not found.has(r".*\.(json|xml|txt|csv)$"),
}


_ANY = frozenset({"datumaro", "union"})
"""Formats that read folders of others."""

_CLEAR = frozenset({"coco", "cvat", "dataset", "dicom", "hand-bone", "labelme", "yolo"})
"""Formats whose marks are theirs alone."""


def likely_formats(root: Path) -> list[str]:
    """The formats whose marks lie in a folder, the clearest first; at most a few thousand entries are looked at."""
    glance = Glance(root, [*_first_places(root)])
    return [name for name, fits in _MARKS.items() if name in SOURCES and fits(glance)]


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
    if source.format in _ANY or source.format not in _MARKS or not source.root.is_dir():
        return ""
    found = likely_formats(source.root)
    if not found or source.format in found:
        return ""
    return f" {source.root} looks like format {found[0]}: if it is, set 'format: {found[0]}'."


def clear_hint(source: Source) -> str:
    """`likely_hint` for errors that have other causes as well: only for a folder of a format with clear marks."""
    hint = likely_hint(source)
    return hint if any(hint.endswith(f"'format: {name}'.") for name in _CLEAR) else ""


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


def _stem(place: str) -> str:
    """A place without its first folder and its suffix."""
    return os.path.splitext(place.partition("/")[2])[0]  # noqa: PTH122


def _first_places(root: Path) -> Iterator[str]:
    left = _ENTRIES
    for folder, folders, files in os.walk(root):
        inner = os.path.relpath(folder, root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))[: _ENTRIES if left > 0 else 0]
        if inner.count("/") >= _DEPTH:
            folders.clear()
        for name in sorted(files)[: max(left, 0)]:
            left -= 1
            yield name if inner == "." else f"{inner}/{name}".replace(os.sep, "/")
