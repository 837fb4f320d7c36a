"""Finding names that agree as people read them, however their accents and suffixes are written.

macOS writes accents and Korean syllables in parts (Unicode NFD), other systems as one character (NFC); cameras write
``.JPG`` where tools write ``.jpg``. An annotation that names a file in one way means the file that is there in another.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Collection, Iterator, MutableMapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from augforge.sources.looks import as_it_looks

Value = TypeVar("Value")


def as_file_looks(place: str) -> str:
    """A path with its accents composed (NFC) and its suffix in lower case."""
    stem, suffix = os.path.splitext(as_it_looks(place))  # noqa: PTH122 (called 100,000 times)
    return stem + suffix.lower()


class Agreeing:
    """Names, found by names that agree with them. A name that is there as it is written comes first.

    Args:
        names: those that can be found.
        look: what two names have in common if they agree.
    """

    def __init__(self, names: Collection[str], look: Callable[[str], str] = as_it_looks) -> None:
        self._names, self._look = names, look

    def find(self, name: str) -> str | None:
        """The name that agrees with this one; None if there is none, or if several do."""
        return name if name in self._names else self._by_look.get(self._look(name))

    @cached_property
    def _by_look(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for name in self._names:
            look = self._look(name)
            found[look] = None if look in found else name
        return found


def rename_agreeing(found: MutableMapping[str, Value], names: Collection[str]) -> None:
    """Give entries, such as the places of masks, the names of images where these are only written in another way."""
    agreeing = Agreeing(names)
    for name in [name for name in found if not name.isascii() and name not in names]:
        meant = agreeing.find(name)
        if meant is not None and meant not in found:
            found[meant] = found.pop(name)


def existing_place(root: Path, place: str) -> str | None:
    """A place below the root that exists and agrees with this one: itself, or with other accents or suffix; or None."""
    return next((form for form in written_forms(place) if os.path.isfile(root / form)), None)  # noqa: PTH113


def written_forms(place: str) -> Iterator[str]:
    """A place as it is, and as it may be written instead: accents composed or not, the suffix in capitals or not."""
    yield place
    for form in ("NFC", "NFD"):
        stem, suffix = os.path.splitext(unicodedata.normalize(form, place))  # noqa: PTH122
        yield from {stem + end for end in (suffix, suffix.lower(), suffix.upper(), f".{suffix[1:].capitalize()}")}
