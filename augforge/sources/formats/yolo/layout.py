"""Finding the images and label files of a YOLO data set, and the split that each belongs to."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from augforge.errors import SourceError
from augforge.sources.core import Refused
from augforge.sources.formats.yolo.files import DataYaml
from augforge.sources.formats.yolo.paths import below_root, strip_lost_folders, without_parent_folder
from augforge.sources.scan.agreeing import Agreeing, existing_place
from augforge.sources.scan.documents import read_text
from augforge.sources.scan.own_splits import own_split, split_folder, split_folders
from augforge.sources.scan.records import folder_or_name, name_of
from augforge.sources.scan.scanning import Scan
from augforge.sources.scan.walking import outermost

_LABELS = frozenset({".txt"})
_NO_LABELS = frozenset({"classes.txt", "notes.txt"})  # files of labelling tools


# ---- images ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a data set.

    Attributes:
        parts: for the place of each image, in order, the part of ``data.yaml`` (train, val, test) that names it, or "".
        folders: the folders that hold label files of these images, and no others.
        own: the folder of each part that has only one, as it is in the names of its samples.
    """

    parts: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    own: dict[str, str] = field(default_factory=dict)


def find_images(scan: Scan, data_yaml: DataYaml) -> Images:
    """Find all images of a data set."""
    found = Images()
    if not data_yaml.parts and not (scan.root / "images").is_dir():
        roboflows = {name: [f"{name}/images"] for name in split_folders(scan.root, "images")}
        data_yaml = replace(data_yaml, parts=roboflows, base="")
    if not data_yaml.parts:
        scan.require_folder("images")
        found.parts.update(dict.fromkeys(_walk_images(scan, "images", found), ""))
        return found
    parts = _read_parts(scan, data_yaml, found)
    sets = {name: set(places) for name, places in parts.items() if places}
    own_splits = scan.source.own_splits
    counted = _resolve_equal_parts(scan, sets)
    for name, places in parts.items():
        part = counted.get(name, name)
        for place in places:
            if own_split(found.parts.setdefault(place, part)) != own_split(part) and own_splits:
                fact = f"{scan.root / place} stands in {name} and in another split"
                scan.bad_sample(sample_name(place), "in two splits", f"{fact}; expected one. Correct {data_yaml.file}.")
    return found


def _resolve_equal_parts(scan: Scan, sets: Mapping[str, set[str]]) -> dict[str, str]:
    """What parts that name the same images count as: val if they are val and test, "" if one is train."""
    counted = {}
    for one in sets:
        same = [two for two in sets if sets[two] == sets[one]]
        if len({own_split(two) for two in same}) > 1:
            held_out = all(own_split(two) for two in same)
            counted[one] = next(two for two in same if own_split(two) == "val") if held_out else ""
            consequence = "which are taken for val" if held_out else "so neither counts as a split"
            warning = f"{' and '.join(same)} name the same images, {consequence}"
            if scan.source.own_splits and warning not in scan.warnings:
                scan.warnings.append(warning)
    return counted


def group_of(name: str, own: str) -> str:
    """The usual group: the sample's folder below the folder ``own`` of its part, or else its name."""
    inner = name.removeprefix(f"{own}/")
    return folder_or_name(inner) if "/" in inner else name


def split_of(name: str, part: str) -> str | None:
    """The split that ``data.yaml`` prescribes; what it calls train stays there, even in a folder named val."""
    return own_split(part) or ("train" if part and own_split(split_folder(name)) else None)


def part_of(name: str, part: str) -> str:
    """The folder that names a sample's split, or else the part of ``data.yaml`` that it belongs to."""
    return split_folder(name) or part


def _read_parts(scan: Scan, data_yaml: DataYaml, found: Images) -> dict[str, list[str]]:
    """Places of the images of each part. A folder that two parts name is walked only once."""
    asked = [
        (name, posixpath.join(data_yaml.base, without_parent_folder(text)))
        for name, texts in data_yaml.parts.items()
        for text in texts
    ]

    def is_there(place: str) -> bool:
        return os.path.exists(scan.root / place)  # noqa: PTH110

    texts = strip_lost_folders(scan, data_yaml.file, [text for _, text in asked], is_there, data_yaml.base)
    read: dict[str, list[str]] = {}
    parts: dict[str, list[str]] = {name: [] for name in data_yaml.parts}
    for (name, _), text in zip(asked, texts, strict=True):
        place = _part_place(scan, data_yaml, name, text)
        if place is not None:
            if place not in read:
                read[place] = _read_list(scan, place) if place.endswith(".txt") else _walk_images(scan, place, found)
            parts[name] += read[place]
            if len(data_yaml.parts[name]) == 1 and not place.endswith(".txt"):
                found.own[name] = sample_name(f"{place}/x").rpartition("/")[0]
    return parts


def _part_place(scan: Scan, data_yaml: DataYaml, name: str, text: str) -> str | None:
    """The place of a folder or list, which has to exist. None for missing test images: Roboflow names them always."""
    where = f"{scan.root / data_yaml.file}: {name}"
    place = below_root(scan, text, where)
    if os.path.exists(scan.root / place):  # noqa: PTH110
        return place
    if own_split(name) != "test":
        raise SourceError(f"{where}: {scan.root / place} does not exist. Correct the path, or leave it out.")
    scan.warnings.append(f"{name} of {data_yaml.file} names {place}, which does not exist")
    return None


