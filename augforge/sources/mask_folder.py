"""A folder of masks for each class, one mask an image."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from augforge import bitmask
from augforge.sample import Sample
from augforge.sources.classes import ClassTable, class_table
from augforge.sources.core import Listing, Record, Source
from augforge.sources.loading import check_size, known_bits, listed_image, loaded
from augforge.sources.masks import MASK_FACTS, mask_facts, read_mask
from augforge.sources.records import folder_or_name, name_of, record_of
from augforge.sources.scanning import Scan
from augforge.store.filecache import FileCache

Mask = tuple[str, str, str]
"""Class, digest and place."""


class MaskFolder(Source):
    """Reads one mask per class and image: any pixel that is not zero is the class.

    A mask that is missing says that the class is not there. A class that the recipe lists and that has no folder is
    unknown in every sample. Classes may overlap. Without ``classes`` they are the folders, sorted.

    A folder ``ignore`` holds pixels that nobody should learn from. Masks are PNG, BMP or TIFF, gray, palette or colour;
    lossy ones need a threshold.
    """

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/                          source.path
  images/P01/scan1.png         folders are part of the name, and the usual group; .jpg, .bmp, .webp, .tif too
  masks/heart/P01/scan1.png    the same name below each class; another suffix is fine
  masks/left-lung/P01/scan1.png"""

    format: Literal["mask-folder"] = "mask-folder"
    images: str = Field("images", description="folder of the images")
    masks: str = Field("masks", description="folder that holds a folder for each class")
    threshold: Annotated[int, Field(ge=0, lt=65535)] = Field(
        0, description="values above it are the class; for lossy masks something like 127"
    )

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        scan.need_folder(self.images)
        labels = scan.folders(self.masks)
        table = class_table(self, labels, self.root / self.masks)
        images = scan.unique((name_of(place, self.images), place) for place in scan.walk(self.images))
        facts = scan.images(images.items())
        masks: dict[str, list[Mask]] = {}
        for label in labels:
            if (name := self.class_of(label)) is not None:
                self._add_class(scan, label, name, images, facts, masks)
        records = (
            self._record(name, place, facts[place], masks.get(name, []), table)
            for name, place in images.items()
            if place in facts
        )
        return scan.listing(records, table.names)

    def _add_class(
        self,
        scan: Scan,
        label: str,
        name: str,
        images: Mapping[str, str],
        facts: Mapping[str, Any],
        masks: dict[str, list[Mask]],
    ) -> None:
        """Enter one class's masks, by the names of their images."""
        folder = f"{self.masks}/{label}"
        found = scan.unique((name_of(place, folder), place) for place in scan.walk(folder, what="a mask"))
        scan.need_images(found, images)
        kind = f"{MASK_FACTS}{' lossy' if self.threshold else ''}"
        known = scan.facts(found.items(), kind, partial(mask_facts, threshold=self.threshold), "broken mask")
        for image, place in found.items():
            if place in known and images.get(image) in facts:
                width, height, content = known[place]
                scan.need_size(image, place, (width, height), facts[images[image]])
                masks.setdefault(image, []).append((name, content, place))

    def _record(self, name: str, place: str, facts: Mapping[str, Any], masks: list[Mask], table: ClassTable) -> Record:
        annotation = [self.threshold, sorted(mask[:2] for mask in masks)]
        data = {"masks": [mask[2] for mask in masks], "known": table.known}
        return record_of(name, place, facts, table.content(annotation), group=folder_or_name(name), data=data)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image = listed_image(self.root, record)
        planes = bitmask.empty(record.height, record.width, len(classes))
        for place in record.data["masks"]:
            path = self.root / place
            label = place.removeprefix(f"{self.masks}/").partition("/")[0]
            name = self.known_class(label, classes, str(path))
            mask = read_mask(path, self.threshold)
            check_size(path, mask, record)
            if name is not None:
                bitmask.merge_class(planes, classes.index(name), mask)
        return loaded(record, image, planes, known_bits(record, classes))
