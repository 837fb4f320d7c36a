"""Finding the images that a COCO file names: the folder that they lie in, or several."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from augforge.sources.core import Refused
from augforge.sources.formats.coco.choice import json_files, split_of
from augforge.sources.formats.coco.layout import AnnotationFile, image_place, leaves_root
from augforge.sources.scan.agreeing import Agreeing, as_file_looks, written_forms
from augforge.sources.scan.own_splits import split_folders
from augforge.sources.scan.scanning import IMAGES, Scan
from augforge.sources.scan.walking import is_below, outermost

_TRIED = 100
"""Names that are sought in all the ways in which they may be written."""


def by_file_name(places: Iterable[str]) -> dict[str, str]:
    """The last of the places that have a file name, by that name."""
    return {PurePosixPath(place).name: place for place in sorted(places)}


def namesake(place: str, named: Mapping[str, str]) -> str:
    """A sentence, after a space, on an image that is called as a missing one, whose name may be URL-encoded.

    ``named`` is the places of images `by_file_name`.
    """
    name = PurePosixPath(place).name
    found = named.get(name) or named.get(unquote(name))
    return "" if found is None else f" There is an image of that name, {found}: correct file_name."


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
    names = list(file_names)
    folders = _usual_folders(root, place, images)
    for tried in (names, [form for name in names[:_TRIED] for form in written_forms(name.replace("\\", "/"))]):
        found = next((folder for folder in folders if any(_exists(root, folder, name) for name in tried)), None)
        if found is not None:
            return found
    fallback = "images" if (root / "images").is_dir() else "."
    return fallback if images is None else posixpath.normpath(images)


def find_images(
    scan: Scan, files: Sequence[AnnotationFile], images: str | None
) -> tuple[list[AnnotationFile], set[str]]:
    """The files with the places of their images, and the places of all images there are."""
    walked = outermost(file.folder for file in files)
    places = _walk_images(scan, walked, files)
    files = [_agree(scan, file, images, Agreeing(places, as_file_looks)) for file in files]
    others = {place for file in files for place in file.elsewhere.values()} - places
    further = outermost(posixpath.dirname(place) or "." for place in others)
    apart = [one for one in further if one != "." and not any(is_below(two, one) for two in walked)]
    return files, places | others | _walk_images(scan, apart, files)


def _agree(scan: Scan, file: AnnotationFile, images: str | None, places: Agreeing) -> AnnotationFile:
    """The file with the places of images whose names are written otherwise there, or that lie in other folders."""
    named = {image["file_name"]: image_place(file.folder, image["file_name"]) for image in file.facts["images"]}
    found = {name: places.find(place) for name, place in named.items()}
    missing = [name for name, place in found.items() if place is None and not leaves_root(named[name])]
    file = _find_elsewhere(scan, file, images, missing)
    agreeing = {name: place for name, place in found.items() if place is not None and place != named[name]}
    return file._replace(elsewhere={**agreeing, **file.elsewhere})


def _walk_images(scan: Scan, folders: Iterable[str], files: Sequence[AnnotationFile]) -> set[str]:
    """Places of all image files. Annotation files, read or not, may lie among them; other JSON is refused."""
    named = {file.place_of(image["file_name"]) for file in files for image in file.facts["images"]}
    used = named | {str(folder) for place in named for folder in PurePosixPath(place).parents}
    walked = (scan.walk(folder, IMAGES | {".json"}, used=used.__contains__) for folder in folders)
    places = [place for found in walked for place in found]
    json_places = {place for place in places if place.lower().endswith(".json")}
    others = json_places - {file.place for file in files} - {*json_files(scan.root)}
    scan.refused += [Refused(place, "not an image", place) for place in sorted(others)]
    return set(places) - json_places


def _find_elsewhere(scan: Scan, file: AnnotationFile, images: str | None, missing: Sequence[str]) -> AnnotationFile:
    """The file with the places of images that do not lie in its folder, but in one other usual folder or split.

    Args:
        scan: gets findings of images that lie in several folders.
        file: an annotation file.
        images: the recipe's folder of images.
        missing: the ``file_name`` of those that are not in the file's folder.
    """
    others = [folder for folder in _wider_folders(scan.root, file.place, images) if folder != file.folder]
    _report_second_folder(scan, file, images, others)
    found = {name: [f for f in others if _exists(scan.root, f, name)] for name in missing}
    elsewhere = {name: image_place(folders[0], name) for name, folders in found.items() if len(folders) == 1}
    if not elsewhere:
        return file
    used = {folders[0] for folders in found.values() if len(folders) == 1}
    top = os.path.commonpath([file.folder, *used]) if "." not in {file.folder, *used} else "."
    scan.find(
        "images in several folders",
        f"{len(elsewhere)} of the {len(file.facts['images'])} images that {file.place} names are not in {file.folder}, "
        f"but in {', '.join(sorted(used))}, and were read from there",
        "Set source.images to the folder that all file_name are relative to, if they are not meant",
        sorted(elsewhere),
    )
    return file._replace(elsewhere=elsewhere, top=top or ".")


def _report_second_folder(scan: Scan, file: AnnotationFile, images: str | None, others: Sequence[str]) -> None:
    """Tell of another usual folder that holds an image of the same name as the file's own folder."""
    first = next((image["file_name"] for image in file.facts["images"]), None)
    if first is None or images is not None or not _exists(scan.root, file.folder, first):
        return
    own = scan.root / image_place(file.folder, first)
    second = [f for f in others if _exists(scan.root, f, first) and not own.samefile(scan.root / image_place(f, first))]
    if second:
        scan.find(
            "two folders of images",
            f"{first}, which {file.place} names, is in {file.folder} and in {' and '.join(second)}; those in "
            f"{file.folder} were read",
            "Set source.images to the folder that was annotated",
            [file.folder, *second],
        )


def _usual_folders(root: Path, place: str, images: str | None) -> list[str]:
    path = PurePosixPath(place)
    subsets = [subset for subset in (split_of(place), path.stem.removeprefix("instances_")) if subset]
    usual_names = [*(f"images/{subset}" for subset in subsets), *subsets, "images", "data", "."]
    bases = ((str(path.parent), usual_names), (".", usual_names)) if images is None else ((images, [*subsets, "."]),)
    folders = (posixpath.normpath(posixpath.join(base, name)) for base, names in bases for name in names)
    return [folder for folder in dict.fromkeys(folders) if (root / folder).is_dir()]


def _wider_folders(root: Path, place: str, images: str | None) -> list[str]:
    """The usual folders and, unless the file is that of a split, the folders in them that are named as splits."""
    folders = _usual_folders(root, place, images)
    inner = () if split_of(place) else (f"{f}/{split}" for f in folders for split in split_folders(root / f))
    deeper = (inside for folder in inner for inside in _with_images(root, posixpath.normpath(folder)))
    return [*dict.fromkeys([*folders, *deeper])]


def _with_images(root: Path, folder: str) -> Iterator[str]:
    yield folder
    if (root / folder / "images").is_dir():
        yield f"{folder}/images"


def _exists(root: Path, folder: str, file_name: str) -> bool:
    place = image_place(folder, file_name)
    return not leaves_root(place) and os.path.lexists(f"{root}/{place}")
