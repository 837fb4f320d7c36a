"""Finding the annotation files of a COCO data set, and the folder of images of each."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from augforge.errors import SourceError, some
from augforge.sources.classes import ClassTable
from augforge.sources.scan.own_splits import is_split_name, own_split, split_folders
from augforge.sources.scan.records import folder_or_name, name_of, place_inside

_SHOWN = 20
_HEAD = 1 << 16
"""Bytes of a file that are searched for the beginning of one of COCO's lists."""


class AnnotationFile(NamedTuple):
    """One annotation file of the source.

    Attributes:
        place: of the file.
        folder: the folder that its images lie in.
        split: the word for a split in the file's name, such as val2017, which begins the names of its samples; "" if it
            is the only file.
        facts: what was read from it (`read_facts`).
        table: the classes of the whole source, and which of them this file labels.
    """

    place: str
    folder: str
    split: str
    facts: Mapping[str, Any]
    table: ClassTable

    def sample_name(self, place: str) -> str:
        """The name of the sample whose image is at ``place``."""
        return _sample_name(self._inner(place), self.split)

    def usual_group(self, place: str) -> str:
        """The usual group of the sample whose image is at ``place``."""
        return _usual_group(self._inner(place), self.split)

    def _inner(self, place: str) -> str:
        """The path of an image below the folder of images, without its suffix."""
        return name_of(place, self.folder).removeprefix("images/")


class AnnotatedImage(NamedTuple):
    """An image that an annotation file names, and what that file says of it."""

    file: AnnotationFile
    facts: Mapping[str, Any]


def _sample_name(inner: str, split: str) -> str:
    """A sample's name: the image's path ``inner`` below its folder, after the split if there are several files.

    A first folder that names the same split is replaced: ``val/P01/a``, not ``val2017/val/P01/a``, becomes
    ``val2017/P01/a``.
    """
    first, _, rest = inner.partition("/")
    same_split = rest and is_split_name(first) and own_split(first) == own_split(split)
    return f"{split}/{rest if same_split else inner}" if split else inner


def _usual_group(inner: str, split: str) -> str:
    """The usual group: the sample's folder, or its name. A first folder that names a split is left out of it.

    Here that is the folder below ``split``, even if it names another split, as where the file of train lists images in
    val/. The split itself, the first folder of the sample's name, is left out later, as in all formats (`Splits`).
    """
    name, (first, _, rest) = _sample_name(inner, split), inner.partition("/")
    if split and is_split_name(first):
        return folder_or_name(rest) if "/" in rest else name
    return folder_or_name(name)


def json_files(root: Path) -> list[str]:
    """Places of the JSON files in the root and in annotations/, or else in folders that are named as splits.

    If there are files in folders of splits, a JSON file in the root counts only if it looks like a COCO file: it may be
    something else, such as a configuration, and must not hide them.
    """
    in_splits = [place for folder in split_folders(root) for place in _json_files_in(root, folder)]
    in_root = [place for place in _json_files_in(root, ".") if not in_splits or _looks_like_coco(root / place)]
    return [*in_root, *_json_files_in(root, "annotations")] or in_splits


def annotation_files(root: Path, layout: str) -> list[str]:
    """The annotation files to read: the only one, or one per split. Raises SourceError if the recipe has to choose."""
    places = json_files(root)
    if not places:
        raise SourceError(f"{root} holds no .json; expected\n{layout}\nCorrect source.path.")
    if len(places) > 1:
        places = [place for place in places if PurePosixPath(place).name.startswith("instances")] or places
    for place in places:
        place_inside(root, place, f"{root / place}: annotation file")
    splits = {split_of(place) for place in places}
    if len(places) > 1 and ("" in splits or len(splits) < len(places)):
        raise SourceError(
            f"{root} holds {len(places)} annotation files; expected one, or one per split, as train.json and val.json: "
            f"{some(places, _SHOWN)}. Choose one, 'annotations: {places[0]}', or read several by format union, with an "
            f"entry for each: '{{format: coco, path: PATH, annotations: {places[0]}, name: NAME}}'."
        )
    return places


def split_of(place: str) -> str:
    """The word that names a split, in the name of an annotation file or of its folder; "" if there is none."""
    path = PurePosixPath(place)
    words = [*re.split(r"[ ._-]", path.stem), path.parent.name]
    return next((word for word in words if is_split_name(word)), "")


def image_folder(root: Path, place: str, images: str | None, file_names: Iterable[str]) -> str:
    """The folder that an annotation file's ``file_name`` entries are relative to.

    It is the first of the usual folders that contains one of the images. These are, first in the folder of the file and
    then in the root: images/SUBSET and SUBSET, where SUBSET is the split or the file's name without ``instances_``;
    images/; data/, as FiftyOne writes it; and the folder or root itself. If none contains an image, the answer is
    images/, or the root without it.

    Args:
        root: of the source.
        place: of the annotation file.
        images: the recipe's folder of images, if it gives one. Then only SUBSET in it and the folder itself are tried.
        file_names: of all images in the file.
    """
    path = PurePosixPath(place)
    subsets = [subset for subset in (split_of(place), path.stem.removeprefix("instances_")) if subset]
    usual_names = [*(f"images/{subset}" for subset in subsets), *subsets, "images", "data", "."]
    bases = ((str(path.parent), usual_names), (".", usual_names)) if images is None else ((images, [*subsets, "."]),)
    folders = dict.fromkeys(posixpath.normpath(posixpath.join(base, name)) for base, names in bases for name in names)
    names = list(file_names)
    for folder in (folder for folder in folders if (root / folder).is_dir()):
        places = (image_place(folder, name) for name in names)
        if any(not leaves_root(place) and os.path.lexists(f"{root}/{place}") for place in places):
            return folder
    fallback = "images" if (root / "images").is_dir() else "."
    return fallback if images is None else posixpath.normpath(images)


def image_place(folder: str, file_name: str) -> str:
    """The place of an image by its ``file_name``, which may lead out of the root."""
    return os.path.normpath(PurePosixPath(folder, file_name.replace("\\", "/")))


def leaves_root(place: str) -> bool:
    """Whether a normalised place leads out of the root, by its text alone (links are not followed)."""
    return place.startswith(("/", "../"))


def _json_files_in(root: Path, folder: str) -> list[str]:
    paths = sorted(path for path in (root / folder).glob("*.json") if not path.name.startswith("."))
    return [path.relative_to(root).as_posix() for path in paths]


def _looks_like_coco(path: Path) -> bool:
    """Whether one of COCO's lists begins in the head of a file. The whole file may be very large, and is not read."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return True  # it is reported when it is read as a whole
    return bool(re.match(rb'\s*(\xef\xbb\xbf)?\s*\{.*"(images|annotations|categories)"\s*:', head, re.DOTALL))
