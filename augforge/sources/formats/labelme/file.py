"""Reading a LabelMe file: its shapes, in canonical form and as parts to draw."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augforge.errors import SourceError, nearest, shorten
from augforge.sources.raster import shapes
from augforge.sources.raster.outlines import Box, Outlines, box_of
from augforge.sources.raster.shapes import Part
from augforge.sources.raster.values import is_name, whole_size
from augforge.sources.scan.documents import MAX_PIXEL, is_point, read_json
from augforge.sources.scan.images import decode, parse_header

_REMEDY = "Correct or remove the shape."
_DATA_URL = re.compile(r"\s*data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Widths:
    """The widths in pixels to draw lines and points with, which have no area; None refuses them."""

    line: float | None
    point: float | None


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of the file, checked.

    Attributes:
        label: as in the file.
        kind: polygon, rectangle, oriented_rectangle, rotation, circle, linestrip, line, point or mask.
        points: (x, y) pixels.
        width: to draw lines and points with; 0 for other kinds.
        mask: the PNG of a mask, whose two points are its first and last pixel.
        where: file and number, for messages.
        group: the ``group_id``, or None.
        difficult: whether it is marked so, which makes a shape inside of another one of its group a hole.
    """

    label: str
    kind: str
    points: list[tuple[float, float]]
    width: float
    mask: bytes
    where: str
    group: int | None = None
    difficult: bool = False

    def canonical(self, name: str) -> Any:
        """Everything that decides which pixels are drawn, JSON-like."""
        mask = hashlib.sha256(self.mask).hexdigest() if self.mask else ""
        return [name, self.kind, self.points, self.width, mask]

    def box(self) -> Box:
        """The box around the drawn shape."""
        if self.kind == "circle":
            return box_of(self.points[:1], math.dist(*self.points))
        return box_of(self.points, self.width / 2)

    def parts(self, name: str) -> Iterator[Part]:
        """The parts to draw."""
        for ring in _SHAPE_PARTS[self.kind](self):
            yield name, ring


def is_foreign(document: Any) -> bool:
    """Whether a JSON document has nothing of a LabelMe file."""
    return not isinstance(document, dict) or not document.keys() & {"shapes", "imagePath", "imageData"}


def read_document(path: Path) -> dict[str, Any]:
    """Read a file and check that its ``shapes`` are a list of objects."""
    return check_document(read_json(path), path)


def check_document(document: Any, path: Path) -> dict[str, Any]:
    """The content of a file, of which ``shapes`` has to be a list of objects. Raises SourceError."""
    entries = document.get("shapes") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SourceError(no_shapes_message(path))
    return dict(document)


def no_shapes_message(path: Path) -> str:
    """The message for a file that is none of LabelMe's."""
    return (
        f'{path} holds no shapes; expected LabelMe\'s {{"shapes": [{{"label": ..., "points": ...}}, ...], '
        '"imagePath": ...}. Export it again, or remove the file.'
    )


def read_shapes(
    document: Mapping[str, Any], path: Path, wanted: Callable[[str], bool], widths: Widths, drop: bool = False
) -> tuple[list[Shape], int]:
    """The shapes whose labels are wanted; others are not checked. Raises SourceError for one that cannot be drawn.

    Those that enclose nothing raise DegeneratePolygon; with ``drop`` they are left out, and counted.
    """
    found, dropped = [], 0
    for number, entry in enumerate(document["shapes"], start=1):
        label = entry.get("label")
        if not is_name(label):
            fact = "has no label" if label in (None, "") else f"has the label {shorten(label)}"
            raise SourceError(f"{path}: shape {number} {fact}; expected a class name as text. Label or remove it.")
        try:
            if wanted(label):
                found.append(_read_shape(entry, label, f"{path}: shape {number}, label '{label}'", widths))
        except shapes.DegeneratePolygon:
            if not drop:
                raise
            dropped += 1
    return found, dropped


def all_labels(document: Mapping[str, Any]) -> list[str]:
    """The labels of all shapes, wanted or not."""
    return sorted({label for entry in document["shapes"] if is_name(label := entry.get("label"))})


def read_size(document: Mapping[str, Any], path: Path) -> tuple[int, int] | None:
    """Width and height that the file states, or None if it does not."""
    size = [document.get("imageWidth"), document.get("imageHeight")]
    if size == [None, None]:
        return None
    whole = whole_size(size)
    if whole is None:
        raise SourceError(f"{path}: imageWidth and imageHeight are no size in pixels. Correct or remove them.")
    return whole


def read_flags(document: Mapping[str, Any]) -> dict[str, bool]:
    """The image's own flags."""
    flags = document.get("flags")
    items = flags.items() if isinstance(flags, dict) else ()
    return {name: value for name, value in items if is_name(name) and isinstance(value, bool)}


def outlines_of(found: Iterable[Shape], names: Mapping[str, str], size: tuple[int, int] | None, path: Path) -> Outlines:
    """Where the shapes lie in an image of the stated size; ``names`` has the class of each label."""
    outlines = Outlines(size)
    for shape in found:
        where, name = shape.where.removeprefix(f"{path}: "), names.get(shape.label, "")
        if shape.kind in _RINGS and name:
            outlines.add_ring(name, next(_RINGS[shape.kind](shape)), where)
        else:
            outlines.add_box(shape.box(), where)
    return outlines


def embedded_image(document: Mapping[str, Any], path: Path) -> bytes:
    """The bytes in ``imageData``, which may have line ends or be a data URL. Raises SourceError if it is no base64."""
    return _decode_base64(document.get("imageData"), f"{path}: imageData")


