"""Reading the annotation files of hand radiographs: polygons with labels, and the size of the image."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from augforge.errors import SourceError
from augforge.sources.core import Source
from augforge.sources.raster.outlines import Outlines
from augforge.sources.raster.shapes import DegeneratePolygon, require_area
from augforge.sources.scan.documents import checked_points, is_point, read_json

Polygon = tuple[str, list[list[float]]]
"""Class name and points (x, y)."""


def read_document(path: Path) -> dict[str, Any]:
    """Read a file and check that its ``annotations`` are a list of objects. Errors name the file."""
    document: dict[str, Any] = read_json(path)
    entries = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SourceError(
            f'{path} holds no annotations; expected {{"annotations": [{{"label": ..., "points": ...}}, ...]}}. '
            "Export it again."
        )
    return document


def read_polygons(
    document: Mapping[str, Any], path: Path, source: Source, classes: Collection[str], drop: bool = False
) -> tuple[list[Polygon], int]:
    """Class and points of each annotation; those that ``class_map`` leaves out are not checked.

    Those that enclose nothing raise DegeneratePolygon; with ``drop`` they are left out, and counted.
    """
    polygons, dropped = [], 0
    for number, entry in enumerate(document["annotations"], start=1):
        label = entry.get("label")
        if not isinstance(label, str):
            raise SourceError(f"{path}: annotation {number} has no label; expected a class name. Label or remove it.")
        name = source.require_class(label, classes, f"{path}: annotation {number}")
        if name is None:
            continue
        where = f"{path}: annotation {number}, label '{label}'"
        points = checked_points(entry.get("points"), where)
        try:
            require_area(points, where)
            polygons.append((name, points))
        except DegeneratePolygon:
            if not drop:
                raise
            dropped += 1
    return polygons, dropped


def outlines_of(polygons: Iterable[Polygon], size: Sequence[float] | None) -> Outlines:
    """Where the polygons lie in an image of the stated size."""
    outlines = Outlines(size)
    for name, points in polygons:
        outlines.add_ring(name, [value for point in points for value in point], f"the polygon of {name}")
    return outlines


def read_size(document: Mapping[str, Any], path: Path) -> list[float] | None:
    """Width and height from ``metadata``, or None if they are missing."""
    metadata = document.get("metadata") or {}
    size = [metadata.get("width"), metadata.get("height")] if isinstance(metadata, dict) else [metadata]
    if size == [None, None]:
        return None
    if not is_point(size):
        raise SourceError(f"{path}: metadata holds no size; expected width and height in pixels. Correct or remove it.")
    return [float(value) for value in size if value is not None]
