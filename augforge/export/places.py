"""Names as file paths, and back.

A sample's name such as ``ID001/image1~rotate-2@512,0`` is a path already, and stays one: ``/`` makes folders, ``~``,
``@`` and ``,`` are safe on every file system. What is not safe somewhere is written as ``%`` and two hexadecimal digits
for each of its UTF-8 bytes, as in a URL: control characters, ``< > : " \\ | ? * %``, a dot that begins a part (hidden
files, ``..``) or ends one, a blank there (tables lose it), and the first letter of what Windows reserves. A part that
is empty is a ``%`` alone. No two names share a path (but for upper and lower case, where a file system does not tell
them apart).
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from augforge.errors import AugforgeError

MAX_BYTES = 240
"""Of a part of a path, so that a suffix fits into the 255 that file systems hold."""

_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*%]|^[.\s]|[.\s]$')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|thumbs\.db|desktop\.ini|__macosx)(\..*)?", re.IGNORECASE)


def place_of(name: str) -> str:
    """A sample's name as a path with ``/``, without suffix. AugforgeError where a part of it is too long for a file."""
    parts = [_escaped(part) for part in name.split("/")]
    if max(len(part.encode()) for part in parts) > MAX_BYTES:
        raise AugforgeError(
            f"sample '{name}' has a part of more than {MAX_BYTES} bytes; no file can be named so. Shorten the file's "
            "name in the source."
        )
    return "/".join(parts)


def name_at(place: str) -> str:
    """`place_of` undone."""
    return "/".join("" if part == "%" else unquote(part, errors="strict") for part in place.split("/"))


def folder_of(name: str) -> str:
    """A class's name as one folder or one part of a key: ``/`` is escaped too."""
    return _escaped(name).replace("/", "%2F")


def without_dots(place: str) -> str:
    """A path whose last part holds no dot, for formats in which the suffix begins at the first; still reversible."""
    folder, slash, last = place.rpartition("/")
    return folder + slash + last.replace(".", "%2E")


def _escaped(part: str) -> str:
    if not part:
        return "%"
    safe = _UNSAFE.sub(lambda found: _percent(found.group()), part)
    return _percent(safe[0]) + safe[1:] if _RESERVED.fullmatch(safe) else safe


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())
