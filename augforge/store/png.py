"""Ordinary PNGs, written and read several times faster than by libpng.

What is slow in a PNG is the search for repeats, of which radiographs have hardly any, and the filters Average and
Paeth, which must be undone byte by byte. So a whole picture is filtered by Up, by Sub or not at all, and zlib-ng
compresses it without a search: by Huffman codes alone, or by run lengths too where they save something. Both strategies
leave the compressor nothing to choose, so that its bytes depend on no CPU (docs/adr/0027-fast-png.md).

Read here is what can be read in one way only: gray, RGB or RGBA of 8 or 16 bits, not interlaced, without a transparent
colour, with every checksum right. Everything else is left to OpenCV, which also decides what is damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import cv2
import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from augforge.sample import Image

Rows = NDArray[np.uint8]
"""The bytes of a picture, (height, bytes of a row)."""

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
_CHANNELS = {0: 1, 2: 3, 6: 4}
"""Channels by colour type: gray, RGB, RGBA."""
_COLOURS = {channels: colour for colour, channels in _CHANNELS.items()}

NONE, SUB, UP = 0, 1, 2
"""Filters, as a PNG numbers them: a byte itself, less the pixel on its left, less the pixel above."""

# ---- writing ---------------------------------------------------------------------------------------------------------


def encode_png(image: Image) -> bytes:
    """A PNG of uint8 or uint16, (H, W), (H, W, 3) RGB or (H, W, 4) RGBA; the same bytes on every machine.

    ValueError for any other array.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype not in {np.dtype("uint8"), np.dtype("uint16")} or channels not in _COLOURS or not image.size:
        raise ValueError(f"png cannot hold {image.dtype} {image.shape}")
    height, width, bits = *image.shape[:2], image.dtype.itemsize * 8
    rows = np.ascontiguousarray(image, image.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    kind, strategy = _choose_method(rows, channels * bits // 8)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = kind
    _FILTERS[kind](rows, channels * bits // 8, filtered[:, 1:])
    pixels = memoryview(_compress(filtered.data, strategy))
    header = _HEADER.pack(width, height, bits, _COLOURS[channels], 0, 0, 0)
    parts = [png_chunk(b"IDAT", pixels[start : start + _MAX_CHUNK]) for start in range(0, len(pixels), _MAX_CHUNK)]
    return b"".join([PNG_MAGIC, png_chunk(b"IHDR", header), *parts, png_chunk(b"IEND", b"")])


_MAX_CHUNK = 1 << 30
"""The length of a chunk has 31 bits; all but the largest pictures are one chunk."""


def png_chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    """A chunk of a PNG, with its length and checksum."""
    return b"".join([struct.pack(">I", len(body)), kind, body, struct.pack(">I", _checksum(kind, body))])


def _checksum(kind: bytes | memoryview, body: bytes | memoryview) -> int:
    return isal_zlib.crc32(body, isal_zlib.crc32(kind))


def _compress(data: bytes | memoryview, strategy: int) -> bytes:
    """A zlib stream. With these strategies a level changes nothing but the two bits that name it."""
    compressor = zlib_ng.compressobj(1, zlib_ng.DEFLATED, 15, _MEMORY, strategy)
    return compressor.compress(data) + compressor.flush()


_MEMORY = 9
"""The most, so that blocks, each with a code of its own, are large."""


def _keep(rows: Rows, step: int, out: Rows) -> None:
    out[...] = rows


def _subtract_left(rows: Rows, step: int, out: Rows) -> None:
    out[..., :step] = rows[..., :step]
    np.subtract(rows[..., step:], rows[..., :-step], out=out[..., step:])


def _subtract_above(rows: Rows, step: int, out: Rows) -> None:
    out[..., 0, :] = rows[..., 0, :]
    np.subtract(rows[..., 1:, :], rows[..., :-1, :], out=out[..., 1:, :])


_FILTERS: dict[int, Callable[[Rows, int, Rows], None]] = {UP: _subtract_above, SUB: _subtract_left, NONE: _keep}
"""Of rows with ``step`` bytes a pixel, into ``out`` of the same shape. The quickest to undo comes first."""

_METHODS = [(kind, strategy) for kind in _FILTERS for strategy in (zlib_ng.Z_HUFFMAN_ONLY, zlib_ng.Z_RLE)]
"""Filters with strategies of zlib, the quickest to write and to read first."""
_WORTH_TIME = 1.07
"""A quicker method may take so many times the bytes of the best one, or as many as OpenCV's."""


def _choose_method(rows: Rows, step: int) -> tuple[int, int]:
    """The filter and the strategy that suit a picture, by what they make of bands of its rows."""
    if rows.size < _SMALL:
        return UP, zlib_ng.Z_RLE
    bands = _bands(rows)
    filtered = {kind: _filtered_bands(bands, step, kind) for kind in _FILTERS}
    by_runs = {kind: len(_compress(data, zlib_ng.Z_RLE)) for kind, data in filtered.items()}
    allowed = max(min(by_runs.values()) * _WORTH_TIME, by_runs[SUB])  # Sub with run lengths is how OpenCV writes
    return next((kind, strategy) for kind, strategy in _METHODS if len(_compress(filtered[kind], strategy)) <= allowed)


_SMALL = 1 << 14
"""Bytes of a picture that is written in the time that choosing would take."""
_BAND = 8
_SAMPLE_BYTES = 1 << 16


def _bands(rows: Rows) -> NDArray[np.uint8]:
    """Bands of adjacent rows all over a picture, (bands, rows of a band, bytes of a row); of a few rows all."""
    height, width = rows.shape
    count = max(1, min(rows.size // 16, _SAMPLE_BYTES) // (_BAND * width))
    if height <= _BAND:
        return rows[None]
    starts = np.arange(1, count + 1) * (height - _BAND) // (count + 1)
    bands: NDArray[np.uint8] = rows[starts[:, None] + np.arange(_BAND)]
    return bands


def _filtered_bands(bands: NDArray[np.uint8], step: int, kind: int) -> memoryview:
    """Bands as a filter leaves them; their first rows, above which a band has nothing, are left out if it can be."""
    filtered = np.empty_like(bands)
    _FILTERS[kind](bands, step, filtered)
    return np.ascontiguousarray(filtered[:, 1:] if bands.shape[1] > 1 else filtered).data


# ---- reading ---------------------------------------------------------------------------------------------------------


def decode_png(data: bytes | memoryview) -> Image | None:
    """The array of a PNG, C-contiguous, or None if OpenCV is to read it, or to say what is wrong with it.

    Never takes more memory than the picture that the header promises and the size of the data make possible.
    """
    view = memoryview(data)
    if len(view) < _HEADER_END or view[:_HEADER_AT] != _BEGINNING:
        return None
    width, height, bits, colour, *methods = _HEADER.unpack_from(view, _HEADER_AT)
    if bits not in {8, 16} or colour not in _CHANNELS or any(methods) or not _is_size_allowed(width, height):
        return None
    channels = _CHANNELS[colour]
    step = channels * bits // 8
    lines = _read_lines(view, height, width * step + 1)
    if lines is None:
        return None
    pixels = _undo_filters(lines, step)
    if bits == 16:
        pixels = pixels.view(">u2").astype(np.uint16)
    return pixels.reshape((height, width) if channels == 1 else (height, width, channels))


_BEGINNING = PNG_MAGIC + b"\0\0\0\rIHDR"
_HEADER_AT = len(_BEGINNING)
_HEADER_END = _HEADER_AT + _HEADER.size + 4


def _is_size_allowed(width: int, height: int) -> bool:
    """Whether OpenCV would read a picture of this size too: its limits on sides and pixels."""
    return 0 < width <= 1 << 20 and 0 < height <= 1 << 20 and width * height <= 1 << 30


_WORTH_PYTHON = 1 << 17
"""Bytes from which on this is faster than OpenCV, whose loops need no Python."""
_MOST_EXPANSION = 1032
"""Bytes that a byte of deflate can stand for at most."""


def _read_lines(view: memoryview, height: int, length: int) -> Rows | None:
    """The filtered lines, (height, length); None if there are more or fewer, or if OpenCV undoes the filters faster."""
    data = _read_stream(view, length) if height * length >= _WORTH_PYTHON else None
    if data is None or height * length > _MOST_EXPANSION * len(data) or not _is_window_enough(data[0], height * length):
        return None
    try:
        stream = isal_zlib.decompressobj()
        lines = stream.decompress(data, height * length)
        if not stream.eof:  # the checksum at the end may need another call
            lines += stream.decompress(stream.unconsumed_tail, 1)
    except IsalError:  # type: ignore[misc]  # its stub says that it is an exception, not a class of them
        return None
    if not stream.eof or len(lines) != height * length or stream.unused_data:
        return None
    filtered = np.frombuffer(lines, np.uint8).reshape(height, length)
    return None if filtered[:, 0].max() > UP else filtered


def _is_window_enough(first: int, size: int) -> bool:
    """Whether no repeat can lie farther back than the window that the first byte of a zlib stream states.

    zlib refuses a stream with one that does, and a window beyond 32 KiB; ISA-L reads both.
    """
    exponent = first >> 4
    return exponent <= 7 and 256 << exponent >= min(size, 1 << 15)


_HARMLESS = frozenset(b"tEXt zTXt iTXt tIME pHYs eXIf gAMA cHRM sRGB iCCP cICP bKGD sBIT".split())
"""Chunks that change no stored value. One that is not among them, such as tRNS or acTL, may."""


def strip_png(data: bytes) -> bytes | None:
    """A PNG without the chunks that are not its pixels; None if it has a colour profile."""
    kept, at = [PNG_MAGIC], len(PNG_MAGIC)
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if kind in {b"iCCP", b"cICP"}:
            return None
        if kind not in _HARMLESS:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _read_stream(view: memoryview, length: int) -> memoryview | bytes | None:
    """The compressed lines; None unless the chunks are those of an ordinary PNG, in order and undamaged."""
    kinds: list[bytes] = []
    parts: list[memoryview] = []
    at, before = len(PNG_MAGIC), b""
    while at + 12 <= len(view):
        size = int.from_bytes(view[at : at + 4], "big")
        kind, body, end = bytes(view[at + 4 : at + 8]), view[at + 8 : at + 8 + size], at + 12 + size
        if end > len(view) or _checksum(kind, body) != int.from_bytes(view[end - 4 : end], "big"):
            return None
        if kind == b"IDAT":
            if before != kind and (parts or _begins_slowly(body, length)):
                return None
            parts.append(body)
        if kind not in _HARMLESS:
            kinds.append(kind)
        at, before = end, kind
    if at != len(view) or not parts or kinds != [b"IHDR", *[b"IDAT"] * len(parts), b"IEND"]:
        return None
    return parts[0] if len(parts) == 1 else b"".join(parts)


_LOOK_AHEAD = 1 << 14


def _begins_slowly(data: memoryview, length: int) -> bool:
    """Whether a filter is Average or Paeth in the first lines: where one line has it, most have."""
    try:
        lines = isal_zlib.decompressobj().decompress(data[:_LOOK_AHEAD], 64 * length)
    except IsalError:  # type: ignore[misc]
        return True  # damaged, which is OpenCV's to say
    return max(lines[::length], default=0) > UP


def _undo_filters(lines: Rows, step: int) -> Rows:
    """The bytes of the picture, from lines that begin with the number of their filter."""
    kinds, filtered = lines[:, 0], lines[:, 1:]
    left = kinds == SUB
    if left.all():
        return _add_left(np.ascontiguousarray(filtered), step)
    rows: Rows = filtered.copy()
    if left.any():
        rows[left] = _add_left(filtered[left], step)
    for y in np.flatnonzero(kinds[1:] == UP) + 1:  # in order: each needs the row above as it is in the end
        np.add(rows[y], rows[y - 1], out=rows[y])
    return rows


def _add_left(filtered: Rows, step: int) -> Rows:
    """Rows from their differences to the pixel on the left, modulo 256.

    A cumulative sum goes byte by byte; adding column to column, of the transposed picture, adds many rows at once.
    """
    pixels = filtered.reshape(len(filtered), -1, step)
    if len(filtered) < _FEW_ROWS:
        sums: Rows = np.cumsum(pixels, axis=1, dtype=np.uint8).reshape(filtered.shape)
        return sums
    columns = _transpose(pixels)
    for x in range(1, len(columns)):
        np.add(columns[x], columns[x - 1], out=columns[x])
    return _transpose(columns).reshape(filtered.shape)


def _transpose(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, bytes of a pixel) to (W, H, bytes of a pixel): OpenCV's, which is 18 times as fast as numpy's."""
    height, width, step = pixels.shape
    unit = np.uint16 if step % 2 == 0 else np.uint8  # 8 bytes are four elements, and OpenCV moves at most four
    columns: NDArray[np.uint8] = cv2.transpose(pixels.view(unit)).reshape(width, height, -1).view(np.uint8)
    return columns


_FEW_ROWS = 256
