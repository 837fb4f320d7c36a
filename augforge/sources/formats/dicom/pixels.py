"""From the stored values of a DICOM frame to the image that a viewer shows.

The steps are those of the standard's grayscale pipeline (PS3.4 N.2): modality rescale, value-of-interest window, and
inversion of MONOCHROME1, so that large values are bright. Colours become RGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.sample import Image
from augforge.sources.formats.dicom.file import DicomFile
from augforge.sources.scan.parsing import parsing

Window = Literal["file", "data", "full"] | tuple[float, float]


@dataclass(frozen=True, slots=True)
class View:
    """How a frame is shown.

    Attributes:
        window: ``file``: the file's own lookup table or window, or ``data`` if it has none; ``data``: from the file's
            least to its greatest value; ``full``: all values that its bits can hold; or centre and width, after
            rescaling.
        bits: of the image, 8 or 16.
    """

    window: Window
    bits: Literal[8, 16]

    def picture(self, file: DicomFile, frame: int) -> Image:
        """The image of a frame: uint8 or uint16, (H, W) or (H, W, 3) RGB. Raises SourceError naming the file."""
        stored = file.stored(frame)
        if stored.ndim == 3:
            return to_bits(between(stored, 0, _colour_range(file, stored)), self.bits)
        with parsing(file.path, "DICOM"):
            shown = self._brightness(file, frame, stored)
        return to_bits(1 - shown if file.photometric == "MONOCHROME1" else shown, self.bits)

    def _brightness(self, file: DicomFile, frame: int, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Brightness of each pixel, 0 to 1."""
        values = file.modality(frame, stored)
        if isinstance(self.window, tuple):
            return linear(values, *self.window)
        if self.window == "full":
            return between(values, *_full_range(file, frame))
        own = _own_window(file, frame, values) if self.window == "file" else None
        return between(values, *file.least_and_greatest) if own is None else own


def to_bits(brightness: NDArray[np.floating[Any]], bits: int) -> Image:
    """Brightness 0 to 1 as uint8 or uint16, rounded."""
    pixels: Image = np.rint(brightness * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    return pixels


def between(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    """Values scaled so that low is 0 and high is 1, clipped; all 0 if the two are equal."""
    return np.clip((values - float(low)) / ((high - low) or np.inf), 0, 1)


# ---- windows ---------------------------------------------------------------------------------------------------------


def linear(values: NDArray[Any], center: float, width: float) -> NDArray[np.float64]:
    """Brightness by the window function LINEAR (PS3.3 C.11.2.1.2.1)."""
    low = center - 0.5 - (width - 1) / 2
    return between(values, low, low + max(width - 1, 1e-6))


def linear_exact(values: NDArray[Any], center: float, width: float) -> NDArray[np.float64]:
    """Brightness by the window function LINEAR_EXACT (PS3.3 C.11.2.1.3.2)."""
    return between(values, center - width / 2, center + width / 2)


def sigmoid(values: NDArray[Any], center: float, width: float) -> NDArray[np.float64]:
    """Brightness by the window function SIGMOID (PS3.3 C.11.2.1.3.1)."""
    return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))


_FUNCTIONS = {"LINEAR": linear, "LINEAR_EXACT": linear_exact, "SIGMOID": sigmoid}


def _own_window(file: DicomFile, frame: int, values: NDArray[Any]) -> NDArray[np.float64] | None:
    """Brightness by the file's first lookup table or window; None if it has neither, or a window without width."""
    holder = file.described(frame, "FrameVOILUTSequence")
    if holder.get("VOILUTSequence"):
        found, depth = file.looked_up(values, holder.VOILUTSequence)
        return between(found, 0, 2**depth - 1)
    center, width = _first_number(holder.get("WindowCenter")), _first_number(holder.get("WindowWidth"))
    if center is None or width is None or not width > 0:
        return None
    name = str(holder.get("VOILUTFunction") or "LINEAR").upper()
    if name not in _FUNCTIONS:
        raise SourceError(
            f"{file.path} names the window function {name}; expected {', '.join(_FUNCTIONS)}. Choose what is "
            "shown: set source.window to data, full or [center, width]."
        )
    return _FUNCTIONS[name](values, center, width)


def _first_number(value: Any) -> float | None:
    """The first of a tag's numbers, or None."""
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, int | float) else _first_number(next(iter(value), None))


def _full_range(file: DicomFile, frame: int) -> tuple[float, float]:
    bits, signed = int(file.dataset.BitsStored), bool(file.dataset.PixelRepresentation)
    least = -(1 << bits - 1) if signed else 0
    ends = file.modality(frame, np.array([least, least + (1 << bits) - 1], np.int64))
    return float(ends.min()), float(ends.max())


def _colour_range(file: DicomFile, stored: NDArray[Any]) -> int:
    """The greatest value that a colour channel can have."""
    own = file.photometric != "PALETTE COLOR"
    return int(2 ** int(file.dataset.BitsStored) - 1) if own else int(np.iinfo(stored.dtype).max)
