"""Prepare a radiograph for the metal filter: shrunk, cut to the body, gray values from air to the body's brightest."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.ops.filters.metal_body import Flags, Gray, find_body
from augforge.sample import Image

SIDE = 1024
"""Pixels of the longer side of the image in which regions are measured; smaller images stay as they are."""
COARSE = 384
"""The same for a second, coarse view: large regions in images that are blurred or sharpened, such as dental ones."""
OUT = 10
"""Pixels that are kept around the body."""


@dataclass(frozen=True)
class View:
    """A prepared image, cut to the body.

    Attributes:
        gray: 0 (air) to 255 (the body's brightest).
        body: where the body is.
        scale: pixels of the image per pixel.
        left, top: where the cut lies, in pixels of the shrunk image.
        whole: width and height of the shrunk image.
        noise: standard deviation of the gray values' grain.
    """

    gray: Gray
    body: Flags
    scale: float
    left: int
    top: int
    whole: tuple[int, int]
    noise: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the cut."""
        return self.gray.shape[1], self.gray.shape[0]

    @property
    def pixels(self) -> int:
        """Pixels of the whole shrunk image."""
        return self.whole[0] * self.whole[1]


def views_of(image: Image, anatomy: Flags | None = None) -> list[View]:
    """The views in which metal is sought: a fine one, and a coarse one if the image is large enough."""
    gray = cv2.medianBlur(_shrink_to_gray(image), 3)
    height, width = gray.shape
    shares = np.cumsum(_histogram(gray)) / gray.size
    low, high = (int(np.searchsorted(shares, share)) for share in (0.005, 0.995))
    found = find_body(_stretch(gray, low, high))
    body = found.body
    if anatomy is not None:
        body = body | resize_mask(anatomy, width, height)
    if not body.any():
        body[:] = 1
    scale = max(image.shape[:2]) / max(height, width)
    views = [_cut_view(gray, low, body, found.white, scale, gray)]
    if max(height, width) >= 1.5 * COARSE:
        ratio = COARSE / max(height, width)
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        small = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), gray.dtype)
        firm = cv2.erode(small, np.ones((5, 5), np.uint8))
        views.append(
            _cut_view(small, low, resize_mask(body, *size), resize_mask(found.white, *size), scale / ratio, firm)
        )
    return views


def resize_mask(part: Flags, width: int, height: int) -> Flags:
    """A mask at another size."""
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _cut_view(gray: Image, low: int, body: Flags, white: Flags, scale: float, brightness: Image) -> View:
    """Cut to the body and stretch the gray values up to the body's highest in `brightness`."""
    brightest = _brightest(_histogram(brightness, body), max(4, int(1e-5 * gray.size)))
    x, y, across, down = cv2.boundingRect(body)
    left, top = max(0, x - OUT), max(0, y - OUT)
    cut = (slice(top, y + down + OUT), slice(left, x + across + OUT))
    ready = _stretch(gray[cut], low, max(brightest, low + 1))
    ready[white[cut] > 0] = 0
    body = np.ascontiguousarray(body[cut])
    return View(ready, body, scale, left, top, (gray.shape[1], gray.shape[0]), _noise(ready, body))


def _noise(gray: Gray, body: Flags) -> float:
    """Standard deviation of the grain on the body, from the median deviation, which edges hardly change."""
    part = (slice(None, None, 3), slice(None, None, 3))
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.5)
    grain = np.abs(gray[part] - smooth[part])[body[part] > 0]
    return 1.48 * float(np.median(grain)) if grain.size else 0.0


def _shrink_to_gray(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY)


def _histogram(gray: Image, mask: Flags | None = None) -> NDArray[np.float32]:
    bins = np.iinfo(gray.dtype).max + 1
    return np.asarray(cv2.calcHist([gray], [0], mask, [bins], [0, bins]).ravel(), np.float32)


def _brightest(counts: NDArray[np.float32], pixels: int) -> int:
    """The gray value that this many pixels reach."""
    above = np.cumsum(counts[::-1])
    return len(counts) - 1 - int(np.searchsorted(above, min(pixels, above[-1])))


def _stretch(gray: Image, low: int, high: int) -> Gray:
    table = (np.arange(np.iinfo(gray.dtype).max + 1, dtype=np.float32) - low) * (255 / max(high - low, 1))
    return np.asarray(np.clip(np.rint(table), 0, 255).astype(np.uint8)[gray])
