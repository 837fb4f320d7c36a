"""YOLO segmentation: a label file an image, a class number and a normalised polygon a line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from augforge import bitmask
from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sample import Sample
from augforge.sources.classes import ClassTable, class_table
from augforge.sources.core import Listing, Record, Refused, Source
from augforge.sources.loading import known_bits, listed_image, loaded
from augforge.sources.records import record_of
from augforge.sources.scanning import Scan
from augforge.sources.yolo_files import Boxes, DataYaml, Shape, read_data_yaml, read_labels
from augforge.sources.yolo_layout import find_images, label_place, outermost, sample_name
from augforge.store.filecache import FileCache

_LABELS = frozenset({".txt"})
_NO_LABELS = frozenset({"classes.txt", "notes.txt"})  # what labelling tools leave there


class Yolo(Source):
    """Reads YOLO segmentation labels: polygons whose points are shares of the image's width and height.

    A point (x, y) is pixel (x * width, y * height), as converters write it; what lies a hair outside is cut. Classes
    are in the order of ``names``. Label files lie where ``labels`` stands in place of ``images`` in the image's path.
    The folders of ``val`` and ``test`` are the splits val and test; ``train`` is left to the recipe's split. Where two
    splits name the same images, as some exports do, the recipe splits all.
    """

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/                          source.path
  data.yaml                    names: [cat, dog] or {0: cat, 1: dog}; train, val, test: folders or .txt lists
  images/train/one.jpg         or images/one.jpg, or train/images/one.jpg
  labels/train/one.txt         0 0.1 0.1 0.9 0.1 0.5 0.8      class, then x y of each point
  images/val/two.jpg           without data.yaml: train, val and test below images are the splits
  labels/val/two.txt           empty: nothing is there"""

    format: Literal["yolo"] = "yolo"
    data: str = Field("data.yaml", description="file with names and splits, relative to path; may be missing")
    boxes: Boxes = Field("error", description="lines of a box (x y width height): broken, or filled as rectangles")
    missing_label: Literal["empty", "unlabelled", "error"] = Field(
        "empty", description="an image without a label file: nothing is there (YOLO's rule), unlabelled, or broken"
    )

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        said = self._said()
        names = self._names(said)
        table = class_table(self, names.values(), self.root / self.data)
        found = find_images(scan, said, self.own_splits)
        images = found.splits
        places = scan.unique((sample_name(place), place) for place in images)
        facts = scan.images(places.items())
        labels = self._label_files(scan, places, found.folders)
        contents = scan.facts(labels.items(), self._kind(names, table), self._reader(names, table), "broken label file")
        records = (
            self._record(scan, name, place, images[place], facts[place], labels.get(name), contents, table)
            for name, place in places.items()
            if place in facts and (name not in labels or labels[name] in contents)
        )
        return scan.listing(records, table.names)

    def _said(self) -> DataYaml:
        path = self.root / self.data
        if path.is_file():
            return read_data_yaml(path)
        if "data" in self.model_fields_set or not self.root.is_dir():
            raise SourceError(f"{path} does not exist; expected\n{self.layout}\nCorrect source.path or source.data.")
        return DataYaml()

    def _names(self, said: DataYaml) -> dict[int, str]:
        """Labels by their number: those of data.yaml, or the recipe's classes in order."""
        if said.names is None and self.classes is None:
            raise SourceError(f"{self.root / self.data} has no names of classes. Add names there, or source.classes.")
        return said.names if said.names is not None else dict(enumerate(self.classes or ()))

    # ---- label files ----

    def _label_files(self, scan: Scan, images: Mapping[str, str], folders: set[str]) -> dict[str, str]:
        """Places of the label files by the names of their images; those without an image are wrong."""
        expected = {label_place(place): name for name, place in images.items()}
        walked = {place for folder in outermost(folders) for place in scan.walk(folder, _LABELS, "a label file")}
        for place in sorted(walked - set(expected)):
            if place.rpartition("/")[2] in _NO_LABELS:
                scan.refused.append(Refused(sample_name(place), "not a label file", place))
            else:
                scan.need_images({sample_name(place): place}, images)
        found = {}
        for place, name in expected.items():
            path = self.root / place
            if place in walked or os.path.isfile(path):  # noqa: PTH113 (called 100,000 times)
                found[name] = place
            elif os.path.lexists(path):
                scan.wrong(name, "broken label file", f"{path} is no file that can be read. Put the label file there.")
        return found

    def _kind(self, names: Mapping[int, str], table: ClassTable) -> str:
        """The kind of a label file's facts in the cache: everything that decides them, apart from the file."""
        return f"yolo@{self.adapter_version} {digest(list(names.items()), table.names, self.class_map, self.boxes)}"

    def _reader(self, names: Mapping[int, str], table: ClassTable) -> Any:
        def read(path: Path) -> str:
            shapes = read_labels(path, names, self.boxes)
            named = ((self.class_of(names[shape.number]), shape) for shape in shapes)
            return digest(sorted([name, shape.box, shape.points] for name, shape in named if name is not None))

        return read

    def _record(
        self,
        scan: Scan,
        name: str,
        place: str,
        split: str | None,
        facts: Mapping[str, Any],
        label: str | None,
        contents: Mapping[str, str],
        table: ClassTable,
    ) -> Record:
        if label is None and self.missing_label == "error":
            fact = f"{self.root / place} has no label file {label_place(place)}"
            scan.wrong(name, "no label file", f"{fact}; expected one. Add it, or set missing_label.")
        known = [] if label is None and self.missing_label == "unlabelled" else table.known
        annotation = table.content(contents[label] if label else self.missing_label)
        data = {"labels": label, "known": known}
        return record_of(name, place, facts, annotation, split=split, data=data)

    # ---- pixels ----

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image = listed_image(self.root, record)
        planes = bitmask.empty(record.height, record.width, len(classes))
        if record.data["labels"] is not None:
            path = self.root / record.data["labels"]
            names = self._names(self._said())
            shapes = [(self.class_of(names[shape.number]), shape) for shape in read_labels(path, names, self.boxes)]
            rings = ((classes.index(name), [_ring(shape, record)]) for name, shape in shapes if name is not None)
            planes = bitmask.rasterise(rings, record.height, record.width, len(classes))
        return loaded(record, image, planes, known_bits(record, classes))


def _ring(shape: Shape, record: Record) -> np.ndarray[Any, Any]:
    """Points in pixels; a box covers the pixels from its first edge to before its last."""
    points = np.array(shape.points) * (record.width, record.height)
    if not shape.box:
        return points
    (x0, y0), (x1, y1) = np.rint(points)
    x1, y1 = max(x1 - 1, x0), max(y1 - 1, y0)
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
