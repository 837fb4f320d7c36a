"""How the pixels of an index mask become values that name labels: as stored, by colours, or as one class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sources.plausibility.classes import is_ground
from augforge.sources.raster.mask_looks import MOST, shows_zero_white
from augforge.sources.raster.masks import palette_in, read_mask, read_values
from augforge.sources.raster.palettes import ColourTable
from augforge.sources.raster.values import distinct, histogram
from augforge.sources.scan.scanning import Scan

VALUE_FACTS = "values@3"
"""The kind of `MaskReader.facts` in a file cache; renamed when it changes."""

_MOST_VALUES = 1000
_FEW, _HALF = 4, 0.5
_BRIGHT, _CROPPED = 64, 512
"""Of masks with smaller values, which are mostly those of classes, a crop of so many pixels is searched for edges."""


GREY_HINT = " It has grey levels along edges, as after resizing: if it has one class, set 'threshold: 127'."


@dataclass(frozen=True)
class MaskReader:
    """Reads masks as values.

    Attributes:
        colours: the labels of colours, or None if the stored values count.
        threshold: masks have one class, value 1: what is above the threshold; None leaves the values as they are.
        instances: masks number objects of one class, value 1: every value but the background.
        background: the value of no object, if ``instances``.
    """

    colours: ColourTable | None = None
    threshold: int | None = None
    instances: bool = False
    background: int | None = 0

    def read(self, path: Path) -> NDArray[Any]:
        """The values (H, W) of a mask, upright. Raises SourceError naming the file."""
        if self.colours is not None:
            return self.colours.read(path)
        if self.threshold is not None:
            return read_mask(path, self.threshold).astype(np.uint8)
        values = read_values(path)
        return (values != (self.background or 0)).astype(np.uint8) if self.instances else values

    @property
    def kind(self) -> str:
        """What the cache calls `facts`: it names everything besides the file that decides the result."""
        if self == MaskReader():
            return VALUE_FACTS
        colours = None if self.colours is None else [sorted(self.colours.colours.items()), self.colours.tolerance]
        return f"{VALUE_FACTS} {digest(colours, self.threshold, self.instances, self.background)}"

    def facts(self, path: Path) -> dict[str, Any]:
        """Facts of a mask for the listing, JSON-like.

        Size, the ``values`` that occur, how many of them are ``blended``, the value and share of a ``ground`` that has
        the whole border, whether a palette shows value 0 ``white``, and a digest of the pixels.
        """
        values = self.read(path)
        if len(found := distinct(values)) > _MOST_VALUES:
            raise SourceError(
                f"{path} holds {len(found)} values; expected one for each class. If it numbers the objects of a class, "
                "set 'instances: true'; if it is an image, correct source.masks."
            )
        pixels = hashlib.sha256(np.ascontiguousarray(values, "<u2").tobytes()).hexdigest()
        return {
            "size": [values.shape[1], values.shape[0]],
            "values": found,
            "blended": _count_blended(values if found[-1] >= _BRIGHT else _centre(values)) if len(found) > _FEW else 0,
            "ground": _ground(values),
            "white": self.colours is None and _shows_zero_white(path, found),
            "content": digest(pixels),
        }


def _ground(values: NDArray[Any]) -> list[float]:
    """The value that the whole border has, and its share of all pixels; nothing if there is none."""
    value = values[0, 0]
    framed = (values[[0, -1]] == value).all() and (values[:, [0, -1]] == value).all()
    return [int(value), round(np.count_nonzero(values == value) / values.size, 3)] if framed else []


def _shows_zero_white(path: Path, values: list[int]) -> bool:
    palette = palette_in(path)
    return palette is not None and shows_zero_white(palette, values)


def _centre(values: NDArray[Any]) -> NDArray[Any]:
    """The middle of a mask, of `_CROPPED` pixels a side at most."""
    top, left = (max(0, (side - _CROPPED) // 2) for side in values.shape)
    return values[top : top + _CROPPED, left : left + _CROPPED]


def _count_blended(values: NDArray[Any]) -> int:
    """The number of values of which most pixels have smaller and larger ones around them, as at resized edges."""
    cross = np.ones((3, 3), np.uint8)
    between = (values > cv2.erode(values, cross)) & (values < cv2.dilate(values, cross))
    edge, everywhere = histogram(values[between]), histogram(values)
    return int(np.count_nonzero(2 * edge > everywhere[: len(edge)]))


def report_grounds(scan: Scan, masks: Mapping[str, Mapping[str, Any]], names: Mapping[str, str | None]) -> None:
    """Report findings about the grounds of index masks: classes that fill them, and a ground shown dark.

    Args:
        scan: gets the findings.
        masks: `MaskReader.facts` of each mask by its place.
        names: the class of each value.
    """
    white = [place for place, fact in masks.items() if fact["white"]]
    if white and "0" not in names:
        scan.find(
            "palette with white first",
            f"{len(white)} of {len(masks)} masks, such as {white[0]}, show value 0 white and the others dark, but "
            "value 0 is the background",
            "if the objects are white, name both values: 'values: {0: NAME}' and 'background: 1'",
            white,
        )
    filled = [place for place, fact in masks.items() if fact["ground"] and fact["ground"][1] > _HALF]
    classes = {names.get(str(masks[place]["ground"][0])) for place in filled}
    if len(filled) < MOST * len(masks) or len(classes) != 1 or (class_ := classes.pop()) is None or is_ground(class_):
        return
    scan.find(
        "class fills its masks",
        f"{class_} covers the whole border of {len(filled)} of {len(masks)} masks, such as {filled[0]}, and more than "
        "half of their pixels",
        "if it is the ground, set 'background' to its value, or leave its label out by class_map",
        filled,
    )
    scan.told_to_fill.add(class_)


def note_covering(scan: Scan, name: str, masks: Iterable[Mapping[str, Any]], names: Mapping[str, str | None]) -> None:
    """Note the class of a sample of whose masks, given by their facts, one holds a single value."""
    for fact in masks:
        class_ = names.get(str(fact["values"][0])) if len(fact["values"]) == 1 else None
        if class_ is not None:
            scan.note_covered(name, class_)


def is_grey(facts: Mapping[str, Any]) -> bool:
    """Whether most values of a mask occur only along edges, as after resizing."""
    return bool(2 * facts["blended"] > len(facts["values"]))
