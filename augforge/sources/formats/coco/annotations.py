"""Reading the annotations of a COCO file: the class and the shapes of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from augforge.errors import SourceError, shorten
from augforge.keys import canonical_json
from augforge.sample import IGNORE
from augforge.sources.classes import crowd_class
from augforge.sources.formats.coco.ids import REMEDY, CocoId, read_flag, require_id
from augforge.sources.options import Boxes, Crowd
from augforge.sources.raster import rle
from augforge.sources.raster.fills import Fill
from augforge.sources.raster.outlines import Box, Outlines
from augforge.sources.raster.shapes import DegeneratePolygon, Ring, box_ring, flat_ring, polygon_ring
from augforge.sources.scan.documents import is_pixel

Size: TypeAlias = tuple[int, int]
"""Width and height."""


@dataclass(frozen=True, slots=True)
class AnnotationRules:
    """How the recipe wants annotations to be read.

    Attributes:
        class_by_category: the class of each category id, or None if the category is left out.
        crowd: what becomes of crowds; None if the recipe still has to decide, so that a crowd is an error.
        boxes: what becomes of a box without a mask.
        drop_degenerate: leave out rings of fewer than three distinct points, which are errors otherwise.
        fill: which pixels a ring covers, as a box's ring depends on it.
    """

    class_by_category: Mapping[CocoId, str | None]
    crowd: Crowd | None
    boxes: Boxes
    drop_degenerate: bool = False
    fill: Fill = "outline"


@dataclass(slots=True)
class AnnotatedEntry:
    """An entry of the file's ``images``, and what its annotations draw.

    Attributes:
        file_name: as the file says.
        size: as the file says, or else that of the first mask; None without either.
        shapes: canonical JSON texts of [class, ring or run lengths]; a set, so that a repeated shape counts once.
        drawn: the classes of the shapes.
        covering: the classes whose run lengths cover every pixel.
        outlines: where its polygons lie; they are compared with the image later, when its file was read.
        turned: how many boxes that are drawn are turned, as CVAT says in ``attributes``.
        boxed: how many annotations have polygons and a box.
        apart: how many of these have their polygons elsewhere than their box.
        problem: the first error in its annotations.
        seen: the categories that are annotated in this image.
        negative: LVIS' ``neg_category_ids``: categories that somebody looked for and did not find. None in other files,
            which label every image for all categories.
        partial: LVIS' ``not_exhaustive_category_ids``: categories of which not every instance is annotated.
        annotated: whether an annotation names it.
    """

    file_name: str
    size: Size | None
    negative: set[CocoId] | None = None
    partial: set[CocoId] = field(default_factory=set)
    seen: set[CocoId] = field(default_factory=set)
    shapes: set[str] = field(default_factory=set)
    drawn: set[str] = field(default_factory=set)
    covering: set[str] = field(default_factory=set)
    outlines: Outlines = field(default_factory=Outlines)
    turned: int = 0
    boxed: int = 0
    apart: int = 0
    problem: str | None = None
    annotated: bool = False

    def add(self, shapes: Iterable[tuple[str, Ring | str]], annotation: str, box: Any = None) -> None:
        """Add the shapes of one annotation, which messages call ``annotation``, and which has that ``bbox``."""
        bounds = []
        for name, shape in shapes:
            self.shapes.add(canonical_json([name, shape]))
            self.drawn.add(name)
            if not isinstance(shape, str):
                bounds.append(self.outlines.add_ring(name, shape, annotation))
            elif self.size is not None and rle.fills(shape, *self.size):
                self.covering.add(name)
        if bounds and is_box(box):
            self.boxed += 1
            self.apart += lie_apart(bounds, box)

    def facts(self, rules: AnnotationRules) -> dict[str, Any]:
        """What the listing needs, JSON-like; ``unknown`` are the classes that the image is not labelled for."""
        return {
            "file_name": self.file_name,
            "size": self.size,
            "shapes": f"[{','.join(sorted(self.shapes))}]",
            "drawn": sorted(self.drawn),
            "outlines": self.outlines.facts(),
            "covering": sorted(self.covering),
            "boxes": [self.boxed, self.apart],
            "turned": self.turned,
            "unknown": self._unknown_classes(rules),
            "problem": self.problem,
            "annotated": self.annotated,
        }

    def _unknown_classes(self, rules: AnnotationRules) -> list[str]:
        """The classes that the image is not labelled for: one unlabelled category makes its whole class unknown."""
        unlabelled = set() if self.negative is None else rules.class_by_category.keys() - self.seen - self.negative
        classes = (rules.class_by_category.get(category) for category in unlabelled | self.partial)
        return sorted({name for name in classes if name is not None})


def read_shapes(
    entry: Mapping[str, Any], image: AnnotatedEntry, where: str, rules: AnnotationRules
) -> Iterator[tuple[str, Ring | str]]:
    """Class and shape, a ring or compressed run lengths, for each shape of an annotation."""
    name = _class_of_annotation(entry, image, where, rules)
    if name is None:
        return
    segmentation = entry.get("segmentation")
    if not segmentation:
        shapes: Iterator[Ring | str] = _box_shapes(entry.get("bbox"), where, rules)
        image.turned += rules.boxes == "rectangle" and _is_turned(entry)
    elif isinstance(segmentation, list):
        shapes = _rings(segmentation, image, where, rules)
    elif isinstance(segmentation, dict):
        shapes = iter([_run_lengths(segmentation, image, where)])
    else:
        raise SourceError(
            f"{where}: segmentation is {shorten(segmentation)}; expected polygons [[x, y, x, y, ...], ...] or run "
            f"lengths. {REMEDY}"
        )
    for shape in shapes:
        yield name, shape


def _class_of_annotation(
    entry: Mapping[str, Any], image: AnnotatedEntry, where: str, rules: AnnotationRules
) -> str | None:
    """The class of an annotation, or None if it is left out."""
    category = require_id(entry.get("category_id"), f"{where}: category_id")
    if category not in rules.class_by_category:
        raise SourceError(f"{where}: category_id {shorten(category)} is none of categories. {REMEDY}")
    image.seen.add(category)
    name = rules.class_by_category[category]
    if name is None or not read_flag(entry.get("iscrowd"), f"{where}: iscrowd"):
        return name
    if rules.crowd is None:
        raise SourceError(
            f"{where} is a crowd, and classes has no '{IGNORE}' for it; expected one, or a decision. Add '{IGNORE}' to "
            "source.classes, or set 'crowd: class' or 'crowd: drop'."
        )
    return crowd_class(rules.crowd, name)


def _rings(segmentation: list[Any], image: AnnotatedEntry, where: str, rules: AnnotationRules) -> Iterator[Ring]:
    """The rings of an annotation; degenerate ones are left out, and counted, if the recipe says so."""
    if not any(isinstance(ring, list | dict) for ring in segmentation):
        raise SourceError(
            f"{where}: segmentation is the flat list {shorten(segmentation)}; expected a list of polygons, each a flat "
            "list: [[x, y, x, y, ...]]. Put the list in brackets, or export the file again."
        )
    for ring in segmentation:
        try:
            yield polygon_ring(ring, where)
        except DegeneratePolygon:
            if not rules.drop_degenerate:
                raise
            image.outlines.dropped += 1


def _box_shapes(box: Any, where: str, rules: AnnotationRules) -> Iterator[Ring | str]:
    """The rectangle of an annotation that has a box and no mask, or nothing, as the recipe says."""
    if rules.boxes == "error":
        raise SourceError(
            f"{where} has a box and no mask; expected polygons or run lengths. Set 'boxes: rectangle' to take boxes "
            "for masks, or 'boxes: drop' to leave them out."
        )
    if rules.boxes == "rectangle":
        if not is_box(box):
            raise SourceError(f"{where}: bbox is not [x, y, width, height] in pixels, but {shorten(box)}. {REMEDY}")
        x, y, width, height = map(float, box)
        # A ring includes its corners, so a box of 5 pixels from x = 2 goes to x = 6.
        yield flat_ring(box_ring(x, y, x + width, y + height, rules.fill), where)


def _is_turned(entry: Mapping[str, Any]) -> bool:
    """Whether CVAT's export says that a box is turned: its ``bbox`` is the box before the turn."""
    attributes = entry.get("attributes")
    angle = attributes.get("rotation") if isinstance(attributes, Mapping) else None
    return isinstance(angle, int | float) and angle % 360 != 0


