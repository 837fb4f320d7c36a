"""One mask an image, whose values name the classes: VOC's palette PNGs and gray index PNGs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from augforge import bitmask
from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sample import Sample
from augforge.sources.classes import ClassTable, scanned_table
from augforge.sources.core import Listing, Record, Source
from augforge.sources.lists import listed_names
from augforge.sources.loading import check_size, known_bits, listed_image, loaded
from augforge.sources.mask_files import (
    IMAGE_SUFFIX,
    MASK_SUFFIX,
    masks_in,
    named,
    need_masks,
    outside,
    part_masks,
    plain,
    sample_of,
)
from augforge.sources.masks import read_values
from augforge.sources.records import folder_or_name, record_of
from augforge.sources.scanning import Scan
from augforge.sources.value_names import ValueNames
from augforge.sources.walking import below
from augforge.store.filecache import FileCache
from augforge.store.shelf import Shelf

VALUE_FACTS = "values@1"
"""The kind of `value_facts` in a file cache; renamed when masks are looked at in another way."""


class IndexMask(Source):
    """Reads masks whose stored pixel value (the palette's index, or the gray value) names the class.

    What the values mean: ``values``; or else ``classes`` in order from 1, without the background, ``ignore`` left out;
    or else each value that occurs is a class of its own, named by its number. The background is no class. Pixels of the
    void value are class ``ignore``, where ``classes`` lists it or is not given; otherwise they are left out, with a
    warning. A value that names nothing is an error: the masks are decoded once, when they are listed.

    Masks of one class, 0 and 255: ``values: {255: lesion}``. RGB masks are read where their channels are equal. Images
    and masks may lie in one folder, a.png and a_mask.png: ``images: .``, ``masks: .``, ``mask_suffix: _mask``.

    Pascal VOC: ``images: JPEGImages``, ``masks: SegmentationClass``, ``lists: ImageSets/Segmentation``,
    ``classes: voc``. With ``lists`` the images that no list names are no samples.
    """

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/                          source.path
  images/P01/scan1.jpg         folders are part of the name, and the usual group; VOC: images: JPEGImages
  masks/P01/scan1.png          the same name; PNG or TIFF, palette or gray; VOC: masks: SegmentationClass
  lists/val.txt                if source.lists: a name a line, P01/scan1; VOC: lists: ImageSets/Segmentation"""

    format: Literal["index-mask"] = "index-mask"
    images: str = Field("images", description="folder of the images")
    masks: str = Field("masks", description="folder of the masks")
    image_suffix: str = IMAGE_SUFFIX
    mask_suffix: str = MASK_SUFFIX
    lists: str | None = Field(
        None,
        description="folder of .txt files that name the samples: those of val and test are these splits, train and all "
        "others are left to the recipe; null takes every image",
    )
    values: dict[int, str] | None = Field(
        None,
        description="pixel value -> label, such as {1: cat, 2: dog}; null counts the classes from 1",
        examples=[{1: "cat", 2: "dog"}],
    )
    background: int | None = Field(0, description="value that is no class, unless values names it; null: there is none")
    void: int | None = Field(
        255, description="value of pixels that are class ignore; null: there is none", examples=[255]
    )
    missing_mask: Literal["error", "empty", "unlabelled"] = Field(
        "error", description="an image without a mask: broken, or labelled and empty, or with all classes unknown"
    )

    @model_validator(mode="after")
    def _apart(self) -> IndexMask:
        if plain(self.images) == plain(self.masks) and not self.mask_suffix:
            raise ValueError(
                f"images and masks both lie in '{self.images}'; tell them apart by mask_suffix, such as _mask"
            )
        return self

    @property
    def _names(self) -> ValueNames:
        return ValueNames(self, self.values, self.background, self.void)

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        scan.need_folder(self.images)
        scan.need_folder(self.masks)
        images, masks = self._files(scan)
        splits: dict[str, str | None] = dict.fromkeys({**images, **masks})
        if self.lists is not None:
            splits = listed_names(scan, self.lists, images)
            for places in (images, masks):
                for name in [name for name in places if name not in splits]:
                    del places[name]
        scan.need_images(masks, images)
        facts = scan.images(images.items())
        values = scan.facts(masks.items(), VALUE_FACTS, value_facts, "broken mask")
        meaning = self._names.meaning(value for fact in values.values() for value in fact["values"])
        table = scanned_table(scan, meaning.values(), self.root / self.masks)
        names = {str(value): self.class_of(label) for value, label in meaning.items()}
        records = [
            self._record(scan, name, place, facts[place], masks.get(name), values, names, table, splits[name])
            for name, place in images.items()
            if place in facts
        ]
        return scan.listing((record for record in records if record), table.names)

    def _files(self, scan: Scan) -> tuple[Shelf[str], Shelf[str]]:
        """The places of images and of masks by their names."""
        image_folder, mask_folder = plain(self.images), plain(self.masks)
        places = scan.walk(image_folder)
        if image_folder != mask_folder:
            own = places if below(image_folder, mask_folder) else outside(places, [mask_folder])
            images = named(scan, own, image_folder, "image_suffix", self.image_suffix)
            return images, masks_in(scan, mask_folder, self.mask_suffix, images)
        ours = {place for place in places if sample_of(place, image_folder, self.mask_suffix) is not None}
        images = named(scan, [p for p in places if p not in ours], image_folder, "image_suffix", self.image_suffix)
        found = sorted(ours) or places  # where none is a mask, that is told of all
        masks = named(scan, found, image_folder, "mask_suffix", self.mask_suffix)
        part_masks(scan, self.mask_suffix, images)
        need_masks(scan, image_folder, self.mask_suffix, masks, images)
        return images, masks

    def _record(
        self,
        scan: Scan,
        name: str,
        place: str,
        image: Mapping[str, Any],
        mask: str | None,
        values: Mapping[str, Any],
        names: dict[str, str | None],
        table: ClassTable,
        split: str | None,
    ) -> Record | None:
        known = table.known if mask or self.missing_mask == "empty" else []
        annotation: Any = [self.missing_mask]
        if mask is None and self.missing_mask == "error" and name not in scan.bad:
            fact = f"{self.root / place} has no mask {plain(f'{self.masks}/{name}{self.mask_suffix}')}"
            scan.wrong(name, "no mask", f"{fact}; expected one. Add it, or set missing_mask.")
        if mask is not None:
            if mask not in values:
                return None
            scan.need_size(name, mask, values[mask]["size"], image)
            self._names.check(scan, name, mask, values[mask]["values"], names)
            annotation = [values[mask]["content"], {str(v): names.get(str(v)) for v in values[mask]["values"]}]
        data = {"mask": mask, "values": names, "known": known}
        content = table.content(annotation)
        return record_of(name, place, image, content, group=folder_or_name(name), split=split, data=data)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image = listed_image(self.root, record)
        planes = bitmask.empty(record.height, record.width, len(classes))
        if record.data["mask"] is not None:
            path = self.root / record.data["mask"]
            values = read_values(path)
            check_size(path, values, record)
            for value in distinct(values):
                name = record.data["values"].get(str(value))
                if name is not None:
                    bitmask.merge_class(planes, classes.index(name), values == value)
        return loaded(record, image, planes, known_bits(record, classes))


def value_facts(path: Path) -> dict[str, Any]:
    """What a listing needs of an index mask, JSON-like: its size, the values in it, and a digest of its pixels."""
    values = read_values(path)
    if len(found := distinct(values)) > 1000:
        raise SourceError(
            f"{path} holds {len(found)} values; expected one for each class. Is it an image, or instances?"
        )
    pixels = hashlib.sha256(np.ascontiguousarray(values, "<u2").tobytes()).hexdigest()
    return {"size": [values.shape[1], values.shape[0]], "values": found, "content": digest(pixels)}


def distinct(values: NDArray[Any]) -> list[int]:
    """The values that occur, ascending."""
    found: list[int] = np.flatnonzero(np.bincount(values.reshape(-1))).tolist()
    return found
