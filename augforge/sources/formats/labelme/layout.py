"""Finding the images of LabelMe files, and naming their samples."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from itertools import takewhile
from typing import TypeAlias

from augforge.sources.scan.agreeing import Agreeing, as_file_looks
from augforge.sources.scan.own_splits import is_split_name
from augforge.sources.scan.records import name_of

Swap: TypeAlias = tuple[str, str]
"""The one folder that differs between the path of an annotation and that of its image, such as json and images."""


class ImagePlaces:
    """The places of all images, by place without suffix (``beside``), and by file name (``named``)."""

    def __init__(self, images: Collection[str], annotations: Iterable[str]) -> None:
        self._all = Agreeing(images, as_file_looks)
        self.beside = {name_of(place): place for place in sorted(images, reverse=True)}
        self._beside = Agreeing(self.beside)
        self.named: dict[str, list[str]] = {}
        for place in sorted(images):
            self.named.setdefault(file_name(place), []).append(place)
        self._mixed = not _folders_of(images).isdisjoint(_folders_of(annotations))

    def find(self, place: str) -> str | None:
        """The image at a place, however its accents and its suffix are written; None if there is none."""
        return self._all.find(place)

    def find_beside(self, stem: str) -> str | None:
        """The image at a place without its suffix; None if there is none."""
        name = self._beside.find(stem)
        return None if name is None else self.beside[name]

    def parallel(self, lost: Mapping[str, str]) -> dict[str, str]:
        """Images in folders parallel to those of the annotations (json/P01 and images/P01), by the annotation's place.

        The paths must differ in one folder, the same for all files, and no folder may hold both images and annotations:
        otherwise an image of the same file name may be of another patient.

        Args:
            lost: file names of the missing images, by the places of their annotations.
        """
        if self._mixed:
            return {}
        found = [(annotation, place) for annotation, file in lost.items() for place in self.named.get(file, ())]
        swaps = {pair: swap for pair in found if (swap := swapped_folder(*pair)) is not None}
        return dict([*swaps]) if len(set(swaps.values())) == 1 else {}


def swapped_folder(annotation: str, image: str) -> Swap | None:
    """The one folder that differs between two places; None if there are more, or if it names a split."""
    here, there = annotation.split("/")[:-1], image.split("/")[:-1]
    if len(here) != len(there):
        return None
    apart = [pair for pair in zip(here, there, strict=True) if pair[0] != pair[1]]
    return apart[0] if len(apart) == 1 and not any(map(is_split_name, apart[0])) else None


def sample_names(images: Mapping[str, str]) -> dict[str, str]:
    """Names of samples by the places of their annotations: the place without suffix, and without superfluous folders.

    Left out are the folder that stands in place of the images' in all of them (json/), or the folders that all
    annotations share if they hold no image; and the folders that all share above folders that name splits.

    Args:
        images: places of the images by the places of their annotations; the two are equal if the image is embedded.
    """
    swaps = {swapped_folder(annotation, image) for annotation, image in images.items()}
    swap = swaps.pop() if len(swaps) == 1 else None
    names = {
        annotation: name_of(annotation if swap is None else _without_swapped_folder(annotation, image))
        for annotation, image in images.items()
    }
    top = _shared_folders(names.values())
    apart = swap is None and not any(image.startswith(top) for image in images.values())
    if apart or any(is_split_name(name.removeprefix(top).partition("/")[0]) for name in names.values() if "/" in name):
        return {annotation: name.removeprefix(top) for annotation, name in names.items()}
    return names


def file_name(path: str) -> str:
    """The last part of a path, written on any operating system."""
    return path.replace("\\", "/").rpartition("/")[2]


def _without_swapped_folder(annotation: str, image: str) -> str:
    """An annotation's place without the folder that differs from its image's."""
    pairs = zip(annotation.split("/")[:-1], image.split("/")[:-1], strict=True)
    return "/".join([*(one for one, other in pairs if one == other), annotation.rpartition("/")[2]])


def _shared_folders(names: Iterable[str]) -> str:
    """The folders that all names begin with, up to the first that names a split, with a slash at the end; or ""."""
    folders = _folders_of(names)
    shared = os.path.commonpath(folders).split("/") if folders and "" not in folders else []
    return "".join(f"{folder}/" for folder in takewhile(lambda folder: not is_split_name(folder), shared))


def _folders_of(places: Iterable[str]) -> set[str]:
    return {place.rpartition("/")[0] for place in places}
