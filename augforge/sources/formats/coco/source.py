"""COCO: one JSON file of annotations, or one per split, for folders of images."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sample import IGNORE, Sample
from augforge.sources.classes import ClassTable, check_crowd, class_table
from augforge.sources.core import Listing, PhotoSource, Record, Refused, source
from augforge.sources.formats.coco.annotations import AnnotationRules
from augforge.sources.formats.coco.checks import (
    check_crowds,
    find_mismatched,
    report_boxes_apart,
    report_left_files,
    report_orphans,
    report_phantoms,
    report_turned_boxes,
    report_unlabelled_files,
)
from augforge.sources.formats.coco.choice import ChosenFiles, annotation_files, split_of
from augforge.sources.formats.coco.file import category_names, names_of_images, read_document, read_facts
from augforge.sources.formats.coco.images import by_file_name, find_images, image_folder, namesake
from augforge.sources.formats.coco.layout import AnnotatedImage, AnnotationFile, leaves_root
from augforge.sources.formats.coco.licences import licences_of_files, read_licences
from augforge.sources.loading import draw_shapes, known_bits, load_image, make_sample
from augforge.sources.options import DROP_DEGENERATE, Boxes, Crowd
from augforge.sources.raster.fills import POLYGON_FILL, Fill, with_fill
from augforge.sources.scan.likely import conversion_of, is_unread, layout_error
from augforge.sources.scan.orientation import Claim
from augforge.sources.scan.records import make_record, name_of, place_inside
from augforge.sources.scan.scanning import Scan

_READING_OPTIONS = ("classes", "class_map", "crowd", "boxes", "drop_degenerate", "polygon_fill")
"""The options that decide what is read from an annotation file."""


@source
class Coco(PhotoSource):
    """Reads COCO annotations: polygons, and run lengths as counts or compressed text.

    All instances of a class are united; several polygons of one instance are parts of it. A polygon that leaves the
    image is clipped, one wholly outside is an error, and one that crosses itself is filled by the even-odd rule. Filled
    polygons include the pixels of their outline (``cv2.fillPoly``), so they are about half a pixel wider than
    pycocotools' masks, which ``polygon_fill: coco`` gives. An image without annotations is labelled and empty: every
    category is known to be absent. A class that the recipe lists and that is no category is unknown. In LVIS files, the
    known categories of an image are those annotated in it or listed in its ``neg_category_ids``, except its
    ``not_exhaustive_category_ids``; a class of several categories is known if all of them are.

    Categories are identified by their names; several ids with one name are one class. Crowds (``iscrowd``) become the
    class ``ignore``, which is added for them if the recipe lists no classes. Images that the file does not name are
    refused. Files of several splits are read together: instances_train2017.json and instances_val2017.json, or
    Roboflow's train/, valid/ and test/ with one file each; a file whose name has no split, beside others, is that of
    training; another .json is ignored unless it looks like COCO. Samples' names then begin with the split, and a file
    without any annotation leaves its images unlabelled. Roboflow's category 0, which is the supercategory of all others
    and which no annotation uses, is no class. Ids may be numbers or text; file names may be composed or decomposed
    (Unicode NFC or NFD) and their suffixes in small or big letters.
    """

    adapter_version: ClassVar[int] = 3
    layout: ClassVar[str] = """\
