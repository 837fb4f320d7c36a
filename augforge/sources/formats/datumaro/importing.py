"""Calling Datumaro's importers: labels, items, and what they could not read.

Some importers skip things silently. So their log messages become warnings here, CVAT files are searched for what was
skipped, and formats that Datumaro misreads are refused.
"""

from __future__ import annotations

import logging
import os
import posixpath
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from augforge.errors import MissingExtra, SourceError, nearest
from augforge.sources.scan.records import name_of
from augforge.sources.scan.scanning import IMAGES

CHECKED = frozenset(
    {
        *("camvid", "coco_instances", "coco_panoptic", "common_semantic_segmentation", "cvat", "datumaro"),
        *("kitti_segmentation", "label_me", "mapillary_vistas_instances", "mapillary_vistas_panoptic"),
        *("mvtec_segmentation", "voc_detection", "voc_instance_segmentation", "voc_segmentation"),
    }
)
"""The formats whose examples were read correctly, pixel by pixel, with Datumaro 1.13."""

_MISREAD = {
    "ade20k2020": "it adds the polygons of hidden parts to the masks of what is seen. Convert it to masks",
    "cityscapes": "it loses the roads, or the cars and people. Read gtFine/*_labelIds.png by format index-mask",
    "open_images": "it loses masks, and takes labels that were found not to be there for labels. Convert it to masks",
}
"""Formats that Datumaro 1.13 misreads: what goes wrong, and what to do instead."""

_CVAT_KINDS = frozenset({"box", "mask", "points", "polygon", "polyline", "skeleton", "tag"})
"""Kinds of CVAT annotations that are imported; of skeletons only their points."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A data set as Datumaro imports it.

    Attributes:
        labels: in the order of their numbers.
        items: Datumaro's items, sorted by subset and id.
        faults: messages for items that it could not read, or only in part, by id and subset.
        warnings: what it warned of.
    """

    labels: list[str]
    items: list[Any]
    faults: dict[tuple[str, str], str]
    warnings: list[str]


@dataclass(slots=True)
class Item:
    """An image with its annotations (``of``), which are Datumaro's objects, from all subsets that contain it."""

    place: str
    size: tuple[int, int] | None
    subsets: set[str] = field(default_factory=set)
    of: list[Any] = field(default_factory=list)


def import_items(root: Path, format: str | None) -> Imported:
    """Import a folder in a format of Datumaro, or in one that it detects. Raises SourceError with its message."""
    try:
        from datumaro import AnnotationType, Dataset
        from datumaro.components.contexts.importer import ImportErrorPolicy
    except ImportError as error:
        raise MissingExtra("datumaro", "datumaro", "source format datumaro") from error
    _refuse_misread(root, format)
    faults: dict[tuple[str, str], str] = {}

    class ErrorCollector(ImportErrorPolicy):  # type: ignore[misc]  # the library is untyped
        def report_item_error(self, error: Exception, *, item_id: tuple[str, str]) -> None:
            where = f"{root}: item '{item_id[0]}' of subset '{item_id[1]}'"
            faults[str(item_id[0]), str(item_id[1])] = (
                f"{where} cannot be read by Datumaro ({cause_of(error)}). Correct it there."
            )

    try:
        with without_warnings(), _collect_log(root) as messages:
            dataset = Dataset.import_from(str(root), format, error_policy=ErrorCollector())
            items = sorted(dataset, key=lambda item: (item.subset, item.id))
            categories = dataset.categories().get(AnnotationType.label, ())
    except Exception as error:  # its formats raise whatever their parsers raise
        raise SourceError(_import_error(root, format, error)) from error
    _refuse_misread(root, dataset.format)
    if dataset.format == "cvat":
        faults |= _find_cvat_problems(root, {(item.id, item.subset) for item in items})
    if dataset.format not in CHECKED:
        messages.append(
            f"how Datumaro reads format {dataset.format} was not checked: compare some samples with the data"
        )
    return Imported([label.name for label in categories], items, faults, messages)


def _refuse_misread(root: Path, format: str | None) -> None:
    if format in _MISREAD:
        raise SourceError(f"{root}: Datumaro misreads format {format}: {_MISREAD[format]}.")


