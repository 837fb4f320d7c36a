"""Headers of BMP, WebP and TIFF files; those of PNG and JPEG are read in `augforge.sources.scan.images`.

None of the three formats has checksums: a truncated file is detected here, but damage inside the pixels may show only
when they are decoded.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augforge.errors import SourceError

TIFF_PLAIN = frozenset({1, 8, 32773, 32946})
"""TIFF compressions that tifffile reads without further packages: none, deflate, PackBits."""

_TIFF_DEFLATE = frozenset({8, 32946})
_TIFF_LZW = 5  # cv2 reads it
_TIFF_TILE = 1 << 28  # pixels that a tile may have


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image file; width and height are those before the image is turned upright.

    Attributes:
        width, height: pixels as stored.
        channels: 1, 3 or 4.
        bits: 8 or 16 per channel.
        orientation: EXIF, 1 to 8; 1 is upright.
        kind: of file: png, jpeg, bmp, webp or tiff.
    """

    width: int
    height: int
    channels: int
    bits: int
    orientation: int = 1
    kind: str = "png"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright image."""
        return (self.height, self.width) if self.orientation > 4 else (self.width, self.height)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of the array of pixels: (H, W), or (H, W, channels)."""
        return (self.height, self.width) if self.channels == 1 else (self.height, self.width, self.channels)


def damaged_error(path: Path, fact: str) -> SourceError:
    """The error for a file that is truncated or corrupted."""
    return SourceError(f"{path} is damaged: {fact}; expected a whole image file. Copy it again from the original.")


def conversion_error(path: Path, fact: str, remedy: str) -> SourceError:
    """The error for an image that has to be converted first, because how to do that is the user's decision."""
    return SourceError(
        f"{path} {fact}; expected gray, RGB or RGBA of 8 or 16 bits. {remedy}: convert it to PNG that way."
    )


