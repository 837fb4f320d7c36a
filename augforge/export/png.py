"""Pictures of masks as PNG, many times as fast as a general encoder: rows without the class are not compressed anew.

A deflate stream may be put together from parts that do not refer to each other, and the checksum of zeros is known
without looking at them. So the empty rows above and below a class come from a cache, and only its own are compressed.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from augforge.sources.scan.images import PNG_MAGIC, png_chunk

_GRAY, _PALETTE = 0, 3
_MODULUS = 65521  # of Adler-32
_RLE = zlib.Z_RLE  # masks are runs: half the size of the default strategy, at the same speed


def mask_png(mask: NDArray[np.uint8], roi: tuple[slice, slice], height: int, width: int) -> bytes:
    """Gray 8-bit PNG (height, width): 255 where ``mask``, which lies in the box ``roi``, is not 0."""
    rows = np.zeros((mask.shape[0], width), np.uint8)
    rows[:, roi[1]] = (mask != 0) * np.uint8(255)
    return _png(rows, int(roi[0].start), height, _GRAY)


def index_png(values: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """Palette PNG of values (H, W) with colours (256, 3)."""
    held = np.flatnonzero(values.any(axis=1))
    top, bottom = (int(held[0]), int(held[-1]) + 1) if len(held) else (0, 0)
    return _png(values[top:bottom], top, len(values), _PALETTE, png_chunk(b"PLTE", palette.tobytes()))


def _png(rows: NDArray[np.uint8], top: int, height: int, colour: int, extra: bytes = b"") -> bytes:
    """PNG of ``rows`` (n, W) that begin at row ``top``; all others are 0."""
    width = rows.shape[1]
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    lines = np.zeros((len(rows), width + 1), np.uint8)  # a filter byte, 0 for none, before each row
    lines[:, 1:] = rows
    below = height - top - len(rows)
    body = b"".join([b"\x78\x01", _blank(top, width), _deflated(lines.data), _blank(below, width), b"\x03\x00"])
    check = _after_zeros(1, top * (width + 1))
    check = _after_zeros(zlib.adler32(lines.data, check), below * (width + 1))
    data = body + struct.pack(">I", check)
    return PNG_MAGIC + png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def _deflated(data: bytes | memoryview) -> bytes:
    """A part of a raw deflate stream that ends at a byte and does not end the stream."""
    if not len(data):
        return b""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15, 9, _RLE)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


def _blank(rows: int, width: int) -> bytes:
    """Empty rows, from parts of powers of two."""
    return b"".join(_blank_part(1 << bit, width) for bit in range(rows.bit_length()) if rows >> bit & 1)


@lru_cache(maxsize=256)
def _blank_part(rows: int, width: int) -> bytes:
    return _deflated(bytes(rows * (width + 1)))


def _after_zeros(check: int, count: int) -> int:
    """Adler-32 after ``count`` more zero bytes."""
    low, high = check & 0xFFFF, check >> 16
    return (high + count * low) % _MODULUS << 16 | low