def _import_error(root: Path, format: str | None, error: Exception) -> str:
    from datumaro.components.environment import DEFAULT_ENVIRONMENT

    known = list(DEFAULT_ENVIRONMENT.importers)
    if format is not None and format not in known:
        return f"{root}: Datumaro has no format '{format}'.{nearest(format, known)}"
    return (
        f"{root} cannot be read by Datumaro as {format or 'a format that it finds itself'} ({cause_of(error)}). "
        "Correct the data, or name its format in source.dataset_format."
    )


# ---- what it passes over ----


@contextmanager
def _collect_log(root: Path) -> Iterator[list[str]]:
    """Collect Datumaro's warnings in its log; the list is filled at the end: one line per kind, with their number."""
    heard: dict[tuple[str, int], list[str]] = {}
    messages: list[str] = []

    class LogCollector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "datumaro" in PurePosixPath(record.pathname).parts:
                heard.setdefault((record.pathname, record.lineno), []).append(record.getMessage())

    handler = LogCollector(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield messages
    finally:
        logging.getLogger().removeHandler(handler)
        for lines in heard.values():
            more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
            messages.append(f"Datumaro: {lines[0].replace(f'{root}/', '')}{more}")


def _find_cvat_problems(root: Path, known: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Messages, by id and subset, for images in CVAT files that Datumaro skips, or of which it skips annotations."""
    ids = {key for key, _ in known}
    faults = {}
    for path in sorted(root.rglob("*.xml")):
        for key, subset, kinds in _read_cvat_images(path):
            where, lost = f"{path}: image '{key}'", sorted(kinds - _CVAT_KINDS)
            if lost:
                faults[key, subset or path.stem] = (
                    f"{where} has {' and '.join(lost)}, which Datumaro passes over. Read the folder by "
                    "format: cvat, which needs no Datumaro."
                )
            elif key not in ids if subset is None else (key, subset) not in known:
                faults[key, subset or path.stem] = (
                    f"{where} is passed over by Datumaro: no task there has its subset '{subset or ''}', or other .xml "
                    "lie further up. Export each task by itself, and read it alone."
                )
    return faults


def _read_cvat_images(path: Path) -> Iterator[tuple[str, str | None, set[str]]]:
    """(id, subset, kinds of annotations) of the images in a CVAT file, and of each frame that a track annotates."""
    from defusedxml import ElementTree

    try:
        for _, element in ElementTree.iterparse(path):
            if element.tag in ("image", "track"):
                subset = element.get("subset")
                if element.tag == "image":
                    yield name_of(element.get("name", "")), subset, {child.tag for child in element}
                else:
                    yield from ((f"frame_{child.get('frame', ''):0>6}", subset, {child.tag}) for child in element)
                element.clear()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read as XML ({error}). Correct it there or export it again.") from error


def all_annotations(items: Mapping[str, Item]) -> Iterator[Any]:
    """The annotations of all images."""
    return (annotation for item in items.values() for annotation in item.of)


def rest_warnings(items: Mapping[str, Item], taken: Collection[str], decided: bool) -> list[str]:
    """Warnings of kinds of annotations that are not taken, and of images without any unless the recipe decides."""
    rest = Counter(kind for annotation in all_annotations(items) if (kind := annotation.type.name) not in taken)
    found = [f"{count} annotations of kind {kind} are left out" for kind, count in sorted(rest.items())]
    unannotated = [name for name, item in items.items() if not item.of]
    if unannotated and not decided:
        found.append(
            f"{len(unannotated)} of {len(items)} images have no annotations, such as {unannotated[0]}: nothing is "
            "there, unless missing_annotation says that they are unlabelled"
        )
    return found


def unlisted_images_warning(root: Path, places: Collection[str]) -> list[str]:
    """A warning of images that lie beside those of the items but are not annotated, if there are any."""
    beside = [
        place
        for folder in sorted({posixpath.dirname(place) for place in places})
        for file in os.scandir(root / folder)
        if Path(file.name).suffix.lower() in IMAGES and (place := posixpath.join(folder, file.name)) not in places
    ]
    return [f"{len(beside)} images are not in the annotations, such as {min(beside)}"] if beside else []


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence the warnings of libraries that Datumaro calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def cause_of(error: BaseException) -> str:
    """The messages of an error and of its causes."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    messages = [f"{type(cause).__name__}: {str(cause).strip().removesuffix('.')}" for cause in chain]
    return ", for ".join(messages[1:] or messages)
