"""COCO: one JSON of annotations for a folder of images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from augforge.errors import SourceError, some
from augforge.keys import digest
from augforge.sample import Sample
from augforge.sources.classes import ClassTable, class_table
from augforge.sources.coco_file import Boxes, Crowd, Rules, category_names, read_document, read_images
from augforge.sources.core import Listing, Record, Refused, Source
from augforge.sources.loading import drawn, known_bits, listed_image, loaded
from augforge.sources.options import IGNORE
from augforge.sources.records import folder_or_name, inside, name_of, record_of
from augforge.sources.scanning import IMAGES, Scan
from augforge.store.filecache import FileCache

_SHOWN = 20


class _Files(NamedTuple):
    """Places of the annotation file and of the images' folder."""

    annotations: str
    images: str


class Coco(Source):
    """Reads COCO annotations: polygons, and run lengths as counts or compressed text.

    Instances of a class are united; several polygons of one instance are parts of it. A polygon that leaves the image
    is cut, one that crosses itself is filled by the even-odd rule. An image without annotations is labelled, and empty:
    every category is known not to be there. A class that the recipe lists and that is no category is unknown. In LVIS'
    files, an image knows the categories that are annotated in it or stand in its ``neg_category_ids``, but for its
    ``not_exhaustive_category_ids``; a class of several categories is known where all of them are.

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
        scan, files = Scan(self, cache), self._files()
        facts = cache.get(self.root / files.annotations, self._kind, self._read)
        table = ClassTable(tuple(facts["classes"]), facts["known"])
        found = self._found(scan, files)
        if not found and facts["images"] and not scan.bad:
            fact = f"{self.root / files.images} holds no image"
            raise SourceError(f"{fact}; expected\n{self.layout}\nCorrect source.path or source.images.")
        self._tell_orphans(scan, files, facts["orphans"])
        entries = dict(self._entries(scan, files, facts["images"], found))
        others = sorted(found - entries.keys())
        scan.refused += [Refused(name_of(place, files.images), "no annotation", place) for place in others]
        images = scan.images((name_of(place, files.images), place) for place in entries if place in found)
        return scan.listing(self._records(scan, files, table, entries, images), table.names)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image = listed_image(self.root, record)
        return loaded(record, image, drawn(record, classes), known_bits(record, classes))

    # ---- the annotation file ----

    @property
    def _kind(self) -> str:
        """The kind of `_read` in the cache: everything that decides what it gives, apart from the file."""
        return f"coco@{self.adapter_version}, facts@2 {digest(self.classes, self.class_map, self.crowd, self.boxes)}"

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

    # ---- files ----

    def _files(self) -> _Files:
        """Places of the annotation file and of the images' folder."""
        if not self.root.is_dir():
            raise SourceError(f"{self.root} is no folder; expected\n{self.layout}\nCorrect source.path.")
        images = self.images or ("images" if (self.root / "images").is_dir() else ".")
        if self.annotations is None:
            return _Files(self._only_json(), images)
        if not (self.root / self.annotations).is_file():
            raise SourceError(f"{self.root / self.annotations} does not exist. Correct source.annotations.")
        return _Files(self.annotations, images)

    def _only_json(self) -> str:
        places = _json_files(self.root)
        if not places:
            raise SourceError(f"{self.root} holds no .json; expected\n{self.layout}\nCorrect source.path.")
        if len(places) > 1:
            raise SourceError(
                f"{self.root} holds {len(places)} annotation files; expected one. Choose it, 'annotations: NAME': "
                f"{some(places, _SHOWN)}."
            )
        return places[0]

    def _found(self, scan: Scan, files: _Files) -> set[str]:
        """Places of all images that are there; annotation files may lie among them."""
        places = scan.walk(files.images, IMAGES | {".json"})
        notes = {place for place in places if place.lower().endswith(".json")}
        others = notes - {files.annotations, *_json_files(self.root)}
        scan.refused += [Refused(place, "not an image", place) for place in sorted(others)]
        return set(places) - notes

    # ---- images ----

    def _tell_orphans(self, scan: Scan, files: _Files, orphans: Iterable[tuple[str, int]]) -> None:
        for key, count in orphans:
            fact = f"{self.root / files.annotations}: image_id {key} of {count} annotations is none of images"
            scan.wrong(f"image_id {key}", "no image", f"{fact}. Add the image there, or remove them.")

    def _entries(
        self, scan: Scan, files: _Files, images: Iterable[dict[str, Any]], found: set[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the file says of each image, by its place; an image that is not there is wrong."""
        seen: set[str] = set()
        where = str(self.root / files.annotations)
        for entry in images:
            try:
                place = self._place(entry["file_name"], files, where, found)
            except SourceError as error:
                scan.wrong(entry["file_name"], "leaves the root", str(error))
                continue
            name = name_of(place, files.images)
            if place in seen:
                fact = f"{where}: images holds {entry['file_name']} twice"
                scan.wrong(name, "name stands twice", f"{fact}; expected it once. Keep one of the two ids.")
            elif place not in found and name not in scan.bad:
                fact = f"{self.root / place} does not exist, but {where} names it"
                scan.wrong(name, "no image", f"{fact}. Add the image, or correct source.images.")
            seen.add(place)
            yield place, entry

    def _place(self, file_name: str, files: _Files, where: str, found: set[str]) -> str:
        """Place of an image, which must lie below the root."""
        place = os.path.normpath(PurePosixPath(files.images, file_name.replace("\\", "/")))
        return place if place in found else inside(self.root, place, where)

    def _records(
        self,
        scan: Scan,
        files: _Files,
        table: ClassTable,
        entries: Mapping[str, dict[str, Any]],
        images: Mapping[str, Any],
    ) -> Iterator[Record]:
        for place, facts in images.items():
            name, entry = name_of(place, files.images), entries[place]
            if entry["problem"] is not None:
                scan.wrong(name, "broken annotation", entry["problem"])
            elif entry["size"] is not None:
                scan.need_size(name, f"{files.annotations}: {entry['file_name']}", entry["size"], facts)
            content, known = table.content(entry["shapes"]), table.known
            if entry["unknown"]:
                content = [content, entry["unknown"]]
                known = [class_ for class_ in known if class_ not in entry["unknown"]]
            data = {"shapes": entry["shapes"], "known": known}
            yield record_of(name, place, facts, content, group=folder_or_name(name), data=data)


def _json_files(root: Path) -> list[str]:
    """Places of annotation files where they usually lie."""
    paths = (path for folder in (root, root / "annotations") for path in sorted(folder.glob("*.json")))
    return [path.relative_to(root).as_posix() for path in paths]
