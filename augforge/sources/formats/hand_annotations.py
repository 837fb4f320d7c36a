"""Reading the annotation files of hand radiographs: polygons with labels, and the size of the image."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from augforge.errors import SourceError
from augforge.sources.core import Source
from augforge.sources.raster.shapes import Farthest, box_of, extend_farthest
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


def read_polygons(document: Mapping[str, Any], path: Path, source: Source, classes: Collection[str]) -> list[Polygon]:
    """Class and points of each annotation; those that ``class_map`` leaves out are not checked."""
    polygons = []
    for number, entry in enumerate(document["annotations"], start=1):
        label = entry.get("label")
        if not isinstance(label, str):
            raise SourceError(f"{path}: annotation {number} has no label; expected a class name. Label or remove it.")
        name = source.require_class(label, classes, f"{path}: annotation {number}")
        if name is not None:
            points = checked_points(entry.get("points"), f"{path}: annotation {number}, label '{label}'")
            polygons.append((name, points))
    return polygons


def farthest_polygons(polygons: Iterable[Polygon]) -> Farthest:
    """The polygons that lie farthest out, to be compared with the image."""
    far: Farthest = []
    for name, points in polygons:
        far = extend_farthest(far, box_of(points), f"the polygon of {name}")
    return far


def read_size(document: Mapping[str, Any], path: Path) -> list[float] | None:
    """Width and height from ``metadata``, or None if they are missing."""
    metadata = document.get("metadata") or {}
    size = [metadata.get("width"), metadata.get("height")] if isinstance(metadata, dict) else [metadata]
    if size == [None, None]:
        return None
    if not is_point(size):
        raise SourceError(f"{path}: metadata holds no size; expected width and height in pixels. Correct or remove it.")
    return [float(value) for value in size if value is not None]
