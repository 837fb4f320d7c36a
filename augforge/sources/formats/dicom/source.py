"""DICOM images: radiographs, ultrasound, single slices; with masks beside them, if there are any."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from augforge.cache.filecache import FileCache
from augforge.sample import NO_CLASSES, Sample
from augforge.sources.classes import ClassTable, class_table
from augforge.sources.core import Listing, Record, Refused, Source, source
from augforge.sources.formats.dicom.facts import DICOM_SUFFIXES, check_tags, dicom_facts, dicom_name, tags_kind
from augforge.sources.formats.dicom.file import open_dicom, require_pydicom
from augforge.sources.formats.dicom.pixels import View, Window
from augforge.sources.loading import check_size, known_bits, make_sample
from augforge.sources.raster.class_masks import ClassMasks, Mask
from augforge.sources.scan.own_splits import split_folder
from augforge.sources.scan.patients import patient_of, warn_of_mixed_patients
from augforge.sources.scan.records import make_record, normal_folder
from augforge.sources.scan.scanning import Scan


@source
class Dicom(Source):
    """Reads DICOM images as a viewer shows them: rescaled, windowed, MONOCHROME1 inverted, colours as RGB.

    Values become 8 or 16 bits by ``window``, rounded. A file of many frames is one sample per frame, named as if the
    file were a folder: ``P01/scan1/0000`` is the first. Files are .dcm, .dicom, .ima or without suffix; a DICOM file
    without an image (a DICOMDIR, a report, a segmentation, a dose) is refused. Slices that make up a volume are
    read by the format volume.

    The usual group is the PatientID, or the first folder of the name (``P01`` below) if a file has none; there is a
    warning of folders with files of several groups. The ID then becomes part of the dataset. Set ``group`` if it must
    not, or if anonymising made it useless.

    Masks are as in the format mask-folder: in ``masks/<class>``, any pixel that is not zero is of the class, and
    without a mask the class is absent; but if no image in test/ (val/, train/) has any mask, they are unlabelled. With
    ``masks: null`` no class is known.

    Of compressed files, JPEG, JPEG 2000 and RLE are read without further packages; other kinds need pylibjpeg.
    """

    adapter_version: ClassVar[int] = 3
    layout: ClassVar[str] = """\
ROOT/                          source.path
  images/P01/scan1.dcm         folders are part of the name, the first is the group; IM0001 or 1.2.840.1.7 too
  masks/heart/P01/scan1.png    masks of its size, if there are any, else masks: null
  masks/heart/P02/cine/0000.png    of the first frame of images/P02/cine.dcm"""

    format: Literal["dicom"] = "dicom"
    images: str = Field("images", description="folder of the DICOM files; . is source.path itself")
    masks: str | None = Field(
        "masks",
        description="folder that holds a folder of masks for each class; null: nothing is labelled",
        examples=["masks"],
    )
    threshold: Annotated[int, Field(ge=0, lt=65535)] = Field(
        0, description="mask values above it are the class; for lossy masks something like 127"
    )
    window: Window = Field(
        "file",
        description="gray from black to white. file: by the table or window that the file names, or else as data; "
        "data: least to greatest value in the file; full: all that its bits can hold; [center, width]: after rescaling",
        examples=["file"],
    )
    bits: Literal[8, 16] = Field(8, description="of the images: uint8 or uint16")
    tags: tuple[str, ...] = Field(
        (),
        description="DICOM keywords that become metadata, such as [PatientSex, KVP]",
        examples=[["PatientSex", "KVP"]],
    )

    @field_validator("window")
    @classmethod
    def _has_width(cls, value: Window) -> Window:
        if isinstance(value, tuple) and not (np.isfinite(value).all() and value[1] >= 1):
            raise ValueError(f"window [center, width] is {list(value)}; expected a width of 1 or more")
        return value

    @property
    def _view(self) -> View:
        return View(self.window, self.bits)

    @property
    def _class_masks(self) -> ClassMasks:
        return ClassMasks(self, self.masks or "", self.threshold)

    def scan(self, cache: FileCache) -> Listing:
        require_pydicom("the source format `dicom`")
        check_tags(self.tags)
        scan = Scan(self, cache)
        scan.require_folder(self.images)
        labels = self._class_masks.labels(scan, self.images) if self.masks is not None else []
        table = self._class_table(scan, labels)
        facts = self._image_facts(scan)
        warn_of_mixed_patients(scan, ((self._file_name(place), fact["patient"]) for place, fact in facts.items()))
        images = scan.places_by_name(frame for place, fact in facts.items() for frame in self._frames_of(place, fact))
        masks = self._class_masks.list_masks(scan, labels, images, facts)
        unlabelled = self._class_masks.unlabelled_splits(scan, images, masks)
        doubts = self._class_masks.doubtful_classes(scan, images, masks)
        records = (
            self._make_record(
                name,
                place,
                facts[place],
                None if split_folder(name) in unlabelled else masks.get(name, []),
                table.without(doubts.get(name, ())),
            )
            for name, place in images.items()
        )
        return scan.make_listing(records, table.names)

    def _class_table(self, scan: Scan, labels: list[str]) -> ClassTable:
        if self.masks is None:
            scan.note_labels(())
            return ClassTable(self.classes or NO_CLASSES, [])
        return class_table(self, labels, self.root / self.masks, scan)

    def _image_facts(self, scan: Scan) -> MutableMapping[str, Any]:
        """`dicom_facts` of the readable images; files that are no DICOM, or hold no image, are refused."""
        places = scan.walk(normal_folder(self.images), DICOM_SUFFIXES, "a DICOM file")
        files = scan.places_by_name((self._file_name(place), place) for place in places)
        facts = scan.facts(files.items(), tags_kind(self.tags), partial(dicom_facts, tags=self.tags), "broken DICOM")
        for name, place in files.items():
            if "foreign" in facts.get(place, ()):
                reason, detail = facts.pop(place)["foreign"]
                scan.refused.append(Refused(name, reason, f"{place} {detail}".strip()))
        return facts

    def _file_name(self, place: str) -> str:
        return dicom_name(place, normal_folder(self.images))

    def _frames_of(self, place: str, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Name and place of each frame of a file."""
        name = self._file_name(place)
        if facts["frames"] == 1:
            return [(name, place)]
        return [(f"{name}/{frame:04d}", place) for frame in range(facts["frames"])]

    def _make_record(
        self, name: str, place: str, facts: Mapping[str, Any], masks: list[Mask] | None, table: ClassTable
    ) -> Record:
        """The record of a frame; ``masks`` are None if it is unlabelled."""
        shown = "unlabelled" if masks is None else self._class_masks.canonical(masks)
        content = table.content([self.window, self.bits, shown])
        known = [] if masks is None else table.known
        data: dict[str, Any] = {"masks": [mask[2] for mask in masks or ()], "known": known}
        file, metadata = self._file_name(place), dict(facts["tags"])
        if facts["frames"] > 1:
            data["frame"] = metadata["frame"] = int(name.removeprefix(f"{file}/"))
        group = patient_of(file, facts["patient"])
        own = {**facts, "bytes": facts["bytes"] // facts["frames"]}
        drawn = None if self.masks is None else [mask[0] for mask in masks or ()]
        return replace(make_record(name, place, own, content, group=group, data=data, drawn=drawn), metadata=metadata)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        path, frame = self.root / record.data["image"], record.data.get("frame")
        image = self._view.picture(open_dicom(path, keep=frame is not None), frame or 0)
        check_size(path, image, record)
        return make_sample(record, image, self._class_masks.load_planes(record, classes), known_bits(record, classes))
