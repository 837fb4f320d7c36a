r"""Names of samples and classes as file paths, reversibly.

A sample's name such as ``ID001/image1~rotate-2@512,0`` is used as a path: ``/`` makes folders, and ``~``, ``@`` and
``,`` are safe on every file system. Characters that are unsafe on some system are written as ``%`` and two hexadecimal
digits per UTF-8 byte, as in a URL: control characters, ``< > : " \\ | ? * %``, a dot or blank that begins or ends a
part of the path (hidden files, ``..``; tables strip blanks), and the first letter of names that Windows reserves. An
empty part is written as ``%``. Different names have different paths, except on file systems that ignore case.
"""

from __future__ import annotations

import re

from augforge.errors import AugforgeError

MAX_BYTES = 240
"""Most bytes of a part of a path, so that with a suffix it has at most the 255 that file systems allow."""

_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*%]|^[.\s]|[.\s]$')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|thumbs\.db|desktop\.ini|__macosx)(\..*)?", re.IGNORECASE)


def sample_path(name: str) -> str:
    """A sample's name as a path with ``/``, without suffix; AugforgeError if a part is too long for a file name."""
    parts = [_escape(part) for part in name.split("/")]
    if max(len(part.encode()) for part in parts) > MAX_BYTES:
        raise AugforgeError(
            f"sample '{name}' has a part of more than {MAX_BYTES} bytes, too long for a file name. Shorten the "
            "file's name in the source"
        )
    return "/".join(parts)


def class_folder(name: str) -> str:
    """A class's name as one folder name: ``/`` is escaped too."""
    return _escape(name).replace("/", "%2F")


def escape_dots(path: str) -> str:
    """A path without dots in its last part, for formats in which the suffix begins at the first dot; reversible."""
    folder, slash, last = path.rpartition("/")
    return folder + slash + last.replace(".", "%2E")


def _escape(part: str) -> str:
    if not part:
        return "%"
    safe = _UNSAFE.sub(lambda found: _percent_encode(found.group()), part)
    return _percent_encode(safe[0]) + safe[1:] if _RESERVED.fullmatch(safe) else safe


def _percent_encode(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())
