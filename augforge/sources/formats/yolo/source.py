"""YOLO segmentation: one label file per image, with a class number and a normalised polygon on each line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sample import Sample
from augforge.sources.classes import ClassTable, class_table
from augforge.sources.core import Listing, PhotoSource, Record, source
from augforge.sources.formats.yolo.files import (
    Boxes,
    DataYaml,
    Shape,
    find_data_yaml,
    outlines_of,
    read_data_yaml,
    read_labels,
)
from augforge.sources.formats.yolo.layout import (
    find_images,
    group_of,
    label_files,
    label_place,
    part_of,
    sample_name,
    split_of,
)
from augforge.sources.loading import known_bits, load_image, make_sample
from augforge.sources.options import DROP_DEGENERATE
from augforge.sources.raster.fills import POLYGON_FILL, Fill, with_fill
from augforge.sources.raster.outlines import in_pixels
from augforge.sources.raster.shapes import Ring, box_ring, draw
from augforge.sources.scan.likely import likely_hint
from augforge.sources.scan.mismatches import alike_orphans, report_mismatched
from augforge.sources.scan.orientation import Claim
from augforge.sources.scan.recent_files import RECENT_FILES
from augforge.sources.scan.records import make_record
from augforge.sources.scan.scanning import Scan


@source
class Yolo(PhotoSource):
    """Reads YOLO segmentation labels: polygons whose points are shares of the image's width and height.

    A point (x, y) is the pixel (x * width, y * height), as converters write it. A shape that reaches out of the image
    is cut at it, and told; one wholly outside, or farther out than half of the image, is an error, and so are poses.
    Filled polygons include the pixels of their outline (`cv2.fillPoly`), as in Ultralytics: half a pixel wider than
    COCO's masks, which ``polygon_fill: coco`` gives. Classes are in the order of ``names``. The path of a label file is
    that of the image, with ``labels`` in place of ``images``.

    The folders of ``val`` and ``test`` are the splits val and test; ``train`` is left to the recipe's split. If
    ``train`` and another one name the same images, as in some exports, neither counts; if ``val`` and ``test`` do, the
    images are val. Paths that were written on another machine or from another folder (``/content/cats/train/images``,
    ``data/images/one.jpg``) are read below the root without their leading folders, but never without the folder that
    names a split.
    """

    adapter_version: ClassVar[int] = 3
    layout: ClassVar[str] = """\
