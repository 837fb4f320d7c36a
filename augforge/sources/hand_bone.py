"""Hand radiographs with one JSON of polygons an image, one folder a person."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from augforge import bitmask
from augforge.errors import SourceError, nearest
from augforge.keys import Id, digest
from augforge.sample import Sample
from augforge.sources.class_lists import CLASS_LISTS
from augforge.sources.core import Listing, Record, Refused, Source
from augforge.sources.images import IMAGE_FACTS, image_facts, read_image
from augforge.sources.people import PEOPLE_FACTS, Row, Table, person_row, read_people
from augforge.store.filecache import FileCache

_PARTS = {"train": None, "test": "test"}  # folder -> the split that it prescribes
_IMAGES = frozenset({".png", ".jpg", ".jpeg"})
_TABLES = ("meta_data.xlsx", "meta_data.csv", "train/meta_data.xlsx", "train/meta_data.csv")
_LITTER = frozenset({"thumbs.db", "desktop.ini"})
_ANNOTATIONS = frozenset({".json"})
_MAX_PIXEL = 2**31 - 1  # beyond it no polygon can be drawn
_SHOWN = 10

Polygon = tuple[str, list[list[float]]]
"""Class name and points (x, y)."""


class HandBone(Source):
    """Lists and loads hand radiographs: ``train/`` with polygons, ``test/`` without."""

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/                                       source.path
  train/DCM/ID001/image1661130828152.png    one folder a person; .png, .jpg or .jpeg
  train/outputs_json/ID001/image1661130828152.json
      {"annotations": [{"label": "finger-1", "points": [[x, y], ...]}, ...],
       "metadata": {"width": 2048, "height": 2048}}
  test/DCM/ID301/image1661319116107.png     optional; no labels
  meta_data.xlsx                            optional, or .csv, also in train/: ID, age, sex, height, weight"""

    format: Literal["hand-bone"] = "hand-bone"
    classes: tuple[str, ...] = CLASS_LISTS["hand-bone"]
    metadata: str | None = Field(
        None, description="table of persons, relative to path; null looks for meta_data.xlsx/.csv"
    )

    @model_validator(mode="after")
    def _map_to_classes(self) -> HandBone:
        for label, name in self.class_map.items():
            if name is not None and name not in self.classes:
                raise ValueError(
                    f"class_map sends '{label}' to '{name}', which is not in classes.{nearest(name, self.classes)}"
                )
        return self

    def scan(self, cache: FileCache) -> Listing:
        self._check_layout()
        problems: list[str] = []
        found = _find(self.root, problems)
        _check_labelled(found, self.root)
        images = _facts(cache, [image.path for image, _ in found.pairs], IMAGE_FACTS, image_facts, problems)
        annotated = [annotation.path for _, annotation in found.pairs if annotation]
        annotations = _facts(cache, annotated, self._annotation_facts, self._read_facts, problems)
        people = self._people(cache, problems)
        problems += _size_problems(found.pairs, images, annotations)
        _raise_all(problems, self.root)
        rows = {person: person_row(people, person) for person in {image.person for image, _ in found.pairs}}
        records = (
            _record(
                image,
                annotation,
                images[image.path],
                annotations[annotation.path]["content"] if annotation else "unlabelled",
                rows[image.person],
            )
            for image, annotation in found.pairs
        )
        return Listing(self.classes, tuple(records), tuple(found.refused))

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        path = self.root / record.data["image"]
        image = read_image(path)
        if image.shape[:2] != (record.height, record.width):
            raise SourceError(
                f"{path} is {image.shape[1]}x{image.shape[0]} now; expected {record.width}x{record.height}, as when "
                "the source was listed. Start again."
            )
        masks, known = self._masks(record, classes)
        split = record.split or "train"
        return Sample(record.name, image, masks, known, record.group, split, metadata=record.metadata)

    def _masks(self, record: Record, classes: tuple[str, ...]) -> tuple[bitmask.Planes, NDArray[np.uint8]]:
        """Planes and ``known``; an image without annotation knows no class."""
        count = len(classes)
        if record.data["annotation"] is None:
            return bitmask.empty(record.height, record.width, count), np.zeros(bitmask.plane_count(count), np.uint8)
        path = self.root / record.data["annotation"]
        index = {name: c for c, name in enumerate(classes)}
        polygons = _polygons(_read_json(path), path, classes, self.class_map)
        try:
            drawn = ((index[name], [points]) for name, points in polygons)
            return bitmask.rasterise(drawn, record.height, record.width, count), bitmask.all_bits(count)
        except ValueError as error:
            raise SourceError(f"{path}: {error} (classes: {', '.join(classes)}). Correct that polygon.") from error

    @property
    def _annotation_facts(self) -> str:
        """The kind of `_read_facts` in the cache: everything that decides what it gives, apart from the file."""
        return f"hand-bone@{self.adapter_version} {digest(self.classes, self.class_map)}"

    def _read_facts(self, path: Path) -> dict[str, Any]:
        document = _read_json(path)
        polygons = _polygons(document, path, self.classes, self.class_map)
        return {"content": digest(sorted(polygons)), "size": _stated_size(document, path)}

    def _people(self, cache: FileCache, problems: list[str]) -> Table:
        names = _TABLES if self.metadata is None else (self.metadata,)
        path = next((self.root / name for name in names if (self.root / name).is_file()), None)
        if path is not None:
            people: Table = _facts(cache, [path], PEOPLE_FACTS, read_people, problems).get(path, {})
            return people
        if self.metadata is not None:
            problems.append(f"{self.root / self.metadata} does not exist. Correct source.metadata or leave it out.")
        return {}

    def _check_layout(self) -> None:
        root = self.root
        if not (root / "train/DCM").is_dir():
            missing = root / "train/DCM" if root.is_dir() else root
            hint = f" Did you mean {root.parent}?" if (root / "DCM").is_dir() else ""
            raise SourceError(
                f"{missing} is no folder; expected\n{self.layout}\nSet source.path to the ROOT of such a tree.{hint}"
            )
        if not (root / "train/outputs_json").is_dir():
            raise SourceError(
                f"{root / 'train/outputs_json'} is no folder, so nothing is labelled; expected\n{self.layout}\n"
                "Copy the annotations there."
            )


