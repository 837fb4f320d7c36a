"""Reading a COCO annotation file into facts of each image, which do not depend on the other images in the file.

An error in the file as a whole is a SourceError. An error in the annotations of one image is kept with that image, as
its ``problem``, so that one bad polygon does not make all other images unusable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

from augforge.errors import SourceError
from augforge.keys import canonical_json
from augforge.sample import IGNORE
from augforge.sources.classes import crowd_class
from augforge.sources.options import Boxes, Crowd
from augforge.sources.raster.rle import read_counts
from augforge.sources.raster.shapes import Farthest, Ring, box_of, extend_farthest, flat_ring, rectangle
from augforge.sources.raster.values import is_name, whole_size
from augforge.sources.scan.documents import is_pixel, read_json

CocoId: TypeAlias = int | str
"""An id of an image or category in the file."""
Size: TypeAlias = tuple[int, int]
"""Width and height."""

_REMEDY = "Correct it there or export it again."


@dataclass(frozen=True, slots=True)
class AnnotationRules:
    """How the recipe wants annotations to be read.

    Attributes:
        class_by_category: the class of each category id, or None if the category is left out.
        crowd: what becomes of crowds; None if the recipe still has to decide, so that a crowd is an error.
        boxes: what becomes of a box without a mask.
    """

    class_by_category: Mapping[CocoId, str | None]
    crowd: Crowd | None
    boxes: Boxes


@dataclass(slots=True)
class _Image:
    """An entry of the file's ``images``, and what its annotations draw.

    Attributes:
        file_name: as the file says.
        size: as the file says, or else that of the first mask; None without either.
        shapes: canonical JSON texts of [class, ring or run lengths]; a set, so that a repeated shape counts once.
        drawn: the classes of the shapes.
        farthest: the polygons that lie farthest out. They are compared with the image later, when its file was read.
        problem: the first error in its annotations.
        seen: the categories that are annotated in this image.
        negative: LVIS' ``neg_category_ids``: categories that somebody looked for and did not find. None in other files,
            which label every image for all categories.
        partial: LVIS' ``not_exhaustive_category_ids``: categories of which not every instance is annotated.
    """

    file_name: str
    size: Size | None
    negative: set[CocoId] | None = None
    partial: set[CocoId] = field(default_factory=set)
    seen: set[CocoId] = field(default_factory=set)
    shapes: set[str] = field(default_factory=set)
    drawn: set[str] = field(default_factory=set)
    farthest: Farthest = field(default_factory=list)
    problem: str | None = None

    def add(self, shapes: Iterable[tuple[str, Ring | str]], annotation: str) -> None:
        """Add the shapes of one annotation, which messages call ``annotation``."""
        for name, shape in shapes:
            self.shapes.add(canonical_json([name, shape]))
            self.drawn.add(name)
            if not isinstance(shape, str):
                box = box_of(zip(shape[::2], shape[1::2], strict=True))
                self.farthest = extend_farthest(self.farthest, box, annotation)

    def facts(self, rules: AnnotationRules) -> dict[str, Any]:
        """What the listing needs, JSON-like; ``unknown`` are the classes that the image is not labelled for."""
        return {
            "file_name": self.file_name,
            "size": self.size,
            "shapes": f"[{','.join(sorted(self.shapes))}]",
            "drawn": sorted(self.drawn),
            "far": self.farthest,
            "unknown": self._unknown_classes(rules),
            "problem": self.problem,
        }

    def _unknown_classes(self, rules: AnnotationRules) -> list[str]:
        """The classes that the image is not labelled for: one unlabelled category makes its whole class unknown."""
        unlabelled = set() if self.negative is None else rules.class_by_category.keys() - self.seen - self.negative
        classes = (rules.class_by_category.get(category) for category in unlabelled | self.partial)
        return sorted({name for name in classes if name is not None})


def category_names(document: Mapping[str, Any], path: Path) -> dict[CocoId, str]:
    """The label of each category id, in the file's order. Ids that share a name are one label."""
    names: dict[CocoId, str] = {}
    for number, entry in enumerate(document["categories"], start=1):
        category_id, name = entry.get("id"), entry.get("name")
        if not _is_id(category_id) or not is_name(name):
            raise SourceError(f"{path}: category {number} has no id and name. {_REMEDY}")
        if names.setdefault(category_id, name) != name:
            raise SourceError(
                f"{path}: category id {category_id} is both '{names[category_id]}' and '{name}'. {_REMEDY}"
            )
    return names


