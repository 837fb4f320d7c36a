"""What a COCO source knows of an annotation file: its images, their places, names and groups."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

from augforge.sources.classes import ClassTable
from augforge.sources.scan.own_splits import is_split_name, own_split
from augforge.sources.scan.records import folder_or_name, name_of


class AnnotationFile(NamedTuple):
    """One annotation file of the source.

    Attributes:
        place: of the file.
        folder: the folder that its images lie in.
        split: the word for a split in the file's name, such as val2017, which begins the names of its samples; "" if it
            is the only file.
        facts: what was read from it (`read_facts`).
        table: the classes of the whole source, and which of them this file labels.
        elsewhere: places of the images that do not lie in ``folder``, by their ``file_name``.
        top: the folder that all images lie in, from which samples are named; "" if that is ``folder``.
    """

    place: str
    folder: str
    split: str
    facts: Mapping[str, Any]
    table: ClassTable
    elsewhere: Mapping[str, str] = MappingProxyType({})
    top: str = ""

    def place_of(self, file_name: str) -> str:
        """The place of an image by its ``file_name``, which may lead out of the root."""
        return self.elsewhere.get(file_name) or image_place(self.folder, file_name)

    def sample_name(self, place: str) -> str:
        """The name of the sample whose image is at ``place``."""
        return _sample_name(self._inner(place), self.split)

    def usual_group(self, place: str) -> str:
        """The usual group of the sample whose image is at ``place``."""
        return _usual_group(self._inner(place), self.split)

    def _inner(self, place: str) -> str:
        """The path of an image below the folder of images, without its suffix."""
        return name_of(place, self.top or self.folder).removeprefix("images/")


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


def image_place(folder: str, file_name: str) -> str:
    """The place of an image by its ``file_name``, which may lead out of the root."""
    return os.path.normpath(PurePosixPath(folder, file_name.replace("\\", "/")))


def leaves_root(place: str) -> bool:
    """Whether a normalised place leads out of the root, by its text alone (links are not followed)."""
    return place.startswith(("/", "../"))
