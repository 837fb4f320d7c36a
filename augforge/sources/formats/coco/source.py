"""COCO: one JSON file of annotations, or one per split, for folders of images."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError, some
from augforge.keys import digest
from augforge.sample import IGNORE, Sample
from augforge.sources.classes import ClassTable, check_crowd, class_table
from augforge.sources.core import Listing, Record, Refused, Source
from augforge.sources.formats.coco.file import Rules, category_names, read_document, read_images
from augforge.sources.formats.coco.layout import (
    annotation_files,
    image_folder,
    image_place,
    json_files,
    leaves_root,
    sample_name,
    split_of,
    usual_group,
)
from augforge.sources.loading import draw_shapes, known_bits, load_image, make_sample
from augforge.sources.options import Boxes, Crowd
from augforge.sources.raster.shapes import shape_outside_image
from augforge.sources.scan.records import make_record, name_of, place_inside
from augforge.sources.scan.scanning import IMAGES, Scan
from augforge.sources.scan.walking import outermost


class _Part(NamedTuple):
    """One annotation file of the source.

    Attributes:
        place: of the file.
        images: the folder of its images.
        split: the split in the file's name, which its samples' names begin with; "" if it is the only file.
        facts: what was read from it (`read_images`).
        table: the classes of the whole source, and which of them this file labels.
    """

    place: str
    images: str
    split: str
    facts: Mapping[str, Any]
    table: ClassTable

    def name(self, place: str) -> str:
        """The name of the sample whose image is at ``place``."""
        return sample_name(name_of(place, self.images).removeprefix("images/"), self.split)

    def group(self, place: str) -> str:
        """The usual group of the sample whose image is at ``place``."""
        return usual_group(name_of(place, self.images).removeprefix("images/"), self.split)


class _Entry(NamedTuple):
    """An image in an annotation file, with its facts."""

    part: _Part
    facts: Mapping[str, Any]


class Coco(Source):
    """Reads COCO annotations: polygons, and run lengths as counts or compressed text.

    All instances of a class are united; several polygons of one instance are parts of it. A polygon that leaves the
    image is clipped, one wholly outside is an error, and one that crosses itself is filled by the even-odd rule. Filled
    polygons include the pixels of their outline (``cv2.fillPoly``), so they are about half a pixel wider than
    pycocotools' masks. An image without annotations is labelled and empty: every category is known to be absent. A
    class that the recipe lists and that is no category is unknown. In LVIS files, the known categories of an image are
    those annotated in it or listed in its ``neg_category_ids``, except its ``not_exhaustive_category_ids``; a class of
    several categories is known if all of them are.

    Categories are identified by their names; several ids with one name are one class. Crowds (``iscrowd``) become the
    class ``ignore``, which is added for them if the recipe lists no classes. Images that the file does not name are
    refused. Files of several splits are read together: instances_train2017.json and instances_val2017.json, or
    Roboflow's train/, valid/ and test/ with one file each; another .json in ROOT is then ignored unless it looks like
    COCO. Samples' names then begin with the split, and a file without any annotation leaves its images unlabelled.
    """

    adapter_version: ClassVar[int] = 2
    layout: ClassVar[str] = """\
