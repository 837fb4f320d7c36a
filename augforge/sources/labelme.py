"""LabelMe: one JSON of shapes beside each image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from augforge.errors import SourceError, some
from augforge.keys import digest
from augforge.sample import Image, Sample
from augforge.sources import labelme_file
from augforge.sources.classes import ClassTable, class_table
from augforge.sources.core import Listing, Record, Refused, Source
from augforge.sources.images import IMAGE_FACTS, decode, inspect, upright
from augforge.sources.labelme_file import Shape, Widths
from augforge.sources.loading import check_size, known_bits, listed_image, loaded
from augforge.sources.records import folder_or_name, inside, name_of, record_of
from augforge.sources.scanning import IMAGES, Scan
from augforge.sources.shapes import draw, off_image
from augforge.sources.values import is_name
from augforge.store.filecache import FileCache

Width = Annotated[float, Field(ge=1, le=1000)]


class ImagePlaces:
    """Where images lie: all places, those by the name of the sample beside them, and those by their file name."""

    def __init__(self, places: Collection[str]) -> None:
        self.all = places
        self.beside = {name_of(place): place for place in sorted(places, reverse=True)}
        self.named: dict[str, list[str]] = {}
        for place in sorted(places):
            self.named.setdefault(file_name(place), []).append(place)
        self._folders = {place.rpartition("/")[0] for place in places}

    def parallel(self, note: str, file: str) -> list[str]:
        """Images of a file name in folders that differ from an annotation's in one place, if that holds no images."""
        folder = note.rpartition("/")[0]
        if folder in self._folders:
            return []
        return [place for place in self.named.get(file, ()) if _one_apart(place.rpartition("/")[0], folder)]


