"""Pixels to bytes and back, and the digest of decoded pixels."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import cv2
import numpy as np
import PIL
import xxhash
import zstandard

from augforge import bitmask
from augforge.bitmask import Planes
from augforge.sample import Image
from augforge.store.png import decode_png, encode_png


@dataclass(frozen=True, slots=True)
class Encoding:
    """How images are stored. Its text, ``png``, ``keep`` or ``jpeg-95``, is part of a payload's identity."""

    format: Literal["png", "jpeg", "keep"] = "png"
    quality: int = 0

    @classmethod
    def png(cls) -> Encoding:
        """PNG, as `augforge.store.png` writes it."""
        return cls()

    @classmethod
    def keep(cls) -> Encoding:
        """The bytes of a source's own file where they are the image, else PNG."""
        return cls("keep")

    @classmethod
    def jpeg(cls, quality: int) -> Encoding:
        """JPEG of a quality from 1 to 100."""
        return cls("jpeg", quality)

    @property
    def lossless(self) -> bool:
        """Whether decoding gives the same pixels back."""
        return self.format != "jpeg"

    def __str__(self) -> str:
        return self.format if self.lossless else f"{self.format}-{self.quality}"

    def encode(self, image: Image) -> bytes:
        """Encode an image: uint8 or uint16, (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.

        ValueError for JPEG of 16 bits or with alpha, which it cannot hold, or if OpenCV fails.
        """
        if self.lossless:
            return encode_png(image)
        if image.dtype != np.uint8 or image.shape[2:] == (4,):
            raise ValueError(f"jpeg cannot hold {image.dtype} {image.shape}; set `output.image: png`")
        flags = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        done, data = cv2.imencode(".jpeg", _swap_red_and_blue(image), flags)
        if not done:
            raise ValueError(f"{self.format} could not encode {image.dtype} {image.shape}")
        return data.tobytes()


FINDINGS_VERSION = "2"
"""Version of the ledger's entries about tasks, samples and shards. Raise it when their form or meaning changes."""


def decode_image(data: bytes | memoryview, size: tuple[int, int] | None = None) -> Image:
    """Decode PNG or JPEG bytes to uint8 or uint16, (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.

    Args:
        data: the bytes.
        size: height and width that are expected.

    Raises:
        ValueError: the data is damaged or, which is seen before anything is decoded, of another size.
    """
    if size is not None:
        check_image_size(data, *size)
    plain = decode_png(data)
    if plain is not None:
        return plain
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # no bytes at all, or a size beyond OpenCV's limit
        image = None
    if image is None:
        raise ValueError(f"{len(data)} bytes are no image that OpenCV can decode; the data is damaged")
    return _swap_red_and_blue(image)


def check_image_size(data: bytes | memoryview, height: int, width: int) -> None:
    """Raise ValueError unless bytes are PNG or JPEG of this size by their header: nothing larger is to be allocated."""
    find_size = {b"\x89PN": _png_size, b"\xff\xd8\xff": _jpeg_size}.get(bytes(data[:3]))
    found = None if find_size is None else find_size(data)
    if found is None:
        raise ValueError(f"{len(data)} bytes are no image that OpenCV can decode; the data is damaged")
    if found != (height, width):
        raise ValueError(f"the image's header says {found[1]}x{found[0]} pixels, the index {width}x{height}")


def _png_size(data: bytes | memoryview) -> tuple[int, int]:
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")


def _jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Height and width from the frame's header; None if there is none."""
    at = 2
    while at + 9 <= len(data) and data[at] == _MARKER:
        kind = data[at + 1]
        if kind in _JPEG_FRAMES:
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
        at += 1 if kind == _MARKER else 2 + int.from_bytes(data[at + 2 : at + 4], "big")  # 0xff may be repeated
    return None


_MARKER = 0xFF
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def pixel_digest(image: Image, masks: Planes) -> str:
    """128-bit xxHash of dtype, shapes, image and planar bit-planes, 32 hexadecimal digits.

    It shows when libraries decode the same bytes to other pixels; it is no proof against forgery.
    """
    state = xxhash.xxh3_128(f"{image.dtype}{image.shape}{masks.shape}".encode())
    state.update(np.ascontiguousarray(image).data)
    state.update(bitmask.planar(masks).data)
    return state.hexdigest()


_DECODERS = (
    *("pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pyjpegls", "python-gdcm"),
    *("nibabel", "imagecodecs", "datumaro"),
)
"""Packages of optional extras: if they are installed, pixels depend on them."""


def library_versions() -> dict[str, str]:
    """Versions of all packages that decide pixels and bytes, and the CPU family, by name.

    Encoded bytes of earlier builds are reused only if these are equal.
    """
    return {
        "findings": FINDINGS_VERSION,
        **{name: version(name) for name in ("albumentations", "pyarrow", "pycocotools", "tifffile")},
        **{name: found for name in _DECODERS if (found := _version_or_empty(name))},
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
        "zlib-ng": version("zlib-ng"),
        "zstandard": zstandard.__version__,
        "cpu": _cpu(),
    }


def _version_or_empty(package: str) -> str:
    """The version of an installed package, or empty text."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    """Machine and the vector features that OpenCV chooses code by: its resampling differs in the last bit by them."""
    wide = [name for name, feature in _FEATURES.items() if cv2.checkHardwareSupport(feature)]
    return "-".join([platform.machine(), *wide])


# Numbers in OpenCV's enum CpuFeatures, which the wheel does not export.
_FEATURES = {"avx2": 11, "neon": 100, "avx512": 256}


def _swap_red_and_blue(image: Image) -> Image:
    """OpenCV's BGR to RGB and back."""
    if image.ndim == 2:
        return image
    code = cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return cv2.cvtColor(image, code)
