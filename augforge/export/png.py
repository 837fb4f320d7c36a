"""Masks as PNG, many times faster than a general encoder, which compresses rows without the class every time.

A deflate stream may be concatenated from parts that do not refer to each other, and the checksum of zeros can be
computed without reading them. So the empty rows above and below a class come from a cache, and only its own are
compressed.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from augforge.store.png import PNG_MAGIC, png_chunk

_GRAY, _PALETTE = 0, 3
_MODULUS = 65521  # of Adler-32
_RLE = zlib.Z_RLE  # masks consist of runs: half as large as with the default strategy, at the same speed


def mask_png(mask: NDArray[np.uint8], roi: tuple[slice, slice], height: int, width: int) -> bytes:
    """Gray 8-bit PNG (height, width): 255 where ``mask``, uint8 of the shape of the box ``roi``, is not 0."""
    rows = np.zeros((mask.shape[0], width), np.uint8)
    rows[:, roi[1]] = (mask != 0) * np.uint8(255)
    return _png(rows, int(roi[0].start), height, _GRAY)


def index_png(values: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """Palette PNG of uint8 values (H, W) with colours, uint8 (256, 3)."""
    used = np.flatnonzero(values.any(axis=1))
    top, bottom = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
    return _png(values[top:bottom], top, len(values), _PALETTE, png_chunk(b"PLTE", palette.tobytes()))


def _png(rows: NDArray[np.uint8], top: int, height: int, colour: int, extra: bytes = b"") -> bytes:
    """PNG whose rows from ``top`` on are ``rows``, uint8 (n, W), and all others 0."""
    width = rows.shape[1]
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    lines = np.zeros((len(rows), width + 1), np.uint8)  # a filter byte, 0 for none, before each row
    lines[:, 1:] = rows
    below = height - top - len(rows)
    body = b"".join(
        [b"\x78\x01", _blank_rows(top, width), _deflate(lines.data), _blank_rows(below, width), b"\x03\x00"]
    )
    check = _adler32_after_zeros(1, top * (width + 1))
    check = _adler32_after_zeros(zlib.adler32(lines.data, check), below * (width + 1))
    data = body + struct.pack(">I", check)
    return PNG_MAGIC + png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def _deflate(data: bytes | memoryview) -> bytes:
    """Data as a part of a raw deflate stream, ending at a byte boundary, after which other parts may follow."""
    if not len(data):
        return b""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15, 9, _RLE)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


def _blank_rows(rows: int, width: int) -> bytes:
    """Compressed empty rows, concatenated from blocks of 1, 2, 4, ... rows, so that few blocks serve all heights."""
    return b"".join(_blank_block(1 << bit, width) for bit in range(rows.bit_length()) if rows >> bit & 1)


@lru_cache(maxsize=256)
def _blank_block(rows: int, width: int) -> bytes:
    return _deflate(bytes(rows * (width + 1)))


def _adler32_after_zeros(check: int, count: int) -> int:
    """Adler-32 after ``count`` more zero bytes."""
    low, high = check & 0xFFFF, check >> 16
    return (high + count * low) % _MODULUS << 16 | low
