"""The files of a YOLO data set: ``data.yaml`` and label files, read strictly."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML

from augforge.errors import SourceError
from augforge.sources.documents import read_text

_SLACK = 0.01
"""How far outside 0 to 1 a coordinate may lie: what tools round or draw at the border; it is cut to the image."""

Boxes = Literal["error", "rectangle"]
Points = list[list[float]]
"""Normalised (x, y); for a box its corners."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One line of a label file: class number, normalised points, and whether they are the corners of a box."""

    number: int
    points: Points
    box: bool = False


@dataclass(frozen=True, slots=True)
class DataYaml:
    """What a ``data.yaml`` says.

    Attributes:
        names: class names by their number; None where it names none.
        parts: folders or lists of images, by the names of their splits.
        base: folder that they start from, as the file says.
    """

    names: dict[int, str] | None = None
    parts: dict[str, list[str]] = field(default_factory=dict)
    base: str = ""


def read_data_yaml(path: Path) -> DataYaml:
    """Read a ``data.yaml``. Raises SourceError naming the file, and the key."""
    text = read_text(path)
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except Exception as error:  # ruamel raises what its constructors raise
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        raise SourceError(f"{path}:{line}: not valid YAML ({str(error).splitlines()[0]}). Correct it there.") from error
    if not isinstance(data, dict):
        raise SourceError(f"{path} holds no keys; expected names, train and val. Correct it.")
    parts = {name: _texts(data[name], path, name) for name in ("train", "val", "valid", "test") if data.get(name)}
    base = data.get("path")
    return DataYaml(_names(data, path), parts, base if isinstance(base, str) else "")


def _names(data: Mapping[Any, Any], path: Path) -> dict[int, str] | None:
    names = data.get("names")
    if names is None:
        return None
    found = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(found, dict) or not found or not all(type(number) is int and number >= 0 for number in found):
        raise SourceError(f"{path}: names is no list of classes, and no map from numbers to classes. Correct it.")
    odd = next((name for name in found.values() if name is None or isinstance(name, list | dict)), "")
    if odd != "":
        raise SourceError(f"{path}: names holds {_cut(odd)}; expected the name of one class each. Correct it.")
    texts = {number: str(name) for number, name in found.items()}
    twice = sorted({name for name in texts.values() if list(texts.values()).count(name) > 1})
    if twice:
        raise SourceError(f"{path}: names holds '{_cut(twice[0])}' twice; expected each class once. Rename one.")
    if data.get("nc", len(texts)) != len(texts):
        raise SourceError(
            f"{path}: nc is {_cut(data['nc'])}, but names holds {len(texts)} classes. Correct one of them."
        )
    return texts


def _cut(value: Any) -> str:
    """A value as messages show it: no more of it than a line, however much its aliases stand for."""
    return reprlib.repr(value)[:60] if not isinstance(value, str) else value[:60]


def _texts(value: Any, path: Path, key: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and text for text in values):
        raise SourceError(f"{path}: {key} is no path and no list of paths. Correct it.")
    return values


def read_labels(path: Path, names: Mapping[int, str], boxes: Boxes) -> list[Shape]:
    """The shapes of a label file, one a line; blank lines do not count. Raises SourceError with file and line."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    return [_shape(line.split(), names, boxes, f"{path}:{number}") for number, line in lines if line.strip()]


def _shape(words: Sequence[str], names: Mapping[int, str], boxes: Boxes, where: str) -> Shape:
    values = [_number(word, where) for word in words]
    number = int(values[0])
    if number != values[0] or number not in names:
        raise SourceError(
            f"{where}: class {words[0]} is not among the names; expected one of {min(names)} to {max(names)}. "
            "Correct the line, or names in data.yaml."
        )
    if len(values) == 5:
        return Shape(number, _box(values[1:], boxes, where), box=True)
    points = [list(pair) for pair in zip(values[1::2], values[2::2], strict=False)]
    if len(values) % 2 == 0 or len(points) < 3:
        fact = f"{where}: {len(values) - 1} numbers behind the class"
        raise SourceError(f"{fact}; expected x y of 3 points or more. Correct or remove the line.")
    _check_bounds(points, where)
    return Shape(number, points)


def _number(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SourceError(f"{where}: '{word[:40]}' is no finite number. Correct or remove the line.")
    return value


def _box(values: Sequence[float], boxes: Boxes, where: str) -> Points:
    """Corners of centre, width and height."""
    if boxes == "error":
        raise SourceError(
            f"{where}: 4 numbers behind the class, a box; expected a polygon of 3 points or more. Set boxes: rectangle "
            "to fill boxes, or remove the line."
        )
    x, y, width, height = values
    if width <= 0 or height <= 0:
        raise SourceError(
            f"{where}: the box is {width:g}x{height:g}; expected more than 0. Correct or remove the line."
        )
    corners = [[x - width / 2, y - height / 2], [x + width / 2, y + height / 2]]
    _check_bounds(corners, where)
    return corners


def _check_bounds(points: Points, where: str) -> None:
    outside = next((value for point in points for value in point if not -_SLACK <= value <= 1 + _SLACK), None)
    if outside is not None:
        raise SourceError(
            f"{where}: coordinate {outside:g} lies outside the image; expected 0 to 1, shares of its width and height. "
            "Divide pixels by them, or correct the line."
        )
