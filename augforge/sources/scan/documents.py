"""Reading annotation files, text or JSON, and checking polygons in them; every error names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from augforge.errors import SourceError

MAX_PIXEL = 2**31 - 1
"""Largest pixel coordinate that OpenCV can draw."""


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without byte order mark."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 (byte {error.start}). Save it again as UTF-8.") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}. Restore the file or its permissions.") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is no JSON: {error}. Correct it there or export it again.") from error


def checked_points(points: Any, where: str) -> list[list[float]]:
    """The points [[x, y], ...] of a shape as floats, so that 7 and 7.0 are equal. Raises SourceError."""
    if not isinstance(points, list) or not all(is_point(point) for point in points):
        raise SourceError(f"{where}: points are not a list of [x, y] in finite pixels. Correct or remove the polygon.")
    return [[float(x), float(y)] for x, y in points]


def is_point(point: Any) -> bool:
    """Whether a JSON value is [x, y] in finite pixels that can be drawn."""
    return isinstance(point, list) and len(point) == 2 and is_pixel(point[0]) and is_pixel(point[1])


def is_pixel(value: Any) -> bool:
    """Whether a JSON value is a finite number that can be drawn."""
    return type(value) in (int, float) and abs(value) < MAX_PIXEL  # no bool; NaN and infinity are not less