def _decode_base64(text: Any, where: str) -> bytes:
    try:
        bare = _DATA_URL.sub("", text, count=1) if isinstance(text, str) else ""
        data = base64.b64decode("".join(bare.split()), validate=True)
    except ValueError:
        data = b""
    if not data:
        raise SourceError(f"{where} is no base64 of an image; expected a whole image file. Export it again.")
    return data


# ---- shapes ----------------------------------------------------------------------------------------------------------

_CORNERS = 4
_COUNTS = {
    "rectangle": 2,
    "oriented_rectangle": _CORNERS,
    "rotation": _CORNERS,
    "circle": 2,
    "line": 2,
    "point": 1,
    "mask": 2,
}
_AT_LEAST = {"linestrip": 2}


def _read_shape(entry: Mapping[str, Any], label: str, where: str, widths: Widths) -> Shape:
    kind = "polygon" if entry.get("shape_type") is None else entry["shape_type"]  # LabelMe 3 knows and writes no other
    if not isinstance(kind, str) or kind not in _SHAPE_PARTS:
        raise SourceError(
            f"{where}: shape_type {str(kind)!r:.40} is not drawn.{nearest(str(kind), _SHAPE_PARTS)} {_REMEDY}"
        )
    points = _read_points(entry.get("points"), kind, where)
    mask = _read_mask(entry.get("mask"), points, where) if kind == "mask" else b""
    group, difficult = entry.get("group_id"), entry.get("difficult") is True
    group = group if type(group) is int else None
    return Shape(label, kind, points, _width_of(kind, where, widths), mask, where, group, difficult)


def _read_points(points: Any, kind: str, where: str) -> list[tuple[float, float]]:
    if not isinstance(points, list) or not all(is_point(point) for point in points):
        raise SourceError(f"{where}: points are not a list of [x, y] in finite pixels. {_REMEDY}")
    exact, least = _COUNTS.get(kind), _AT_LEAST.get(kind, 0)
    if kind == "rectangle" and len(points) == _CORNERS:  # as X-AnyLabeling writes them
        exact = _CORNERS
    if kind == "polygon":
        shapes.require_area(points, where)
    if len(points) < least or exact not in (None, len(points)):
        expected = f"{least} or more" if exact is None else str(exact)
        raise SourceError(f"{where}: {len(points)} points; expected {expected} for a {kind}. {_REMEDY}")
    checked = [(float(x), float(y)) for x, y in points]
    if kind == "circle" and math.dist(*checked) + max(map(abs, checked[0])) >= MAX_PIXEL:
        raise SourceError(f"{where}: the circle reaches beyond any image. {_REMEDY}")
    return checked


def _width_of(kind: str, where: str, widths: Widths) -> float:
    """The width to draw a line or point with, 0 for other kinds."""
    option = {"line": "line_width", "linestrip": "line_width", "point": "point_width"}.get(kind)
    if option is None:
        return 0.0
    width = widths.point if kind == "point" else widths.line
    if width is None:
        raise SourceError(
            f"{where}: a {kind} has no area; expected a width to draw it with. Set source.{option} in pixels, or leave "
            "the label out by class_map."
        )
    return width


def _read_mask(text: Any, points: list[tuple[float, float]], where: str) -> bytes:
    """The PNG of a mask shape, checked to be as large as its points say."""
    data = _decode_base64(text, f"{where}: mask")
    header = parse_header(data, Path(f"{where}: mask"))
    (x0, y0), (x1, y1) = points
    size = (int(x1) - int(x0) + 1, int(y1) - int(y0) + 1)
    if header.kind != "png" or header.size != size:
        raise SourceError(
            f"{where}: the mask is a {header.kind} of {header.width}x{header.height} pixels; expected a png of "
            f"{size[0]}x{size[1]}, as its points say. {_REMEDY}"
        )
    return data


# ---- drawing ---------------------------------------------------------------------------------------------------------


def _polygon(shape: Shape) -> Iterator[shapes.Ring]:
    yield [value for point in shape.points for value in point]


def _rectangle(shape: Shape) -> Iterator[shapes.Ring]:
    if len(shape.points) == _CORNERS:
        yield from _polygon(shape)
    else:
        (x0, y0), (x1, y1) = shape.points
        yield shapes.rectangle(x0, y0, x1, y1)


def _circle(shape: Shape) -> Iterator[shapes.Ring]:
    centre, rim = shape.points
    yield shapes.disc(*centre, math.dist(centre, rim))


def _stroke(shape: Shape) -> Iterator[shapes.Ring]:
    yield from shapes.stroke(shape.points, shape.width)


def _mask_pixels(shape: Shape) -> Iterator[shapes.Mask]:
    path = Path(f"{shape.where}: mask")
    pixels: NDArray[Any] = decode(shape.mask, parse_header(shape.mask, path), path)
    marked = pixels if pixels.ndim == 2 else pixels[..., :3].max(axis=2)
    x, y = (int(value) for value in shape.points[0])
    yield np.asarray(marked), x, y


_RINGS: dict[str, Callable[[Shape], Iterator[shapes.Ring]]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "oriented_rectangle": _polygon,
    "rotation": _polygon,
}
"""Kinds of shapes that are rings, whose corners are their points."""

_SHAPE_PARTS: dict[str, Callable[[Shape], Iterator[shapes.Ring] | Iterator[shapes.Mask]]] = {
    **_RINGS,
    "circle": _circle,
    "linestrip": _stroke,
    "line": _stroke,
    "point": _stroke,
    "mask": _mask_pixels,
}
