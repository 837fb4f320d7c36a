"""Lists of samples beside the data, one file per split, as Pascal VOC has them in ``ImageSets``."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from augforge.errors import SourceError
from augforge.sources.detecting.glance import IMAGES
from augforge.sources.scan.agreeing import Agreeing
from augforge.sources.scan.documents import read_text
from augforge.sources.scan.own_splits import is_split_name, own_split, split_folder
from augforge.sources.scan.scanning import Scan


def read_split_lists(scan: Scan, folder: str, images: Collection[str]) -> dict[str, str | None]:
    """For each name in the lists of a folder, sorted: the split that the lists prescribe, or None.

    ``val.txt`` and ``test.txt`` prescribe their split; ``train.txt`` and other lists (``trainval.txt``) prescribe none,
    except that a sample listed in ``train.txt`` stays in train even if its folder is named val or test. A name without
    an image, or in two of train, val and test, is a bad sample. Raises SourceError if there is no list.
    """
    scan.require_folder(folder)
    places = scan.walk(folder, {".txt"}, "a list")
    if not places:
        raise SourceError(f"{scan.root / folder} holds no .txt; expected lists such as val.txt. Correct source.lists.")
    parts: dict[str, dict[str, str]] = {}
    agreeing = Agreeing(images)
    for place in places:
        for where, name in _read_lines(scan, place):
            sample = _find_sample(agreeing, name) or name
            parts.setdefault(sample, {}).setdefault(PurePosixPath(place).stem.lower(), where)
    for name, lists in parts.items():
        _check_name(scan, name, lists, images)
    return {name: _split_of(name, lists) for name, lists in sorted(parts.items())}


def _find_sample(agreeing: Agreeing, name: str) -> str | None:
    """The sample that a line names, with or without the suffix of its image; None if there is none."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 (a name is no path, and stays as it is)
    return agreeing.find(name) or (agreeing.find(stem) if suffix.lower() in IMAGES else None)


def _read_lines(scan: Scan, place: str) -> Iterator[tuple[str, str]]:
    """Each name in a list, with the file and line where it is."""
    for number, line in enumerate(read_text(scan.root / place).splitlines(), start=1):
        if line.strip():
            yield f"{scan.root / place}:{number}", line.strip()


def _check_name(scan: Scan, name: str, lists: dict[str, str], images: Collection[str]) -> None:
    splits = [where for stem, where in lists.items() if is_split_name(stem)]
    if name not in images and name not in scan.bad_names:
        fact = f"{next(iter(lists.values()))}: no image is named {name}"
        scan.bad_sample(name, "no image", f"{fact}; expected one. Add the image, or remove the line.")
    elif len({own_split(stem) for stem in lists if is_split_name(stem)}) > 1:
        scan.bad_sample(
            name,
            "in two splits",
            f"{splits[0]} and {splits[1]} both name {name}; expected it in one of train, val and test. Remove a line.",
        )


def _split_of(name: str, lists: Collection[str]) -> str | None:
    splits = {own_split(stem) for stem in lists if is_split_name(stem)}
    if splits == {None} and own_split(split_folder(name)):
        return "train"
    return next(iter(splits - {None}), None)
