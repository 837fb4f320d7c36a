"""Image files without what is not their pixels: no EXIF, places, names, comments, thumbnails, nothing behind the end.

Nothing is decoded or encoded again, so that a JPEG loses nothing a second time. What else decides colours, an ICC
profile or four inks, makes a file one that is not kept.
"""

from __future__ import annotations

import numpy as np

from augforge.sample import Image
from augforge.store.codec import decode_image
from augforge.store.png import decode_png, strip_png

_MARKER = 0xFF
_FRAMES = {0xC0, 0xC1, 0xC2}
"""Baseline, extended and progressive JPEGs, which everybody reads."""
_TABLES = {0xC4, 0xDB, 0xDD}
"""Huffman codes, quantisation, restart interval."""
_SCAN, _END, _JFIF, _ICC, _ADOBE, _COMMENT = 0xDA, 0xD9, 0xE0, 0xE2, 0xEE, 0xFE
_APPLICATIONS = range(0xE0, 0xF0)
_IN_SCAN = {0x00, *range(0xD0, 0xD8)}
"""What follows 0xff inside of a scan: the byte 0xff itself, and restarts."""


def keep_bytes(data: bytes, image: Image) -> bytes | None:
    """The bytes of a JPEG or PNG without metadata, if they decode to this very image; else None.

    So a photo that was turned as its EXIF says is not kept, and neither is a PNG that would be slow to read.
    """
    is_jpeg = data.startswith(b"\xff\xd8")
    kept = strip_jpeg(data) if is_jpeg else strip_png(data)
    if kept is None:
        return None
    try:
        found = decode_image(kept) if is_jpeg else decode_png(kept)
    except ValueError:
        return None
    same = found is not None and found.dtype == image.dtype and np.array_equal(found, image)
    return kept if same else None


def strip_jpeg(data: bytes) -> bytes | None:
    """A JPEG without metadata; None if it has a colour profile, or is not one of 8 bits, gray or of three channels."""
    kept, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == _MARKER:
        kind, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if kind == _MARKER:  # it may be repeated
            at += 1
            continue
        body = data[at + 4 : end]
        if kind == _SCAN:
            end = _end_of_scan(data, end)
        if kind in _APPLICATIONS or kind == _COMMENT:
            part = _kept_application(kind, body)
            if part is None:
                return None
            kept.append(part)
        elif kind in _TABLES or kind == _SCAN or (kind in _FRAMES and _is_plain_frame(body)):
            kept.append(data[at:end])
        else:
            return None
        at = end
        if data[at : at + 2] == bytes((_MARKER, _END)):
            return b"".join([*kept, data[at : at + 2]])
    return None


def _kept_application(kind: int, body: bytes) -> bytes | None:
    """What is left of a segment that is not pixels; None if the file is not to be kept for it."""
    if kind == _JFIF and body.startswith(b"JFIF\0") and len(body) >= 14:
        return b"\xff\xe0\0\x10" + body[:12] + b"\0\0"  # densities, and a thumbnail of no pixels
    if kind == _ADOBE and body.startswith(b"Adobe") and len(body) == 12:
        return b"\xff\xee\0\x0e" + body  # says whether the channels are RGB or YCbCr
    return None if kind == _ICC and body.startswith(b"ICC_PROFILE\0") else b""


def _is_plain_frame(body: bytes) -> bool:
    return len(body) > 5 and body[0] == 8 and body[5] in {1, 3}


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the first marker behind a scan stands; the length of the data if there is none."""
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data) and data[at + 1] in _IN_SCAN:
        at += 2
    return len(data) if at < 0 else at