ROOT/                          source.path
  data.yaml                    names: [cat, dog] or {0: cat, 1: dog}; train, val, test: folders or .txt lists
  images/train/one.jpg         or images/one.jpg, or train/images/one.jpg and train/labels/one.txt; folders below are
                               the usual group
  labels/train/one.txt         0 0.1 0.1 0.9 0.1 0.5 0.8      class, then x y of each point
  images/val/two.jpg           without data.yaml: train, val and test below images are the splits
  labels/val/two.txt           empty: nothing is there"""

    format: Literal["yolo"] = "yolo"
    data: str | None = Field(
        None,
        description="file with names and splits, relative to path; null takes data.yaml, or the only .yaml there that "
        "has names, or names from classes.txt, or source.classes in the order of the numbers",
    )
    boxes: Boxes = Field("error", description="lines of a box (x y width height): broken, or filled as rectangles")
    polygon_fill: Fill = POLYGON_FILL
    drop_degenerate: bool = DROP_DEGENERATE
    missing_label: Literal["empty", "unlabelled", "error"] | None = Field(
        None,
        description="an image without a label file: nothing is there, unlabelled, or broken; null takes YOLO's rule, "
        "nothing is there, unless its whole split has no label file: then it is unlabelled",
    )

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        scan.require_folder("")
        data_yaml = find_data_yaml(self.root, self.data)
        names = self._class_numbers(data_yaml)
        table = class_table(self, names.values(), self.root / data_yaml.names_file, scan)
        found = find_images(scan, data_yaml)
        places = scan.places_by_name((sample_name(place), place) for place in found.parts)
        facts = scan.image_facts(places.items())
        labels = label_files(scan, places, found.folders, needed=self.missing_label is None)
        unlabelled = self._find_unlabelled(scan, places, found.parts, labels)
        contents = scan.facts(labels.items(), self._kind(names, table), self._make_reader(names), "broken label file")
        scan.settle_orientation(
            facts, lambda place: Claim(name, None) if (name := sample_name(place)) in labels else None
        )

        def record(name: str, place: str, label: str | None) -> Record:
            missing = "unlabelled" if name in unlabelled else "empty"
            content, drawn = (missing, []) if label is None else (contents[label]["content"], contents[label]["drawn"])
            if label is not None:
                scan.note_outlines(name, label, in_pixels(contents[label]["outlines"], facts[place]), facts[place])
            annotation = table.content(content)
            annotation = annotation if label is None else with_fill(annotation, self.polygon_fill)
            known = [] if name in unlabelled else table.known
            data = {"labels": label, "known": known, "names": None if data_yaml.names is None else data_yaml.names_file}
            part = found.parts[place]
            group, split = group_of(name, found.own.get(part, "")), split_of(name, part)
            return make_record(name, place, facts[place], annotation, group=group, split=split, data=data, drawn=drawn)

        all_of = ((name, place, labels.get(name)) for name, place in places.items() if place in facts)
        sound = (files for files in all_of if files[2] is None or files[2] in contents)
        return scan.make_listing((record(*files) for files in sound), table.names)

    def _class_numbers(self, data_yaml: DataYaml) -> dict[int, str]:
        """The label of each class number: as the data names them, or the recipe's classes in their order."""
        if data_yaml.names is None and self.classes is None:
            path = self.root / data_yaml.file
            others = "and no other .yaml, .yml or classes.txt there has names of classes"
            fact = f"{path} has no names of classes" if path.is_file() else f"{path} does not exist, {others}"
            remedy = "Add names there, or set source.classes in the order of the numbers."
            raise SourceError(f"{fact}. {remedy}{likely_hint(self)}")
        return data_yaml.names if data_yaml.names is not None else dict(enumerate(self.classes or ()))

    # ---- label files ----

    def _find_unlabelled(
        self, scan: Scan, images: Mapping[str, str], parts: Mapping[str, str], labels: Mapping[str, str]
    ) -> set[str]:
        """Names of the images without a label file that count as unlabelled; the others count as empty."""
        without_labels = {name: place for name, place in images.items() if name not in labels}
        if self.missing_label == "error":
            for name, place in without_labels.items():
                fact = f"{self.root / place} has no label file {label_place(place)}"
                scan.bad_sample(name, "no label file", f"{fact}; expected one. Add it, or set missing_label.")
        if self.missing_label is not None:
            doubtful = alike_orphans(scan, without_labels)
            report_mismatched(scan, doubtful)
            return set(without_labels) if self.missing_label == "unlabelled" else doubtful
        if without_labels and not labels:
            self._report_no_labels(scan, len(without_labels), next(iter(without_labels.values())))
        labelled = {part for name in labels for part in (part_of(name, ""), parts[images[name]])}
        unlabelled = {name: part_of(name, parts[place]) for name, place in without_labels.items()}
        unlabelled = {name: part for name, part in unlabelled.items() if part and part not in labelled}
        for part, count in sorted(Counter(unlabelled.values()).items()):
            scan.warnings.append(f"{part}: none of {count} images has a label file, so they are taken for unlabelled")
        doubtful = without_labels.keys() - unlabelled.keys() if scan.orphans else set()
        report_mismatched(scan, doubtful)
        return {*unlabelled, *doubtful}

    def _report_no_labels(self, scan: Scan, count: int, place: str) -> None:
        scan.source_error(
            f"{self.root}: none of {count} images has a label file; expected {label_place(place)} for {place}. Put the "
            "labels there, or set missing_label: empty if nothing is there, unlabelled if nobody looked."
        )

    def _kind(self, names: Mapping[int, str], table: ClassTable) -> str:
        """The kind of a label file's facts in the cache: it names everything besides the file that decides them."""
        rules = digest(list(names.items()), table.names, self.class_map, self.boxes, self.drop_degenerate)
        return f"yolo@{self.adapter_version}, facts@5 {rules}"

    def _make_reader(self, names: Mapping[int, str]) -> Any:
        def read(path: Path) -> dict[str, Any]:
            shapes, dropped = read_labels(path, names, self.boxes, self.drop_degenerate)
            named = [(name, shape) for shape in shapes if (name := self.class_of(names[shape.number])) is not None]
            outlines = outlines_of(named)
            outlines.dropped = dropped
            return {
                "content": digest(sorted([name, shape.box, shape.points] for name, shape in named)),
                "drawn": sorted({name for name, _ in named}),
                "outlines": outlines.facts(),
            }

        return read

    # ---- pixels ----

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image = load_image(self.root, record)
        planes = bitmask.empty(record.height, record.width, len(classes))
        if record.data["labels"] is not None:
            path = self.root / record.data["labels"]
            names = self._load_names(record.data["names"])
            read, _ = read_labels(path, names, self.boxes, self.drop_degenerate)
            shapes = [(self.class_of(names[shape.number]), shape) for shape in read]
            rings = (
                (name, _ring_in_pixels(shape, record, self.polygon_fill)) for name, shape in shapes if name is not None
            )
            planes = draw(rings, record.height, record.width, classes, self.polygon_fill)
        return make_sample(record, image, planes, known_bits(record, classes))

    def _load_names(self, file: str | None) -> Mapping[int, str]:
        """The label of each class number, from the file that was read when the samples were listed."""
        if file is None:
            return dict(enumerate(self.classes or ()))
        path = self.root / file
        return RECENT_FILES.get(
            path, "yolo names", lambda: read_data_yaml(path).names or {}, lambda names: sum(map(len, names.values()))
        )


def _ring_in_pixels(shape: Shape, record: Record, fill: Fill) -> Ring:
    """A shape's ring in pixels. A box covers the pixels from its first edge up to, and without, its last edge."""
    points = np.array(shape.points) * (record.width, record.height)
    if not shape.box:
        ring: Ring = points.reshape(-1).tolist()
        return ring
    x0, y0, x1, y1 = np.rint(points).reshape(-1).tolist()
    return box_ring(x0, y0, x1, y1, fill)
