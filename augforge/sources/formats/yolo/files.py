"""Reading and writing the files of a YOLO data set: ``data.yaml``, or what replaces it, and label files."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

from augforge.errors import SourceError, nearest
from augforge.sources.raster.outlines import Outlines
from augforge.sources.raster.shapes import DegeneratePolygon, Ring, rectangle, require_area
from augforge.sources.scan.documents import read_text
from augforge.sources.scan.own_splits import is_split_name
from augforge.yamlfile.composing import LimitedComposer

_SLACK = 0.01
"""How far coordinates may lie outside of 0 to 1, as tools round them, without being told."""

_FARTHEST = 0.5
"""How far they may lie outside at all: shapes are cut at the image, but pixels are no shares of its size."""

Boxes = Literal["error", "rectangle"]
Points = list[list[float]]
"""Normalised (x, y) points; for a box two corners."""

DATA = "data.yaml"
_LISTS = ("classes.txt", "labels/classes.txt")  # Label Studio and labelImg write the names there


@dataclass(frozen=True, slots=True)
class Shape:
    """One line of a label file: class number, normalised points, and whether they are the corners of a box."""

    number: int
    points: Points
    box: bool = False

    @property
    def ring(self) -> Ring:
        """The ring, in shares of the image's size."""
        (x0, y0), (x1, y1) = self.points[0], self.points[-1]
        return rectangle(x0, y0, x1, y1) if self.box else [value for point in self.points for value in point]


@dataclass(frozen=True, slots=True)
class DataYaml:
    """The contents of a ``data.yaml``.

    Attributes:
        names: class names by their number, or None.
        parts: folders or lists of images, by the data set's own name of the split.
        base: folder that these start from, as written in the file.
        file: its place; the file may be missing.
        names_file: the place of the file that names the classes.
    """

    names: dict[int, str] | None = None
    parts: dict[str, list[str]] = field(default_factory=dict)
    base: str = ""
    file: str = DATA
    names_file: str = DATA


def find_data_yaml(root: Path, data: str | None) -> DataYaml:
    """Read the file that the recipe names, or else ``data.yaml`` or what replaces it; the result may be empty.

    Raises SourceError if the named file is missing, or if several files could be meant.
    """
    file = _require_file(root, data) if data else _find_usual_file(root)
    found = replace(read_data_yaml(root / file), file=file, names_file=file) if file else DataYaml()
    named = next((place for place in _LISTS if (root / place).is_file()), None) if found.names is None else None
    return replace(found, names=read_data_yaml(root / named).names, names_file=named) if named else found


def _require_file(root: Path, data: str) -> str:
    if not (root / data).is_file():
        hint = nearest(data, (path.name for path in _yaml_files(root)))
        raise SourceError(f"{root / data} does not exist.{hint} Correct source.data, or leave it out.")
    return data


def _find_usual_file(root: Path) -> str | None:
    """``data.yaml``, or else the only YAML file beside it that names classes."""
    if (root / DATA).is_file():
        return DATA
    found = [path.name for path in _yaml_files(root) if _has_names(path)]
    if len(found) > 1:
        raise SourceError(
            f"{root / DATA} does not exist, and {len(found)} other files have names of classes: {', '.join(found)}; "
            "expected one. Say by source.data which it is."
        )
    return found[0] if found else None


def _yaml_files(root: Path) -> list[Path]:
    files = (path for path in root.iterdir() if path.suffix.lower() in (".yaml", ".yml"))
    return sorted(path for path in files if path.is_file() and not path.name.startswith("."))


def _has_names(path: Path) -> bool:
    data = _read_yaml(path)
    return isinstance(data, dict) and data.get("names") is not None


def read_data_yaml(path: Path) -> DataYaml:
    """Read a ``data.yaml``, or a ``.txt`` with one class per line. Raises SourceError naming file and key."""
    if path.suffix.lower() == ".txt":
        return DataYaml(
            _read_names({"names": [line.strip() or None for line in read_text(path).rstrip().splitlines()]}, path)
        )
    data = _read_yaml(path)
    if not isinstance(data, dict):
        raise SourceError(f"{path} holds no keys; expected names, train and val. Correct it.")
    if data.get("kpt_shape") is not None:
        raise SourceError(
            f"{path}: kpt_shape says that the labels are poses, a box and keypoints a line; expected polygons. Export "
            "them for segmentation, or remove kpt_shape if they are polygons."
        )
    parts = {
        key: _read_paths(data[key], path, key)
        for key in data
        if isinstance(key, str) and is_split_name(key) and data[key]
    }
    base = data.get("path")
    return DataYaml(_read_names(data, path), parts, base if isinstance(base, str) else "")


def _read_yaml(path: Path) -> Any:
    text = read_text(path)
    try:
        yaml = YAML(typ="safe", pure=True)
        yaml.Composer = LimitedComposer
        return yaml.load(text)
    except Exception as error:  # ruamel raises whatever its constructors raise
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        raise SourceError(f"{path}:{line}: not valid YAML ({str(error).splitlines()[0]}). Correct it there.") from error