# ---- files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    place: str  # relative to the root, with /
    part: str  # train or test
    person: str
    stem: str

    @property
    def name(self) -> str:
        return f"{self.person}/{self.stem}"


@dataclass(frozen=True, slots=True)
class _Found:
    """Images sorted by name, each with its annotation, and what has no place."""

    pairs: list[tuple[_File, _File | None]]
    refused: list[Refused]


def _find(root: Path, problems: list[str]) -> _Found:
    """Every image and annotation under ``root``, paired; two files of one name are problems."""
    found = _Found([], [])
    names: dict[str, _File] = {}
    for part in _PARTS:
        images = _unique(_walk(root, part, "DCM", _IMAGES, found.refused), names, problems)
        annotations: dict[str, _File] = {}
        _unique(_walk(root, part, "outputs_json", _ANNOTATIONS, found.refused), annotations, problems)
        _pair(images, annotations, found)
    found.pairs.sort(key=lambda pair: pair[0].name)
    found.refused.sort(key=lambda refused: (refused.name, refused.detail))
    return found


def _pair(images: list[_File], annotations: dict[str, _File], found: _Found) -> None:
    """Join one part's images with their annotations; what is alone is refused, except images of ``test``."""
    for image in images:
        annotation = annotations.pop(image.name, None)
        if annotation is None and image.part == "train":
            found.refused.append(Refused(image.name, "no annotation", image.place))
        else:
            found.pairs.append((image, annotation))
    found.refused.extend(Refused(file.name, "no image", file.place) for file in annotations.values())


def _walk(root: Path, part: str, folder: str, suffixes: Collection[str], refused: list[Refused]) -> list[_File]:
    """Files with one of the suffixes, one folder a person and no deeper; everything else but litter is refused."""
    files = []
    for person in _entries(root / part / folder):
        for path in _entries(person) if person.is_dir() else [person]:
            place = path.relative_to(root).as_posix()
            readable = place.encode(errors="replace").decode()  # a name that is not UTF-8 cannot stand in a table
            if readable == place and path is not person and path.suffix.lower() in suffixes and path.is_file():
                files.append(_File(path, place, part, person.name, path.stem))
            else:
                name = readable.removeprefix(f"{part}/{folder}/")
                refused.append(Refused(name, "not an image" if folder == "DCM" else "not an annotation", readable))
    return files


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without what operating systems leave there; nothing where it is missing."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror}. Make it a readable folder.") from error
    return [folder / name for name in names if not name.startswith(".") and name.lower() not in _LITTER]


def _unique(files: list[_File], names: dict[str, _File], problems: list[str]) -> list[_File]:
    """The files, entered in ``names``; one whose name stands there already is a problem."""
    for file in files:
        other = names.setdefault(file.name, file)
        if other is not file:
            problems.append(
                f"{other.path} and {file.path} share the name {file.name}; expected one file a name. Rename one."
            )
    return files


def _check_labelled(found: _Found, root: Path) -> None:
    if any(annotation for _, annotation in found.pairs):
        return
    counts = {
        reason: sum(refused.reason == reason for refused in found.refused) for reason in ("no annotation", "no image")
    }
    raise SourceError(
        f"{root} holds no image with an annotation: {counts['no annotation']} images without one, {counts['no image']} "
        f"annotations without an image; expected\n{HandBone.layout}\nCorrect folders and file names, so that they pair."
    )


# ---- facts, and the problems met on the way --------------------------------------------------------------------------


