"""A glance at a folder: what its first files are called, and how a few of them begin."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

_ENTRIES, _PER_FOLDER, _DEPTH, _HEAD = 2000, 200, 6, 1 << 16
"""How many entries of a tree and of one folder, how deep, and how many bytes of a file are looked at."""

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
"""Suffixes of the images that are read."""


@dataclass(frozen=True)
class Glance:
    """What the first files of a folder are called, and how a few of them begin.

    Attributes:
        root: the folder.
        places: the files, relative to the root and with ``/``; some thousands at most, some hundreds of one folder.
    """

    root: Path
    places: Sequence[str]

    @classmethod
    def at(cls, root: Path) -> Glance:
        """A glance at the files below a folder."""
        return cls(root, [*_first_places(root)])

    def has(self, pattern: str) -> bool:
        """Whether a place matches a regular expression from its start."""
        return any(re.match(pattern, place, re.IGNORECASE) for place in self.places)

    def matches(self, pattern: str) -> list[re.Match[str]]:
        """The places that match a regular expression from its start."""
        return [found for place in self.places if (found := re.match(pattern, place, re.IGNORECASE))]

    def beginning(self, suffix: str, *words: str) -> str | None:
        """The first file with a suffix that holds all words near its start, of a few in each folder; None if none."""
        tried: dict[str, int] = {}
        for place in self.places:
            folder = place.rpartition("/")[0]
            if place.lower().endswith(suffix) and tried.setdefault(folder, 0) < 5:
                tried[folder] += 1
                if sum(tried.values()) <= 60 and all(word in self.head(place) for word in words):
                    return place
        return None

    def holding(self, suffix: str, *words: str) -> str | None:
        """The first of a few files with a suffix that holds all words anywhere: lists may be long; or None."""
        files = [place for place in self.places if place.lower().endswith(suffix)][:10]
        return next((place for place in files if self._holds(place, words)), None)

    def _holds(self, place: str, words: tuple[str, ...]) -> bool:
        path = self.root / place
        try:
            if not path.is_file() or path.is_symlink() or not path.stat().st_size:
                return False
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
                return all(text.find(word.encode()) >= 0 for word in words)
        except OSError:
            return False

    @cached_property
    def folders(self) -> set[str]:
        """The folders that hold files, and those above them, without the root."""
        return {str(up) for place in self.places for up in PurePosixPath(place).parents} - {"."}

    @cached_property
    def pictures(self) -> list[str]:
        """The images that are read, by their suffixes."""
        return [place for place in self.places if os.path.splitext(place)[1].lower() in IMAGES]  # noqa: PTH122

    def stems(self, folder: str) -> list[str]:
        """The pictures below a folder, relative to it and without their suffixes."""
        start = f"{folder}/"
        return [os.path.splitext(place[len(start) :])[0] for place in self.pictures if place.startswith(start)]  # noqa: PTH122

    @cached_property
    def stems_everywhere(self) -> list[str]:
        """All pictures without their suffixes."""
        return [os.path.splitext(place)[0] for place in self.pictures]  # noqa: PTH122

    def head(self, place: str) -> str:
        """The beginning of a file as text; empty for what is no regular file."""
        path = self.root / place
        if not path.is_file() or path.is_symlink():
            return ""
        try:
            with path.open("rb") as file:
                return file.read(_HEAD).decode("utf-8", "replace")
        except OSError:
            return ""


def _first_places(root: Path) -> Iterator[str]:
    left = _ENTRIES
    for folder, folders, files in os.walk(root):
        inner = os.path.relpath(folder, root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))[: _ENTRIES if left > 0 else 0]
        if inner.count("/") >= _DEPTH:
            folders.clear()
        for name in sorted(files)[: max(min(left, _PER_FOLDER), 0)]:
            left -= 1
            yield name if inner == "." else f"{inner}/{name}".replace(os.sep, "/")
