"""One mask per image, whose values name the classes: VOC's palette PNGs and gray index PNGs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.cache.shelf import Shelf
from augforge.sample import IGNORE, Sample
from augforge.sources.classes import ClassTable, class_table_of_scan
from augforge.sources.core import Listing, PhotoSource, Record, source
from augforge.sources.loading import check_size, known_bits, load_image, make_sample
from augforge.sources.raster.mask_values import (
    GREY_HINT,
    MaskReader,
    is_grey,
    note_covering,
    report_grounds,
)
from augforge.sources.raster.palettes import ColourTable, Palette
from augforge.sources.raster.value_looks import report_implausible_values
from augforge.sources.raster.value_names import VOID, ValueNames
from augforge.sources.raster.values import distinct
from augforge.sources.scan.agreeing import rename_agreeing
from augforge.sources.scan.lists import read_split_lists
from augforge.sources.scan.mask_files import (
    IMAGE_SUFFIX,
    MASK_SUFFIX,
    check_masks,
    files_by_sample,
    find_masks,
    find_unlabelled_splits,
    require_images_folder,
    sample_of,
    split_off_masks,
)
from augforge.sources.scan.mismatches import alike_orphans, report_mismatched
from augforge.sources.scan.orientation import Claim
from augforge.sources.scan.own_splits import split_folder
from augforge.sources.scan.records import folder_or_name, make_record, normal_folder
from augforge.sources.scan.scanning import Scan
from augforge.sources.scan.walking import is_below, places_outside


@source
class IndexMask(PhotoSource):
    """Reads masks whose stored pixel value (the palette's index, or the gray value) names the class.

    What the values mean is given by ``values``. Without it, ``classes`` are numbered from 1 in their order, leaving out
    ``ignore``; without ``classes`` too, each value that occurs is a class, named by its number. The background is no
    class. Pixels of the void value become class ``ignore`` if ``classes`` lists it or is not given; otherwise they are
    left out, with a warning. Masks in which only void is marked get a warning, and are an error if they are most masks,
    or all of a split, unless the recipe itself sets ``void: 255``. A value without a meaning is an error; to find it,
    masks are decoded once when they are listed. Numbered masks of an image, a_mask.png and a_mask_1.png, are united.

    Masks of one class, 0 and 255: ``values: {255: lesion}``. If they were resized or are JPEG, ``classes: [lesion]``
    and ``threshold: 127`` take what is above 127. Masks that number the objects of one class: ``classes: [cell]`` and
    ``instances: true``. The first class is 0: ``values: {0: road, 1: car}``. RGB masks are read if their channels are
    equal, or by their colours: ``colors: {lesion: [255, 0, 0]}``, or ``colors: voc`` or ``cityscapes`` for published
    palettes. Black is no class unless a label has it, and a colour of no label is an error; ``class_map`` may leave a
    label's colour out. The benchmark's 19 classes of Cityscapes: ``colors`` and ``classes: cityscapes``,
    ``class_map: {"*": ignore}``. Images and masks may lie in one folder, a.png and a_mask.png: ``images: .``,
    ``masks: .``, ``mask_suffix: _mask``.

    Pascal VOC: ``images: JPEGImages``, ``masks: SegmentationClass``, ``lists: ImageSets/Segmentation``,
    ``classes: voc``. With ``lists``, images that are in no list are no samples.
    """

    adapter_version: ClassVar[int] = 2
    layout: ClassVar[str] = """\
ROOT/                          source.path
  images/P01/scan1.jpg         folders are part of the name, and the usual group; VOC: images: JPEGImages
  masks/P01/scan1.png          the same name; PNG or TIFF, palette, gray or colours; VOC: masks: SegmentationClass
  lists/val.txt                if source.lists: one name per line, P01/scan1; VOC: lists: ImageSets/Segmentation"""

    format: Literal["index-mask"] = "index-mask"
    images: str = Field("images", description="folder of the images")
    masks: str = Field("masks", description="folder of the masks")
    image_suffix: str = IMAGE_SUFFIX
    mask_suffix: str = MASK_SUFFIX
    lists: str | None = Field(
        None,
        description="folder of .txt files that name the samples: those of val and test are these splits, train "
        "(whatever folder it names) and all others are left to the recipe; null takes every image",
    )
    values: dict[int, str] | None = Field(
        None,
        description="pixel value -> label, such as {1: cat, 2: dog}; null counts the classes from 1",
        examples=[{1: "cat", 2: "dog"}],
    )
    colors: Palette | None = Field(
        None,
        description="label -> its red, green and blue in colour masks, such as {cat: [128, 0, 0]}; or the name of a "
        "published palette, voc or cityscapes; null takes stored values",
    )
    color_tolerance: Annotated[int, Field(ge=0, le=127)] = Field(
        0, description="how far each channel may be from a label's colour, for colours that resizing or JPEG mixed"
    )
    threshold: Annotated[int, Field(ge=0, lt=65535)] | None = Field(
        None, description="masks have one class, which is what is above this value; for resized or JPEG masks about 127"
    )
    instances: bool = Field(
        False, description="masks number the objects of one class: every value but the background is that class"
    )
    background: int | None = Field(0, description="value that is no class, unless values names it; null: there is none")
    void: int | None = Field(
        VOID, description="value of pixels that are class ignore; null: there is none", examples=[VOID]
    )
    missing_mask: Literal["error", "empty", "unlabelled"] = Field(
        "error",
        description="an image without a mask: labelled and empty, or with all classes unknown, or broken; but unknown "
        "then too where no image of a split (in test/, val/ or train/) has a mask",
    )

    @model_validator(mode="after")
    def _check_apart(self) -> IndexMask:
        if normal_folder(self.images) == normal_folder(self.masks) and not self.mask_suffix:
            raise ValueError(
                f"images and masks both lie in '{self.images}'; tell them apart by mask_suffix, such as _mask"
            )
        return self

    @model_validator(mode="after")
    def _check_one_meaning(self) -> IndexMask:
        given = [name for name in ("colors", "threshold", "instances") if getattr(self, name) not in (None, False)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} say what pixels mean in different ways; give one of them")
        if self.colors is not None:
            if self.values is not None:
                raise ValueError("values names labels by stored values, colors by colours; give one of them")
        elif given and len(labels := self._labels_of_one_class()) > 1:
            raise ValueError(f"{given[0]} reads masks of one class, but {', '.join(labels)} are named; name one")
        return self

    def _labels_of_one_class(self) -> list[str]:
        """The label that values or classes name for masks of one class; several if they name several."""
        named = [*(self.values or {}).values()] or [name for name in self.classes or () if name != IGNORE]
        return list(dict.fromkeys(named)) or ["object"]

    @property
    def _reader(self) -> MaskReader:
        colours = None if self.colors is None else ColourTable(self.colors, self.color_tolerance)
        background = self.background if self.instances else 0
        return MaskReader(colours, self.threshold, self.instances, background)

    @property
    def _value_names(self) -> ValueNames:
        if self.colors is not None:
            return ValueNames(self, ColourTable(self.colors).labels, 0, None)
        if self.threshold is not None or self.instances:
            return ValueNames(self, {1: self._labels_of_one_class()[0]}, 0, None)
        return ValueNames(self, self.values, self.background, self.void)

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        require_images_folder(scan, self.images)
        scan.require_folder(self.masks)
        images, masks, more = self._find_files(scan)
        splits = self._read_splits(scan, images, masks)
        scan.check_images_exist(masks, images)
        facts = scan.image_facts(images.items())
        values = self._value_facts(scan, masks, more)
        self._settle_orientation(scan, images, facts, masks, values)
        parts = {name: split or split_folder(name) for name, split in splits.items()}
        labelled = {parts[name] for name in masks}
        unlabelled_splits = (
            find_unlabelled_splits(scan, map(parts.__getitem__, images), labelled)
            if self.missing_mask == "error"
            else set()
        )
        names, table = self._class_names(scan, parts, masks, values)
        bare = (name for name in images if name not in masks) if self.missing_mask == "empty" else ()
        doubtful = alike_orphans(scan, bare)
        report_mismatched(scan, doubtful)

        def record(name: str, place: str) -> Record | None:
            own = [masks[name], *more.get(name, ())] if name in masks else []
            missing = (
                "unlabelled" if parts[name] in unlabelled_splits and self.missing_mask != "empty" else self.missing_mask
            )
            missing = "unlabelled" if name in doubtful else missing
            if not self._check_sample(scan, name, place, facts[place], own, values, names, missing):
                return None
            drawn = [
                [values[mask]["content"], {str(v): names.get(str(v)) for v in values[mask]["values"]}] for mask in own
            ]
            data = {"masks": own, "values": names, "known": table.known if own or missing == "empty" else []}
            group, split = folder_or_name(name), splits[name]
            shown = {class_ for _, values_of in drawn for class_ in values_of.values() if class_ is not None}
            content = table.content(drawn or missing)
            note_covering(scan, name, map(values.__getitem__, own), names)
            return make_record(name, place, facts[place], content, group=group, split=split, data=data, drawn=shown)

        records = (record(name, place) for name, place in images.items() if place in facts)
        return scan.make_listing((record for record in records if record), table.names)

    def _read_splits(self, scan: Scan, images: Shelf[str], masks: Shelf[str]) -> dict[str, str | None]:
        """The split that the lists prescribe for each sample; removes images and masks that are in no list."""
        if self.lists is None:
            return dict.fromkeys({**images, **masks})
        splits = read_split_lists(scan, self.lists, images)
        for places in (images, masks):
            for name in [name for name in places if name not in splits]:
                del places[name]
        return splits

    def _class_names(
        self, scan: Scan, parts: Mapping[str, str], masks: Mapping[str, str], values: Mapping[str, Any]
    ) -> tuple[dict[str, str | None], ClassTable]:
        """The class of each value, and the class table."""
        held = ((parts[name], values[place]["values"]) for name, place in masks.items() if place in values)
        found = {value for fact in values.values() for value in fact["values"]}
        meaning = self._value_names.labels_by_value_in(scan, held, found)
        if self._value_names.values is None and self.classes is None:
            report_implausible_values(scan, values)
        table = class_table_of_scan(scan, meaning.values(), self.root / self.masks)
        names = {str(value): self.class_of(label) for value, label in meaning.items()}
        report_grounds(scan, values, names)
        return names, table

    def _find_files(self, scan: Scan) -> tuple[Shelf[str], Shelf[str], dict[str, list[str]]]:
        """Places of images, of masks, and of further masks of an image, each by the sample's name."""
        image_folder, mask_folder = normal_folder(self.images), normal_folder(self.masks)
        places = scan.walk(image_folder)
        if image_folder != mask_folder:
            own = places if is_below(image_folder, mask_folder) else places_outside(places, [mask_folder])
            images = files_by_sample(scan, own, image_folder, "image_suffix", self.image_suffix)
            return images, *find_masks(scan, mask_folder, self.mask_suffix, images)
        mask_places = {place for place in places if sample_of(place, image_folder, self.mask_suffix) is not None}
        images = files_by_sample(
            scan, [p for p in places if p not in mask_places], image_folder, "image_suffix", self.image_suffix
        )
        found = sorted(mask_places) or places  # if none is a mask, `files_by_sample` reports it
        masks = files_by_sample(scan, found, image_folder, "mask_suffix", self.mask_suffix)
        rename_agreeing(masks, images)
        split_off_masks(scan, self.mask_suffix, images)
        return images, masks, check_masks(scan, image_folder, self.mask_suffix, masks, images)

    def _settle_orientation(
        self, scan: Scan, images: Shelf[str], facts: Shelf[Any], masks: Shelf[str], values: Mapping[str, Any]
    ) -> None:
        """Decide how photos that EXIF turns are read, by the sizes of their masks."""
        turned = {*scan.turned}
        names = {place: name for name, place in images.items() if place in turned} if turned else {}

        def claim_of(place: str) -> Claim | None:
            mask = values.get(masks.get(names[place], ""))
            return None if mask is None else Claim(names[place], mask["size"])

        scan.settle_orientation(facts, claim_of)

    def _value_facts(self, scan: Scan, masks: Mapping[str, str], more: Mapping[str, list[str]]) -> Mapping[str, Any]:
        """Facts of each mask by its place."""
        further = ((name, place) for name, places in more.items() if name in masks for place in places)
        return scan.facts(chain(masks.items(), further), self._reader.kind, self._reader.facts, "broken mask")

    def _check_sample(
        self,
        scan: Scan,
        name: str,
        place: str,
        image: Mapping[str, Any],
        masks: Collection[str],
        values: Mapping[str, Any],
        names: Mapping[str, str | None],
        missing: str,
    ) -> bool:
        """Whether all masks of an image can be read; other problems of theirs are reported."""
        if not masks and missing == "error" and name not in scan.bad_names:
            fact = f"{self.root / place} has no mask {normal_folder(f'{self.masks}/{name}{self.mask_suffix}')}"
            scan.bad_sample(name, "no mask", f"{fact}; expected one. Add it, or set missing_mask.")
        sound = [mask for mask in masks if mask in values]
        for mask in sound:
            scan.check_size(name, mask, values[mask]["size"], image)
            hint = GREY_HINT if is_grey(values[mask]) else ""
            self._value_names.check(scan, name, mask, values[mask]["values"], names, hint)
        return len(sound) == len(masks)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image = load_image(self.root, record)
        planes, reader = bitmask.empty(record.height, record.width, len(classes)), self._reader
        for place in record.data["masks"]:
            path = self.root / place
            values = reader.read(path)
            check_size(path, values, record)
            for value in distinct(values):
                name = record.data["values"].get(str(value))
                if name is not None:
                    bitmask.merge_class(planes, classes.index(name), values == value)
        return make_sample(record, image, planes, known_bits(record, classes))