def _facts(
    cache: FileCache, paths: Iterable[Path], kind: str, compute: Callable[[Path], Any], problems: list[str]
) -> dict[Path, Any]:
    """What is known of each file; a file that is broken becomes a problem and not the end."""

    def get(path: Path) -> Any:
        try:
            return cache.get(path, kind, compute)
        except SourceError as error:
            return error
        except OSError as error:
            return SourceError(f"{path} cannot be read: {error.strerror}. Restore the file or its permissions.")

    paths = list(paths)
    with ThreadPoolExecutor(4) as pool:
        facts = dict(zip(paths, pool.map(get, paths), strict=True))
    problems += [str(fact) for fact in facts.values() if isinstance(fact, SourceError)]
    return {path: fact for path, fact in facts.items() if not isinstance(fact, SourceError)}


def _raise_all(problems: Sequence[str], root: Path) -> None:
    if len(problems) == 1:
        raise SourceError(problems[0])
    if problems:
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        shown = "".join(f"\n  - {problem}" for problem in problems[:_SHOWN])
        raise SourceError(f"{len(problems)} problems in {root}:{shown}{more}")


def _size_problems(
    pairs: Iterable[tuple[_File, _File | None]], images: Mapping[Path, Any], annotations: Mapping[Path, Any]
) -> Iterator[str]:
    """A line for each annotation that was made on an image of another size."""
    for image, annotation in pairs:
        if annotation and image.path in images and annotation.path in annotations:
            size = [images[image.path]["width"], images[image.path]["height"]]
            stated = annotations[annotation.path]["size"]
            if stated not in (None, size):
                yield (
                    f"{annotation.path}: metadata says {_by(stated)} pixels, {image.path} has {_by(size)}; "
                    "expected the same. Restore the image that was annotated, or annotate this one."
                )


def _by(size: Sequence[float]) -> str:
    return f"{size[0]:g}x{size[1]:g}"


def _record(image: _File, annotation: _File | None, facts: Mapping[str, Any], content: Id, row: Row | None) -> Record:
    return Record(
        name=image.name,
        group=image.person,
        split=_PARTS[image.part],
        width=facts["width"],
        height=facts["height"],
        bytes=facts["bytes"],
        content=digest(facts["sha256"], content),
        metadata=row or {},
        data={"image": image.place, "annotation": annotation.place if annotation else None},
    )


# ---- annotations -----------------------------------------------------------------------------------------------------


def _read_json(path: Path) -> dict[str, Any]:
    """The document with its ``annotations``, a list of objects; whatever is wrong names the file."""
    try:
        document: dict[str, Any] = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 (byte {error.start}). Save it again as UTF-8.") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}. Restore the file or its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is no JSON: {error}. Correct it there or export it again.") from error
    entries = document.get("annotations") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SourceError(
            f'{path} holds no annotations; expected {{"annotations": [{{"label": ..., "points": ...}}, ...]}}. '
            "Export it again."
        )
    return document


def _polygons(
    document: Mapping[str, Any], path: Path, classes: Collection[str], class_map: Mapping[str, str | None]
) -> list[Polygon]:
    """Class name and points of each annotation, mapped; what ``class_map`` leaves out is not looked at."""
    polygons = []
    for number, entry in enumerate(document["annotations"], start=1):
        label = entry.get("label")
        if not isinstance(label, str):
            raise SourceError(f"{path}: annotation {number} has no label; expected a class name. Label or remove it.")
        name = class_map.get(label, label)
        if name is None:
            continue
        if name not in classes:
            raise SourceError(
                f"{path}: label '{label}' (annotation {number}) is not in classes.{nearest(label, classes)} "
                f"Map it: 'class_map: {{{label}: CLASS}}', or null to leave it out."
            )
        polygons.append((name, _points(entry.get("points"), f"{path}: annotation {number}, label '{label}'")))
    return polygons


def _points(points: Any, where: str) -> list[list[float]]:
    """The points as floats, so that 7 and 7.0 are one value."""
    if not isinstance(points, list) or not all(_is_point(point) for point in points):
        raise SourceError(f"{where}: points are not a list of [x, y] in finite pixels. Correct or remove the polygon.")
    if len(points) < 3:
        raise SourceError(f"{where}: {len(points)} points; expected 3 or more. Correct or remove the polygon.")
    return [[float(x), float(y)] for x, y in points]


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and _is_pixel(point[0]) and _is_pixel(point[1])


def _is_pixel(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _MAX_PIXEL  # no bool; NaN and infinity are not less


def _stated_size(document: Mapping[str, Any], path: Path) -> list[float] | None:
    """Width and height from ``metadata``, or None where they are missing."""
    metadata = document.get("metadata") or {}
    size = [metadata.get("width"), metadata.get("height")] if isinstance(metadata, dict) else [metadata]
    if size == [None, None]:
        return None
    if not _is_point(size):
        raise SourceError(f"{path}: metadata holds no size; expected width and height in pixels. Correct or remove it.")
    return [float(value) for value in size if value is not None]
