"""Reading idx files, in which MNIST and its relatives are distributed.

Format: "THE IDX FILE FORMAT" of the MNIST database's page: two zeros, the type (8 is uint8), the number of dimensions,
each dimension as a big-endian 32-bit number, then the values, the last dimension fastest.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.sources.scan.images import MAX_PIXELS, read_bytes

_BYTES = 8
_MOST = 16 * MAX_PIXELS
"""Bytes of the largest array that is read."""


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of an idx file, compressed by gzip or not. Raises SourceError naming the file.

    Args:
        path: the file.
        dimensions: how many it has to have: 3 for images (N, H, W), 1 for labels (N,).
    """
    data = _unpack(path)
    shape: tuple[int, ...] = ()
    if data[:4] == bytes([0, 0, _BYTES, dimensions]) and len(data) >= 4 + 4 * dimensions:
        shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
    size = int(np.prod(shape, dtype=object)) if shape else -1
    if size != len(data) - 4 - 4 * dimensions:
        fact = f"its header says {'x'.join(map(str, shape))} bytes" if shape else f"it begins with {data[:4].hex()}"
        raise SourceError(
            f"{path} is no whole idx file of bytes with {dimensions} dimensions: {fact}, and {len(data)} bytes are "
            "there. Copy it again from the original."
        )
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _unpack(path: Path) -> bytes:
    data = read_bytes(path)
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.open(path) as stream:
            unpacked = stream.read(_MOST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path} is no whole gzip file: {error}. Copy it again from the original.") from error
    if len(unpacked) > _MOST:
        raise SourceError(f"{path} holds more than {_MOST} bytes, the most that is read. Cut it into parts.")
    return unpacked
