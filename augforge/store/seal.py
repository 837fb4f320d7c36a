"""A seal: the last line of a text file, a comment with the SHA-256 of all bytes before it.

The manifest, the tags and the card carry one. They are changed without each other, so none of them can hold the digest
of another. A seal shows damage. It does not prove who wrote the file: whoever changes it on purpose can seal it again.
"""

from __future__ import annotations

import hashlib
import re

_TEXT = "sha256 of all lines above: "
_LAST_LINE = re.compile(rb"(?:# |<!-- )" + _TEXT.encode() + rb"([0-9a-f]{64})(?: -->)?\n\Z")


def seal(text: str, html: bool = False) -> str:
    """The text with its seal: a YAML comment, or an HTML comment for Markdown."""
    text = text if text.endswith("\n") else text + "\n"
    line = _TEXT + hashlib.sha256(text.encode()).hexdigest()
    return f"{text}<!-- {line} -->\n" if html else f"{text}# {line}\n"


def is_sealed(data: bytes) -> bool:
    """Whether the last line is a seal, right or wrong."""
    return _LAST_LINE.search(data) is not None


def seal_problem(data: bytes) -> str | None:
    """What a sealed file's bytes show: None if they are those that were sealed, else why not."""
    found = _LAST_LINE.search(data)
    if found is None:
        return "its last line is no seal (a comment with the SHA-256 of all lines above); it was cut off or edited"
    if hashlib.sha256(data[: found.start()]).hexdigest() != found.group(1).decode():
        return "its SHA-256 is not the one in its last line; it was damaged or edited"
    return None