ROOT/                          source.path
  instances.json               the only .json here or in annotations/, or one per split there or in the splits' folders,
                               such as train/_annotations.coco.json; or source.annotations
      {"images": [{"id": 1, "file_name": "P01/scan1.jpg", "width": 800, "height": 600}, ...],
       "annotations": [{"image_id": 1, "category_id": 3, "segmentation": [[x, y, ...]], "iscrowd": 0}, ...],
       "categories": [{"id": 3, "name": "heart"}, ...]}
  images/P01/scan1.jpg         file_name is relative to images/, images/SPLIT/, SPLIT/, data/, the file's own folder
                               or ROOT; or to source.images; folders are the usual group"""

    format: Literal["coco"] = "coco"
    annotations: str | None = Field(
        None,
        description="the JSON file, relative to path; null takes the only one, or one per split; of several, those "
        "named instances...",
    )
    images: str | None = Field(
        None,
        description="folder of the images, or of a folder of them for each split, relative to path; null finds it",
    )
    crowd: Crowd | None = Field(
        None,
        description=f"crowds become the class {IGNORE}, stay in their class, or are left out (and so count as absent); "
        f"null is {IGNORE}, but an error if classes has no {IGNORE} for them, or if a category has only crowds (some "
        "tools mark every mask as one)",
    )
    boxes: Boxes = Field("error", description="annotations with a box alone: an error, a rectangle, or left out")
    polygon_fill: Fill = POLYGON_FILL
    drop_degenerate: bool = DROP_DEGENERATE

    @model_validator(mode="after")
    def _check_crowd_option(self) -> Coco:
        check_crowd(self.crowd, self.classes)
        return self

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        files, places = find_images(scan, self._read_files(scan), self.images)
        scan.note_labels(label for file in files for label in file.facts["labels"])
        # With a wrong folder of images every sample would be bad: one error says so instead of one for each.
        for file in files:
            self._require_images(scan, file, places)
        annotated: dict[str, AnnotatedImage] = {}
        for file in files:
            report_orphans(scan, file)
            self._add_images(scan, file, places, annotated)
        report_unlabelled_files(scan, files)
        check_crowds(scan, files, self.crowd)
        report_boxes_apart(scan, annotated)
        report_turned_boxes(scan, annotated)
        self._refuse_unannotated(scan, files, places - annotated.keys())
        images = ((file.sample_name(place), place) for place, (file, _) in annotated.items() if place in places)
        facts = scan.image_facts(images)
        scan.settle_orientation(facts, lambda place: _claim_of(place, annotated[place]))
        return scan.make_listing(self._make_records(scan, annotated, facts), files[0].table.names)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image = load_image(self.root, record)
        return make_sample(record, image, draw_shapes(record, classes, self.polygon_fill), known_bits(record, classes))

    # ---- the annotation files ----

    def _read_files(self, scan: Scan) -> list[AnnotationFile]:
        places, left = self._annotation_places()
        report_left_files(scan, places, left)
        facts = [scan.file_facts(self.root / place, self._kind, self._read_facts) for place in places]
        phantoms = self._phantoms(facts)
        report_phantoms(scan, phantoms)
        tables = self._class_tables(
            scan, places, [{**read, "labels": without(read["labels"], phantoms)} for read in facts]
        )
        splits = [split_of(place) if len(places) > 1 else "" for place in places]
        folders = [self._find_folder(place, read["images"]) for place, read in zip(places, facts, strict=True)]
        return list(map(AnnotationFile, places, folders, splits, facts, tables))

    def _phantoms(self, facts: Sequence[Mapping[str, Any]]) -> set[str]:
        """The labels of Roboflow's category 0, unless the recipe or one of the files uses them."""
        meant = {*self.class_map, *(self.classes or ())}
        used = {label for read in facts for label in without(read["labels"], {read["phantom"]})}
        return {read["phantom"] for read in facts if read["phantom"] is not None} - meant - used

    def _annotation_places(self) -> ChosenFiles:
        if not self.root.is_dir():
            raise layout_error(self, f"{self.root} is no folder")
        if self.annotations is None:
            return annotation_files(self)
        if not (self.root / self.annotations).is_file():
            raise SourceError(f"{self.root / self.annotations} does not exist. Correct source.annotations.")
        return ChosenFiles([posixpath.normpath(self.annotations)], [])

    def _find_folder(self, place: str, images: Sequence[Mapping[str, Any]]) -> str:
        return image_folder(self.root, place, self.images, (image["file_name"] for image in images))

    @property
    def _crowd_or_default(self) -> Crowd | None:
        """What becomes of crowds; None if the recipe does not say, and its classes have no `ignore` for them."""
        ignored_by_default = self.crowd is None and (self.classes is None or IGNORE in self.classes)
        return "ignore" if ignored_by_default else self.crowd

    @property
    def _kind(self) -> str:
        """What the cache calls `_read_facts`: it names everything besides the file that decides the result."""
        return (
            f"coco@{self.adapter_version}, facts@11 {digest(*(getattr(self, option) for option in _READING_OPTIONS))}"
        )

    def _read_facts(self, path: Path) -> dict[str, Any]:
        document = read_document(path)
        names = category_names(document, path)
        classes = {category: self.class_of(name) for category, name in names.items()}
        rules = AnnotationRules(classes, self._crowd_or_default, self.boxes, self.drop_degenerate, self.polygon_fill)
        facts = read_facts(document, path, rules)
        return {
            **facts,
            "labels": list(names.values()),
            "annotated": bool(document["annotations"]),
            "licences": read_licences(document, names_of_images(document)).to_json(),
            "drawn": [[names[category], *counts] for category, *counts in facts["drawn"]],
        }

    def _class_tables(self, scan: Scan, places: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> list[ClassTable]:
        """The class table for each file: the names are those of the source, the known classes those of the file."""
        several = len(facts) > 1
        known = [
            self._known_classes(self.root / place, read, several) for place, read in zip(places, facts, strict=True)
        ]
        names = class_table(self, [label for read in facts for label in read["labels"]], self.root, scan).names
        crowds = sum(count for read in facts for _, _, count in read["drawn"])
        if self._crowd_or_default == "ignore" and crowds and IGNORE not in names:
            names = (*names, IGNORE)
        return [ClassTable(names, [name for name in names if name in known_here]) for known_here in known]

    def _known_classes(self, path: Path, facts: Mapping[str, Any], one_of_several: bool) -> list[str]:
        """The classes that a file labels. One of several files, such as that of a test split, may label none."""
        if one_of_several and not facts["annotated"]:
            return []
        return [*class_table(self, facts["labels"], path).known, IGNORE]  # even if only crowds add it to the classes

    # ---- images ----

    def _require_images(self, scan: Scan, file: AnnotationFile, places: set[str]) -> None:
        """Raise SourceError if none of a file's images exists, unless a problem reported before may be the reason."""
        named = [file.place_of(image["file_name"]) for image in file.facts["images"]]
        below_root = [place for place in named if not leaves_root(place)]  # `_add_images` reports the others
        if below_root and not scan.bad_names and not scan.problems and places.isdisjoint(below_root):
            if is_unread(below_root[0]):
                raise SourceError(self._no_image_message(below_root[0], str(self.root / file.place)))
            raise SourceError(
                f"{self.root / below_root[0]} does not exist, and none of the {len(named)} images that "
                f"{self.root / file.place} names is there. Add them, or correct source.images, the folder that "
                f"file_name is relative to, or source.annotations.{namesake(below_root[0], by_file_name(places))}"
            )

    def _add_images(
        self, scan: Scan, file: AnnotationFile, places: set[str], annotated: dict[str, AnnotatedImage]
    ) -> None:
        """Add the images of a file to ``annotated``, by their places; missing and duplicate ones are bad samples."""
        path = str(self.root / file.place)
        named: dict[str, str] = {}
        for image in file.facts["images"]:
            file_name = image["file_name"]
            place = file.place_of(file_name)
            try:
                where = f"{path}: file_name {file_name}"
                place = place if place in places else place_inside(self.root, place, where, self.follows_links)
            except SourceError as error:
                named = named or by_file_name(places)
                scan.bad_sample(file_name, "leaves the root", f"{error}{namesake(place, named)}")
                continue
            name, other = file.sample_name(place), annotated.get(place)
            if other is not None:
                both = path if other.file is file else f"{self.root / other.file.place} and {path}"
                fact = f"{both}: images holds {file_name} twice"
                scan.bad_sample(name, "name stands twice", f"{fact}; expected it once. Keep one of the two.")
            elif place not in places and name not in scan.bad_names:  # a link that cannot be followed is reported
                scan.bad_sample(name, "no image", self._no_image_message(place, path))
            annotated[place] = AnnotatedImage(file, image)

    def _no_image_message(self, place: str, path: str) -> str:
        """The message for an image that an annotation file names, and that is not there, or not read."""
        if is_unread(place):
            return f"{path} names {place}; {conversion_of([PurePosixPath(place).suffix.lower()])}."
        fact = f"{self.root / place} does not exist, but {path} names it"
        return f"{fact}. Add the image, or correct source.images."

    def _refuse_unannotated(self, scan: Scan, files: Sequence[AnnotationFile], places: set[str]) -> None:
        """Refuse images that no file names. They are called by their paths below the folder that holds all images."""
        top = os.path.commonpath([file.top or file.folder for file in files])
        scan.refused += [Refused(name_of(place, top), "no annotation", place) for place in sorted(places)]

    def _make_records(
        self, scan: Scan, annotated: Mapping[str, AnnotatedImage], image_facts: Mapping[str, Any]
    ) -> Iterator[Record]:
        """The records of all images that exist; those of bad samples too, which `make_listing` leaves out."""
        licences = licences_of_files(scan, (file for file, _ in annotated.values()))
        mismatched = find_mismatched(scan, annotated)
        for place, found in image_facts.items():
            file, image = annotated[place]
            name, path = file.sample_name(place), self.root / file.place
            if image["problem"] is not None:
                scan.bad_sample(name, "broken annotation", f"{path}: {image['problem']}")
            elif image["size"] is not None and image["size"] != [found["width"], found["height"]]:
                scan.check_size(name, f"{file.place}: {image['file_name']}", image["size"], found)
            else:
                scan.note_outlines(name, file.place, image["outlines"], found, shared=True)
                for class_ in image["covering"]:
                    scan.note_covered(name, class_)
            content, known = file.table.content(image["shapes"]), file.table.known
            unknown = known if name in mismatched else image["unknown"]
            if unknown:
                content = [content, unknown]
                known = [class_ for class_ in known if class_ not in unknown]
            data = {"shapes": image["shapes"], "known": known}
            content, drawn = with_fill(content, self.polygon_fill), image["drawn"]
            group = file.usual_group(place)
            record = make_record(name, place, found, content, group=group, data=data, drawn=drawn)
            licence = licences[file.place].of(image["file_name"])
            yield record if licence is None else replace(record, licences=(licence.key,))


def _claim_of(place: str, image: AnnotatedImage) -> Claim:
    """What an annotation file says of a photo that EXIF turns."""
    file, facts = image
    return Claim(file.sample_name(place), facts["size"], file.place, facts["shapes"] != "[]")


def without(labels: Sequence[str], others: Collection[str | None]) -> list[str]:
    """The labels that are none of the others, in their order."""
    return [label for label in labels if label not in others]
