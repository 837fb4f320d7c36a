"""LabelMe: one JSON file of shapes beside each image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from augforge.cache.filecache import FileCache
from augforge.cache.shelf import Shelf
from augforge.errors import SourceError, some
from augforge.keys import digest
from augforge.sample import NO_CLASSES, Sample
from augforge.sources.classes import ClassTable, class_table
from augforge.sources.core import Listing, PhotoSource, Record, Refused, source
from augforge.sources.formats.labelme import file as labelme_file
from augforge.sources.formats.labelme import holes
from augforge.sources.formats.labelme.embedded import embedded_facts, load_embedded_image
from augforge.sources.formats.labelme.extras import leave_foreign_files, report_background, with_label
from augforge.sources.formats.labelme.file import Shape, Widths
from augforge.sources.formats.labelme.layout import ImagePlaces, file_name, sample_names, swapped_folder
from augforge.sources.loading import known_bits, label_vector, load_image, make_sample
from augforge.sources.options import DROP_DEGENERATE
from augforge.sources.raster.fills import POLYGON_FILL, Fill, with_fill
from augforge.sources.raster.shapes import draw
from augforge.sources.raster.values import is_name
from augforge.sources.scan.documents import read_json
from augforge.sources.scan.images import IMAGE_FACTS
from augforge.sources.scan.likely import conversion_of, is_unread, layout_error
from augforge.sources.scan.orientation import Claim
from augforge.sources.scan.records import folder_or_name, make_record, name_of, place_inside
from augforge.sources.scan.scanning import IMAGES, Scan

Width = Annotated[float, Field(ge=1, le=1000)]


@source
class Labelme(PhotoSource):
    """Reads LabelMe files: polygons, rectangles, circles, masks, and lines and points by width; X-AnyLabeling's too.

    The image of a file is the one that ``imagePath`` names; else the one beside it with the same name; else the
    embedded one; else, with a warning, the one of the same file name in a parallel folder, such as images/P01/scan1.jpg
    for json/P01/scan1.json, if all files lie like that. Such a folder of annotations is left out of samples' names, and
    so are folders above train/ and val/. Corners and rims belong to a shape; a polygon that crosses itself is filled by
    the even-odd rule; shapes that leave the image are clipped, and a shape wholly outside is an error. Filled shapes
    include the pixels of their outline (``cv2.fillPoly``), so they are about half a pixel wider than pycocotools'
    masks, which ``polygon_fill: coco`` gives. All shapes of a label are united. A file without shapes is a labelled
    image without objects; an image without a file is refused, and so is JSON that has nothing of LabelMe, unless an
    image has its name.

    Holes: shapes of ``hole_label`` cut the shapes before them, and those that contain them; a shape that is marked
    difficult cuts the one of its label and ``group_id`` that contains it, as X-AnyLabeling writes holes. What a hole
    draws, with its outline, is taken away. The image's flags become metadata, and with ``flags: labels`` its label
    vector.

    Without ``classes`` the classes are the labels, sorted. A class that the recipe lists but no file labels is unknown.
    """

    adapter_version: ClassVar[int] = 3
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
    hole_label: str | None = Field(
        None,
        description="label of holes, such as _background_: no class, but cut out of what is drawn",
        examples=["_background_"],
    )
    polygon_fill: Fill = POLYGON_FILL
    drop_degenerate: bool = DROP_DEGENERATE
    flags: Literal["metadata", "labels"] = Field(
        "metadata", description="the image's own flags are metadata alone, or the entries of its label vector too"
    )

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        places = scan.walk("", IMAGES | {".json"})
        annotations = scan.places_by_name(
            (name_of(place), place) for place in places if place.lower().endswith(".json")
        )
        found = {place for place in places if not place.lower().endswith(".json")}
        if not annotations:
            raise layout_error(self, f"{self.root} holds no .json")
        facts = scan.facts(annotations.items(), self._kind, self._read_facts, "broken annotation")
        leave_foreign_files(scan, annotations, facts, found)
        table, flags = self._class_table(scan, facts), self._label_names(facts)
        pairs = self._pair_images(scan, annotations, facts, found)
        used = {*pairs.values()}
        others = ((name_of(place), place) for place in sorted(found - used))
        scan.refused += [Refused(name, "no annotation", place) for name, place in others if name not in scan.bad_names]
        names = sample_names(pairs)
        images = self._image_facts(scan, names, pairs)
        self._settle_orientation(scan, names, facts, pairs, images)
        records = self._make_records(scan, table, names, facts, pairs, images)
        return scan.make_listing((with_label(record, flags) for record in records), table.names, flags)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        path = self.root / record.data["annotation"]
        document = labelme_file.read_document(path)
        image = (
            load_embedded_image(document, path, record) if record.data["embedded"] else load_image(self.root, record)
        )
        found, _ = self._read_shapes(document, path)
        names = self._names_of(found, classes)
        canvas = holes.Canvas(record.height, record.width, self.polygon_fill)
        parts = holes.parts(found, holes.find_cuts(found, self.hole_label), canvas, names)
        planes = draw(parts, record.height, record.width, classes, self.polygon_fill)
        label = label_vector(record) if record.data.get("label") else None
        return make_sample(record, image, planes, known_bits(record, classes), label)

    # ---- annotations ----

    @property
    def _kind(self) -> str:
        """The kind of `_read_facts` in the cache: it names everything besides the file that decides the result."""
        widths = (self.line_width, self.point_width)
        rules = digest(self.classes, self.class_map, *widths, self.hole_label, self.drop_degenerate)
        return f"labelme@{self.adapter_version}, facts@4 {rules}"

    def _read_facts(self, path: Path) -> dict[str, Any]:
        content = read_json(path)
        if labelme_file.is_foreign(content):
            return {"foreign": True}
        document = labelme_file.check_document(content, path)
        found, dropped = self._read_shapes(document, path)
        names = self._names_of(found, self.classes)
        size = labelme_file.read_size(document, path)
        outlines = labelme_file.outlines_of(found, names, size, path)
        outlines.dropped = dropped
        cuts = holes.find_cuts(found, self.hole_label)
        image_path = document.get("imagePath")
        return {
            "foreign": False,
            "labels": sorted(names),
            "all_labels": labelme_file.all_labels(document),
            "content": digest(sorted(map(digest, holes.canonical(found, cuts, names)))),
            "size": size,
            "outlines": outlines.facts(),
            "flags": labelme_file.read_flags(document),
            "image": image_path if is_name(image_path) else None,
            "embeds": bool(document.get("imageData")),
        }

    def _read_shapes(self, document: Mapping[str, Any], path: Path) -> tuple[list[Shape], int]:
        widths = Widths(self.line_width, self.point_width)
        return labelme_file.read_shapes(document, path, self._is_wanted, widths, self.drop_degenerate)

    def _is_wanted(self, label: str) -> bool:
        return label == self.hole_label or self.class_of(label) is not None

    def _names_of(self, shapes: list[Shape], classes: tuple[str, ...] | None) -> dict[str, str]:
        """The class of each label of shapes that are not holes. Raises SourceError for one that is not in classes."""
        names = {}
        for shape in shapes:
            if shape.label != self.hole_label:
                named = self.class_of(shape.label)
                name = named if classes is None else self.require_class(shape.label, classes, shape.where)
                names[shape.label] = name or ""
        return names

    def _class_table(self, scan: Scan, facts: Mapping[str, Any]) -> ClassTable:
        labels = sorted({label for fact in facts.values() for label in fact["labels"]})
        all_labels = {label for fact in facts.values() for label in fact["all_labels"]}
        scan.note_labels(all_labels)
        scan.note_names("hole_label", filter(None, [self.hole_label]), all_labels)
        report_background(scan, labels)
        if self.flags == "labels" and not labels and self.classes is None:
            return ClassTable(NO_CLASSES, [])
        if labels or not scan.bad_names:
            return class_table(self, labels, self.root, scan)
        return ClassTable(self.classes or (), [])

    def _label_names(self, facts: Mapping[str, Any]) -> tuple[str, ...]:
        """The entries of label vectors: all flags, if they are wanted."""
        names = {name for fact in facts.values() for name in fact["flags"]}
        return tuple(sorted(names)) if self.flags == "labels" else ()

    # ---- images ----

    def _pair_images(
        self, scan: Scan, annotations: Mapping[str, str], facts: Mapping[str, Any], found: set[str]
    ) -> dict[str, str]:
        """The place of the image by the place of its annotation; the two are equal if the image is embedded."""
        places = ImagePlaces(found, annotations.values())
        own = {annotation: self._own_image(annotation, fact, places) for annotation, fact in facts.items()}
        lost = {
            annotation: file_name(facts[annotation]["image"] or "")
            for annotation, image in own.items()
            if image is None
        }
        parallel = places.parallel(lost)
        self._warn_of_parallel_folders(scan, parallel)
        pairs: dict[str, str] = {}
        owners: dict[str, str] = {}
        for name, annotation in annotations.items():
            image = own.get(annotation) or parallel.get(annotation)
            if image is None and annotation in facts:
                scan.bad_sample(name, "no image", self._no_image_message(annotation, facts[annotation], places))
            elif image is not None and owners.setdefault(image, annotation) != annotation:
                message = f"{self.root / owners[image]} and {self.root / annotation} both annotate {self.root / image}"
                scan.bad_sample(name, "image stands twice", f"{message}; expected one file an image. Remove one.")
            elif image is not None:
                pairs[annotation] = image
        return pairs

    def _own_image(self, annotation: str, facts: Mapping[str, Any], places: ImagePlaces) -> str | None:
        """The place of the image that an annotation names, that lies beside it or that it embeds, or None."""
        try:
            place = self._place_of(annotation, facts["image"], "") if facts["image"] else ""
        except SourceError:
            place = ""
        named = places.find(place)
        if named is not None:
            return named
        return places.find_beside(name_of(annotation)) or (annotation if facts["embeds"] else None)

    def _place_of(self, annotation: str, image: str, where: str) -> str:
        """``imagePath`` as a place below the root; on Windows it is written with backslashes."""
        path = PurePosixPath(annotation).parent / image.replace("\\", "/")
        return place_inside(self.root, str(path), where, self.follows_links)

    def _warn_of_parallel_folders(self, scan: Scan, parallel: Mapping[str, str]) -> None:
        for annotation, image in list(parallel.items())[:1]:
            here, there = swapped_folder(annotation, image) or ("", "")
            scan.warnings.append(
                f"imagePath of {len(parallel)} files leads to no image; those of their names in parallel folders were "
                f"taken, {there} for {here}, such as {image} for {annotation}"
            )

    def _no_image_message(self, annotation: str, facts: Mapping[str, Any], places: ImagePlaces) -> str:
        """The message for an annotation without an image: its path leads out of the root, or nowhere."""
        where, named = str(self.root / annotation), facts["image"] or ""
        try:
            self._place_of(annotation, named, where)
        except SourceError as error:
            return str(error)
        if is_unread(named):
            return f"{where}: its image is {named}; {conversion_of([PurePosixPath(named).suffix.lower()])}."
        others = places.named.get(file_name(named))
        hint = f" There are images of that name: {some(others)}." if others else ""
        fact = f"{where}: its image '{facts['image']}' does not exist, and none is embedded; expected one"
        return f"{fact}. Add the image, or correct imagePath.{hint}"

    def _settle_orientation(
        self,
        scan: Scan,
        names: Mapping[str, str],
        facts: Mapping[str, Any],
        pairs: Mapping[str, str],
        images: Shelf[Any],
    ) -> None:
        """Decide how photos that EXIF turns are read, by the sizes that their files state."""
        turned = {*scan.turned}
        annotations = {image: annotation for annotation, image in pairs.items() if image in turned}

        def claim_of(place: str) -> Claim:
            of_file = facts[annotations[place]]
            return Claim(names[annotations[place]], of_file["size"], drawn=bool(of_file["labels"]))

        scan.settle_orientation(images, claim_of)

    def _image_facts(self, scan: Scan, names: Mapping[str, str], pairs: Mapping[str, str]) -> Shelf[Any]:
        """Facts of the images by their places."""
        known = scan.image_facts(
            (names[annotation], image) for annotation, image in pairs.items() if image != annotation
        )
        within = ((names[annotation], annotation) for annotation, image in pairs.items() if image == annotation)
        kind = f"labelme {IMAGE_FACTS}"
        known.update(scan.facts(within, kind, embedded_facts, "broken image", scan.note_turned))
        return known

    def _make_records(
        self,
        scan: Scan,
        table: ClassTable,
        names: Mapping[str, str],
        facts: Mapping[str, Any],
        pairs: Mapping[str, str],
        images: Mapping[str, Any],
    ) -> Iterator[Record]:
        for annotation, place in ((key, place) for key, place in pairs.items() if place in images):
            name, of_file, image = names[annotation], facts[annotation], images[place]
            if of_file["size"] is not None:
                scan.check_size(name, annotation, of_file["size"], image)
            scan.note_outlines(name, annotation, of_file["outlines"], image)
            data = {"annotation": annotation, "embedded": place == annotation, "known": table.known}
            content = with_fill(table.content(of_file["content"]), self.polygon_fill)
            drawn = self.classes_of(of_file["labels"])
            record = make_record(name, place, image, content, group=folder_or_name(name), data=data, drawn=drawn)
            yield replace(record, metadata=of_file["flags"])