def _read_names(data: Mapping[Any, Any], path: Path) -> dict[int, str] | None:
    names = data.get("names")
    if names is None:
        return None
    found = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(found, dict) or not found or not all(type(number) is int and number >= 0 for number in found):
        raise SourceError(f"{path}: names is no list of classes, and no map from numbers to classes. Correct it.")
    odd = next((name for name in found.values() if name is None or isinstance(name, list | dict)), "")
    if odd != "":
        raise SourceError(f"{path}: names holds {_shorten(odd)}; expected the name of one class each. Correct it.")
    texts = {number: str(name) for number, name in found.items()}
    twice = sorted({name for name in texts.values() if list(texts.values()).count(name) > 1})
    if twice:
        raise SourceError(f"{path}: duplicate class '{_shorten(twice[0])}' in names; expected each once. Rename one.")
    if data.get("nc", len(texts)) != len(texts):
        raise SourceError(
            f"{path}: nc is {_shorten(data['nc'])}, but names holds {len(texts)} classes. Correct one of them."
        )
    return texts


def _shorten(value: Any) -> str:
    """A value for a message, cut to a part of a line: YAML aliases may make it very long."""
    return reprlib.repr(value)[:60] if not isinstance(value, str) else value[:60]


def _read_paths(value: Any, path: Path, key: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and text for text in values):
        raise SourceError(f"{path}: {key} is no path and no list of paths. Correct it.")
    return values


def data_text(title: str, names: Sequence[str], parts: Mapping[str, str]) -> str:
    """The text of a ``data.yaml``, as `read_data_yaml` reads it; ``parts`` are the folders of the splits."""
    numbered = (f"  {number}: {json.dumps(name, ensure_ascii=False)}" for number, name in enumerate(names))
    lines = (f"{part}: {folder}" for part, folder in parts.items())
    return "\n".join([f"# {title}", *lines, f"nc: {len(names)}", "names:", *numbered, ""])


def label_line(number: int, polygon: NDArray[np.float64], width: int, height: int) -> str:
    """The line for a polygon (N, 2) in pixels, as `read_labels` reads it: points become shares of the image's size."""
    shares = (polygon / (width, height)).reshape(-1).tolist()
    return f"{number} {' '.join(f'{share:.6f}' for share in shares)}\n"


def read_labels(path: Path, names: Mapping[int, str], boxes: Boxes, drop: bool = False) -> tuple[list[Shape], int]:
    """The shapes of a label file, one per line, ignoring blank lines. Raises SourceError naming file and line.

    Polygons that enclose nothing raise DegeneratePolygon; with ``drop`` they are left out, and counted.
    """
    found, dropped = [], 0
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            if line.strip():
                found.append(_read_shape(line.split(), names, boxes, f"{path}:{number}"))
        except DegeneratePolygon:
            if not drop:
                raise
            dropped += 1
    return found, dropped


def outlines_of(shapes: Iterable[tuple[str, Shape]]) -> Outlines:
    """Where shapes, each with its class, lie in their image, in shares of its size."""
    outlines = Outlines((1, 1), slack=_SLACK, in_shares=True)
    for name, shape in shapes:
        outlines.add_ring(name, shape.ring, "a shape")
    outlines.far.clear()  # `_check_bounds` refuses what lies wholly outside
    return outlines


def _read_shape(words: Sequence[str], names: Mapping[int, str], boxes: Boxes, where: str) -> Shape:
    values = [_read_number(word, where) for word in words]
    number = int(values[0])
    if number != values[0] or number not in names:
        raise SourceError(
            f"{where}: class {words[0]} is not among the names; expected one of {min(names)} to {max(names)}. "
            "Correct the line, or the names."
        )
    if len(values) == 5:
        return Shape(number, _read_box(values[1:], boxes, where), box=True)
    _refuse_pose(words[1:], values[1:], where)
    points = [list(pair) for pair in zip(values[1::2], values[2::2], strict=False)]
    if len(values) % 2:
        require_area(points, where)
    else:
        fact = f"{where}: {len(values) - 1} numbers behind the class"
        raise SourceError(f"{fact}; expected x y of 3 points or more. Correct or remove the line.")
    _check_bounds(points, where)
    return Shape(number, points)


def _refuse_pose(words: Sequence[str], values: Sequence[float], where: str) -> None:
    """Raise SourceError for a box and keypoints with visibility, x y 0 to 2, which could pass for a polygon.

    It is one if the third numbers are whole and written so, and the keypoints lie in the box.
    """
    keypoints = list(zip(values[4::3], values[5::3], words[6::3], strict=False))
    if not keypoints or len(values) % 3 != 1 or not {flag for *_, flag in keypoints} <= {"0", "1", "2"}:
        return
    x, y, width, height = values[:4]
    seen = [(px, py) for px, py, flag in keypoints if flag != "0"]
    if seen and all(abs(px - x) <= width / 2 + _SLACK and abs(py - y) <= height / 2 + _SLACK for px, py in seen):
        raise SourceError(
            f"{where}: a box and {len(keypoints)} keypoints with their visibility, a pose; expected a polygon. Export "
            "the labels for segmentation, or correct the line."
        )


def _read_number(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SourceError(f"{where}: '{word[:40]}' is no finite number. Correct or remove the line.")
    return value


def _read_box(values: Sequence[float], boxes: Boxes, where: str) -> Points:
    """The two corners of a box that is given by its centre, width and height."""
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
    """Raise SourceError for coordinates that are no shares of the image's size, and for a shape wholly outside it."""
    outside = next((value for point in points for value in point if not -_FARTHEST <= value <= 1 + _FARTHEST), None)
    if outside is not None:
        raise SourceError(
            f"{where}: coordinate {outside:g} lies far outside the image; expected 0 to 1, shares of its width and "
            "height. Divide pixels by them, or correct the line."
        )
    if any(max(values) < -_SLACK or min(values) > 1 + _SLACK for values in zip(*points, strict=True)):
        raise SourceError(
            f"{where}: the shape lies outside its image; expected some of it inside. Correct or remove the line."
        )
