"""Data sets in the formats that Datumaro reads: CVAT, LabelMe's XML, CamVid, Mapillary Vistas and others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.keys import canonical_json
from augforge.sample import IGNORE, NO_CLASSES, Sample
from augforge.sources.classes import ClassTable, check_crowd, class_table_of_scan, crowd_class
from augforge.sources.core import Listing, PhotoSource, Record, source
from augforge.sources.formats.datumaro.importing import (
    Imported,
    Item,
    all_annotations,
    import_items,
    rest_warnings,
    unlisted_images_warning,
)
from augforge.sources.formats.datumaro.shapes import SHAPES, check_decided, label_name, labels_without_area, thing_key
from augforge.sources.loading import draw_shapes, known_bits, label_vector, load_image, make_sample
from augforge.sources.options import DROP_DEGENERATE, Boxes, Crowd
from augforge.sources.raster import rle
from augforge.sources.raster.fills import POLYGON_FILL, Fill, with_fill
from augforge.sources.raster.outlines import Outlines
from augforge.sources.raster.shapes import DegeneratePolygon, box_ring
from augforge.sources.raster.values import is_name
from augforge.sources.scan.agreeing import existing_place
from augforge.sources.scan.orientation import Claim
from augforge.sources.scan.own_splits import is_split_name, own_split
from augforge.sources.scan.records import folder_or_name, make_record, place_inside
from augforge.sources.scan.scanning import Scan
from augforge.sources.scan.walking import walk

_ANNOTATIONS = frozenset((".json", ".xml", ".txt", ".csv", ".yaml", ".yml", ".tsv"))
"""Suffixes of the files that Datumaro reads annotations from."""


@source
class Datumaro(PhotoSource):
    """Reads what Datumaro can import: the long tail of formats. Needs ``pip install 'augforge[datumaro]'``.

    These formats were checked: cvat, datumaro, label_me, voc_segmentation, camvid, kitti_segmentation,
    mapillary_vistas_instances and mapillary_vistas_panoptic, coco_panoptic, mvtec_segmentation and
    common_semantic_segmentation. Others are read with a warning; cityscapes, open_images and ade20k2020 are refused, as
    Datumaro misreads them. Formats cvat, coco, yolo, labelme (JSON) and index-mask read theirs without it.

    Polygons, masks, run lengths, ellipses and rotated boxes become bit-planes, united by class. An upright box is
    skipped if its object has a mask too (of the same label and group); other boxes are an error until ``boxes``
    decides, and so are crowds until ``crowd`` does. If nothing has a shape, labels become the label vector, and the
    class table is ``ignore`` alone. Annotations without pixels, such as points and captions, are left out, with a
    warning; polylines, points and cuboids leave their class unknown in that image. CVAT's ellipses and cuboids, which
    Datumaro does not read, are errors; frames that a CVAT track marks as outside are left out.

    The categories are the classes, in their order, and all are labelled in every image. Some formats have a background
    or a void category: ``class_map: {background: null, ignored: ignore}``. Samples are named by the ids of their items,
    with the subset before them if several images have the same id. Subsets ``val`` and ``test`` are the splits of those
    names; an image in two of ``train``, ``val`` and ``test`` is left to the recipe. Datumaro's warnings are warnings
    here. Images that are no files of their own (in archives, arrays, videos) are refused.
    """

    adapter_version: ClassVar[int] = 2
    layout: ClassVar[str] = """\
