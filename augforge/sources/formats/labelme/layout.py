"""Where the images of LabelMe files lie, and what their samples are called."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from itertools import takewhile
from typing import TypeAlias

from augforge.sources.scan.own_splits import is_split_name
from augforge.sources.scan.records import name_of

Swap: TypeAlias = tuple[str, str]
"""The one folder that differs between an annotation's path and its image's: json and images."""


class ImagePlaces:
    """Where images lie: all places, those by the name of the sample beside them, and those by their file name."""

    def __init__(self, images: Collection[str], notes: Iterable[str]) -> None:
        self.all = images
        self.beside = {name_of(place): place for place in sorted(images, reverse=True)}
        self.named: dict[str, list[str]] = {}
        for place in sorted(images):
            self.named.setdefault(file_name(place), []).append(place)
        self._mixed = not _folders_of(images).isdisjoint(_folders_of(notes))

    def parallel(self, lost: Mapping[str, str]) -> dict[str, str]:
        """Images in folders parallel to those of annotations, by the place of the annotation.

        One folder of the path is another, the same for all (json -> images), and no folder holds both kinds: what is
        missing elsewhere is another patient's.

        Args:
            lost: file names of the images by the places of the annotations that have none.
        """
        if self._mixed:
            return {}
        found = [(note, place) for note, file in lost.items() for place in self.named.get(file, ())]
        swaps = {pair: swap for pair in found if (swap := swapped_folder(*pair)) is not None}
        return dict([*swaps]) if len(set(swaps.values())) == 1 else {}


def swapped_folder(note: str, image: str) -> Swap | None:
    """The one folder that differs between two places; None if there is not one, or where it names a split."""
    here, there = note.split("/")[:-1], image.split("/")[:-1]
    if len(here) != len(there):
        return None
    apart = [pair for pair in zip(here, there, strict=True) if pair[0] != pair[1]]
    return apart[0] if len(apart) == 1 and not any(map(is_split_name, apart[0])) else None


def sample_names(images: Mapping[str, str]) -> dict[str, str]:
    """Names of samples by the places of their annotations: these, without what tells annotations from images.

    That is the folder that stands for the images' in all of them (json/), or the folders that all share where no image
    lies; and folders that all share above those that name splits.

    Args:
        images: places of the images by those of the annotations, which are the same where the image is embedded.
    """
    swaps = {swapped_folder(note, image) for note, image in images.items()}
    swap = swaps.pop() if len(swaps) == 1 else None
    names = {
        note: name_of(note if swap is None else _without_swapped_folder(note, image)) for note, image in images.items()
    }
    top = _shared_folders(names.values())
    apart = swap is None and not any(image.startswith(top) for image in images.values())
    if apart or any(is_split_name(name.removeprefix(top).partition("/")[0]) for name in names.values() if "/" in name):
        return {note: name.removeprefix(top) for note, name in names.items()}
    return names


def file_name(path: str) -> str:
    """The last part of a path of any system."""
    return path.replace("\\", "/").rpartition("/")[2]


def _without_swapped_folder(note: str, image: str) -> str:
    """An annotation's place without the folder that differs from its image's."""
    pairs = zip(note.split("/")[:-1], image.split("/")[:-1], strict=True)
    return "/".join([*(one for one, other in pairs if one == other), note.rpartition("/")[2]])


def _shared_folders(names: Iterable[str]) -> str:
    """The folders that all lie in, up to the first that names a split, with a slash behind; or nothing."""
    folders = _folders_of(names)
    shared = os.path.commonpath(folders).split("/") if folders and "" not in folders else []
    return "".join(f"{folder}/" for folder in takewhile(lambda folder: not is_split_name(folder), shared))


def _folders_of(places: Iterable[str]) -> set[str]:
    return {place.rpartition("/")[0] for place in places}
