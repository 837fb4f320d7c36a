"""Thumbnails: a small JPEG, and over it the outline of each class as an SVG path, which a page can show or hide."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from augforge import bitmask
from augforge.ops.geometry import sample_planes
from augforge.report.colours import colour_of
from augforge.report.overlay import as_rgb, scale_to_fit
from augforge.sample import Sample

SIDE = 400
"""Pixels of the longer side of a thumbnail."""
_QUALITY = 78
_TOLERANCE = 0.6
"""How far a simplified outline may lie from the mask's border, in pixels of the thumbnail."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The border of one class: its index, and the ``d`` of an SVG path."""

    index: int
    path: str


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A sample as a page shows it.

    Attributes:
        width, height: in pixels.
        picture: a data URI of a JPEG.
        outlines: of the classes that it shows and that are known.
    """

    width: int
    height: int
    picture: str
    outlines: tuple[Outline, ...]


def make_thumbnail(sample: Sample, classes: Sequence[str], side: int = SIDE) -> Thumbnail:
    """A thumbnail of a sample; an image smaller than `side` is not enlarged, so that its pixels stay what they are."""
    limit = min(side, max(sample.width, sample.height))
    small = scale_to_fit(sample, limit, limit)
    planes = bitmask.keep(small.masks, small.known)
    outlines = tuple(_outlines(planes, len(classes)))
    return Thumbnail(small.width, small.height, encode_jpeg(as_rgb(small.image)), outlines)


def encode_jpeg(picture: NDArray[np.uint8]) -> str:
    """An RGB picture, uint8 (H, W, 3), as the data URI of a JPEG."""
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done  # OpenCV refuses nothing but sizes that no thumbnail has
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def encode_heat(shares: Sequence[Sequence[float]]) -> str:
    """A map of shares, 0 to 1, as the data URI of a PNG that is opaque where its share is the largest one."""
    values = np.asarray(shares, float)
    opacity = np.rint(255 * values / max(values.max(), 1e-9)).astype(np.uint8)
    blue_green_red = np.broadcast_to(np.array((61, 106, 232), np.uint8), (*opacity.shape, 3))
    done, data = cv2.imencode(".png", np.dstack([blue_green_red, opacity]))
    assert done
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def outlines_of(planes: bitmask.Planes, classes: int, width: int, height: int) -> list[Outline]:
    """The outlines of planes of any size, in pixels of a picture of this width and height."""
    return list(_outlines(sample_planes(planes, width, height), classes))


def _outlines(planes: bitmask.Planes, classes: int) -> Iterator[Outline]:
    for c, (rows, columns), mask in bitmask.regions(planes, classes):
        contours, _ = cv2.findContours(
            mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(columns.start, rows.start)
        )
        yield Outline(c, " ".join(_ring(np.asarray(contour)) for contour in contours))


def _ring(contour: NDArray[Any]) -> str:
    """A closed ring of whole pixels, through their centres, which SVG has at halves."""
    points = cv2.approxPolyDP(contour, _TOLERANCE, closed=True).reshape(-1, 2)
    return "M" + "L".join(f"{x + 0.5:g} {y + 0.5:g}" for x, y in points.tolist()) + "Z"


def class_colour(c: int) -> str:
    """The colour of a class as a style sheet writes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour_of(c))
