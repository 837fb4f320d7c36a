"""Which files are images, which are masks, and which mask is of which image: by their names."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, MutableMapping, Sequence
from typing import Literal

from pydantic import Field

from augforge.errors import SourceError
from augforge.sources.core import Refused
from augforge.sources.records import name_of
from augforge.sources.scanning import Scan
from augforge.store.shelf import Shelf

Option = Literal["image_suffix", "mask_suffix"]

IMAGE_SUFFIX = Field("", description="what names of images end with before .jpg or .png, such as _leftImg8bit")
MASK_SUFFIX = Field("", description="what names of masks end with before .png, such as _mask; other files are refused")

_OTHER_KIND = ("not a mask", "not an image")
"""Why `Scan.walk` refuses files."""

_OTHER_NAME = ("name without mask_suffix", "name without image_suffix")


def plain(folder: str) -> str:
    """A folder of a recipe as it begins places: without ``./`` and the last ``/``; ``.`` is the root."""
    return os.path.normpath(folder)


def outside(places: Iterable[str], folders: Iterable[str]) -> list[str]:
    """The places that lie in none of the folders."""
    inner = tuple(f"{folder}/" for folder in folders)
    return [place for place in places if not place.startswith(inner)]


def sample_of(place: str, folder: str, suffix: str) -> str | None:
    """The sample that a file is named for; None where its name does not end with the suffix."""
    name = name_of(place, folder)
    sample = name.removesuffix(suffix)
    return sample if name.endswith(suffix) and sample.rpartition("/")[2] else None


def named(scan: Scan, places: Sequence[str], folder: str, option: Option, suffix: str) -> Shelf[str]:
    """The place of each sample's file. Files of other names are refused; SourceError where all are."""
    found = scan.unique(_named(scan, places, folder, option, suffix))
    if places and not found:
        scan.raise_all()
        fact = f"{scan.root / folder}: no name ends with '{suffix}' before .png or the like, but {places[0]}"
        raise SourceError(f"{fact}. Correct source.{option}.")
    return found


def _named(scan: Scan, places: Iterable[str], folder: str, option: Option, suffix: str) -> Iterator[tuple[str, str]]:
    for place in places:
        if (sample := sample_of(place, folder, suffix)) is not None:
            yield sample, place
        else:
            scan.refused.append(Refused(name_of(place, folder), f"name without {option}", place))


def masks_in(scan: Scan, folder: str, suffix: str, images: Collection[str]) -> Shelf[str]:
    """The place of each mask in a folder, checked as by `need_masks`."""
    start = len(scan.refused)
    found = named(scan, scan.walk(folder, what="a mask"), folder, "mask_suffix", suffix)
    need_masks(scan, folder, suffix, found, images, start)
    return found


def need_masks(
    scan: Scan, folder: str, suffix: str, masks: Collection[str], images: Collection[str], start: int = 0
) -> None:
    """What looks like a mask and is none must not pass for an image where nothing is.

    A file of another kind in the place of a mask, and a second mask of an image, a_mask_1 beside a_mask, are wrong.
    SourceError where no file in the folder is an image's mask.

    Args:
        masks, images: their names.
        start: where the scan's refused rows of this folder begin.
    """
    refused, scan.refused[start:] = scan.refused[start:], []
    others = [row.name for row in refused if row.reason in _OTHER_KIND]
    if images and (masks or others) and not any(name in images or name in scan.bad for name in masks):
        scan.raise_all()
        raise _no_mask(scan, folder, next(iter([*masks, *others])), next(iter(images)))
    for row in refused:
        path = scan.root / row.detail
        sample = sample_of(row.detail, folder, suffix) or ""
        other = name_of(row.detail, folder).rpartition(suffix)[0] if row.reason in _OTHER_NAME else ""
        if row.reason in _OTHER_KIND and sample in images and sample not in masks:
            fact = f"{path} is no mask that is read; expected PNG or TIFF"
            scan.wrong(sample, "not a mask", f"{fact}. Convert it to PNG, or move it away.")
        elif other in images:
            fact = f"{path} seems to be another mask of {other}; expected one, {other}{suffix}"
            scan.wrong(other, "several masks", f"{fact}. Unite them in one file, or move it away.")
        else:
            scan.refused.append(row)


def part_masks(scan: Scan, suffix: str, images: MutableMapping[str, str]) -> None:
    """Take out of the images of a folder that holds masks too what is named as a second mask, for `need_masks`."""
    for name in [name for name in images if suffix in name and name.rpartition(suffix)[0] in images]:
        scan.refused.append(Refused(name, _OTHER_NAME[0], images.pop(name)))


def _no_mask(scan: Scan, folder: str, other: str, image: str) -> SourceError:
    remedy = "Rename or convert them"
    if "mask_suffix" in type(scan.source).model_fields:
        remedy = f"{remedy}, or set source.mask_suffix (and image_suffix) to what the names end with"
    return SourceError(
        f"{scan.root / folder} holds no mask of an image, but {other}; expected PNG or TIFF with the names of the "
        f"images, such as {image}.png. {remedy}."
    )
