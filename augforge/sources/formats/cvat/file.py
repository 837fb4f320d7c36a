"""Reading a CVAT file: labels, images and their annotations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree.ElementTree import Element, ParseError, fromstring  # doctypes, and so entities, are refused before

from augforge.errors import SourceError
from augforge.sources.formats.cvat.shapes import SHAPES, WITHOUT_AREA, Size
from augforge.sources.raster.degenerate import Degenerates
from augforge.sources.raster.outlines import Outlines
from augforge.sources.raster.values import is_name, whole_size
from augforge.sources.scan.documents import read_text

_REMEDY = "Export it again."

Entry: TypeAlias = tuple[str, Size, str | None, list[tuple[Element, str | None]]]
"""Name, size and subset of an image, and its annotations with their labels."""


def read_facts(path: Path, drop: bool = False) -> dict[str, Any] | None:
    """Facts of a CVAT file, JSON-like; None for any other XML.

    - ``labels``: in their order.
    - ``images``: for each image ``name``, ``size`` (width and height), ``subset``, ``shapes`` as [label, kind, ring or
      run lengths], ``lines`` as [label, kind] of annotations without area, the number of ``tags``, their ``outlines``,
      and a ``problem``, which does not name the file, or None.
    - ``video``: whether the images are frames of a video, which are named by their numbers.

    ``drop`` says what becomes of polygons that enclose nothing; see `Degenerates`. Raises SourceError if the
    file is no XML, or lacks what every CVAT file has.
    """
    document = _parse(path)
    if document.tag != "annotations":
        return None
    version = document.findtext("version")
    if version not in ("1.1", "1.0"):
        raise SourceError(
            f"{path} is of version {version}; expected CVAT's XML 1.1. Export it as 'CVAT for images 1.1'."
        )
    tracks = document.findall("track")
    entries = _frames(document, path) if tracks else _images(document, path)
    images = [_read_image(*entry, drop) for entry in entries]
    used = [label for image in images for label, *_ in (*image["shapes"], *image["lines"])]
    return {"labels": list(dict.fromkeys([*_labels(document), *used])), "images": images, "video": bool(tracks)}


def _parse(path: Path) -> Element:
    """The root of an XML file. Raises SourceError; a document type is refused, as it may define entities."""
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise SourceError(f"{path} has a document type; expected CVAT's XML, which has none. {_REMEDY}")
    try:
        return fromstring(text)  # noqa: S314 (without a document type there are no entities)
    except (ParseError, ValueError) as error:
        raise SourceError(f"{path} is no XML: {error}. Correct it there or export it again.") from error


def _labels(document: Element) -> Iterator[str]:
    """The labels of a task, project or job; those of the points of a skeleton, which have a parent, are none."""
    meta = document.find("meta")
    for label in [] if meta is None else meta.iter("label"):
        if is_name(name := label.findtext("name")) and not label.findtext("parent"):
            yield name


def _images(document: Element, path: Path) -> Iterator[Entry]:
    for element in document.iterfind("image"):
        name = element.get("name")
        if not is_name(name):
            raise SourceError(f"{path}: image {element.get('id')} has no name. {_REMEDY}")
        try:
            size = whole_size([float(element.get("width", "")), float(element.get("height", ""))])
        except ValueError:
            size = None
        if size is None:
            raise SourceError(f"{path}: image '{name}' has no width and height in pixels. {_REMEDY}")
        yield name, size, element.get("subset"), [(child, child.get("label")) for child in element]


def _frames(document: Element, path: Path) -> Iterator[Entry]:
    """The frames of a video that its tracks annotate, named as CVAT names their images."""
    sizes = [
        document.findtext(f"meta/*/original_size/{side}") or document.findtext(f"meta/original_size/{side}")
        for side in ("width", "height")
    ]
    if not all(text and text.isdecimal() for text in sizes):
        raise SourceError(f"{path} has no original_size of its frames. {_REMEDY}")
    size = (int(sizes[0] or 0), int(sizes[1] or 0))
    frames: dict[int, list[tuple[Element, str | None]]] = {}
    for track in document.iterfind("track"):
        for shape in track:
            frame = shape.get("frame", "")
            if not frame.isdecimal() or len(frame) > 9:
                raise SourceError(f"{path}: track {track.get('id')} has a shape of frame '{frame}'. {_REMEDY}")
            if shape.get("outside") != "1":
                frames.setdefault(int(frame), []).append((shape, track.get("label")))
    for number, shapes in sorted(frames.items()):
        yield f"frame_{number:06d}", size, None, shapes


def _read_image(
    name: str, size: Size, subset: str | None, annotations: list[tuple[Element, str | None]], drop: bool
) -> dict[str, Any]:
    """Facts of one image; a shape that cannot be drawn is its problem."""
    image: dict[str, Any] = {"name": name, "size": [*size], "subset": subset or "", "problem": None}
    image |= {"shapes": [], "lines": [], "tags": 0}
    outlines = Outlines(size, degenerates=Degenerates(drop))
    try:
        for position, (element, label) in enumerate(annotations, start=1):
            _add_annotation(image, outlines, element, label, f"image '{name}', annotation {position} ({element.tag})")
    except SourceError as error:
        image["problem"] = str(error)
    return {**image, "outlines": outlines.facts()}


def _add_annotation(image: dict[str, Any], outlines: Outlines, element: Element, label: str | None, where: str) -> None:
    kind = element.tag
    if kind == "tag":
        image["tags"] += 1
    elif kind in SHAPES or kind in WITHOUT_AREA:
        if not is_name(label):
            raise SourceError(f"{where} has no label. {_REMEDY}")
        if kind in SHAPES:
            _add_shape(image, outlines, element, label, where)
        else:
            image["lines"].append([label, kind])
    else:
        raise SourceError(f"{where} is of a kind that is not known; expected {', '.join(SHAPES)}. Convert it in CVAT.")


def _add_shape(image: dict[str, Any], outlines: Outlines, element: Element, label: str, where: str) -> None:
    kind = element.tag
    found = SHAPES[kind](element, where, image["size"])
    if isinstance(found, tuple):
        runs, box = found
        outlines.add_box(box, where)
        image["shapes"].append([label, kind, runs])
    elif kind != "polygon" or outlines.degenerates.admit_ring(found, where):
        outlines.add_ring(label, found, where)
        image["shapes"].append([label, kind, found])