ROOT/                          source.path
  annotations.xml              as the format wants it, such as CVAT's
  images/P01/scan1.png"""

    format: Literal["datumaro"] = "datumaro"
    dataset_format: str | None = Field(
        None,
        description="Datumaro's name of the format, such as cvat or voc_segmentation; null lets it find out",
        examples=["cvat"],
    )
    take: Literal["masks", "labels"] | None = Field(
        None, description="what becomes of annotations: masks or the label vector; null: masks where there are any"
    )
    boxes: Boxes = Field(
        "error", description="upright boxes: an error, filled as rectangles, or left out", examples=["rectangle"]
    )
    crowd: Crowd | None = Field(
        None,
        description=f"crowds (is_crowd) become the class {IGNORE}, stay in their class, or are left out; null is an "
        "error, as tools mark objects so: Datumaro and CVAT all masks in COCO files, KITTI all without instances",
    )
    polygon_fill: Fill = POLYGON_FILL
    drop_degenerate: bool = DROP_DEGENERATE
    missing_annotation: Literal["empty", "unlabelled", "error"] = Field(
        "empty", description="an image without annotations: nothing is there, unlabelled, or broken"
    )

    @model_validator(mode="after")
    def _check_crowd(self) -> Datumaro:
        check_crowd(self.crowd, self.classes)
        return self

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        scan.require_folder("")
        self._check_links(scan)
        imported = import_items(self.root, self.dataset_format)
        labels, items = imported.labels, self._find_items(scan, imported)
        scan.warnings += imported.warnings
        masks = self.take == "masks" if self.take else any(map(self._is_shape, all_annotations(items)))
        decided = "missing_annotation" in self.model_fields_set
        scan.warnings += rest_warnings(items, {*SHAPES} if masks else {"label"}, decided)
        scan.warnings += unlisted_images_warning(self.root, {item.place for item in items.values()})
        facts = scan.image_facts((name, item.place) for name, item in items.items())
        sound = {name: item for name, item in items.items() if item.place in facts}
        if masks:
            table = self._class_table(scan, labels)
            self._settle_orientation(scan, sound, facts)
            drawn = (self._mask_record(scan, *pair, facts[pair[1].place], labels, table) for pair in sound.items())
            return scan.make_listing(filter(None, [*drawn]), table.names)
        scan.note_labels(labels)
        names = self.classes_of(labels) if self.classes is None else self.classes
        found = [self._label_record(scan, name, item, facts[item.place], labels, names) for name, item in sound.items()]
        return scan.make_listing(filter(None, found), NO_CLASSES, names)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image = load_image(self.root, record)
        known = known_bits(record, classes)
        if "shapes" in record.data:
            return make_sample(record, image, draw_shapes(record, classes, self.polygon_fill), known)
        planes, given = bitmask.empty(record.height, record.width, len(classes)), record.data["label"] is not None
        return make_sample(record, image, planes, known, label_vector(record) if given else None)

    def _check_links(self, scan: Scan) -> None:
        """Raise SourceError for a link out of the root that Datumaro would follow, and that is no image's.

        Those of images are bad samples, which `_image_place` finds.
        """
        for file in walk(self.root, "", follow=self.follows_links):
            if file.fault is not None and PurePosixPath(file.place).suffix.lower() in _ANNOTATIONS:
                scan.source_error(file.fault[1])
        scan.visited.add(".")  # it reads what it wants of the whole folder
        scan.raise_problems()

    def _find_items(self, scan: Scan, imported: Imported) -> dict[str, Item]:
        """The images by the names of their samples; those without a file below the root are bad samples."""
        places = [(item, self._image_place(scan, item)) for item in imported.items]
        several = len({item.id for item, _ in places}) < len({(item.id, place) for item, place in places})

        def name_of(key: str, subset: str) -> str:
            return f"{subset}/{key}" if several else key

        items: dict[str, Item] = {}
        for item, place in places:
            if place is not None:
                size = item.media.size if item.media.has_size else None
                entry = items.setdefault(name_of(item.id, item.subset), Item(place, size))
                entry.subsets.add(item.subset)
                entry.of += item.annotations
        for (key, subset), message in imported.faults.items():
            scan.bad_sample(name_of(key, subset), "broken item", message)
        return items

    def _image_place(self, scan: Scan, item: Any) -> str | None:
        path = getattr(item.media, "path", "") or ""
        where = f"{self.root}: item '{item.id}' of subset '{item.subset}'"
        try:
            place = existing_place(self.root, os.path.relpath(path, self.root)) if path else None
            if not is_name(item.id) or place is None:
                raise SourceError(f"{where} has no image file{path and ' '}{path}; expected one. Add it.")
            return place_inside(self.root, place, where, self.follows_links)
        except SourceError as error:
            scan.orphans[str(item.id)] = path
            scan.bad_sample(str(item.id), "no image", str(error))
            return None

    def _split_of(self, item: Item) -> str | None:
        """The split that the subsets prescribe, if they agree."""
        splits = {own_split(name) for name in item.subsets if is_split_name(name)}
        return splits.pop() if len(splits) == 1 else None

    def _settle_orientation(self, scan: Scan, items: Mapping[str, Item], facts: MutableMapping[str, Any]) -> None:
        """Decide how photos that EXIF turns are read, by the sizes that the annotations state."""
        by_place = {item.place: (name, item) for name, item in items.items()} if scan.turned else {}

        def claim_of(place: str) -> Claim:
            name, item = by_place[place]
            size = None if item.size is None else item.size[::-1]
            return Claim(name, size, drawn=bool(self._drawn_annotations(item)))

        scan.settle_orientation(facts, claim_of)

    def _class_table(self, scan: Scan, labels: list[str]) -> ClassTable:
        table = class_table_of_scan(scan, labels, self.root)
        if self.crowd != "ignore" or IGNORE in table.names:
            return table
        return ClassTable((*table.names, IGNORE), [*table.known, IGNORE])

    def _is_shape(self, annotation: Any) -> bool:
        kind = annotation.type.name
        return kind in SHAPES and (kind != "bbox" or self.boxes != "drop")

    def _drawn_annotations(self, item: Item) -> list[Any]:
        """The annotations to draw: all shapes, but no box of an object that has a mask or polygon too."""
        drawn = [annotation for annotation in item.of if self._is_shape(annotation)]
        masked = {thing_key(annotation) for annotation in drawn if annotation.type.name != "bbox" and annotation.group}
        return [
            annotation for annotation in drawn if annotation.type.name != "bbox" or thing_key(annotation) not in masked
        ]

    def _mask_record(
        self, scan: Scan, name: str, item: Item, facts: Mapping[str, Any], labels: list[str], table: ClassTable
    ) -> Record | None:
        outlines = Outlines()
        try:
            read = list(self._read_shapes(scan, name, item, facts, labels, outlines))
        except SourceError as error:
            scan.bad_sample(name, "broken annotation", str(error))
            return None
        scan.note_outlines(name, item.place, outlines.facts(), facts)
        known = table.known if self._is_labelled(scan, name, item, self._drawn_annotations(item)) else []
        unknown = {self.class_of(label) for label in labels_without_area(item.of, labels)}
        known = [class_ for class_ in known if class_ not in unknown]
        drawn = {class_ for class_, _ in read}
        scan.drawn_somewhere = {*(scan.drawn_somewhere or ()), *drawn, *filter(None, unknown)}
        text = f"[{','.join(sorted({canonical_json(shape) for shape in read}))}]"
        content, data = with_fill(table.content([text, known]), self.polygon_fill), {"shapes": text, "known": known}
        group, split = folder_or_name(name), self._split_of(item)
        return make_record(name, item.place, facts, content, group=group, split=split, data=data, drawn=drawn)

    def _read_shapes(
        self,
        scan: Scan,
        name: str,
        item: Item,
        facts: Mapping[str, Any],
        labels: list[str],
        outlines: Outlines,
    ) -> Iterator[tuple[str, Any]]:
        """Class and shape, a ring or compressed run lengths, of the annotations; reports a wrong size."""
        where = f"{self.root}: item '{name}'"
        if item.size is not None:
            scan.check_size(name, item.place, item.size[::-1], facts)
        for annotation in self._drawn_annotations(item):
            class_ = self._class_of_annotation(annotation, labels, where)
            if class_ is None:
                continue
            try:
                shape = SHAPES[annotation.type.name](annotation, where)
            except DegeneratePolygon:
                if not self.drop_degenerate:
                    raise
                outlines.dropped += 1
                continue
            if isinstance(shape, list):
                outlines.add_ring(class_, shape, f"a {annotation.type.name} of {class_}")
            elif shape.all():
                scan.note_covered(name, class_)
            if annotation.type.name == "bbox":
                shape = box_ring(shape[0], shape[1], shape[4], shape[5], self.polygon_fill)
            if not isinstance(shape, list):
                scan.check_size(name, item.place, shape.shape[::-1], facts)
                shape = rle.encode(shape)
            yield class_, shape

    def _class_of_annotation(self, annotation: Any, labels: list[str], where: str) -> str | None:
        """The class of an annotation, or None if it is left out. Raises SourceError if an option has to decide."""
        class_ = self.class_of(label_name(annotation, labels, where))
        if class_ is None or annotation.attributes.get("outside") is True:  # a CVAT track is not in this frame
            return None
        check_decided(annotation, self.boxes, self.crowd, where)
        if self.crowd is None or not annotation.attributes.get("is_crowd"):
            return class_
        return crowd_class(self.crowd, class_)

    def _label_record(
        self, scan: Scan, name: str, item: Item, facts: Mapping[str, Any], labels: list[str], names: tuple[str, ...]
    ) -> Record | None:
        where = f"{self.root}: item '{name}'"
        given = [annotation for annotation in item.of if annotation.type.name == "label"]
        try:
            found = {self.require_class(label_name(annotation, labels, where), names, where) for annotation in given}
        except SourceError as error:
            scan.bad_sample(name, "broken label", str(error))
            return None
        labelled = self._is_labelled(scan, name, item, given)
        label = [float(class_ in found) for class_ in names] if labelled else None
        data: dict[str, Any] = {"label": label, "known": []}
        group, drawn = folder_or_name(name), (class_ for class_ in found if class_ is not None)
        return make_record(
            name, item.place, facts, label, group=group, split=self._split_of(item), data=data, drawn=drawn
        )

    def _is_labelled(self, scan: Scan, name: str, item: Item, annotations: Sequence[Any]) -> bool:
        if not annotations and self.missing_annotation == "error":
            fact = f"{self.root / item.place} has no annotation"
            scan.bad_sample(name, "no annotation", f"{fact}; expected one. Add it, or set missing_annotation.")
        return bool(annotations) or (self.missing_annotation == "empty" and not scan.orphans)
