"""Where the annotation files of a COCO data set lie, and where each has its images."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from augforge.errors import SourceError, some
from augforge.sources.own_splits import names_split

_SHOWN = 20


def json_files(root: Path) -> list[str]:
    """Places of annotation files where they usually lie: in the root, in annotations/, or else in a split's folder."""
    usual = [*_json_in(root, "."), *_json_in(root, "annotations")]
    return usual or [place for folder in _split_folders(root) for place in _json_in(root, folder)]


def annotation_files(root: Path, layout: str) -> list[str]:
    """Those that are read together: the only one, or one a split. SourceError where the recipe has to choose."""
    places = json_files(root)
    if not places:
        raise SourceError(f"{root} holds no .json; expected\n{layout}\nCorrect source.path.")
    if len(places) > 1:
        places = [place for place in places if PurePosixPath(place).name.startswith("instances")] or places
    splits = {split_of(place) for place in places}
    if len(places) > 1 and ("" in splits or len(splits) < len(places)):
        raise SourceError(
            f"{root} holds {len(places)} annotation files; expected one, or one a split, as train.json and val.json: "
            f"{some(places, _SHOWN)}. Choose one, 'annotations: {places[0]}', or read several by format union, with an "
            f"entry for each: '{{format: coco, path: PATH, annotations: {places[0]}, name: NAME}}'."
        )
    return places


def split_of(place: str) -> str:
    """The word in an annotation file's name, or the name of its folder, that names a split; else empty."""
    path = PurePosixPath(place)
    words = [*re.split(r"[ ._-]", path.stem), path.parent.name]
    return next((word for word in words if names_split(word)), "")


def image_folder(root: Path, place: str, images: str | None, file_names: Iterable[str]) -> str:
    """The folder of an annotation file's images: the first of the usual ones with an image that the file names.

    Below ``images``, or beside the file and in the root, these are a folder of the file's name without
    ``instances_``, or of its split, itself or in images/; images/; and the folder itself.
    """
    path = PurePosixPath(place)
    subsets = [subset for subset in (split_of(place), path.stem.removeprefix("instances_")) if subset]
    inner = [*(f"images/{subset}" for subset in subsets), *subsets, "images", "."]
    bases = ((str(path.parent), inner), (".", inner)) if images is None else ((images, [*subsets, "."]),)
    folders = dict.fromkeys(posixpath.normpath(posixpath.join(base, name)) for base, names in bases for name in names)
    names = [name.replace("\\", "/") for name in file_names]
    for folder in (folder for folder in folders if (root / folder).is_dir()):
        if any(os.path.lexists(f"{root}/{folder}/{name}") for name in names):
            return folder
    usual = "images" if (root / "images").is_dir() else "."
    return usual if images is None else posixpath.normpath(images)


def outermost(folders: Iterable[str]) -> list[str]:
    """The folders that lie in no other of them."""
    paths = sorted({PurePosixPath(folder) for folder in folders})
    return [str(path) for path in paths if not set(path.parents) & set(paths)]


def _json_in(root: Path, folder: str) -> list[str]:
    paths = sorted(path for path in (root / folder).glob("*.json") if not path.name.startswith("."))
    return [path.relative_to(root).as_posix() for path in paths]


def _split_folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir() and names_split(path.name))
