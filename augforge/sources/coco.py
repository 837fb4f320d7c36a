"""COCO: one JSON of annotations for a folder of images."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sample import Sample
from augforge.sources import rle
from augforge.sources.classes import ClassTable, class_table
from augforge.sources.coco_file import Boxes, Crowd, Rules, category_names, read_document, read_images
from augforge.sources.core import Listing, Record, Refused, Source
from augforge.sources.loading import known_bits, listed_image, loaded
from augforge.sources.options import IGNORE
from augforge.sources.records import folder_or_name, inside, name_of, record_of
from augforge.sources.scanning import IMAGES, Scan
from augforge.sources.shapes import Part, draw
from augforge.store.filecache import FileCache

_SHOWN = 20


class Coco(Source):
    """Reads COCO annotations: polygons, and run lengths as counts or compressed text.

    Instances of a class are united; several polygons of one instance are parts of it. A polygon that leaves the image is
    cut, one that crosses itself is filled by the even-odd rule. An image without annotations is labelled, and empty:
    every category is known not to be there. A class that the recipe lists and that is no category is unknown.

    Categories go by name, and ids of one name are one class. Crowds (``iscrowd``) become the class ``ignore``, which
    is made for them where the recipe lists no classes. Images that the file does not name are refused.
    """

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/                          source.path
  instances.json               the only .json here or in annotations/, or source.annotations
      {"images": [{"id": 1, "file_name": "P01/scan1.jpg", "width": 800, "height": 600}, ...],
       "annotations": [{"image_id": 1, "category_id": 3, "segmentation": [[x, y, ...]], "iscrowd": 0}, ...],
       "categories": [{"id": 3, "name": "heart"}, ...]}
  images/P01/scan1.jpg         file_name is relative to images/, or source.images; folders are the usual group"""

    format: Literal["coco"] = "coco"
    annotations: str | None = Field(
        None, description="the JSON file, relative to path; null takes the only one there or in annotations/"
    )
    images: str | None = Field(
        None,
        description="folder of the images, relative to path; null takes images/ where there is one, else path itself",
    )
    crowd: Crowd | None = Field(
        None,
        description=f"crowds become the class {IGNORE}, stay in their class, or are left out (and so count as absent); "
        f"null is {IGNORE} if classes has it or is null, else an error",
    )
    boxes: Boxes = Field("error", description="annotations with a box alone: an error, a rectangle, or left out")

    @model_validator(mode="after")
    def _has_ignore(self) -> Coco:
        if self.crowd == "ignore" and self.classes is not None and IGNORE not in self.classes:
            raise ValueError(f"crowd is {IGNORE}, but classes has no '{IGNORE}'; add it to the list")
        return self

    def scan(self, cache: FileCache) -> Listing:
        scan, annotations = Scan(self, cache), self._annotations()
        facts = cache.get(self.root / annotations, self._kind, self._read)
        table = ClassTable(tuple(facts["classes"]), facts["known"])
        for key, count in facts["orphans"]:
            message = f"{self.root / annotations}: {count} annotations of image id {key}, which 'images' does not hold"
            scan.wrong(f"image id {key}", "no image", f"{message}. Add the image, or remove them.")
        found = self._found(scan, annotations)
        if not found and facts["images"]:
            raise SourceError(
                f"{self.root / self._folder} holds no image; expected\n{self.layout}\nCorrect source.images."
            )
        entries = dict(self._entries(scan, annotations, facts["images"], found))
        self._refuse_others(scan, entries, found)
        images = scan.images((name_of(place, self._folder), place) for place in entries if place in found)
        return scan.listing(self._records(scan, annotations, table, entries, images), table.names)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image = listed_image(self.root, record)
        planes = draw(_parts(record), record.height, record.width, classes)
        return loaded(record, image, planes, known_bits(record, classes))

    # ---- the annotation file ----

    @property
    def _kind(self) -> str:
        """The kind of `_read` in the cache: everything that decides what it gives, apart from the file."""
        return f"coco@{self.adapter_version} {digest(self.classes, self.class_map, self.crowd, self.boxes)}"

    def _read(self, path: Path) -> dict[str, Any]:
        document = read_document(path)
        names = category_names(document, path)
        table = class_table(self, names.values(), path)
        ignores = self.crowd is None and (self.classes is None or IGNORE in self.classes)
        crowd: Crowd | None = "ignore" if ignores else self.crowd
        facts = read_images(document, path, Rules({key: self.class_of(names[key]) for key in names}, crowd, self.boxes))
        classes, known = table.names, table.known
        if crowd == "ignore" and IGNORE not in known and (facts["crowd"] or IGNORE in classes):
            classes = classes if IGNORE in classes else (*classes, IGNORE)
            known = [*known, IGNORE]
        return {**facts, "classes": classes, "known": known}

    def _annotations(self) -> str:
        """Place of the annotation file."""
        if self.annotations is not None:
            places = [self.annotations]
        else:
            places = [path.relative_to(self.root).as_posix() for path in _json_files(self.root)]
        if not self.root.is_dir() or not places:
            fact = "holds no .json" if self.root.is_dir() else "is no folder"
            raise SourceError(f"{self.root} {fact}; expected\n{self.layout}\nCorrect source.path.")
        if len(places) > 1:
            more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
            raise SourceError(
                f"{self.root} holds {len(places)} annotation files; expected one. Choose it, 'annotations: NAME': "
                f"{', '.join(places[:_SHOWN])}{more}."
            )
        if not (self.root / places[0]).is_file():
            raise SourceError(f"{self.root / places[0]} does not exist. Correct source.annotations.")
        return places[0]

    # ---- images ----

    @property
    def _folder(self) -> str:
        if self.images is not None:
            return self.images
        return "images" if (self.root / "images").is_dir() else "."

    def _found(self, scan: Scan, annotations: str) -> set[str]:
        """Places of all images that are there; annotation files may lie among them."""
        places = scan.walk(self._folder, IMAGES | {".json"})
        notes = {annotations, *(place for place in places if place.lower().endswith(".json"))}
        others = notes - {annotations} - {path.relative_to(self.root).as_posix() for path in _json_files(self.root)}
        scan.refused += [Refused(place, "not an image", place) for place in sorted(others)]
        return set(places) - notes

    def _entries(
        self, scan: Scan, annotations: str, images: Iterable[dict[str, Any]], found: set[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the file says of each image, by its place; an image that is not there is wrong."""
        seen: set[str] = set()
        where = str(self.root / annotations)
        for entry in images:
            try:
                place = self._place(entry["file_name"], where, found)
            except SourceError as error:
                scan.wrong(entry["file_name"], "leaves the root", str(error))
                continue
            name = name_of(place, self._folder)
            if place in seen:
                message = f"{where} holds image {entry['file_name']} twice; expected it once. Keep one of the two ids."
                scan.wrong(name, "name stands twice", message)
            if place not in found:
                message = f"{self.root / place} does not exist, but {where} holds annotations of it"
                scan.wrong(name, "no image", f"{message}. Add the image, or correct source.images.")
            seen.add(place)
            yield place, entry

    def _place(self, file_name: str, where: str, found: set[str]) -> str:
        """Place of an image, which must lie below the root."""
        place = os.path.normpath(os.path.join(self._folder, file_name.replace("\\", "/")))
        return place if place in found else inside(self.root, place, where)

    def _refuse_others(self, scan: Scan, entries: Mapping[str, Any], found: set[str]) -> None:
        others = sorted(found - entries.keys())
        scan.refused += [Refused(name_of(place, self._folder), "no annotation", place) for place in others]

    def _records(
        self,
        scan: Scan,
        annotations: str,
        table: ClassTable,
        entries: Mapping[str, dict[str, Any]],
        images: Mapping[str, Any],
    ) -> Iterator[Record]:
        for place, facts in images.items():
            name, entry = name_of(place, self._folder), entries[place]
            if entry["problem"] is not None:
                scan.wrong(name, "broken annotation", entry["problem"])
            elif entry["size"] is not None:
                scan.need_size(name, f"{annotations}: image {entry['file_name']}", entry["size"], facts)
            content = table.content(entry["shapes"])
            data = {"shapes": entry["shapes"], "known": table.known}
            yield record_of(name, place, facts, content, group=folder_or_name(name), data=data)


def _json_files(root: Path) -> list[Path]:
    """Annotation files where they usually lie."""
    return [path for folder in (root, root / "annotations") for path in sorted(folder.glob("*.json"))]


def _parts(record: Record) -> Iterator[Part]:
    for name, shape in json.loads(record.data["shapes"]):
        yield name, (rle.decode(shape, record.height, record.width), 0, 0) if isinstance(shape, str) else shape