class Labelme(Source):
    """Reads LabelMe files of versions 3 to 5: polygons, rectangles, circles, masks, and lines and points by width.

    The image is the one that ``imagePath`` names, else the one beside the file with its name, else the embedded one,
    else the one of that file name in a parallel folder: images/P01/scan1.jpg for json/P01/scan1.json.
    Corners and rims belong to the shape; a polygon that crosses itself is filled by the even-odd rule; what leaves the
    image is cut, and a shape wholly outside is an error. Shapes are filled with the pixels of their outline
    (``cv2.fillPoly``), which is about half a pixel wider than pycocotools' masks. Shapes of one label are united:
    ``group_id`` is not looked at. The image's own flags become metadata. A file without shapes is a labelled image
    without any class; an image without a file is refused.

    Without ``classes`` they are the labels, sorted. A class that the recipe lists and no file labels is unknown.
    """

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/                          source.path
  P01/scan1.json               folders are part of the name, and the usual group
      {"imagePath": "scan1.jpg", "imageData": null, "imageWidth": 800, "imageHeight": 600,
       "flags": {"blurred": false},
       "shapes": [{"label": "heart", "shape_type": "polygon", "points": [[x, y], ...]}, ...]}
  P01/scan1.jpg                unless imageData holds it"""

    format: Literal["labelme"] = "labelme"
    line_width: Width | None = Field(None, description="pixels across a line or linestrip; null refuses them")
    point_width: Width | None = Field(None, description="diameter of a point in pixels; null refuses points")

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        places = scan.walk("", IMAGES | {".json"})
        notes = scan.unique((name_of(place), place) for place in places if place.lower().endswith(".json"))
        found = {place for place in places if not place.lower().endswith(".json")}
        if not notes:
            raise SourceError(f"{self.root} holds no .json; expected\n{self.layout}\nCorrect source.path.")
        facts = scan.facts(notes.items(), self._kind, self._read, "broken annotation")
        labels = sorted({label for fact in facts.values() for label in fact["labels"]})
        nothing = ClassTable(self.classes or (), [])
        table = class_table(self, labels, self.root) if labels or not scan.bad else nothing
        pairs = dict(self._pairs(scan, notes, facts, found))
        used = {image for image, embedded in pairs.values() if not embedded}
        others = ((name_of(place), place) for place in sorted(found - used))
        scan.refused += [Refused(name, "no annotation", place) for name, place in others if name not in scan.bad]
        images = self._image_facts(scan, pairs)
        return scan.listing(self._records(scan, table, notes, facts, pairs, images), table.names)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        path = self.root / record.data["annotation"]
        document = labelme_file.read_document(path)
        image = _embedded_image(document, path, record) if record.data["embedded"] else listed_image(self.root, record)
        named = ((self.known_class(shape.label, classes, shape.where), shape) for shape in self._shapes(document, path))
        parts = (part for name, shape in named if name is not None for part in shape.parts(name))
        return loaded(record, image, draw(parts, record.height, record.width, classes), known_bits(record, classes))

    # ---- annotations ----

    @property
    def _kind(self) -> str:
        """The kind of `_read` in the cache: everything that decides what it gives, apart from the file."""
        rules = digest(self.classes, self.class_map, self.line_width, self.point_width)
        return f"labelme@{self.adapter_version}, facts@2 {rules}"

    def _read(self, path: Path) -> dict[str, Any]:
        document = labelme_file.read_document(path)
        found = self._shapes(document, path)
        if self.classes is not None:
            for shape in found:
                self.known_class(shape.label, self.classes, shape.where)
        image_path = document.get("imagePath")
        return {
            "labels": sorted({shape.label for shape in found}),
            "content": digest(sorted(digest(shape.canonical(self.class_of(shape.label) or "")) for shape in found)),
            "size": labelme_file.stated_size(document, path),
            "far": labelme_file.farthest(found, path),
            "flags": labelme_file.read_flags(document),
            "image": image_path if is_name(image_path) else None,
            "embeds": bool(document.get("imageData")),
        }

    def _shapes(self, document: Mapping[str, Any], path: Path) -> list[Shape]:
        widths = Widths(self.line_width, self.point_width)
        return labelme_file.read_shapes(document, path, lambda label: self.class_of(label) is not None, widths)

    # ---- images ----

    def _pairs(
        self, scan: Scan, notes: Mapping[str, str], facts: Mapping[str, Any], found: set[str]
    ) -> Iterator[tuple[str, tuple[str, bool]]]:
        """For each name the place of its image, and whether that is the annotation file itself, which embeds it."""
        places = ImagePlaces(found)
        owners: dict[str, str] = {}
        for name, note in notes.items():
            if note not in facts:
                continue
            try:
                image, embedded = self._image_of(note, facts[note], places)
            except SourceError as error:
                scan.wrong(name, "no image", str(error))
                continue
            owner = owners.setdefault(image, note)
            if owner != note:
                message = f"{self.root / owner} and {self.root / note} both annotate {self.root / image}"
                scan.wrong(name, "image stands twice", f"{message}; expected one file an image. Remove one.")
            yield name, (image, embedded)

    def _image_of(self, note: str, facts: Mapping[str, Any], places: ImagePlaces) -> tuple[str, bool]:
        """Place of an annotation's image, and whether it is embedded. SourceError where there is none."""
        where, error, named = self.root / note, None, facts["image"] or ""
        try:
            place = inside(self.root, _joined(note, named), str(where)) if named else ""
            if place in places.all:
                return place, False
        except SourceError as caught:
            error = caught
        beside = places.beside.get(name_of(note))
        if beside is not None or facts["embeds"]:
            return (note, True) if beside is None else (beside, False)
        parallel = places.parallel(note, file_name(named))
        if len(parallel) == 1:
            return parallel[0], False
        others = places.named.get(file_name(named))
        hint = f" There are images of that name: {some(others)}." if others else ""
        raise error or SourceError(
            f"{where}: its image '{facts['image']}' does not exist, and none is embedded; expected one. Add the image, "
            f"or correct imagePath.{hint}"
        )

    def _image_facts(self, scan: Scan, pairs: Mapping[str, tuple[str, bool]]) -> dict[str, Any]:
        """Facts of each name's image."""
        files = [(name, place) for name, (place, embedded) in pairs.items() if not embedded]
        within = [(name, place) for name, (place, embedded) in pairs.items() if embedded]
        known = scan.images(files)
        known.update(scan.facts(within, f"labelme {IMAGE_FACTS}", _embedded_facts, "broken image"))
        return {name: known[place] for name, (place, _) in pairs.items() if place in known}

    def _records(
        self,
        scan: Scan,
        table: ClassTable,
        notes: Mapping[str, str],
        facts: Mapping[str, Any],
        pairs: Mapping[str, tuple[str, bool]],
        images: Mapping[str, Any],
    ) -> Iterator[Record]:
        top = _apart(notes.values(), [place for place, _ in pairs.values()])
        for name, image in images.items():
            note, (place, embedded) = notes[name], pairs[name]
            if facts[note]["size"] is not None:
                scan.need_size(name, note, facts[note]["size"], image)
            outside = off_image(facts[note]["far"], image, self.root / note)
            if outside is not None and name not in scan.bad:
                scan.wrong(name, "outside the image", outside)
            data = {"annotation": note, "embedded": embedded, "known": table.known}
            inner = name.removeprefix(top)
            group = folder_or_name(inner) if "/" in inner else name
            record = record_of(name, place, image, table.content(facts[note]["content"]), group=group, data=data)
            yield replace(record, metadata=facts[note]["flags"])


def _apart(notes: Iterable[str], images: Iterable[str]) -> str:
    """The folder with all annotation files and no image, as json/: it groups nothing. Empty where there is none."""
    top = os.path.commonpath({os.path.dirname(note) for note in notes})  # noqa: PTH120 (places, not paths)
    return f"{top}/" if top and not any(image.startswith(f"{top}/") for image in images) else ""


def file_name(path: str) -> str:
    """The last part of a path of any system."""
    return path.replace("\\", "/").rpartition("/")[2]


def _one_apart(one: str, other: str) -> bool:
    """Whether two folders' paths differ in one folder."""
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return one.count("/") == other.count("/") and sum(a != b for a, b in pairs) == 1


def _joined(note: str, image: str) -> str:
    """``imagePath`` as a path from the root; Windows writes it with backslashes."""
    return str(PurePosixPath(note).parent / image.replace("\\", "/"))


def _embedded_facts(path: Path) -> dict[str, Any]:
    """As `image_facts`, of the image that an annotation file embeds."""
    data = labelme_file.embedded(labelme_file.read_document(path), path)
    width, height = inspect(data, path).size
    return {"width": width, "height": height, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _embedded_image(document: Mapping[str, Any], path: Path, record: Record) -> Image:
    data = labelme_file.embedded(document, path)
    header = inspect(data, path)
    image = upright(decode(data, header, path), header.orientation)
    check_size(path, image, record)
    return image
