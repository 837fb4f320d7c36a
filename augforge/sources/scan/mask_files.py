"""Which files are images, which are masks, and which mask belongs to which image, by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, MutableMapping, Sequence
from typing import Literal

from pydantic import Field

from augforge.cache.shelf import Shelf
from augforge.errors import SourceError
from augforge.sources.core import Refused
from augforge.sources.scan.agreeing import rename_agreeing
from augforge.sources.scan.own_splits import own_split, split_folders
from augforge.sources.scan.records import name_of
from augforge.sources.scan.scanning import Scan

Option = Literal["image_suffix", "mask_suffix"]

IMAGE_SUFFIX = Field("", description="what names of images end with before .jpg or .png, such as _leftImg8bit")
MASK_SUFFIX = Field("", description="what names of masks end with before .png, such as _mask; other files are refused")

_OTHER_KIND = ("not a mask", "not an image")
"""The reasons that `Scan.walk` gives for refusing files."""

_OTHER_NAME = ("name without mask_suffix", "name without image_suffix")

_NUMBER = re.compile(r"[-_ ]?\(?\d+\)?")
"""The end of the name of a second or third mask of an image, after the suffix."""


def require_images_folder(scan: Scan, folder: str) -> None:
    """`Scan.require_folder`; if each split has a folder of images, the error shows how to read them as a union."""
    if not (scan.root / folder).is_dir() and (parts := split_folders(scan.root, folder)):
        raise SourceError(_folder_per_split_message(scan, folder, parts))
    scan.require_folder(folder)


def _folder_per_split_message(scan: Scan, folder: str, parts: Sequence[str]) -> str:
    splits = {part: f", split: {split}" if (split := own_split(part)) else "" for part in parts}
    kind, path = scan.source.format, scan.source.path.rstrip("/")
    entries = "".join(f"\n    - {{format: {kind}, path: {path}/{part}{split}}}" for part, split in splits.items())
    return (
        f"{scan.root / folder} is no folder, but {scan.root / parts[0] / folder} is; expected one for all splits. Read "
        f"each as a source of its own:\n  format: union\n  sources:{entries}\nwith all other options in each entry."
    )


def find_unlabelled_splits(scan: Scan, parts: Iterable[str], labelled: Collection[str]) -> set[str]:
    """The data's own splits without any mask, if other splits have masks: they count as unlabelled, with a warning.

    Args:
        scan: gets the warnings.
        parts: the split of each image, or "".
        labelled: the splits of the masks, or "".
    """
    counts = Counter(parts)
    if not labelled or (
        "" in counts and not scan.source.own_splits
    ):  # without own splits, a folder called test may be a person
        return set()
    unlabelled = {part: count for part, count in counts.items() if part and part not in labelled}
    for part, count in sorted(unlabelled.items()):
        scan.warnings.append(f"{part}: none of {count} images has a mask, so they are taken for unlabelled")
    return set(unlabelled)


def sample_of(place: str, folder: str, suffix: str) -> str | None:
    """The name of the sample that a file belongs to, or None if its own name does not end with the suffix."""
    name = name_of(place, folder)
    sample = name.removesuffix(suffix)
    return sample if name.endswith(suffix) and sample.rpartition("/")[2] else None


def files_by_sample(scan: Scan, places: Sequence[str], folder: str, option: Option, suffix: str) -> Shelf[str]:
    """The place of each sample's file. Files whose names do not fit are refused. Raises SourceError if none fits."""
    found = scan.places_by_name(_name_files(scan, places, folder, option, suffix))
    if places and not found:
        scan.raise_problems()
        fact = f"{scan.root / folder}: no name ends with '{suffix}' before .png or the like, but {places[0]}"
        raise SourceError(f"{fact}. Correct source.{option}.")
    return found


def _name_files(
    scan: Scan, places: Iterable[str], folder: str, option: Option, suffix: str
) -> Iterator[tuple[str, str]]:
    for place in places:
        if (sample := sample_of(place, folder, suffix)) is not None:
            yield sample, place
        else:
            scan.refused.append(Refused(name_of(place, folder), f"name without {option}", place))


def find_masks(
    scan: Scan, folder: str, suffix: str, images: Collection[str]
) -> tuple[Shelf[str], dict[str, list[str]]]:
    """The place of each mask in a folder, and the further masks that `check_masks` finds."""
    start = len(scan.refused)
    found = files_by_sample(scan, scan.walk(folder, what="a mask"), folder, "mask_suffix", suffix)
    rename_agreeing(found, images)
    return found, check_masks(scan, folder, suffix, found, images, start)


def check_masks(
    scan: Scan, folder: str, suffix: str, masks: Collection[str], images: Collection[str], start: int = 0
) -> dict[str, list[str]]:
    """Places of further masks, such as a_mask_1 beside a_mask, by the names of their images; with a warning.

    An image whose mask was overlooked would count as an image without objects. So a file of another type in place of
    a mask, or an unnumbered file beside it, such as a_mask_old, makes its image a bad sample. Raises SourceError if no
    file in the folder is the mask of an image.

    Args:
        masks, images: the names of the samples that have one.
        start: index of the first of the scan's refused rows that are about this folder.
    """
    refused, scan.refused[start:] = scan.refused[start:], []
    others = [row.name for row in refused if row.reason in _OTHER_KIND]
    if images and (masks or others) and not any(name in images or name in scan.bad_names for name in masks):
        scan.raise_problems()
        raise _no_mask_error(scan, folder, next(iter([*masks, *others])), next(iter(images)))
    more: dict[str, list[str]] = {}
    for row in refused:
        path = scan.root / row.detail
        sample = sample_of(row.detail, folder, suffix) or ""
        other, _, tail = name_of(row.detail, folder).rpartition(suffix) if row.reason in _OTHER_NAME else ("", "", "")
        if row.reason in _OTHER_KIND and sample in images and sample not in masks:
            fact = f"{path} is no mask that is read; expected PNG or TIFF"
            scan.bad_sample(sample, "not a mask", f"{fact}. Convert it to PNG, or move it away.")
        elif other in images and other in masks and _NUMBER.fullmatch(tail):
            more.setdefault(other, []).append(row.detail)
        elif other in images:
            fact = f"{path} seems to be another mask of {other}; expected one, {other}{suffix}"
            scan.bad_sample(other, "several masks", f"{fact}. Unite them in one file, or move it away.")
        else:
            scan.refused.append(row)
    if more:
        first = next(iter(more.values()))[0]
        scan.warnings.append(f"images with several masks, which are united: {len(more)}, such as the one of {first}")
    return more


def split_off_masks(scan: Scan, suffix: str, images: MutableMapping[str, str]) -> None:
    """Remove second masks from the images of a folder that holds both, and leave them to `check_masks`."""
    for name in [name for name in images if suffix in name and name.rpartition(suffix)[0] in images]:
        scan.refused.append(Refused(name, _OTHER_NAME[0], images.pop(name)))


def _no_mask_error(scan: Scan, folder: str, other: str, image: str) -> SourceError:
    remedy = "Rename or convert them"
    if "mask_suffix" in type(scan.source).model_fields:
        remedy = f"{remedy}, or set source.mask_suffix (and image_suffix) to what the names end with"
    return SourceError(
        f"{scan.root / folder} holds no mask of an image, but {other}; expected PNG or TIFF with the names of the "
        f"images, such as {image}.png. {remedy}."
    )
