"""Reading images that are annotations: masks of one class, and index masks whose values name classes.

The *stored* values count: a palette's index and not its colour, and in a gray PNG of 1, 2 or 4 bits the stored number
and not the brightness that it is shown with. Lossy files are refused unless a threshold is set.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.sources.scan.headers import Header
from augforge.sources.scan.images import (
    decode,
    parse_header,
    png_chunks,
    read_bytes,
    turn_upright,
)
from augforge.store.png import PNG_MAGIC, png_chunk

MASK_FACTS = "mask@1"
"""The kind of `mask_facts` in a file cache; renamed when `mask_facts` changes."""

_GRAY, _PALETTE = 0, 3
"""Colour types of PNGs."""

_COLOUR_TYPE = 25
"""Where the colour type stands in a PNG: in its header, which is the first chunk."""


def read_values(path: Path) -> NDArray[Any]:
    """The stored values of a palette or gray image: uint8 or uint16 (H, W). Raises SourceError for any other image.

    Gray images may be stored as RGB with equal channels.
    """
    data = read_bytes(path)
    header = parse_header(data, path)
    if header.kind == "jpeg":
        raise SourceError(
            f"{path} is a JPEG, which changes values; expected a lossless picture. Export it as PNG; or, if masks have "
            "one class, set threshold (such as 127), or read them by format: mask-folder with a threshold."
        )
    values = (
        None if header.kind == "bmp" else _stored_values(data, header, path)
    )  # cv2 does not give the index of a BMP
    if values is None:
        values = _gray_values(data, header, path)
    if values is None:
        raise SourceError(
            f"{path} ({header.kind}) has {header.channels} channels; expected a palette PNG, or gray, whose values "
            "name classes. Name the colours: 'colors: {CLASS: [r, g, b]}' (or voc, cityscapes), or convert them."
        )
    return turn_upright(values, header.orientation)


def read_mask(path: Path, threshold: int = 0) -> NDArray[np.bool_]:
    """Where a mask's stored value, or any of its colours, is above a threshold: bool (H, W). Alpha does not count."""
    data = read_bytes(path)
    header = parse_header(data, path)
    check_lossless(header, path, threshold)
    return turn_upright(one_class_pixels(data, header, path)[0] > threshold, header.orientation)


def one_class_pixels(data: bytes, header: Header, path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The pixels of a mask of one class as they are stored, not turned upright: values (H, W), and alpha if any.

    Of colours the brightest channel counts.
    """
    values = _stored_values(data, header, path)
    if values is not None:
        return values, None
    pixels = decode(data, header, path)
    return pixels[..., :3].max(axis=2), pixels[..., 3] if pixels.shape[2] == 4 else None


def palette_colours(data: bytes, path: Path) -> NDArray[np.uint8] | None:
    """The colours (N, 3) of a PNG's palette, red first; None for any other image."""
    if not _has_palette(data):
        return None
    body = next((bytes(body) for kind, body in png_chunks(data, path) if kind == b"PLTE"), None)
    return None if body is None else np.frombuffer(body, np.uint8).reshape(-1, 3)


def palette_in(path: Path) -> NDArray[np.uint8] | None:
    """`palette_colours` of a file that was read as a mask before, of which only the head is looked at."""
    with path.open("rb") as file:
        head = file.read(_COLOUR_TYPE + 1)
        return palette_colours(head + file.read(), path) if _has_palette(head) else None


def _has_palette(data: bytes) -> bool:
    """Whether an image, whose header was read before, is a PNG with a palette."""
    return data.startswith(PNG_MAGIC) and data[_COLOUR_TYPE] == _PALETTE


def mask_facts(path: Path, threshold: int = 0) -> list[Any]:
    """Facts of a mask for the listing, JSON-like: upright width and height, and a digest of the file's bytes."""
    data = read_bytes(path)
    header = parse_header(data, path)
    check_lossless(header, path, threshold)
    return [*header.size, hashlib.sha256(data).hexdigest()[:32]]


def check_lossless(header: Header, path: Path, allowed: int, option: str = "threshold (such as 127)") -> None:
    """Raise SourceError for a lossy file, unless an option allows its values to be inexact."""
    if header.kind in ("jpeg", "webp") and not allowed:
        raise SourceError(
            f"{path} is a {header.kind.upper()}, whose zeros may not be zero; expected a lossless mask. Export it as "
            f"PNG, or set {option}."
        )


def _stored_values(data: bytes, header: Header, path: Path) -> NDArray[Any] | None:
    """Stored values, not turned upright yet; None if the image is coloured."""
    if header.kind == "png":
        return _png_values(data, path)
    return decode(data, header, path) if header.channels == 1 else None


def _gray_values(data: bytes, header: Header, path: Path) -> NDArray[Any] | None:
    """The values of a gray BMP, or of a gray, opaque picture stored as RGB or RGBA; None for any other."""
    gray_palette = header.kind == "bmp" and header.channels == 1
    if header.kind not in ("png", "tiff", "bmp") or (header.channels < 3 and not gray_palette):
        return None
    pixels = decode(data, header, path)
    if gray_palette:
        return pixels if pixels.ndim == 2 else pixels[..., 0]
    opaque = (pixels[..., 3:] == np.iinfo(pixels.dtype).max).all()
    return pixels[..., 0] if opaque and (pixels[..., :1] == pixels[..., 1:3]).all() else None


def _png_values(data: bytes, path: Path) -> NDArray[Any] | None:
    """Stored values of a gray or palette PNG. The file is rewritten as gray, so that cv2 gives the index."""
    chunks: dict[bytes, list[memoryview]] = {}
    for kind, body in png_chunks(data, path):
        chunks.setdefault(kind, []).append(body)
    header = bytes(chunks[b"IHDR"][0])
    width, height, depth, colour = struct.unpack(">IIBB", header[:10])
    if colour not in (_GRAY, _PALETTE):
        return None
    plain = [(b"IHDR", header[:9] + b"\0" + header[10:]), (b"IDAT", b"".join(chunks[b"IDAT"])), (b"IEND", b"")]
    gray = PNG_MAGIC + b"".join(png_chunk(kind, body) for kind, body in plain)
    pixels = decode(gray, Header(width, height, 1, max(depth, 8)), path)
    return pixels // (255 // (2**depth - 1)) if depth < 8 else pixels
