"""Colours of masks: the published palettes, and pixels of colour masks as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field

from augforge.errors import SourceError, nearest
from augforge.sample import IGNORE
from augforge.sources.class_lists import VOC
from augforge.sources.raster.masks import check_lossless, palette_in
from augforge.sources.scan.images import decode, parse_header, read_bytes, turn_upright

Colour = tuple[int, int, int]
"""Red, green and blue, each from 0 to 255."""

_VOID = 255
_NO_CLASS = 0
_UNKNOWN = 65535
_MOST_COLOURS = 1000


def _voc_colour(value: int) -> Colour:
    """The colour of a value in Pascal VOC's palette: its bits 0, 1 and 2, 3, 4 and 5, ... are spread, highest first."""
    red, green, blue = (sum((value >> 3 * n + channel & 1) << 7 - n for n in range(8)) for channel in range(3))
    return red, green, blue


_CITYSCAPES: dict[str, Colour] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
    "dynamic": (111, 74, 0),
    "ground": (81, 0, 81),
    "parking": (250, 170, 160),
    "rail track": (230, 150, 140),
    "guard rail": (180, 165, 180),
    "bridge": (150, 100, 100),
    "tunnel": (150, 120, 90),
    "caravan": (0, 0, 90),
    "trailer": (0, 0, 110),
    IGNORE: (0, 0, 0),
}
"""Cityscapes' labels: the 19 of the benchmark in their order, then the others; black is all that is not evaluated.

Groups of poles share their colour with poles, and licence plates with cars.
"""

PALETTES: dict[str, dict[str, Colour]] = {
    "voc": {name: _voc_colour(_VOID if name == IGNORE else value) for value, name in enumerate(VOC, start=1)},
    "cityscapes": _CITYSCAPES,
}
"""Published palettes by name: the colour of each label."""


def _find_palette(value: Any) -> Any:
    if isinstance(value, str):
        if value not in PALETTES:
            raise ValueError(f"no palette is named '{value}'.{nearest(value, PALETTES)}")
        return PALETTES[value]
    return value


def _check_apart(colours: dict[str, Colour]) -> dict[str, Colour]:
    owners: dict[Colour, str] = {}
    for label, colour in colours.items():
        if owners.setdefault(colour, label) != label:
            fact = f"{owners[colour]} and {label} have the same colour {list(colour)}"
            raise ValueError(f"{fact}; give each its own")
    return colours


_Channel = Annotated[int, Field(ge=0, le=255)]
Palette = Annotated[
    dict[str, tuple[_Channel, _Channel, _Channel]], BeforeValidator(_find_palette), AfterValidator(_check_apart)
]
"""The colour of each label, each its own; or the name of a published palette."""


@dataclass(frozen=True)
class ColourTable:
    """The labels of colours.

    Attributes:
        colours: the colour of each label; black is no class unless a label has it.
        tolerance: how far each channel of a pixel may be from its label's colour.
    """

    colours: Mapping[str, Colour]
    tolerance: int = 0

    @property
    def labels(self) -> dict[int, str]:
        """The label of each value that `read` gives, in the order of the labels. Values follow the sorted colours."""
        numbers = {code: number for number, code in enumerate(sorted(map(_code, self.colours.values())), start=1)}
        return {numbers[_code(colour)]: label for label, colour in self.colours.items()}

    @cached_property
    def _known(self) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
        """Codes of all colours, sorted, and their values."""
        codes = sorted(map(_code, self.colours.values()))
        values = list(range(1, len(codes) + 1))
        if 0 not in codes:
            codes, values = [0, *codes], [_NO_CLASS, *values]
        return np.array(codes), np.array(values, np.uint16)

    def read(self, path: Path) -> NDArray[np.uint16]:
        """The values of a colour mask (H, W), upright. Raises SourceError, also for a colour that no label has."""
        data = read_bytes(path)
        header = parse_header(data, path)
        check_lossless(header, path, self.tolerance, "color_tolerance (such as 60)")
        pixels = decode(data, header, path)
        if header.bits != 8:
            raise SourceError(f"{path} has {header.bits} bits a channel; expected colours of 8 bits. Convert it.")
        colours = np.stack([pixels] * 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
        return turn_upright(self._values(colours, path), header.orientation)

    def _values(self, pixels: NDArray[np.uint8], path: Path) -> NDArray[np.uint16]:
        codes, values = self._known
        wide = pixels.astype(np.int64)
        found = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
        at = np.minimum(np.searchsorted(codes, found), len(codes) - 1)
        given = np.where(codes[at] == found, values[at], np.uint16(_UNKNOWN))
        strange = given == _UNKNOWN
        if strange.any():
            given[strange] = self._nearest(found[strange], path)
        return given

    def _nearest(self, found: NDArray[np.int64], path: Path) -> NDArray[np.uint16]:
        """The values of colours that no label has exactly. Raises SourceError for one beyond the tolerance."""
        codes, values = self._known
        colours, which, counts = np.unique(found, return_inverse=True, return_counts=True)
        apart = np.abs(_channels(colours)[:, None] - _channels(codes)[None]).max(axis=2)
        best = apart.argmin(axis=1)
        far = apart.min(axis=1) > self.tolerance
        if far.any():
            worst = int(np.where(far, counts, 0).argmax())
            raise SourceError(self._message(path, counts[far], colours[worst], int(values[best[worst]])))
        nearest: NDArray[np.uint16] = values[best][which.reshape(-1)]
        return nearest

    def _message(self, path: Path, counts: NDArray[np.int64], code: int, value: int) -> str:
        nearest = f"that of {self.labels[value]}" if value else "black, which is no class"
        colour = [int(part) for part in _channels(np.array([code]))[0]]
        return (
            f"{path}: {counts.sum()} pixels have colours of no class ({len(counts)} different), most of them {colour}; "
            f"the nearest colour is {nearest}. Add it to source.colors, correct the mask, or set color_tolerance if "
            "resizing or JPEG mixed the colours."
        )


def colours_in(path: Path) -> set[Colour]:
    """The colours of a picture of three channels or more, of 8 bits; nothing for gray, palettes and other files."""
    data = read_bytes(path)
    pixels = decode(data, parse_header(data, path), path)
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or palette_in(path) is not None:
        return set()
    wide = pixels.astype(np.int64)
    codes = np.unique(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2])
    return {(int(red), int(green), int(blue)) for red, green, blue in _channels(codes[:_MOST_COLOURS])}


def _code(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _channels(codes: NDArray[Any]) -> NDArray[np.int64]:
    """Red, green and blue (N, 3) of codes (N,)."""
    return np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=1).astype(np.int64)
