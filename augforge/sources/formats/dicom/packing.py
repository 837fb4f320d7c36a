"""Checking how pixels are compressed in DICOM files, before they are decoded."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from augforge.errors import SourceError
from augforge.sources.scan.headers import damaged_error

MAX_INFLATED = 1 << 29
"""Most bytes that a deflated file may unpack to: 512 MiB."""

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META = 132 + 12
"""Where the file meta information begins, after the element with its length."""

_JPEG_FRAMES = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}


def check_inflated(data: bytes, path: Path) -> None:
    """Raise SourceError for a deflated file (PS3.5 A.5) that is too large, or lacks the length of its head."""
    has_length = data[132:140] == b"\2\0\0\0UL\4\0"
    end = _META + int.from_bytes(data[_META - 4 : _META], "little") if has_length else 4096
    if _DEFLATED not in data[:end]:
        return
    if not has_length:
        raise damaged_error(path, "it is deflated, and its meta information has no length")
    unpacker, held, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, data[end:]
    while rest and not unpacker.eof:
        held += len(unpacker.decompress(rest, 1 << 20))
        rest = unpacker.unconsumed_tail
        if held > MAX_INFLATED:
            raise SourceError(
                f"{path} unpacks to more than {MAX_INFLATED} bytes; so much is not read of a deflated file. Save it "
                "with plain pixels, or remove it."
            )


def check_frames(dataset: Any, path: Path, frames: int) -> None:
    """Raise SourceError unless encapsulated pixels are ``frames`` frames of the size in the header."""
    count, size = 0, (int(dataset.Columns), int(dataset.Rows))
    for number, stream in enumerate(_codestreams(dataset, frames)):
        own = _jpeg_size(stream) if stream[:2] == b"\xff\xd8" else _jpeg2000_size(stream)
        if own is not None and own != size:
            raise damaged_error(
                path, f"frame {number} holds {own[0]}x{own[1]} pixels, its header says {size[0]}x{size[1]}"
            )
        count += 1
    if count != frames:
        raise damaged_error(path, f"it holds {count} frames, its header says {frames}")


def _codestreams(dataset: Any, frames: int) -> Iterator[bytes]:
    from pydicom.encaps import generate_frames

    offsets, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    extended = (offsets, lengths) if offsets and lengths else None
    return generate_frames(dataset.PixelData, number_of_frames=frames, extended_offsets=extended)


def _jpeg_size(stream: bytes) -> tuple[int, int] | None:
    """Width and height by the frame header of JPEG or JPEG-LS; None if it is not found or leaves the size open."""
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker in _JPEG_FRAMES:
            height, width = (int.from_bytes(stream[i : i + 2], "big") for i in (at + 5, at + 7))
            return (width, height) if height and width else None
        at += 1 if marker == 0xFF else 2 + length
    return None


def _jpeg2000_size(stream: bytes) -> tuple[int, int] | None:
    """Width and height by the SIZ segment (ISO/IEC 15444-1 A.5.1); None if there is none."""
    at = stream.find(b"\xff\x4f\xff\x51")
    if not 0 <= at <= len(stream) - 24:
        return None
    right, bottom, left, top = (int.from_bytes(stream[i : i + 4], "big") for i in range(at + 8, at + 24, 4))
    return right - left, bottom - top
