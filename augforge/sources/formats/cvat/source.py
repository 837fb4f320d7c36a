"""CVAT: its own XML, version 1.1, for images and for video."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import Field

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError, some
from augforge.keys import canonical_json
from augforge.sample import Sample
from augforge.sources.classes import ClassTable, class_table
from augforge.sources.core import Listing, PhotoSource, Record, Refused, source
from augforge.sources.formats.cvat.file import read_facts
from augforge.sources.loading import draw_shapes, known_bits, load_image, make_sample
from augforge.sources.options import DROP_DEGENERATE
from augforge.sources.raster.fills import POLYGON_FILL, Fill, with_fill
from augforge.sources.raster.outlines import Outlines
from augforge.sources.raster.shapes import box_ring
from augforge.sources.scan.agreeing import Agreeing, as_file_looks
from augforge.sources.scan.orientation import Claim
from augforge.sources.scan.own_splits import own_split
from augforge.sources.scan.records import folder_or_name, make_record, name_of, place_inside
from augforge.sources.scan.scanning import IMAGES, Scan

_FOLDERS = ("images", "images/{subset}", ".", "{subset}", "data", "frames")
"""Where images lie, relative to the folder of their file."""


@dataclass(frozen=True, slots=True)
class _Image:
    """An image that a CVAT file names.

    Attributes:
        file: the place of that file.
        place: its own.
        name: its name in the file, below the file's folder.
        facts: what the file says of it.
    """

    file: str
    place: str
    name: str
    facts: Mapping[str, Any]


@source
class Cvat(PhotoSource):
    """Reads CVAT's XML 1.1 of tasks, projects and jobs, "for images" and "for video": every .xml below the root.

    Masks, polygons, boxes and ellipses, turned ones too, are drawn and united by label. A box covers the pixels from
    its first edge up to, and without, its last edge; an ellipse those whose centres it contains; polygons include the
    pixels of their outline (``cv2.fillPoly``), are cut at the image, and are an error wholly outside of it. A polyline,
    point, cuboid or skeleton says that its class is there, but not where: the class is unknown in that image, with a
    warning. Tags are left out, with a warning.

    All labels of the file are classes, in its order, and known in each of its images. The subsets of a project that are
    named val and test are these splits. Of a video, every image named frame_000000 and so on is a sample; shapes that a
    track marks as outside are not there. Images that no file names are refused.
    """

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/                          source.path
  annotations.xml              or one in the folder of each task
  images/P01/scan1.png         as the file names it, below images/, the subset's folder or beside the file; its folder
                               is the usual group"""

    format: Literal["cvat"] = "cvat"
    annotations: str | None = Field(
        None, description="the XML file, relative to path; null takes every .xml", examples=["annotations.xml"]
    )
    boxes: Literal["rectangle", "drop"] = Field("rectangle", description="boxes: filled as rectangles, or left out")
    polygon_fill: Fill = POLYGON_FILL
    drop_degenerate: bool = DROP_DEGENERATE
    missing_annotation: Literal["empty", "unlabelled"] = Field(
        "empty", description="an image without any annotation: nothing is there, or nobody looked"
    )

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        scan.require_folder("")
        places = scan.walk("", IMAGES | {".xml"}, "an image or XML")
        files = self._read_files(scan, [place for place in places if place.lower().endswith(".xml")])
        found = {place for place in places if not place.lower().endswith(".xml")}
        table = class_table(self, [label for facts in files.values() for label in facts["labels"]], self.root, scan)
        images = self._find_images(scan, files, found)
        unnamed = sorted(found - {image.place for image in images.values()})
        scan.refused += [Refused(name_of(place), "no annotation", place) for place in unnamed]
        self._warn(scan, [image.facts for image in images.values()])
        annotated = [entry[0] for image in images.values() for key in ("shapes", "lines") for entry in image.facts[key]]
        scan.drawn_somewhere = {*self.classes_of(annotated)}  # what has no area is there too
        facts = scan.image_facts((name, image.place) for name, image in images.items())
        claims = {image.place: _claim_of(name, image) for name, image in images.items() if scan.turned}
        scan.settle_orientation(facts, claims.get)
        records = (self._make_record(scan, name, image, facts, table) for name, image in images.items())
        return scan.make_listing((record for record in records if record), table.names)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image = load_image(self.root, record)
        return make_sample(record, image, draw_shapes(record, classes, self.polygon_fill), known_bits(record, classes))

    # ---- files ----

    @property
    def _kind(self) -> str:
        """The kind of `read_facts` in the cache: it names everything besides the file that decides the result."""
        return f"cvat@{self.adapter_version}, facts@2{' without degenerate ones' * self.drop_degenerate}"

    def _read_files(self, scan: Scan, places: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The facts of each CVAT file by its place; other XML is refused. Raises SourceError if there is none."""
        if self.annotations is not None:
            places = [posixpath.normpath(self.annotations)]
            place_inside(self.root, places[0], f"{self.root}: annotations", self.follows_links)
        files = {}
        for place in places:
            facts = scan.file_facts(self.root / place, self._kind, partial(read_facts, drop=self.drop_degenerate))
            if facts is None:
                scan.refused.append(Refused(name_of(place), "not a CVAT file", place))
            else:
                files[place] = facts
        if not files:
            scan.raise_problems()
            links = "".join(f" {self.root / link}.xml is a link out of it." for link in sorted(scan.broken_links))
            raise SourceError(f"{self.root} holds no XML of CVAT; expected\n{self.layout}\nCorrect source.path.{links}")
        return files

    def _find_images(self, scan: Scan, files: Mapping[str, Any], found: set[str]) -> dict[str, _Image]:
        """The images of all files by the names of their samples; missing ones are bad samples."""
        images = [image for place, facts in files.items() for image in self._images_of(scan, place, facts, found)]
        several = len({image.name for image in images}) < len({image.place for image in images})
        by_name: dict[str, _Image] = {}
        for image in images:
            name = f"{image.facts['subset']}/{image.name}".lstrip("/") if several else image.name
            other = by_name.setdefault(name, image)
            if other is not image:
                both = f"{self.root / other.file} and {self.root / image.file} both hold '{image.facts['name']}'"
                scan.bad_sample(name, "name stands twice", f"{both}, and share the name {name}. Keep one of the two.")
        return by_name

    def _images_of(self, scan: Scan, file: str, facts: Mapping[str, Any], found: set[str]) -> Iterator[_Image]:
        folder = posixpath.dirname(file)
        stems = {name_of(place): place for place in sorted(found, reverse=True)} if facts["video"] else {}
        places = Agreeing(stems) if facts["video"] else Agreeing(found, as_file_looks)
        for image in facts["images"]:
            try:
                place = self._image_place(file, image, places)
            except SourceError as error:
                scan.bad_sample(name_of(image["name"]), "no image", str(error))
                continue
            inner = image["name"] if facts["video"] else name_of(image["name"].replace("\\", "/"))
            yield _Image(file, stems.get(place, place), posixpath.normpath(posixpath.join(folder, inner)), image)
        if facts["video"]:
            yield from _other_frames(file, facts, stems)

    def _image_place(self, file: str, image: Mapping[str, Any], found: Agreeing) -> str:
        """The place of an image, or its stem among ``found``. Raises SourceError if it is nowhere."""
        where, base = f"{self.root / file}: image '{image['name']}'", posixpath.dirname(file)
        tried = [
            place_inside(
                self.root,
                posixpath.join(base, folder.format(subset=image["subset"]), image["name"]),
                where,
                self.follows_links,
            )
            for folder in _FOLDERS
            if image["subset"] or "{" not in folder
        ]
        place = next((there for place in tried if (there := found.find(place)) is not None), None)
        if place is None:
            raise SourceError(
                f"{where} does not exist as {tried[0]}; expected it there. Add it, or export with images."
            )
        return place

    # ---- annotations ----

    def _warn(self, scan: Scan, images: Sequence[Mapping[str, Any]]) -> None:
        lines = Counter(kind for image in images for _, kind in image["lines"])
        scan.warnings += [
            f"{count} annotations of kind {kind} have no area, so their class is unknown in those images"
            for kind, count in sorted(lines.items())
        ]
        if tags := sum(image["tags"] for image in images):
            scan.warnings.append(f"{tags} annotations of kind tag are left out")
        bare = [image["name"] for image in images if not (image["shapes"] or image["lines"] or image["problem"])]
        if bare and "missing_annotation" not in self.model_fields_set:
            scan.warnings.append(
                f"{len(bare)} of {len(images)} images have no annotations, such as {bare[0]}: nothing is there, unless "
                "missing_annotation says that they are unlabelled"
            )
        kinds = {(label, kind) for image in images for label, kind, _ in image["shapes"]}
        mixed = sorted(
            {label for label, kind in kinds if kind == "box" and kinds & {(label, "mask"), (label, "polygon")}}
        )
        if mixed and self.boxes == "rectangle" and "boxes" not in self.model_fields_set:
            scan.find(
                "boxes beside masks",
                f"{some(mixed)} have boxes, which are filled as rectangles, beside masks or polygons",
                "set 'boxes: drop' if the boxes surround the masks, or 'boxes: rectangle' if they are meant",
                mixed,
            )

    def _make_record(
        self, scan: Scan, name: str, image: _Image, facts: Mapping[str, Any], table: ClassTable
    ) -> Record | None:
        """The record of an image; None if its file is damaged, which is reported."""
        found, path = facts.get(image.place), self.root / image.file
        if found is None:
            return None
        if image.facts["size"] != [found["width"], found["height"]]:
            scan.check_size(name, f"{image.file}: {image.facts['name']}", image.facts["size"], found)
        elif image.facts["problem"] is not None:
            scan.bad_sample(name, "broken annotation", f"{path}: {image.facts['problem']}")
        else:
            outlines = self._with_classes(image.facts["outlines"])
            scan.note_outlines(name, image.file, outlines, found, shared=True)
        shapes = [
            canonical_json([class_, self._ring_of_box(shape) if kind == "box" else shape])
            for label, kind, shape in image.facts["shapes"]
            if (kind != "box" or self.boxes == "rectangle") and (class_ := self.class_of(label)) is not None
        ]
        text, known = f"[{','.join(sorted(set(shapes)))}]", self._known(image.facts, table)
        data = {"shapes": text, "known": known}
        content, group = with_fill(table.content([text, known]), self.polygon_fill), folder_or_name(name)
        split = own_split(image.facts["subset"]) if self.own_splits else None
        drawn = self.classes_of(label for label, *_ in image.facts["shapes"])
        return make_record(name, image.place, found, content, group=group, split=split, data=data, drawn=drawn)

    def _with_classes(self, outlines: Mapping[str, Any]) -> dict[str, Any]:
        """The outlines with classes in place of labels."""
        named = [(self.class_of(label), box) for label, box in outlines["framing"]]
        return {**outlines, "framing": [(class_, box) for class_, box in named if class_ is not None]}

    def _ring_of_box(self, shape: list[float] | str) -> list[float] | str:
        """The ring of an upright box, given by its edges; run lengths of a turned one stay."""
        return shape if isinstance(shape, str) else box_ring(shape[0], shape[1], shape[4], shape[5], self.polygon_fill)

    def _known(self, image: Mapping[str, Any], table: ClassTable) -> list[str]:
        """The classes that are known in an image: all, but those of annotations without area."""
        if self.missing_annotation == "unlabelled" and not (image["shapes"] or image["lines"]):
            return []
        unknown = {self.class_of(label) for label, _ in image["lines"]}
        return [name for name in table.known if name not in unknown]


def _other_frames(file: str, facts: Mapping[str, Any], stems: Mapping[str, str]) -> Iterator[_Image]:
    """The frames of a video that no track annotates: nothing is there."""
    folder, named = posixpath.dirname(file), {image["name"] for image in facts["images"]}
    below = f"{folder}/" if folder else ""
    size = facts["images"][0]["size"] if facts["images"] else []
    for stem, place in stems.items():
        frame = posixpath.basename(stem)
        if stem.startswith(below) and frame.startswith("frame_") and frame not in named:
            empty = {"name": frame, "size": size, "subset": "", "problem": None, "shapes": [], "lines": [], "tags": 0}
            yield _Image(file, place, posixpath.join(folder, frame), {**empty, "outlines": Outlines().facts()})


def _claim_of(name: str, image: _Image) -> Claim:
    """What a CVAT file says of a photo that EXIF turns."""
    return Claim(name, image.facts["size"], image.file, drawn=bool(image.facts["shapes"]))