ROOT/                          source.path
  instances.json               the only .json here or in annotations/, or one a split there or in the splits' folders,
                               such as train/_annotations.coco.json; or source.annotations
      {"images": [{"id": 1, "file_name": "P01/scan1.jpg", "width": 800, "height": 600}, ...],
       "annotations": [{"image_id": 1, "category_id": 3, "segmentation": [[x, y, ...]], "iscrowd": 0}, ...],
       "categories": [{"id": 3, "name": "heart"}, ...]}
  images/P01/scan1.jpg         file_name is relative to images/, images/SPLIT/, SPLIT/, data/, the file's own folder
                               or ROOT; or to source.images; folders are the usual group"""

    format: Literal["coco"] = "coco"
    annotations: str | None = Field(
        None,
        description="the JSON file, relative to path; null takes the only one, or one a split; of several, those named "
        "instances...",
    )
    images: str | None = Field(
        None,
        description="folder of the images, or of a folder of them for each split, relative to path; null finds it",
    )
    crowd: Crowd | None = Field(
        None,
        description=f"crowds become the class {IGNORE}, stay in their class, or are left out (and so count as absent); "
        f"null is {IGNORE}, but an error where classes has no {IGNORE}, and where a category has only crowds, as some "
        "tools mark all masks so",
    )
    boxes: Boxes = Field("error", description="annotations with a box alone: an error, a rectangle, or left out")

    @model_validator(mode="after")
    def _has_ignore(self) -> Coco:
        check_crowd(self.crowd, self.classes)
        return self

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        parts = self._read_parts(scan)
        found = self._find_images(scan, parts)
        for part in parts:
            self._require_images(scan, part, found)
        entries: dict[str, _Entry] = {}
        for part in parts:
            self._report_orphans(scan, part)
            self._add_entries(scan, part, found, entries)
        self._warn_of_unlabelled_files(scan, parts)
        self._check_crowds(scan, parts)
        top = os.path.commonpath([part.images for part in parts])
        others = sorted(found - entries.keys())
        scan.refused += [Refused(name_of(place, top), "no annotation", place) for place in others]
        images = scan.image_facts((part.name(place), place) for place, (part, _) in entries.items() if place in found)
        return scan.make_listing(self._make_records(scan, entries, images), parts[0].table.names)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image = load_image(self.root, record)
        return make_sample(record, image, draw_shapes(record, classes), known_bits(record, classes))

    # ---- the annotation files ----

    def _read_parts(self, scan: Scan) -> list[_Part]:
        places = self._annotation_places()
        facts = [scan.fact(self.root / place, self._kind, self._read_facts) for place in places]
        tables = self._class_tables(places, facts)
        splits = [split_of(place) if len(places) > 1 else "" for place in places]
        folders = [self._find_image_folder(place, said) for place, said in zip(places, facts, strict=True)]
        return list(map(_Part, places, folders, splits, facts, tables))

    def _annotation_places(self) -> list[str]:
        if not self.root.is_dir():
            raise SourceError(f"{self.root} is no folder; expected\n{self.layout}\nCorrect source.path.")
        if self.annotations is None:
            return annotation_files(self.root, self.layout)
        if not (self.root / self.annotations).is_file():
            raise SourceError(f"{self.root / self.annotations} does not exist. Correct source.annotations.")
        return [posixpath.normpath(self.annotations)]

    def _find_image_folder(self, place: str, facts: Mapping[str, Any]) -> str:
        return image_folder(self.root, place, self.images, (entry["file_name"] for entry in facts["images"]))

    @property
    def _crowd(self) -> Crowd | None:
        """What becomes of crowds, or None if the recipe has to decide."""
        ignores = self.crowd is None and (self.classes is None or IGNORE in self.classes)
        return "ignore" if ignores else self.crowd

    @property
    def _kind(self) -> str:
        """The kind of `_read_facts` in the cache: it names everything besides the file that decides the result."""
        return f"coco@{self.adapter_version}, facts@4 {digest(self.classes, self.class_map, self.crowd, self.boxes)}"

    def _read_facts(self, path: Path) -> dict[str, Any]:
        document = read_document(path)
        names = category_names(document, path)
        rules = Rules({key: self.class_of(name) for key, name in names.items()}, self._crowd, self.boxes)
        facts = read_images(document, path, rules)
        return {
            **facts,
            "labels": list(names.values()),
            "annotated": bool(document["annotations"]),
            "drawn": [[names[key], *counts] for key, *counts in facts["drawn"]],
        }

    def _class_tables(self, places: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> list[ClassTable]:
        """The class table for each file: the names are those of the source, the known classes those of the file."""
        own = [
            self._known_classes(self.root / place, said, len(facts) > 1)
            for place, said in zip(places, facts, strict=True)
        ]
        names = class_table(self, [label for said in facts for label in said["labels"]], self.root).names
        crowds = sum(count for said in facts for _, _, count in said["drawn"])
        if self._crowd == "ignore" and crowds and IGNORE not in names:
            names = (*names, IGNORE)
        return [ClassTable(names, [name for name in names if name in known]) for known in own]

    def _known_classes(self, path: Path, facts: Mapping[str, Any], one_of_several: bool) -> list[str]:
        """The classes that a file labels. One of several files, such as that of a test split, may label none."""
        if one_of_several and not facts["annotated"]:
            return []
        return [*class_table(self, facts["labels"], path).known, IGNORE]

    def _warn_of_unlabelled_files(self, scan: Scan, parts: Sequence[_Part]) -> None:
        meaning = "unlike other files; its images are unlabelled" if len(parts) > 1 else "so all its images are empty"
        bare = [part.place for part in parts if not part.facts["annotated"]]
        scan.warnings += [f"{place} holds no annotation, {meaning}" for place in bare]

    def _check_crowds(self, scan: Scan, parts: Sequence[_Part]) -> None:
        """Warn of crowds that become `ignore` by default; an error if they are many, and all there is of a category."""
        counts: Counter[str] = Counter()
        crowds: Counter[str] = Counter()
        for label, count, crowd in (entry for part in parts for entry in part.facts["drawn"]):
            counts[label] += count
            crowds[label] += crowd
        if self.crowd is not None or not crowds.total():
            return
        places = [part.place for part in parts]
        empty = [label for label in counts if counts[label] == crowds[label]]
        if empty and 5 * crowds.total() > counts.total():  # in COCO itself, one annotation in a hundred is a crowd
            scan.source_error(
                f"{', '.join(str(self.root / place) for place in places)}: all annotations of {some(empty)} are crowds "
                f"(iscrowd: 1), which would become {IGNORE}; expected some that are not, but some tools mark all masks "
                f"so. Set 'crowd: class' if they are objects, or 'crowd: {IGNORE}' if they are crowds."
            )
        scan.warnings.append(
            f"{', '.join(places)}: {crowds.total()} of {counts.total()} annotations are crowds and became {IGNORE}; "
            "set 'crowd: class' if your tool marks masks so"
        )

    # ---- images ----

    def _find_images(self, scan: Scan, parts: Sequence[_Part]) -> set[str]:
        """Places of all image files. Annotation files may lie among them; other JSON files are refused."""
        folders = outermost(part.images for part in parts)
        places = [place for folder in folders for place in scan.walk(folder, IMAGES | {".json"})]
        notes = {place for place in places if place.lower().endswith(".json")}
        others = notes - {part.place for part in parts} - {*json_files(self.root)}
        scan.refused += [Refused(place, "not an image", place) for place in sorted(others)]
        return set(places) - notes

    def _require_images(self, scan: Scan, part: _Part, found: set[str]) -> None:
        """Raise SourceError if none of a file's images exists, unless a problem reported before may be the reason."""
        places = [image_place(part.images, entry["file_name"]) for entry in part.facts["images"]]
        below = [place for place in places if not leaves_root(place)]
        if below and not scan.bad_names and not scan.problems and found.isdisjoint(below):
            raise SourceError(
                f"{self.root / below[0]} does not exist, and none of the {len(places)} images that "
                f"{self.root / part.place} names is there. Add them, or correct source.images, the folder that "
                "file_name is relative to, or source.annotations."
            )

    def _report_orphans(self, scan: Scan, part: _Part) -> None:
        for key, count in part.facts["orphans"]:
            fact = f"{self.root / part.place}: image_id {key} of {count} annotations is none of images"
            scan.bad_sample(f"image_id {key}", "no image", f"{fact}. Add the image there, or remove them.")

    def _add_entries(self, scan: Scan, part: _Part, found: set[str], entries: dict[str, _Entry]) -> None:
        """Add the images of a file to ``entries``, by their places; missing and duplicate images are bad samples."""
        where = str(self.root / part.place)
        for entry in part.facts["images"]:
            place = image_place(part.images, entry["file_name"])
            try:
                place = place if place in found else place_inside(self.root, place, where)
            except SourceError as error:
                scan.bad_sample(entry["file_name"], "leaves the root", str(error))
                continue
            name, other = part.name(place), entries.get(place)
            if other is not None:
                wheres = where if other.part is part else f"{self.root / other.part.place} and {where}"
                fact = f"{wheres}: images holds {entry['file_name']} twice"
                scan.bad_sample(name, "name stands twice", f"{fact}; expected it once. Keep one of the two.")
            elif place not in found and name not in scan.bad_names:
                fact = f"{self.root / place} does not exist, but {where} names it"
                scan.bad_sample(name, "no image", f"{fact}. Add the image, or correct source.images.")
            entries[place] = _Entry(part, entry)

    def _make_records(self, scan: Scan, entries: Mapping[str, _Entry], images: Mapping[str, Any]) -> Iterator[Record]:
        for place, facts in images.items():
            part, entry = entries[place]
            name, path = part.name(place), self.root / part.place
            outside = shape_outside_image(entry["far"], facts, path)
            if entry["problem"] is not None:
                scan.bad_sample(name, "broken annotation", f"{path}: {entry['problem']}")
            elif entry["size"] is not None and entry["size"] != [facts["width"], facts["height"]]:
                scan.check_size(name, f"{part.place}: {entry['file_name']}", entry["size"], facts)
            elif outside is not None:
                scan.bad_sample(name, "outside the image", outside)
            content, known = part.table.content(entry["shapes"]), part.table.known
            if entry["unknown"]:
                content = [content, entry["unknown"]]
                known = [class_ for class_ in known if class_ not in entry["unknown"]]
            data = {"shapes": entry["shapes"], "known": known}
            yield make_record(name, place, facts, content, group=part.group(place), data=data)
