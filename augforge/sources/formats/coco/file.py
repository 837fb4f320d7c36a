"""Reading a COCO annotation file into facts of each image, which do not depend on the other images in the file.

An error in the file as a whole is a SourceError. An error in the annotations of one image is kept with that image, as
its ``problem``, so that one bad polygon does not make all other images unusable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augforge.errors import SourceError, shorten
from augforge.keys import canonical_json
from augforge.sample import IGNORE
from augforge.sources.formats.coco.annotations import AnnotatedEntry, AnnotationRules, Size, read_shapes
from augforge.sources.formats.coco.ids import REMEDY, CocoId, read_flag, read_id, require_id
from augforge.sources.raster.outlines import Outlines
from augforge.sources.raster.values import is_name, whole_size
from augforge.sources.scan.documents import read_json


def category_names(document: Mapping[str, Any], path: Path) -> dict[CocoId, str]:
    """The label of each category id, in the file's order. Ids that share a name are one label."""
    names: dict[CocoId, str] = {}
    for number, entry in enumerate(document["categories"], start=1):
        where, name = f"{path}: category {number}", entry.get("name")
        category_id = require_id(entry.get("id"), f"{where}: id")
        if not is_name(name):
            raise SourceError(f"{where}: name is {shorten(name)}; expected text. {REMEDY}")
        if names.setdefault(category_id, name) != name:
            raise SourceError(
                f"{path}: category id {category_id} is both '{names[category_id]}' and '{name}'. {REMEDY}"
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
    - ``phantom``: the label of Roboflow's category 0, which is no class, or None.
    """
    images = _list_images(document, path)
    orphans: Counter[CocoId] = Counter()
    drawn: Counter[CocoId] = Counter()
    crowds: Counter[CocoId] = Counter()
    for number, entry in enumerate(document["annotations"], start=1):
        image_id = require_id(entry.get("image_id"), f"{path}: annotation {number}: image_id")
        image = images.get(image_id)
        if image is None:
            orphans[image_id] += 1
        elif image.problem is None:
            image.annotated = True
            try:
                shapes = list(read_shapes(entry, image, f"annotation {number}", rules))
            except SourceError as error:
                image.problem = str(error)
                continue
            image.add(shapes, f"annotation {number}", entry.get("bbox") if entry.get("segmentation") else None)
            category = require_id(entry["category_id"], "category_id")
            if shapes and rules.class_by_category[category] != IGNORE:
                drawn[category] += 1
                crowds[category] += read_flag(entry.get("iscrowd"), "iscrowd")
    return {
        "images": [image.facts(rules) for image in images.values()],
        "drawn": [[category, count, crowds[category]] for category, count in drawn.items()],
        "orphans": sorted([str(image_id), count] for image_id, count in orphans.items()),  # numbers and text may mix
        "phantom": phantom_label(document),
    }


def names_of_images(document: Mapping[str, Any]) -> dict[CocoId, str]:
    """The file name of each image by its id, of a file that `read_facts` has read without an error."""
    return {entry["id"]: _file_name(entry) for entry in document["images"]}


def _file_name(entry: Mapping[str, Any]) -> Any:
    return entry.get("file_name", _file_name_in_url(entry.get("coco_url")))


def phantom_label(document: Mapping[str, Any]) -> str | None:
    """The label of a category 0 that no annotation uses and that is the supercategory of all others, or None.

    Roboflow writes one into each file, named after the project.
    """
    categories = {read_id(entry.get("id")): entry for entry in document["categories"]}
    first = categories.pop(0, None)
    if first is None or not categories:
        return None
    if any(read_id(entry.get("category_id")) == 0 for entry in document["annotations"]):
        return None
    name = first.get("name")
    parents = {canonical_json(entry.get("supercategory")) for entry in categories.values()}
    return name if is_name(name) and parents == {canonical_json(name)} else None


def _list_images(document: Mapping[str, Any], path: Path) -> dict[CocoId, AnnotatedEntry]:
    """The images of a file by their ids, without annotations yet. An entry that is there twice counts once."""
    images: dict[CocoId, AnnotatedEntry] = {}
    for number, entry in enumerate(document["images"], start=1):
        file_name = _file_name(entry)
        image_id = require_id(entry.get("id"), f"{path}: image {number}: id")
        if not is_name(file_name):
            raise SourceError(f"{path}: image {number}: file_name is {shorten(file_name)}; expected a path. {REMEDY}")
        where = f"{path}: image {number}, {file_name}"
        size = _read_size(entry, where)
        image = AnnotatedEntry(file_name, size, outlines=Outlines(size))
        image.negative = _read_ids(entry.get("neg_category_ids"), f"{where}: neg_category_ids")
        image.partial = (
            _read_ids(entry.get("not_exhaustive_category_ids"), f"{where}: not_exhaustive_category_ids") or set()
        )
        first = images.setdefault(image_id, image)
        if first.file_name != file_name:
            raise SourceError(f"{path}: image id {image_id} is both {first.file_name} and {file_name}. {REMEDY}")
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
        raise SourceError(
            f"{where}: width and height are {shorten(size[0])} and {shorten(size[1])}; expected whole numbers of "
            f"pixels. {REMEDY}"
        )
    return whole


def _read_ids(value: Any, where: str) -> set[CocoId] | None:
    """The ids in a list, or None if the list is missing."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise SourceError(f"{where} is no list of ids. {REMEDY}")
    return {require_id(number, f"{where}: an entry") for number in value}