def read_document(path: Path) -> dict[str, Any]:
    """Read a file and check that it has the three lists of objects: images, annotations and categories."""
    document: Any = read_json(path)
    for part in ("images", "annotations", "categories"):
        entries = document.get(part) if isinstance(document, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise SourceError(
                f"{path} has no list '{part}' of objects; expected COCO's "
                '{"images": [...], "annotations": [...], "categories": [...]}. '
                "Name another file in source.annotations, or export it again."
            )
    if any("segments_info" in entry for entry in document["annotations"]):
        raise SourceError(
            f"{path} is a panoptic file, whose masks are PNGs; expected instances with a segmentation each. Name "
            "another file in source.annotations, or convert it."
        )
    return dict(document)


def read_facts(document: Mapping[str, Any], path: Path, rules: AnnotationRules) -> dict[str, Any]:
    """Facts of a file, JSON-like, to be kept in the cache.

    - ``images``: facts of each image. A ``problem`` does not name the file, which may have moved since it was cached.
    - ``drawn``: [category id, number of annotations that draw something, number of crowds among them] for each category
      that does not become the class `ignore`; a source decides by it whether its crowds are meant as crowds.
    - ``orphans``: [image id, number of annotations] for each image id that is not among the file's images.
    """
    images = _list_images(document, path)
    orphans: Counter[CocoId] = Counter()
    drawn: Counter[CocoId] = Counter()
    crowds: Counter[CocoId] = Counter()
    for number, entry in enumerate(document["annotations"], start=1):
        image_id = entry.get("image_id")
        if not _is_id(image_id):
            raise SourceError(f"{path}: annotation {number} has no image_id. {_REMEDY}")
        image = images.get(image_id)
        if image is None:
            orphans[image_id] += 1
        elif image.problem is None:
            try:
                shapes = list(_read_shapes(entry, image, f"annotation {number}", rules))
            except SourceError as error:
                image.problem = str(error)
                continue
            image.add(shapes, f"annotation {number}")
            category = entry["category_id"]
            if shapes and rules.class_by_category[category] != IGNORE:
                drawn[category] += 1
                crowds[category] += bool(entry.get("iscrowd"))
    return {
        "images": [image.facts(rules) for image in images.values()],
        "drawn": [[category, count, crowds[category]] for category, count in drawn.items()],
        "orphans": sorted([str(image_id), count] for image_id, count in orphans.items()),  # numbers and text may mix
    }


def names_of_images(document: Mapping[str, Any]) -> dict[CocoId, str]:
    """The file name of each image by its id, of a file that `read_facts` has read without an error."""
    return {entry["id"]: _file_name(entry) for entry in document["images"]}


def _file_name(entry: Mapping[str, Any]) -> Any:
    return entry.get("file_name", _file_name_in_url(entry.get("coco_url")))


def _is_id(value: Any) -> TypeGuard[CocoId]:
    return type(value) is int or is_name(value)


def _list_images(document: Mapping[str, Any], path: Path) -> dict[CocoId, _Image]:
    """The images of a file by their ids, without annotations yet. An entry that is there twice counts once."""
    images: dict[CocoId, _Image] = {}
    for number, entry in enumerate(document["images"], start=1):
        image_id, file_name = entry.get("id"), _file_name(entry)
        if not _is_id(image_id) or not is_name(file_name):
            raise SourceError(f"{path}: image {number} has no id and file_name. {_REMEDY}")
        where = f"{path}: image {number}, {file_name}"
        image = _Image(file_name, _read_size(entry, where))
        image.negative = _read_ids(entry.get("neg_category_ids"), f"{where}: neg_category_ids")
        image.partial = (
            _read_ids(entry.get("not_exhaustive_category_ids"), f"{where}: not_exhaustive_category_ids") or set()
        )
        first = images.setdefault(image_id, image)
        if first.file_name != file_name:
            raise SourceError(f"{path}: image id {image_id} is both {first.file_name} and {file_name}. {_REMEDY}")
    return images


def _file_name_in_url(url: Any) -> Any:
    """The file name in a URL, such as ``val2017/000000000139.jpg``; LVIS files have ``coco_url`` for ``file_name``."""
    return "/".join(url.split("/")[-2:]) if is_name(url) else None


def _read_size(entry: Mapping[str, Any], where: str) -> Size | None:
    size = [entry.get("width"), entry.get("height")]
    if size == [None, None]:
        return None
    whole = whole_size(size)
    if whole is None:
        raise SourceError(f"{where}: width and height are not whole numbers of pixels. {_REMEDY}")
    return whole


def _read_ids(value: Any, where: str) -> set[CocoId] | None:
    """The ids in a list, or None if the list is missing."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(map(_is_id, value)):
        raise SourceError(f"{where} is no list of ids. {_REMEDY}")
    return set(value)


# ---- annotations -----------------------------------------------------------------------------------------------------


def _read_shapes(
    entry: Mapping[str, Any], image: _Image, where: str, rules: AnnotationRules
) -> Iterator[tuple[str, Ring | str]]:
    """Class and shape, a ring or compressed run lengths, for each shape of an annotation."""
    name = _class_of_annotation(entry, image, where, rules)
    if name is None:
        return
    segmentation = entry.get("segmentation")
    if not segmentation:
        shapes: Iterator[Ring | str] = _box_shapes(entry.get("bbox"), where, rules)
    elif isinstance(segmentation, list):
        shapes = (flat_ring(ring, where) for ring in segmentation)
    elif isinstance(segmentation, dict):
        shapes = iter([_run_lengths(segmentation, image, where)])
    else:
        raise SourceError(f"{where}: segmentation is neither polygons nor run lengths. {_REMEDY}")
    for shape in shapes:
        yield name, shape


def _class_of_annotation(entry: Mapping[str, Any], image: _Image, where: str, rules: AnnotationRules) -> str | None:
    """The class of an annotation, or None if it is left out."""
    category = entry.get("category_id")
    if not _is_id(category) or category not in rules.class_by_category:
        raise SourceError(f"{where}: category_id is none of categories. {_REMEDY}")
    image.seen.add(category)
    name = rules.class_by_category[category]
    if name is None or not entry.get("iscrowd"):
        return name
    if rules.crowd is None:
        raise SourceError(
            f"{where} is a crowd, and classes has no '{IGNORE}' for it; expected one, or a decision. Add '{IGNORE}' to "
            "source.classes, or set 'crowd: class' or 'crowd: drop'."
        )
    return crowd_class(rules.crowd, name)


def _box_shapes(box: Any, where: str, rules: AnnotationRules) -> Iterator[Ring | str]:
    """The rectangle of an annotation that has a box and no mask, or nothing, as the recipe says."""
    if rules.boxes == "error":
        raise SourceError(
            f"{where} has a box and no mask; expected polygons or run lengths. Set 'boxes: rectangle' to take boxes "
            "for masks, or 'boxes: drop' to leave them out."
        )
    if rules.boxes == "rectangle":
        if not (isinstance(box, list) and len(box) == 4 and all(map(is_pixel, box)) and min(box[2:]) > 0):
            raise SourceError(f"{where}: bbox is not [x, y, width, height] in pixels. {_REMEDY}")
        x, y, width, height = map(float, box)
        # A ring includes its corners, so a box of 5 pixels from x = 2 goes to x = 6.
        yield flat_ring(rectangle(x, y, x + max(0.0, width - 1), y + max(0.0, height - 1)), where)


def _run_lengths(segmentation: dict[str, Any], image: _Image, where: str) -> str:
    """Compressed run lengths of a mask, which has to be as large as its image."""
    counts, (height, width) = read_counts(segmentation, where)
    image.size = image.size or (width, height)
    if (width, height) != image.size:
        raise SourceError(
            f"{where}: the mask has {width}x{height} pixels, image {image.file_name} {image.size[0]}x{image.size[1]}; "
            f"expected the same. {_REMEDY}"
        )
    return counts
