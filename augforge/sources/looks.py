"""Names that look the same to people, although they are written in different Unicode forms."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def as_it_looks(name: str) -> str:
    """A name in Unicode's composed form (NFC): names that look the same become equal, however accents are written."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def as_spoken(name: str) -> str:
    """A name without what people overlook: capital letters, spaces around its parts, and how accents are written."""
    if name.isascii():  # the usual case, and twice as fast
        spoken = name.lower()
    else:
        spoken = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return "/".join(part.strip() for part in spoken.split("/")) if " " in spoken else spoken.strip()


def look_alike(names: Iterable[str]) -> str | None:
    """The first name that looks like another one, but is written in another way; None if there is none."""
    seen: dict[str, str] = {}
    return next((name for name in names if seen.setdefault(as_it_looks(name), name) != name), None)


def find_alike(name: str, names: Iterable[str]) -> str | None:
    """The first of the names that looks like this one; None if there is none."""
    look = as_it_looks(name)
    return next((other for other in names if as_it_looks(other) == look), None)
