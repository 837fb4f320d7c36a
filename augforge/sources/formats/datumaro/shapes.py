"""Turning Datumaro's annotations into rings and masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from augforge.errors import SourceError
from augforge.sample import IGNORE
from augforge.sources.formats.datumaro.importing import cause_of, without_warnings
from augforge.sources.options import Boxes, Crowd
from augforge.sources.raster.outlines import Box
from augforge.sources.raster.shapes import flat_ring, polygon_ring, rectangle


def thing_key(annotation: Any) -> tuple[Any, Any]:
    """A key that a box and a mask of the same object share."""
    return annotation.group, annotation.label


def label_name(annotation: Any, labels: Sequence[str], where: str) -> str:
    """Name of an annotation's label. Raises SourceError, naming `where`, if it has none."""
    number = annotation.label
    if number is None or not 0 <= number < len(labels):
        raise SourceError(f"{where}: a {annotation.type.name} has no label of the categories. Give it one there.")
    return labels[int(number)]


def check_decided(annotation: Any, boxes: Boxes, crowd: Crowd | None, where: str) -> None:
    """Raise SourceError for a box or a crowd if the recipe does not say what becomes of it."""
    if annotation.type.name == "bbox" and boxes == "error":
        raise SourceError(f"{where} has a box; expected masks. Set 'boxes: rectangle' or 'boxes: drop'.")
    if crowd is None and annotation.attributes.get("is_crowd"):
        raise SourceError(
            f"{where} has a crowd (is_crowd); expected a decision. Set 'crowd: class' if the data marks objects so, or "
            f"'crowd: {IGNORE}' or 'crowd: drop'."
        )


def labels_without_area(annotations: Sequence[Any], labels: Sequence[str]) -> set[str]:
    """The labels that annotations such as polylines say to be there, but not on which pixels."""
    numbers = [annotation.label for annotation in annotations if annotation.type.name in _WITHOUT_AREA]
    return {labels[number] for number in numbers if number is not None and 0 <= number < len(labels)}


_WITHOUT_AREA = frozenset({"cuboid_2d", "cuboid_3d", "points", "polyline", "skeleton"})


def _mask_pixels(annotation: Any, where: str) -> Any:
    """The pixels of a mask (H, W); some formats read the file only now."""
    try:
        with without_warnings():
            return np.atleast_2d(annotation.image)
    except Exception as error:  # readers raise anything
        raise SourceError(f"{where}: a mask cannot be read ({cause_of(error)}). Copy it again.") from error


def _outline(annotation: Any, where: str) -> list[float]:
    return flat_ring(np.ravel(annotation.as_polygon()).tolist(), where)


def _ellipse(annotation: Any, where: str) -> list[float]:
    _require_no_rotation(annotation, where)
    return _outline(annotation, where)


def _require_no_rotation(annotation: Any, where: str) -> None:
    """Raise SourceError for a rotated box or ellipse: CVAT writes the angle as an attribute, which would be lost."""
    angle = annotation.attributes.get("rotation")
    if isinstance(angle, int | float) and angle:
        raise SourceError(f"{where}: a {annotation.type.name} has a rotation, which is not drawn. Make it a polygon.")


def _polygon(annotation: Any, where: str) -> list[float]:
    return polygon_ring([float(value) for value in annotation.points], where)


def _rectangle(annotation: Any, where: str) -> list[float]:
    """A box as the ring of its edges."""
    return rectangle(*_checked_corners(annotation, where))


def _checked_corners(annotation: Any, where: str) -> Box:
    _require_no_rotation(annotation, where)
    points = [float(value) for value in annotation.points]
    x0, y0, x1, y1, *_ = flat_ring([*points, *points[:2]], where)
    return x0, y0, x1, y1


SHAPES: dict[str, Callable[[Any, str], Any]] = {
    "bbox": _rectangle,
    "ellipse": _ellipse,
    "mask": _mask_pixels,
    "polygon": _polygon,
    "rotated_bbox": _outline,
}
"""For each kind of annotation, what gives its ring or mask (H, W). Raises SourceError naming the item."""