def _walk_images(scan: Scan, folder: str, found: Images) -> list[str]:
    places = scan.walk(folder)
    for place in places:
        if not _in_images(place):
            raise SourceError(
                f"{scan.root / place} lies in no folder named images; expected one, so that the labels lie in labels:\n"
                f"{scan.source.layout}\nMove the images."
            )
        found.folders.add(_label_folder(folder, place))
    return places


def _in_images(place: str) -> bool:
    return "images" in place.split("/")[:-1]


def _read_list(scan: Scan, place: str) -> list[str]:
    """Places of the images in a list: one per line, relative to the root or, if it begins with ./, to the list."""
    lines = [(n, line) for n, row in enumerate(read_text(scan.root / place).splitlines(), 1) if (line := row.strip())]
    folder = posixpath.dirname(place)
    texts = [posixpath.join(folder, text) if text.startswith("./") else text for _, text in lines]
    found = []
    for (n, _), text in zip(
        lines, strip_lost_folders(scan, place, texts, lambda place: _is_image(scan, place), folder), strict=True
    ):
        try:
            found.append(_image_in_list(scan, text, f"{scan.root / place}:{n}"))
        except SourceError as error:
            scan.bad_sample(text, "no image", str(error))
    return found


def _image_in_list(scan: Scan, text: str, where: str) -> str:
    named = below_root(scan, text, where)
    place = existing_place(scan.root, named) or named
    if not _is_image(scan, place):
        raise SourceError(f"{where}: {scan.root / place} is no image in a folder named images. Correct the line.")
    return place


def _is_image(scan: Scan, place: str) -> bool:
    return _in_images(place) and os.path.isfile(scan.root / place)  # noqa: PTH113 (called 100,000 times)


# ---- label files -----------------------------------------------------------------------------------------------------


def label_files(scan: Scan, images: Mapping[str, str], folders: Iterable[str], needed: bool) -> Mapping[str, str]:
    """Places of the label files by the names of their images; files without an image are bad samples.

    Args:
        scan: the scan.
        images: places of the images by name.
        folders: folders that hold only label files of these images.
        needed: an image with another file, such as .json, in place of its label file is a bad sample.
    """
    expected = {name_of(label_place(place)): name for name, place in images.items()}
    agreeing = Agreeing(expected)
    walked = [place for folder in outermost(folders) for place in scan.walk(folder, _LABELS, "a label file")]
    others = {name_of(row.detail): row.detail for row in scan.refused if row.reason == "not a label file"}
    for place in walked:
        if _is_note(place):
            scan.refused.append(Refused(sample_name(place), "not a label file", place))
    orphans = {sample_name(place): place for place in walked if agreeing.find(name_of(place)) is None}
    scan.check_images_exist({name: place for name, place in orphans.items() if not _is_note(place)}, (), images)
    stems = ((agreeing.find(name_of(place)), place) for place in walked)
    found = scan.places_by_name((expected[stem], place) for stem, place in stems if stem is not None)
    for stem, name in expected.items():
        if name not in found:
            file = _find_label_file(scan, stem, name)
            if file is not None:
                found[name] = file
            elif stem in others and needed:
                fact = f"{scan.root / others[stem]} is no label file of YOLO; expected {stem}.txt"
                scan.bad_sample(name, "broken label file", f"{fact}. Convert it, or set missing_label.")
    used = set(found.values())
    scan.refused[:] = [row for row in scan.refused if row.detail not in used]  # images and labels may share a folder
    return found


def _is_note(place: str) -> bool:
    """Whether a text file is one of those that labelling tools write beside the labels."""
    return place.rpartition("/")[2] in _NO_LABELS


def _find_label_file(scan: Scan, stem: str, name: str) -> str | None:
    """The label file of an image from a list, or None; reports what is there and is no readable file."""
    place = next((place for place in (f"{stem}.txt", f"{stem}.TXT") if os.path.lexists(scan.root / place)), None)
    try:
        if place is None or os.path.isfile(scan.root / below_root(scan, place, f"{scan.root}: label file")):  # noqa: PTH113
            return place
        raise SourceError(f"{scan.root / place} is no file that can be read. Put the label file there.")
    except SourceError as error:
        scan.bad_sample(name, "broken label file", str(error))
        return None


def _label_folder(folder: str, place: str) -> str:
    """The folder of labels that belongs to a folder of images, or to the part of it that an image lies in."""
    depth = len(folder.split("/")) if "images" in folder.split("/") else place.split("/").index("images") + 1
    return "/".join(label_place(place).split("/")[:depth])


def sample_name(place: str) -> str:
    """The place of an image or label file without suffix and without the last folder named images or labels."""
    parts = name_of(place).split("/")
    marks = [index for index, part in enumerate(parts[:-1]) if part in ("images", "labels")]
    if marks:
        del parts[marks[-1]]
    return "/".join(parts)


def label_place(place: str) -> str:
    """The place of an image's label file: the last folder named images becomes labels, and the suffix .txt."""
    parts = name_of(place).split("/")
    last = max(index for index, part in enumerate(parts[:-1]) if part == "images")
    parts[last] = "labels"
    return "/".join(parts) + ".txt"
