"""Where the images and label files of a YOLO data set lie, and to which split they belong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from augforge.errors import SourceError
from augforge.sources.documents import read_text
from augforge.sources.options import own_split
from augforge.sources.records import inside, name_of
from augforge.sources.scanning import Scan
from augforge.sources.walking import below
from augforge.sources.yolo_files import DataYaml


@dataclass(frozen=True, slots=True)
class Images:
    """What a data set names.

    Attributes:
        splits: places of all images, in order, with the split that the data set itself prescribes.
        folders: where label files may lie that belong to them, and none but theirs.
    """

    splits: dict[str, str | None] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)


def find_images(scan: Scan, said: DataYaml, own_splits: bool) -> Images:
    """All images of a data set."""
    found = Images()
    parts = {name: list(_part(scan, said, name, texts, found)) for name, texts in said.parts.items()}
    if not parts:
        scan.need_folder("images")
        places = _images(scan, "images", found)
        found.splits.update((place, None) for place in places)  # images/val/... is named val/..., which says it
        return found
    same = [one for one in parts if any(one != two and set(parts[one]) == set(parts[two]) for two in parts)]
    if same and own_splits:
        scan.warnings.append(f"{' and '.join(same)} name the same images; the recipe's split decides")
    for name, places in parts.items():
        split = own_split(name) if own_splits and name not in same else None
        for place in places:
            if found.splits.setdefault(place, split) != split:
                message = f"{scan.root / place} stands in {name} and in another split; expected one. Correct data.yaml."
                scan.wrong(sample_name(place), "in two splits", message)
    return found


def _part(scan: Scan, said: DataYaml, name: str, texts: Iterable[str], found: Images) -> Iterator[str]:
    """Places of the images of one split."""
    for text in texts:
        place = _resolve(scan, said, name, text)
        yield from _listed(scan, place) if place.endswith(".txt") else _images(scan, place, found)


def _resolve(scan: Scan, said: DataYaml, name: str, text: str) -> str:
    """A path in data.yaml below the root; ``../train/images``, as Roboflow writes it, is train/images."""
    where = f"{scan.root}: {name} of data.yaml"
    bases = [said.base] if said.base and not said.base.startswith(("/", "..")) else []
    stripped = text.removeprefix("../") if not os.path.exists(scan.root / text) else text  # noqa: PTH110
    candidates = [inside(scan.root, f"{base}/{stripped}" if base else stripped, where) for base in (*bases, "")]
    found = next((place for place in candidates if os.path.exists(scan.root / place)), None)  # noqa: PTH110
    if found is None:
        raise SourceError(f"{where}: {scan.root / candidates[-1]} does not exist. Correct the path, or leave it out.")
    return found


def _images(scan: Scan, folder: str, found: Images) -> list[str]:
    places = scan.walk(folder)
    for place in places:
        if "images" not in place.split("/")[:-1]:
            raise SourceError(
                f"{scan.root / place} lies in no folder named images; expected one, so that the labels lie in labels:\n"
                f"{scan.source.layout}\nMove the images."
            )
        found.folders.add(_label_folder(folder, place))
    return places


def _listed(scan: Scan, place: str) -> Iterator[str]:
    """Places of the images that a .txt file lists, one a line, relative to the root or, with ./, to the file."""
    path = scan.root / place
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.strip()
        base = place.rpartition("/")[0] if text.startswith("./") else ""
        try:
            if text:
                yield _listed_image(scan, f"{base}/{text}" if base else text, f"{path}:{number}")
        except SourceError as error:
            scan.wrong(text, "no image", str(error))


def _listed_image(scan: Scan, text: str, where: str) -> str:
    place = inside(scan.root, text, where)
    if not os.path.isfile(scan.root / place) or "images" not in place.split("/")[:-1]:  # noqa: PTH113
        raise SourceError(f"{where}: {scan.root / place} is no image in a folder named images. Correct the line.")
    return place


def _label_folder(folder: str, place: str) -> str:
    """The folder of labels that stands for a folder of images, or for the part of it that an image lies in."""
    depth = len(folder.split("/")) if "images" in folder.split("/") else place.split("/").index("images") + 1
    return "/".join(label_place(place).split("/")[:depth])


def outermost(folders: Iterable[str]) -> list[str]:
    """The folders that lie in no other of them, sorted."""
    found: list[str] = []
    for folder in sorted(folders):
        if not any(below(folder, other) for other in found):
            found.append(folder)
    return found


def sample_name(place: str) -> str:
    """The place of an image or label file without its folder named images or labels, and without its suffix."""
    parts = name_of(place).split("/")
    marks = [index for index, part in enumerate(parts[:-1]) if part in ("images", "labels")]
    if marks:
        del parts[marks[-1]]
    return "/".join(parts)


def label_place(place: str) -> str:
    """The label file of an image: labels in place of the last folder named images, and .txt."""
    parts = name_of(place).split("/")
    last = max(index for index, part in enumerate(parts[:-1]) if part == "images")
    parts[last] = "labels"
    return "/".join(parts) + ".txt"
