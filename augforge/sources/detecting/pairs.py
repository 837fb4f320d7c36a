"""Clues for images and masks that lie in two folders: which folders they are, and what their names end with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from augforge.errors import SourceError
from augforge.sources.detecting.clue import Clue
from augforge.sources.detecting.glance import Glance

_IMAGE_FOLDERS = (
    "images",
    "image",
    "imgs",
    "img",
    "jpegimages",
    "leftimg8bit",
    "input",
    "inputs",
    "photos",
    "scans",
    "x",
)
MASK_FOLDERS = (
    *("masks", "mask", "segmentationclass", "segmentations", "gtfine", "labels", "label", "annotations", "gt", "y"),
    *("ground_truth", "groundtruth", "targets", "target", "output", "segmentation"),
)
"""Usual names of the folders of images and of masks, in lower case, the likeliest first."""

_MASKS_READ, _MOST_COLOURS = 40, 40
"""Masks that are decoded to see their colours, and the most colours that may be those of classes."""

_CITYSCAPES_LABELS = ("_gtFine_color", "_gtFine_labelTrainIds", "_gtFine_labelIds")


class Pair(NamedTuple):
    """A folder of images and one of masks, with what their names end with."""

    images: str
    masks: str
    image_suffix: str = ""
    mask_suffix: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """As options of a source, without those at their defaults."""
        usual = Pair("images", "masks")
        return {key: value for key, value in self._asdict().items() if value != getattr(usual, key)}


def index_mask_clues(glance: Glance) -> Iterator[Clue]:
    """One mask beside each image."""
    for pair in _pairs(glance):
        for images, masks in _endings(glance, pair, 0):
            found = Pair(pair.images, pair.masks, images, masks)
            yield from _with_meanings(glance, found)
    tail = _tail_in_one_folder(glance)
    if tail:
        yield Clue("index-mask", f"masks lie beside their images, as NAME{tail}", Pair(".", ".", "", tail).options)


def mask_folder_clues(glance: Glance) -> Iterator[Clue]:
    """A folder of masks for each class."""
    for pair in _pairs(glance):
        for images, masks in _endings(glance, pair, 1):
            found = Pair(pair.images, pair.masks, images, masks)
            yield Clue("mask-folder", f"{pair.masks}/ holds a folder of masks for each class", found.options)


def _with_meanings(glance: Glance, pair: Pair) -> Iterator[Clue]:
    """A pair with the options that say what the values or colours of its masks mean, where a benchmark fixes them."""
    why = f"{pair.masks}/ holds a mask for each image in {pair.images}/"
    options = pair.options
    if pair.masks.lower() == "segmentationclass":
        lists = {"lists": "ImageSets/Segmentation"} if "ImageSets/Segmentation" in glance.folders else {}
        voc = f"{pair.images}/ and {pair.masks}/ are the folders of Pascal VOC"
        yield Clue("index-mask", voc, {**options, **lists, "classes": "voc"})
        yield Clue("index-mask", voc, {**options, **lists, "colors": "voc", "classes": "voc"})
        yield Clue("index-mask", voc, {**options, **lists})
    elif pair.mask_suffix == "_gtFine_color":
        rest = {"colors": "cityscapes", "classes": "cityscapes", "class_map": {"*": "ignore"}}
        yield Clue("index-mask", "leftImg8bit and gtFine are the names of Cityscapes", {**options, **rest})
    elif pair.mask_suffix in _CITYSCAPES_LABELS:
        yield Clue("index-mask", "leftImg8bit and gtFine are the names of Cityscapes", options)
    else:
        colours = _colours_of(glance, pair)
        if colours:
            yield Clue("index-mask", f"{why}, in colours", {**options, "colors": colours})
        else:
            yield Clue("index-mask", why, options)


def _colours_of(glance: Glance, pair: Pair) -> str | dict[str, list[int]]:
    """The colours of some masks with names to be changed, or the published palette that has them; empty for gray."""
    from augforge.sources.raster.palettes import PALETTES, Colour, colours_in

    places = [place for place in glance.pictures if place.startswith(f"{pair.masks}/")]
    found: set[Colour] = set()
    for place in places[:: max(1, len(places) // _MASKS_READ)][:_MASKS_READ]:
        with suppress(SourceError, OSError):
            found |= colours_in(glance.root / place)
    if not any(len({*colour}) > 1 for colour in found) or len(found) > _MOST_COLOURS:
        return {}
    black = (0, 0, 0)
    published = (name for name, colours in PALETTES.items() if found <= {black, *colours.values()})
    return next(published, {f"class-{i}": [*colour] for i, colour in enumerate(sorted(found - {black}), 1)})


def _pairs(glance: Glance) -> Iterator[Pair]:
    """Folders of pictures with usual names, for images and for masks, the likeliest first; below one folder too."""
    tops = {folder.lower(): folder for folder in sorted(glance.folders) if "/" not in folder}
    for images in _usual(tops, _IMAGE_FOLDERS):
        for masks in _usual(tops, MASK_FOLDERS):
            yield Pair(images, masks)


def _usual(folders: dict[str, str], names: Iterable[str]) -> list[str]:
    return [folders[name] for name in names if name in folders]


def _endings(glance: Glance, pair: Pair, deeper: int) -> list[tuple[str, str]]:
    """What names of images and of masks end with, if masks fit images; ``deeper`` folders stand above the masks."""
    images = glance.stems(pair.images)
    masks = ["/".join(parts[deeper:]) for name in glance.stems(pair.masks) if len(parts := name.split("/")) > deeper]
    if {*images} & {*masks}:
        return [("", "")]
    cut = [name.removesuffix("_leftImg8bit") for name in images]
    if cut != images and (tails := _tails(cut, masks)):
        return [("_leftImg8bit", tail) for tail in _CITYSCAPES_LABELS if tail in tails]
    counts = _tails(images, masks)
    return [("", tail) for tail, count in counts.most_common(3) if 2 * count >= len(images)]


def _tails(images: Iterable[str], masks: Iterable[str]) -> Counter[str]:
    """What stands after an image's name in the names of masks, with how often it does."""
    known = {*images}
    counts: Counter[str] = Counter()
    for mask in masks:
        for end in range(len(mask) - 1, 0, -1):
            if mask[:end] in known and not mask[end].isdigit():
                counts[mask[end:]] += 1
                break
    return counts


def _tail_in_one_folder(glance: Glance) -> str:
    """What names of masks end with that lie beside their images, such as _mask; "" if there are none."""
    stems = glance.stems_everywhere
    counts = _tails(
        stems, [stem for stem in stems if any(word in stem.lower() for word in ("mask", "seg", "label", "gt"))]
    )
    tail, count = next(iter(counts.most_common(1)), ("", 0))
    return tail if count > 1 and 3 * count >= len(stems) - count else ""
