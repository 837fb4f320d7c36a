"""Turning slices of volumes into images of 8 or 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from augforge.sample import Image
from augforge.sources.formats.dicom.pixels import between, to_bits
from augforge.sources.formats.volume.file import Volume
from augforge.sources.formats.volume.grid import Turn


@dataclass(frozen=True, slots=True)
class View:
    """How slices are shown.

    Attributes:
        window: the values that become black and white; None takes the ``percentiles`` of each volume.
        bits: of the image, 8 or 16.
        neighbours: offsets of the slices that become channels; (0,) is gray.
    """

    window: tuple[float, float] | None
    percentiles: tuple[float, float]
    bits: Literal[8, 16]
    neighbours: tuple[int, ...]

    def picture(self, volumes: Sequence[Volume], turn: Turn, number: int) -> Image:
        """The image of a slice, uint8 or uint16: (H, W), or (H, W, 3|4) of its neighbours or of several volumes."""
        shown = [self._gray(volume, turn, number + offset) for volume in volumes for offset in self.neighbours]
        return np.ascontiguousarray(shown[0] if len(shown) == 1 else np.stack(shown, axis=-1))

    def _gray(self, volume: Volume, turn: Turn, number: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """A gray slice; a number outside of the volume gives the slice at its edge. NaN becomes black."""
        low, high = self.window or volume.range(self.percentiles)
        cuts = turn(volume.values)
        cut = volume.real_values(cuts[min(max(number, 0), len(cuts) - 1)])
        return to_bits(between(np.nan_to_num(cut, nan=low, posinf=high, neginf=low), low, high), self.bits)
