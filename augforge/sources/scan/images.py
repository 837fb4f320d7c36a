"""Reading image files: upright, in RGB order, and only if they are whole.

The array that each kind of file becomes:

| file | array |
|---|---|
| PNG gray of 1, 2, 4 or 8 bits (a transparent gray level stays gray), JPEG gray | uint8 (H, W) |
| PNG RGB, JPEG colour, PNG palette, WebP | uint8 (H, W, 3) |
| PNG RGBA, gray with alpha, palette or RGB with transparency, WebP with alpha | uint8 (H, W, 4) |
| PNG of 16 bits | uint16, channels as above |
| BMP with a palette (gray or RGB, as its colours are) or of 24 bits | uint8 (H, W) or (H, W, 3) |
| TIFF of one page, gray, RGB or RGBA of 8 or 16 bits | uint8 or uint16, channels as there |

Anything else is refused with a message that names the conversion it needs. Headers are parsed here and not by Pillow,
whose warnings (decompression bombs, odd EXIF) cannot be silenced safely in threads. A PNG's checksums are verified here
because some versions of cv2 ignore them; that costs 2 % of the decode. The other kinds have no checksums: a truncated
file is refused, but damage inside its pixels is noticed late, when they are decoded, or not at all.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.sample import Image
from augforge.sources.scan.headers import (
    Header,
    bmp_header,
    damaged_error,
    exif_orientation,
    tiff_header,
    tiff_pixels,
    webp_header,
)
from augforge.store.png import PNG_MAGIC, decode_png

IMAGE_FACTS = "image@3"
"""The kind of `image_facts` in a file cache; renamed when `image_facts` changes."""

MAX_PIXELS = 1 << 28
"""A header that claims more pixels is refused before anything is decoded."""

_JPEG = b"\xff\xd8\xff"
_FOREIGN = {b"GIF8": "GIF", b"\0\0\0\x0cjP": "JPEG 2000", b"\xffO\xffQ": "JPEG 2000"}
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 4, 6: 4}
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD9)))
_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


def read_image(path: Path, upright: bool = True) -> Image:
    """The image: uint8 or uint16, (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA, C-contiguous; turned as EXIF says.

    ``upright=False`` gives the pixels as they are stored.

    Raises SourceError naming the file if it is damaged, too large or of an unsupported kind.
    """
    data = read_bytes(path)
    header = parse_header(data, path)
    return turn_upright(decode(data, header, path), header.orientation if upright else 1)


def image_facts(path: Path) -> dict[str, Any]:
    """What a listing needs of an image, JSON-like; see `facts_of`."""
    return facts_of(read_bytes(path), path)


def facts_of(data: bytes, path: Path) -> dict[str, Any]:
    """Facts of an image file's bytes: upright ``width`` and ``height``, ``bytes`` and ``sha256``.

    ``turn`` is the EXIF orientation, 2 to 8, and is missing if the image is stored upright.
    """
    header = parse_header(data, path)
    turn = {} if header.orientation == 1 else {"turn": header.orientation}
    width, height = header.size
    return {"width": width, "height": height, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **turn}


def read_bytes(path: Path) -> bytes:
    """The file's bytes; SourceError if it cannot be read or is empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}. Restore the file or its permissions.") from error
    if not data:
        raise SourceError(f"{path} is empty (0 bytes). Copy it again from the original.")
    return data


def parse_header(data: bytes, path: Path) -> Header:
    """The header of an image file's bytes, after every check that needs no decoding.

    Raises SourceError naming ``path`` for an unsupported kind, a truncated or corrupted file, or more than
    `MAX_PIXELS`.
    """
    kind = image_kind(data)
    if kind is None:
        raise _unknown_format_error(data, path)
    header = _HEADERS[kind](data, path)
    if not header.width * header.height:
        raise damaged_error(path, f"its header says {header.width}x{header.height} pixels")
    if header.width * header.height > MAX_PIXELS:
        raise SourceError(
            f"{path}: the header says {header.width}x{header.height} pixels; at most {MAX_PIXELS} are read. "
            "Remove the file, or cut the image into parts."
        )
    return header


def image_kind(data: bytes) -> str | None:
    """The kind of image file that the bytes are: png, jpeg, bmp, webp or tiff; None for any other."""
    kind = next((kind for magic, kind in _KINDS.items() if data.startswith(magic)), None)
    return None if kind == "webp" and data[8:12] != b"WEBP" else kind


def _unknown_format_error(data: bytes, path: Path) -> SourceError:
    kind = next((f"a {name} file" for magic, name in _FOREIGN.items() if data.startswith(magic)), "of an unknown kind")
    return SourceError(
        f"{path} is {kind}, whatever its name; expected PNG, JPEG, BMP, WebP or TIFF. Convert it to PNG, gray, "
        "RGB or RGBA of 8 or 16 bits (scale float and 32-bit values to 16 bits first), or copy it again if it is "
        "damaged."
    )


# ---- PNG -------------------------------------------------------------------------------------------------------------


def _png_header(data: bytes, path: Path) -> Header:
    chunks: dict[bytes, memoryview] = {}
    for kind, body in png_chunks(data, path):
        chunks.setdefault(kind, body)
    if len(chunks.get(b"IHDR", b"")) != 13 or b"IDAT" not in chunks:
        raise damaged_error(path, "it has no header or no pixel data")
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    if colour not in _PNG_CHANNELS:
        raise damaged_error(path, f"its header says colour type {colour}")
    channels = 4 if b"tRNS" in chunks and colour else _PNG_CHANNELS[colour]
    return Header(width, height, channels, 16 if depth == 16 else 8, exif_orientation(bytes(chunks.get(b"eXIf", b""))))


def png_chunks(data: bytes, path: Path) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and body of each chunk up to IEND, checksums verified."""
    view = memoryview(data)
    at, kind = len(PNG_MAGIC), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at) if at + 12 <= len(data) else (len(data), b"")
        end = at + 12 + length
        if end > len(data):
            raise damaged_error(path, f"the PNG ends at byte {len(data)}, inside a chunk or before its end mark")
        if isal_zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise damaged_error(path, f"the checksum of the PNG chunk at byte {at} is wrong")
        yield kind, view[at + 8 : end - 4]
        at = end


# ---- JPEG ------------------------------------------------------------------------------------------------------------


def _jpeg_header(data: bytes, path: Path) -> Header:
    frame, exif = b"", b""
    for marker, body in _jpeg_segments(data, path):
        if marker in _JPEG_FRAMES:
            frame = body
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = exif or body[6:]
    if len(frame) < 6:
        raise damaged_error(path, "the JPEG has no frame header")
    bits, height, width, channels = struct.unpack(">BHHB", frame[:6])
    if bits != 8 or channels not in (1, 3):
        raise SourceError(
            f"{path} is a JPEG of {channels} channels with {bits} bits; expected gray or YCbCr/RGB with 8 bits. "
            "Convert it to PNG, gray or RGB (CMYK needs its colour profile for that)."
        )
    return Header(width, height, channels, 8, exif_orientation(exif), "jpeg")


def _jpeg_segments(data: bytes, path: Path) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each segment before the scan; the scan's end mark is checked."""
    at, marker = 2, 0
    while marker != 0xDA:
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if data[at : at + 1] != b"\xff" or at + 4 > len(data):
            raise damaged_error(path, f"the JPEG has no marker at byte {at}")
        marker = data[at + 1]
        length = 0 if marker in _JPEG_BARE else int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length
    if data.find(b"\xff\xd9", at) < 0:  # in the scan 0xff is always followed by 0: this is the end mark alone
        raise damaged_error(path, "the JPEG is cut: it has no end mark")


_KINDS = {
    PNG_MAGIC: "png",
    _JPEG: "jpeg",
    b"BM": "bmp",
    b"RIFF": "webp",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}
_HEADERS: dict[str, Callable[[bytes, Path], Header]] = {
    "png": _png_header,
    "jpeg": _jpeg_header,
    "bmp": bmp_header,
    "webp": webp_header,
    "tiff": tiff_header,
}


# ---- pixels ----------------------------------------------------------------------------------------------------------


def decode(data: bytes, header: Header, path: Path) -> NDArray[Any]:
    """Pixels as stored, (H, W) or RGB or RGBA, checked against the header; SourceError if that fails."""
    plain = tiff_pixels(data, path) if header.kind == "tiff" else decode_png(data)
    pixels = _to_rgb(_cv2_pixels(data, path)) if plain is None else plain
    if pixels.shape != header.stored_shape or pixels.dtype.itemsize * 8 != header.bits:
        fact = f"its pixels decode to {pixels.dtype} {pixels.shape}, its header says {header.bits} bits"
        raise damaged_error(path, f"{fact} {header.stored_shape}")
    return pixels


def _cv2_pixels(data: bytes, path: Path) -> NDArray[Any]:
    """Pixels as cv2 gives them: (H, W) or BGR or BGRA."""
    try:
        pixels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise damaged_error(path, f"its pixels cannot be decoded ({error.err})") from error
    if pixels is None:
        raise damaged_error(path, "its pixels cannot be decoded")
    return pixels


def _to_rgb(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.ndim == 2 or pixels.shape[2] not in (3, 4):
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def turn_upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels turned upright by their EXIF orientation, C-contiguous."""
    turn = _UPRIGHT.get(orientation)
    return np.ascontiguousarray(pixels if turn is None else turn(pixels))
