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


@dataclass(frozen=True, slots=True)
class Encoding:
    """How images are stored. `str` of it is part of a payload's identity."""

    format: Literal["png", "jpeg"] = "png"
    quality: int = 0

    @classmethod
    def png(cls) -> Encoding:
        return cls()

    @classmethod
    def jpeg(cls, quality: int) -> Encoding:
        return cls("jpeg", quality)

    @property
    def lossless(self) -> bool:
        return self.format == "png"

    def __str__(self) -> str:
        return self.format if self.lossless else f"{self.format}-{self.quality}"

    def encode(self, image: Image) -> bytes:
        """Encode uint8 or uint16 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA. JPEG holds uint8 without alpha only."""
        if not self.lossless and (image.dtype != np.uint8 or image.shape[2:] == (4,)):
            raise ValueError(f"jpeg cannot hold {image.dtype} {image.shape}; set `output.image: png`")
        flags = [] if self.lossless else [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        done, data = cv2.imencode(f".{self.format}", _swap_red_and_blue(image), flags)
        if not done:
            raise ValueError(f"{self.format} could not encode {image.dtype} {image.shape}")
        return data.tobytes()


FINDINGS_VERSION = "2"
"""Of what the ledger keeps of a task, a sample and a shard; goes up when its shape or meaning changes."""


def decode_image(data: bytes | memoryview) -> Image:
    """The image of encoded bytes, RGB order; ValueError if they are damaged."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # no bytes at all, or a size beyond OpenCV's limit
        image = None
    if image is None:
        raise ValueError(f"{len(data)} bytes are no image that OpenCV can decode; the data is damaged")
    return _swap_red_and_blue(image)


def pixel_digest(image: Image, masks: Planes) -> str:
    """128-bit xxHash of decoded pixels: dtype, shape, image, planar bit-planes. Names drift, proves nothing."""
    state = xxhash.xxh3_128(f"{image.dtype}{image.shape}{masks.shape}".encode())
    state.update(np.ascontiguousarray(image).data)
    state.update(bitmask.planar(masks).data)
    return state.hexdigest()


_DECODERS = (
    *("pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pyjpegls", "python-gdcm"),
    *("nibabel", "imagecodecs", "datumaro"),
)
"""Of optional extras: they decide pixels where they are installed."""


def made_by() -> dict[str, str]:
    """Versions of what decides pixels and bytes, and the CPU family: encoded bytes are reused only if they agree."""
    return {
        "findings": FINDINGS_VERSION,
        **{name: version(name) for name in ("albumentations", "pyarrow", "pycocotools", "tifffile")},
        **{name: found for name in _DECODERS if (found := _installed(name))},
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
        "zstandard": zstandard.__version__,
        "cpu": _cpu(),
    }


def _installed(package: str) -> str:
    """Its version; empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    """Machine and the vector features OpenCV dispatches on: resampling differs in the last bit between them."""
    wide = [name for name, feature in _FEATURES.items() if cv2.checkHardwareSupport(feature)]
    return "-".join([platform.machine(), *wide])


_FEATURES = {"avx2": 11, "neon": 100, "avx512": 256}  # numbers of OpenCV's CpuFeatures, which the wheel does not name


def _swap_red_and_blue(image: Image) -> Image:
    """OpenCV's BGR to RGB and back."""
    if image.ndim == 2:
        return image
    code = cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return cv2.cvtColor(image, code)
