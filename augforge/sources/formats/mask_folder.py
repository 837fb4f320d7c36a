"""A folder of masks for each class, one mask per image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from augforge.cache.filecache import FileCache
from augforge.sample import Sample
from augforge.sources.classes import ClassTable, class_table
from augforge.sources.core import Listing, PhotoSource, Record, source
from augforge.sources.loading import known_bits, load_image, make_sample
from augforge.sources.raster.class_masks import ClassMasks, Mask
from augforge.sources.scan.mask_files import IMAGE_SUFFIX, MASK_SUFFIX, files_by_sample, require_images_folder
from augforge.sources.scan.own_splits import split_folder
from augforge.sources.scan.records import folder_or_name, make_record, normal_folder
from augforge.sources.scan.scanning import Scan
from augforge.sources.scan.walking import places_outside


@source
class MaskFolder(PhotoSource):
    """Reads one mask per class and image: any pixel that is not zero is the class.

    If an image has no mask of a class, the class is absent; but if no image in test/ (val/, train/) has any mask, they
    are unlabelled. A class that only some splits have counts as absent in the others, with a warning. A class that the
    recipe lists but that has no folder is unknown in every sample. Without ``classes`` the classes are the folders,
    sorted. Classes may overlap. Numbered masks of a class, a_mask.png and a_mask_1.png, are united.

    A folder ``ignore`` marks pixels that nobody should learn from. Masks are PNG, BMP or TIFF: gray, palette or colour;
    lossy files need a threshold. Of a palette PNG the index counts: 0 is no class, even if it is shown white. Alpha is
    not looked at: a black mask with a shape only in its alpha channel is empty. Findings tell of these two, of
    grey levels, which need a threshold too, of several values, and of a class that fills its masks or is in none; up to
    64 masks a class are looked at.

    Masks that do not lie in a folder of their class, one per image, are read by the format index-mask. JPEG masks of
    one class in masks/: ``masks: ., class_map: {masks: polyp}, threshold: 127``.
    """

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/                          source.path
  images/P01/scan1.png         folders are part of the name, and the usual group; .jpg, .bmp, .webp, .tif too
  masks/heart/P01/scan1.png    the same name below each class; .bmp, .tif too
  masks/left-lung/P01/scan1.png"""

    format: Literal["mask-folder"] = "mask-folder"
    images: str = Field("images", description="folder of the images")
    masks: str = Field("masks", description="folder that holds a folder for each class")
    image_suffix: str = IMAGE_SUFFIX
    mask_suffix: str = MASK_SUFFIX
    threshold: Annotated[int, Field(ge=0, lt=65535)] = Field(
        0, description="values above it are the class; for lossy masks something like 127"
    )

    @property
    def _class_masks(self) -> ClassMasks:
        return ClassMasks(self, self.masks, self.threshold, self.mask_suffix)

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        require_images_folder(scan, self.images)
        labels = self._class_masks.labels(scan, self.images)
        table = class_table(self, labels, self.root / self.masks, scan)
        images = self._find_images(scan, labels)
        facts = scan.image_facts(images.items())
        masks = self._class_masks.list_masks(scan, labels, images, facts)
        unlabelled = self._class_masks.unlabelled_splits(scan, images, masks)
        doubts = self._class_masks.doubtful_classes(scan, images, masks)
        records = (
            self._make_record(
                name,
                place,
                fact,
                None if split_folder(name) in unlabelled else masks.get(name, []),
                table.without(doubts.get(name, ())),
            )
            for name, place in images.items()
            if (fact := facts.get(place)) is not None
        )
        return scan.make_listing(records, table.names)

    def _find_images(self, scan: Scan, labels: list[str]) -> Mapping[str, str]:
        """The place of each image by its name, leaving out masks that lie below the folder of the images."""
        folder = normal_folder(self.images)
        places = places_outside(scan.walk(folder), map(self._class_masks.place, labels))
        return files_by_sample(scan, places, folder, "image_suffix", self.image_suffix)

    def _make_record(
        self, name: str, place: str, facts: Mapping[str, Any], masks: list[Mask] | None, table: ClassTable
    ) -> Record:
        """The record of an image; ``masks`` are None if it is unlabelled."""
        content = table.content("unlabelled" if masks is None else self._class_masks.canonical(masks))
        data = {"masks": [mask[2] for mask in masks or ()], "known": [] if masks is None else table.known}
        drawn = [mask[0] for mask in masks or ()]
        return make_record(name, place, facts, content, group=folder_or_name(name), data=data, drawn=drawn)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image = load_image(self.root, record)
        return make_sample(record, image, self._class_masks.load_planes(record, classes), known_bits(record, classes))
