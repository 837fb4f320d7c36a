"""A COCO annotation file, read once: what it says of each image, in canonical form, apart from all other images.

What is wrong with the file as a whole is a SourceError. What is wrong with one image's annotations is told with that
image, so that one bad polygon does not cost the others.
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
from augforge.sources.raster.shapes import Far, Ring, box_of, extend_farthest, flat_ring, rectangle
from augforge.sources.raster.values import is_name, whole_size
from augforge.sources.scan.documents import is_pixel, read_json

Key: TypeAlias = int | str
"""An id in the file."""
Size: TypeAlias = tuple[int, int]
"""Width and height."""

_REMEDY = "Correct it there or export it again."


@dataclass(frozen=True, slots=True)
class Rules:
    """What the recipe decides about annotations.

    Attributes:
        class_of: class of each category id; None where it is left out.
        crowd: what becomes of crowds; None where that has to be decided first.
        boxes: what becomes of a box without a mask.
    """

    class_of: Mapping[Key, str | None]
    crowd: Crowd | None
    boxes: Boxes


@dataclass(slots=True)
class _Image:
    """An entry of ``images`` with its annotations: canonical JSON texts of [class, ring or run lengths].

    LVIS labels each image for some categories alone: those annotated in it (``seen``) and those looked for in vain
    (``negative``; None where the file is no such), but for those of which it has not every instance (``partial``).
    """

    file_name: str
    size: Size | None
    negative: set[Key] | None = None
    partial: set[Key] = field(default_factory=set)
    seen: set[Key] = field(default_factory=set)
    shapes: set[str] = field(default_factory=set)
    far: Far = field(default_factory=list)
    problem: str | None = None

    def add(self, shapes: Iterable[tuple[str, Ring | str]], annotation: str) -> None:
        """The shapes of one annotation."""
        for name, shape in shapes:
            self.shapes.add(canonical_json([name, shape]))
            if not isinstance(shape, str):
                self.far = extend_farthest(self.far, box_of(zip(shape[::2], shape[1::2], strict=True)), annotation)

    def facts(self, rules: Rules) -> dict[str, Any]:
        return {
            "file_name": self.file_name,
            "size": self.size,
            "shapes": f"[{','.join(sorted(self.shapes))}]",
            "far": self.far,
            "unknown": self._unknown_classes(rules),
            "problem": self.problem,
        }

    def _unknown_classes(self, rules: Rules) -> list[str]:
        """The classes that the image is not labelled for: those of which a category is not."""
        unlabelled = set() if self.negative is None else rules.class_of.keys() - self.seen - self.negative
        return sorted({name for key in unlabelled | self.partial if (name := rules.class_of.get(key)) is not None})


def category_names(document: Mapping[str, Any], path: Path) -> dict[Key, str]:
    """Names by category id, in the file's order. Several ids may share a name: they are one label."""
    names: dict[Key, str] = {}
    for number, entry in enumerate(document["categories"], start=1):
        key, name = entry.get("id"), entry.get("name")
        if not _is_key(key) or not is_name(name):
            raise SourceError(f"{path}: category {number} has no id and name. {_REMEDY}")
        if names.setdefault(key, name) != name:
            raise SourceError(f"{path}: category id {key} is both '{names[key]}' and '{name}'. {_REMEDY}")
    return names


def read_document(path: Path) -> dict[str, Any]:
    """The file with its three lists of objects."""
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


def read_images(document: Mapping[str, Any], path: Path, rules: Rules) -> dict[str, Any]:
    """Facts of all images, JSON-like.

    They are ``images``, each with its ``problem``, which does not say the file, as facts outlive its path; ``drawn``,
    a list of [category id, annotations that are drawn, crowds among them], without categories that are `ignore`; and
    ``orphans``, a list of [image id, annotations] without an image.
    """
    images = _read_images(document, path)
    orphans: Counter[Key] = Counter()
    drawn: Counter[Key] = Counter()
    crowds: Counter[Key] = Counter()
    for number, entry in enumerate(document["annotations"], start=1):
        key = entry.get("image_id")
        if not _is_key(key):
            raise SourceError(f"{path}: annotation {number} has no image_id. {_REMEDY}")
        image = images.get(key)
        if image is None:
            orphans[key] += 1
        elif image.problem is None:
            try:
                shapes = list(_read_shapes(entry, image, f"annotation {number}", rules))
            except SourceError as error:
                image.problem = str(error)
                continue
            image.add(shapes, f"annotation {number}")
            category = entry["category_id"]
            if shapes and rules.class_of[category] != IGNORE:
                drawn[category] += 1
                crowds[category] += bool(entry.get("iscrowd"))
    return {
        "images": [image.facts(rules) for image in images.values()],
        "drawn": [[key, count, crowds[key]] for key, count in drawn.items()],
        "orphans": sorted([str(key), count] for key, count in orphans.items()),
    }


