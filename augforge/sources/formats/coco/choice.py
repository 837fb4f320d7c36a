"""Choosing the annotation files of a COCO data set: one, or one for each split; none is left aside in silence."""

from __future__ import annotations

import mmap
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from augforge.errors import SourceError, plural, some
from augforge.sources.core import Source
from augforge.sources.scan.likely import layout_error, likely_hint
from augforge.sources.scan.own_splits import is_split_name, own_split, split_folders
from augforge.sources.scan.records import place_inside

_SHOWN = 20
_HEAD = 1 << 16
"""Bytes of a file that are searched for the beginning of one of COCO's lists."""

_COMPANIONS = frozenset({"captions", "keypoints", "stuff", "panoptic", "image"})
"""Words in the names of other files that COCO itself has beside its instances."""


class ChosenFiles(NamedTuple):
    """The annotation files that are read, and others that are not, although they may be meant."""

    read: list[str]
    left: list[str]


def json_files(root: Path) -> list[str]:
    """Places of the JSON files in the root, in annotations/, and in folders that are named as splits.

    Of several, only those count that look like COCO files, if any does: the others may be configurations and the like.
    """
    found = [place for folder in (".", "annotations", *split_folders(root)) for place in _json_files_in(root, folder)]
    places = [*dict.fromkeys(found)]
    return [place for place in places if len(places) == 1 or _looks_like_coco(root / place)] or places


def annotation_files(source: Source) -> ChosenFiles:
    """The annotation files to read: the only one, or one per split; of several, those named instances.

    A file whose name has no split, beside others that have one, is that of the training images. Raises SourceError if
    the recipe has to choose, or if the only file of a split would be left aside.
    """
    root = source.root
    places = json_files(root)
    if not places:
        raise layout_error(source, f"{root} holds no .json where it is looked for{_elsewhere(root)}")
    read = _with_other_splits([place for place in places if "instances" in _words(place)] or places, places)
    left = [place for place in places if place not in read]
    for place in read:
        place_inside(root, place, f"{root / place}: annotation file", source.follows_links)
    splits = [split_of(place) for place in read]
    if len({*splits}) < len(splits) or ("" in splits and "train" in map(_kind_of_split, splits)):
        raise _several_files_error(source, places)
    _check_left_splits(root, left, {_kind_of_split(split) or "train" for split in splits})
    return ChosenFiles(read, [place for place in left if not _COMPANIONS & {*_words(place)}])


def _elsewhere(root: Path) -> str:
    """How many .json lie deeper in a folder, and where the first does; empty if there are none."""
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.json"))
    return f", but {plural(len(found), 'other one')} below, such as {found[0]}" if found else ""


def split_of(place: str) -> str:
    """The word that names a split, in the name of an annotation file or of its folder; "" if there is none."""
    words = [*_words(place), PurePosixPath(place).parent.name]
    return next((word for word in words if is_split_name(word)), "")


def _words(place: str) -> list[str]:
    return re.split(r"[ ._-]", PurePosixPath(place).stem)


def _kind_of_split(word: str) -> str:
    """train, val or test; "" if the word names none."""
    return (own_split(word) or "train") if word else ""


def _with_other_splits(read: list[str], places: list[str]) -> list[str]:
    """The files to read, with those of further splits that have other names, such as test.json beside instances_*."""
    kinds = {_kind_of_split(split_of(place)) or "train" for place in read}
    named = [(_kind_of_split(split_of(place)), place) for place in places if not _COMPANIONS & {*_words(place)}]
    further = {kind: place for kind, place in reversed(named) if kind and kind not in kinds}
    return [place for place in places if place in read or place in further.values()]


def _several_files_error(source: Source, places: list[str]) -> SourceError:
    return SourceError(
        f"{source.root} holds {len(places)} annotation files; expected one, or one per split, as train.json and "
        f"val.json: {some(places, _SHOWN)}. Choose one, 'annotations: {places[0]}', or read several by format union, "
        f"with an entry for each: '{{format: coco, path: PATH, annotations: {places[0]}, name: NAME}}'."
        f"{likely_hint(source)}"
    )


def _check_left_splits(root: Path, left: list[str], read: set[str]) -> None:
    """Raise SourceError if a file that is left aside names a split that no file has which is read."""
    for place in left:
        split = split_of(place)
        if split and _kind_of_split(split) not in read and _has_annotations(root / place):
            raise SourceError(
                f"{root / place} would be left aside, as it seems to hold no instances, but no other file is that of "
                f"split {split}; expected every split to be read. Rename it to instances_{split}.json to read it, move "
                "it away, or name the one file to read in source.annotations."
            )


def _has_annotations(path: Path) -> bool:
    """Whether a file has annotations: COCO's image_info_test2017.json has none. It may be too large to be read."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text.find(b'"annotations"') >= 0


def _json_files_in(root: Path, folder: str) -> list[str]:
    paths = sorted(path for path in (root / folder).glob("*.json") if not path.name.startswith("."))
    return [path.relative_to(root).as_posix() for path in paths]


def _looks_like_coco(path: Path) -> bool:
    """Whether one of COCO's lists begins in the head of a file. The whole file may be very large, and is not read."""
    if not path.is_file():  # reading a pipe may block forever
        return True
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return True  # it is reported when it is read as a whole
    return bool(re.match(rb'\s*(\xef\xbb\xbf)?\s*\{.*"(images|annotations|categories)"\s*:', head, re.DOTALL))
