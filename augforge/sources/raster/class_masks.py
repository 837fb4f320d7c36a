"""Masks in one folder per class, beside the images: listing them, and loading them as bit-planes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from augforge import bitmask
from augforge.cache.shelf import Shelf
from augforge.errors import SourceError, some
from augforge.sample import IGNORE
from augforge.sources.core import Record, Source
from augforge.sources.loading import check_size
from augforge.sources.raster.mask_looks import report_implausible_masks
from augforge.sources.raster.masks import MASK_FACTS, mask_facts, read_mask
from augforge.sources.scan.mask_files import find_masks, find_unlabelled_splits
from augforge.sources.scan.mismatches import report_mismatched
from augforge.sources.scan.orientation import Claim
from augforge.sources.scan.own_splits import split_folder
from augforge.sources.scan.records import normal_folder
from augforge.sources.scan.scanning import IMAGES, Scan
from augforge.sources.scan.walking import is_below

Mask = tuple[str, str, str]
"""Class, digest and place of a mask."""


class _Size(NamedTuple):
    """Width and height of the mask at a place, which belongs to an image."""

    image: str
    place: str
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ClassMasks:
    """Masks in ``folder/<label>/<image name><suffix>``; pixels above the threshold are of the class.

    Attributes:
        source: maps labels to classes.
        folder: that holds a folder for each label, relative to the source's root.
        threshold: values above it are the class.
        suffix: the end of masks' names, before the extension.
    """

    source: Source
    folder: str
    threshold: int
    suffix: str = ""

    def labels(self, scan: Scan, images: str) -> list[str]:
        """Names of the labels' folders, of which the images' folder is none. Raises SourceError if there are none."""
        try:
            return [
                label
                for label in scan.folder_names(self.folder)
                if not is_below(normal_folder(images), self.place(label))
            ]
        except SourceError as error:
            flat = next((row.name for row in scan.refused if row.name.lower().endswith(tuple(IMAGES))), None)
            if flat is None:
                raise
            raise SourceError(
                f"{scan.root / self.folder} holds {flat} and no folder of a class. {self._remedy_for_flat_masks(flat)}"
            ) from error

    def _remedy_for_flat_masks(self, flat: str) -> str:
        """How to read masks that do not lie in a folder of their class."""
        parent, name = os.path.split(normal_folder(self.folder))
        if name != "." and flat.lower().endswith((".jpg", ".jpeg", ".webp")):
            return (
                "If they are masks of one class, their folder is its own: set "
                f"'masks: {parent or '.'}', 'class_map: {{{name}: NAME}}' and, as they are lossy, 'threshold: 127'."
            )
        return (
            "If there is one mask an image, read them by format: index-mask, with 'values: {255: NAME}' for a class "
            "that is 255; or move them into a folder that is named as their class."
        )

    def place(self, label: str) -> str:
        """The folder of a label, relative to the root."""
        return normal_folder(f"{self.folder}/{label}")

    def list_masks(
        self, scan: Scan, labels: Iterable[str], images: Mapping[str, str], facts: MutableMapping[str, Any]
    ) -> Shelf[list[Mask]]:
        """The masks of each image by its name. Masks without an image, broken or of another size are bad samples.

        Args:
            scan: gets the problems.
            labels: the folders to read.
            images: the place of each image by its name.
            facts: those of the readable images by their places; of photos that EXIF turns and that were annotated as
                stored, they are changed.
        """
        masks: Shelf[list[Mask]] = Shelf()
        turned = {*scan.turned}
        sizes: list[_Size] = []
        named = [(label, name) for label in labels if (name := self.source.class_of(label)) is not None]
        for label, name in named:
            for size in self._add_masks(scan, label, name, images, facts, masks, len(named)):
                if turned and images[size.image] in turned:
                    sizes.append(size)  # until it is known how the photo is read
                else:
                    scan.check_size(*size, facts[images[size.image]])
        claims = {images[image]: Claim(image, size) for image, _, size in reversed(sizes)}
        scan.settle_orientation(facts, claims.get)
        for size in sizes:
            scan.check_size(*size, facts[images[size.image]])
        return masks

    def unlabelled_splits(self, scan: Scan, images: Iterable[str], masks: Mapping[str, Iterable[Mask]]) -> set[str]:
        """The data's own splits in which no image has a mask: they count as unlabelled.

        In a split that has masks, a class without a mask counts as absent, as everywhere, but with a warning.
        """
        seen: dict[str, set[str]] = {}
        for name, found in masks.items():
            seen.setdefault(split_folder(name), set()).update(mask[0] for mask in found)
        classes = set().union(*seen.values()) - {IGNORE}
        for part in sorted(filter(None, seen)):
            if lacking := sorted(classes - seen[part]):
                scan.warnings.append(f"{part}: no image has a mask of {some(lacking)}, so it counts as not there")
        return find_unlabelled_splits(scan, map(split_folder, images), seen)

    def _add_masks(
        self,
        scan: Scan,
        label: str,
        name: str,
        images: Mapping[str, str],
        facts: Mapping[str, Any],
        masks: Shelf[list[Mask]],
        count: int,
    ) -> Iterator[_Size]:
        """Add the masks of one of ``count`` labels to ``masks``, by the names of their images; the size of each."""
        found, more = find_masks(scan, self.place(label), self.suffix, images)
        scan.check_images_exist(found, images)
        if not found:
            scan.warnings.append(f"{self.place(label)} holds no mask, so {name} counts as not there in all images")
        further = [(image, place) for image, places in more.items() for place in places]
        kind = f"{MASK_FACTS}{' lossy' if self.threshold else ''}"
        known = scan.facts(
            chain(found.items(), further), kind, partial(mask_facts, threshold=self.threshold), "broken mask"
        )
        report_implausible_masks(scan, name, found, known, self.threshold, count)
        for image, place in chain(found.items(), further):
            fact = known.get(place)
            if fact is not None and images.get(image, "") in facts:
                width, height, content = fact
                yield _Size(image, place, (width, height))
                masks[image] = [*masks.get(image, []), (name, content, place)]

    def doubtful_classes(
        self, scan: Scan, images: Iterable[str], masks: Mapping[str, Iterable[Mask]]
    ) -> dict[str, list[str]]:
        """Classes that may be in images, by the images' names, although these have no mask of them: masks fit no image.

        Called after `list_masks`; with ``on_error: error`` such masks stop the build.
        """
        labels = {place.removeprefix(f"{self.place('')}/").partition("/")[0] for place in scan.orphans.values()}
        doubtful = {name for label in labels if (name := self.source.class_of(label)) is not None}
        lacking = {image: doubtful - {mask[0] for mask in masks.get(image, ())} for image in images} if doubtful else {}
        found = {image: sorted(classes) for image, classes in lacking.items() if classes}
        report_mismatched(scan, found)
        return found

    def canonical(self, masks: Iterable[Mask]) -> list[Any]:
        """The masks of one image in canonical form, for its ``content``."""
        return [self.threshold, sorted(mask[:2] for mask in masks)]

    def load_planes(self, record: Record, classes: tuple[str, ...]) -> bitmask.Planes:
        """The bit-planes of the masks at the places in ``record.data["masks"]``. Raises SourceError naming the file."""
        planes = bitmask.empty(record.height, record.width, len(classes))
        for place in record.data["masks"]:
            path = self.source.root / place
            label = place.removeprefix(f"{normal_folder(self.folder)}/").partition("/")[0]
            name = self.source.require_class(label, classes, str(path))
            mask = read_mask(path, self.threshold)
            check_size(path, mask, record)
            if name is not None:
                bitmask.merge_class(planes, classes.index(name), mask)
        return planes