def _is_key(value: Any) -> TypeGuard[Key]:
    return type(value) is int or is_name(value)


def _read_images(document: Mapping[str, Any], path: Path) -> dict[Key, _Image]:
    images: dict[Key, _Image] = {}
    for number, entry in enumerate(document["images"], start=1):
        key, file_name = entry.get("id"), entry.get("file_name", _file_name_in_url(entry.get("coco_url")))
        if not _is_key(key) or not is_name(file_name):
            raise SourceError(f"{path}: image {number} has no id and file_name. {_REMEDY}")
        where = f"{path}: image {number}, {file_name}"
        image = _Image(file_name, _read_size(entry, where))
        image.negative = _read_keys(entry.get("neg_category_ids"), f"{where}: neg_category_ids")
        image.partial = (
            _read_keys(entry.get("not_exhaustive_category_ids"), f"{where}: not_exhaustive_category_ids") or set()
        )
        other = images.setdefault(key, image)
        if other.file_name != file_name:
            raise SourceError(f"{path}: image id {key} is both {other.file_name} and {file_name}. {_REMEDY}")
    return images


def _file_name_in_url(url: Any) -> Any:
    """``val2017/000000000139.jpg`` of the URL that LVIS names an image by."""
    return "/".join(url.split("/")[-2:]) if is_name(url) else None


def _read_size(entry: Mapping[str, Any], where: str) -> Size | None:
    size = [entry.get("width"), entry.get("height")]
    if size == [None, None]:
        return None
    whole = whole_size(size)
    if whole is None:
        raise SourceError(f"{where}: width and height are not whole numbers of pixels. {_REMEDY}")
    return whole


def _read_keys(value: Any, where: str) -> set[Key] | None:
    """Ids in a list, None where there is no list."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(map(_is_key, value)):
        raise SourceError(f"{where} is no list of ids. {_REMEDY}")
    return set(value)


# ---- annotations -----------------------------------------------------------------------------------------------------


def _read_shapes(entry: Mapping[str, Any], image: _Image, where: str, rules: Rules) -> Iterator[tuple[str, Ring | str]]:
    """(class, ring or compressed run lengths) of an annotation."""
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


def _class_of_annotation(entry: Mapping[str, Any], image: _Image, where: str, rules: Rules) -> str | None:
    """The class of an annotation; None where it is left out."""
    key = entry.get("category_id")
    if not _is_key(key) or key not in rules.class_of:
        raise SourceError(f"{where}: category_id is none of categories. {_REMEDY}")
    image.seen.add(key)
    name = rules.class_of[key]
    if name is None or not entry.get("iscrowd"):
        return name
    if rules.crowd is None:
        raise SourceError(
            f"{where} is a crowd, and classes has no '{IGNORE}' for it; expected one, or a decision. Add '{IGNORE}' to "
            "source.classes, or set 'crowd: class' or 'crowd: drop'."
        )
    return crowd_class(rules.crowd, name)


def _box_shapes(box: Any, where: str, rules: Rules) -> Iterator[Ring | str]:
    """The rectangle of a box without a mask, where the recipe wants it."""
    if rules.boxes == "error":
        raise SourceError(
            f"{where} has a box and no mask; expected polygons or run lengths. Set 'boxes: rectangle' to take boxes "
            "for masks, or 'boxes: drop' to leave them out."
        )
    if rules.boxes == "rectangle":
        if not (isinstance(box, list) and len(box) == 4 and all(map(is_pixel, box)) and min(box[2:]) > 0):
            raise SourceError(f"{where}: bbox is not [x, y, width, height] in pixels. {_REMEDY}")
        x, y, width, height = map(float, box)
        yield flat_ring(rectangle(x, y, x + max(0.0, width - 1), y + max(0.0, height - 1)), where)


def _run_lengths(segmentation: dict[str, Any], image: _Image, where: str) -> str:
    counts, (height, width) = read_counts(segmentation, where)
    image.size = image.size or (width, height)
    if (width, height) != image.size:
        raise SourceError(
            f"{where}: the mask has {width}x{height} pixels, image {image.file_name} {image.size[0]}x{image.size[1]}; "
            f"expected the same. {_REMEDY}"
        )
    return counts