def is_box(value: Any) -> bool:
    """Whether a value is [x, y, width, height] in pixels."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_pixel, value)) and min(value[2:]) > 0


def lie_apart(bounds: Sequence[Box], box: Sequence[float]) -> bool:
    """Whether the polygons of an annotation, given by the boxes around them, lie elsewhere than its ``bbox``.

    So it is if the two boxes have less than half of their union in common, after each has grown by a pixel all round:
    tools round differently.
    """
    x, y, width, height = box
    edges = list(zip(*bounds, strict=True))
    here = (min(edges[0]) - 1, min(edges[1]) - 1, max(edges[2]) + 1, max(edges[3]) + 1)
    there = (x - 1, y - 1, x + width + 1, y + height + 1)
    across, down = (max(0, min(here[i + 2], there[i + 2]) - max(here[i], there[i])) for i in range(2))
    areas = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (here, there))
    return bool(3 * across * down < areas)


def _run_lengths(segmentation: dict[str, Any], image: AnnotatedEntry, where: str) -> str:
    """Compressed run lengths of a mask, which has to be as large as its image."""
    counts, (height, width) = rle.read_counts(segmentation, where)
    image.size = image.size or (width, height)
    if (width, height) != image.size:
        raise SourceError(
            f"{where}: the mask has {width}x{height} pixels, image {image.file_name} {image.size[0]}x{image.size[1]}; "
            f"expected the same. {REMEDY}"
        )
    return counts