def exif_orientation(exif: bytes) -> int:
    """EXIF orientation 1 to 8; 1 if it is missing or invalid."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    (start,) = struct.unpack_from(order + "I", exif, 4)
    if start + 2 > len(exif):
        return 1
    (count,) = struct.unpack_from(order + "H", exif, start)
    for at in range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, at)
        if (tag, kind) == (0x0112, 3):
            return value if 1 <= value <= 8 else 1
    return 1


# ---- BMP -------------------------------------------------------------------------------------------------------------


def bmp_header(data: bytes, path: Path) -> Header:
    """Header of an uncompressed BMP: 1, 4 or 8 bits with a palette (gray if all its colours are), or 24 bits."""
    if len(data) < 54:
        raise damaged_error(path, f"the BMP ends at byte {len(data)}, inside its header")
    start, size, width, height, _, bits, packing = struct.unpack_from("<IIiiHHI", data, 10)
    if size < 40 or bits not in (1, 4, 8, 24) or packing:
        fact = f"is a BMP of {bits} bits, header {size}, compression {packing}"
        raise conversion_error(path, fact, "An alpha channel, bit fields or an old kind has to be decided on")
    rows = (width * bits + 31) // 32 * 4 * abs(height)
    if width <= 0 or start + rows > len(data):
        raise damaged_error(path, f"the BMP of {width}x{height} pixels has {len(data)} bytes, not {start + rows}")
    return Header(width, abs(height), 3 if bits == 24 else _palette_channels(data, size, bits), 8, kind="bmp")


def _palette_channels(data: bytes, size: int, bits: int) -> int:
    (used,) = struct.unpack_from("<I", data, 46)
    colours = data[14 + size : 14 + size + 4 * min(used or 1 << bits, 1 << bits)]
    return 1 if colours[0::4] == colours[1::4] == colours[2::4] else 3


# ---- WebP ------------------------------------------------------------------------------------------------------------


def webp_header(data: bytes, path: Path) -> Header:
    """Header of a still WebP: RGB, or RGBA if it has alpha."""
    chunks = dict(reversed(list(_webp_chunks(data, path))))
    extended = bytes(chunks.get(b"VP8X", b""))
    if len(extended) >= 10 and extended[0] & 2:
        raise conversion_error(path, "is an animated WebP", "Take its frames apart")
    width, height, alpha = _webp_pixels(chunks, path)
    alpha = bool(extended[0] & 16) if len(extended) >= 10 else alpha
    exif = bytes(chunks.get(b"EXIF", b"")).removeprefix(b"Exif\0\0")
    return Header(width, height, 4 if alpha else 3, 8, exif_orientation(exif), "webp")


def _webp_chunks(data: bytes, path: Path) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and body of each chunk."""
    view, at = memoryview(data), 12
    end = 8 + int.from_bytes(data[4:8], "little")
    while at < end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > len(data):
            raise damaged_error(path, f"the WebP ends at byte {len(data)}, inside a chunk")
        yield kind, view[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _webp_pixels(chunks: dict[bytes, memoryview], path: Path) -> tuple[int, int, bool]:
    lossless, lossy = bytes(chunks.get(b"VP8L", b"")[:5]), bytes(chunks.get(b"VP8 ", b"")[:10])
    if len(lossless) == 5:
        bits = int.from_bytes(lossless[1:], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    if len(lossy) == 10:
        width, height = struct.unpack_from("<HH", lossy, 6)
        return width & 0x3FFF, height & 0x3FFF, False
    raise damaged_error(path, "the WebP has no pixels")


# ---- TIFF ------------------------------------------------------------------------------------------------------------


def tiff_header(data: bytes, path: Path) -> Header:
    """Header of a TIFF of one page: gray (0 is black), RGB or RGBA; none, deflate, PackBits or LZW compression."""
    with _TiffPage(data, path) as page:
        shape = (page.imagelength, page.imagewidth) + ((page.samplesperpixel,) if page.samplesperpixel > 1 else ())
        if page.photometric not in (1, 2) or (len(shape) == 3 and shape[2] not in (3, 4)) or page.imagedepth != 1:
            fact = f"is a TIFF of {page.samplesperpixel} channels, {getattr(page.photometric, 'name', '?')}"
            raise conversion_error(
                path, fact, "Its colours have to be decided on (invert MINISWHITE, apply the palette)"
            )
        if page.dtype not in ("uint8", "uint16") or page.bitspersample not in (8, 16):
            fact = f"is a TIFF of {page.bitspersample} bits, {page.dtype}"
            raise conversion_error(
                path, fact, "Float, signed, 1-bit and 32-bit values have to be scaled to 16 bits first"
            )
        if page.compression not in {*TIFF_PLAIN, _TIFF_LZW}:
            fact = f"is a TIFF compressed by {getattr(page.compression, 'name', '?')}"
            raise conversion_error(path, fact, "Such a file is read by other programs")
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if not ends or max(ends) > len(data):
            raise damaged_error(path, f"the TIFF ends at byte {len(data)}, before its pixels do")
        turned = page.tags.get(274)
        orientation = turned.value if turned is not None and turned.value in range(1, 9) else 1
        channels = shape[2] if len(shape) == 3 else 1
        return Header(shape[1], shape[0], channels, page.bitspersample, int(orientation), "tiff")


def tiff_pixels(data: bytes, path: Path) -> Any:
    """The pixels, (H, W) or (H, W, channels) RGB; None for LZW, which tifffile cannot read without further packages."""
    with _TiffPage(data, path) as page:
        if page.compression == _TIFF_LZW:
            return None
        places = zip(page.dataoffsets, page.databytecounts, strict=True)
        check_inflated(page, (data[start : start + count] for start, count in places), path)
        pixels = page.asarray()
        return pixels.transpose(1, 2, 0) if pixels.ndim == 3 and page.planarconfig == 2 else pixels


def check_inflated(page: Any, parts: Iterable[bytes], path: Path) -> None:
    """Raise SourceError if a part of the pixels unpacks to more than the header says: tifffile would unpack it all.

    Args:
        page: tifffile's page, or one that represents all pages of a stack.
        parts: strips or tiles, as they are stored.
        path: for the error.
    """
    if page.compression not in _TIFF_DEFLATE:
        return
    tile = min(math.prod(page.chunks), _TIFF_TILE) if page.is_tiled else 0  # it may reach over the edge
    most = max(page.nbytes, tile * page.dtype.itemsize)
    for part in parts:
        if len(zlib.decompressobj().decompress(part, most + 1)) > most:
            raise damaged_error(path, f"its pixels unpack to more than the {most} bytes that its header tells")


class _TiffPage:
    """Context manager for the only page of a TIFF; what tifffile raises inside becomes a SourceError."""

    def __init__(self, data: bytes, path: Path) -> None:
        self._data, self._path = data, path

    def __enter__(self) -> Any:
        import tifffile  # a quarter of a second that other files do not need

        try:
            pages = tifffile.TiffFile(io.BytesIO(self._data)).pages
            count = len(pages)
            page = pages[0] if count else None
        except Exception as error:  # tifffile raises what its parsers raise
            raise damaged_error(self._path, f"the TIFF cannot be read ({type(error).__name__}: {error})") from error
        if page is None or count > 1:
            raise SourceError(
                f"{self._path} is a TIFF of {count} pages; expected one. Read it as a stack (format: volume), or save "
                "the page that counts."
            )
        return page

    def __exit__(self, kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, SourceError):
            raise damaged_error(self._path, f"the TIFF cannot be read ({type(error).__name__}: {error})") from error
