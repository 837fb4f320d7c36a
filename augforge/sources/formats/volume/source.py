"""Volumes as slices: NIfTI, TIFF stacks and DICOM series, with label volumes beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.sample import Sample
from augforge.sources.core import Listing, Record, Refused, Source, source
from augforge.sources.formats.volume.classes import LabelRules, LabelsBy, Missing, VolumeClasses, named_values
from augforge.sources.formats.volume.file import Volume, read_volumes
from augforge.sources.formats.volume.grid import Axis, Turn
from augforge.sources.formats.volume.labels import check_slices, recent_labels, slice_digest
from augforge.sources.formats.volume.listing import IMAGES, Labels, Listed, image_volumes
from augforge.sources.formats.volume.naming import Naming, check_apart, separate_labels
from augforge.sources.formats.volume.pictures import View
from augforge.sources.formats.volume.segments import placement_digest, recent_segments
from augforge.sources.formats.volume.stack import read_stack, slice_places
from augforge.sources.loading import known_bits, make_sample
from augforge.sources.options import Pattern
from augforge.sources.raster.value_names import ValueNames
from augforge.sources.raster.values import distinct
from augforge.sources.scan.patients import patient_of, warn_of_mixed_patients
from augforge.sources.scan.recent_files import RECENT_FILES
from augforge.sources.scan.records import make_record, normal_folder
from augforge.sources.scan.scanning import Scan

Percent = Annotated[float, Field(ge=0, le=100)]
Number = Annotated[int, Field(ge=0)]


@source
class VolumeSlices(Source):
    """Reads volumes slice by slice: NIfTI, gray TIFF stacks, and DICOM, whose slices are put in order by their places.

    A folder of DICOM files is a volume, a series; but a file of many frames (enhanced CT, MR or PET) is one by itself.
    Segmentations and doses among them are refused.

    Slices are cut along ``axis`` and named by their number from 0: ``P01/scan1/0042``. The planes ``axial``,
    ``coronal`` and ``sagittal`` are found by the volume's affine, the nearest axis each, and seen as radiologists do:
    the patient's right at the picture's left (front, in sagittal ones), the head or the front above; they count from
    feet to head, front to back, right to left. The axes 0, 1 and 2 are those of the file (nibabel's for NIfTI; for
    TIFF and DICOM pages or slices, rows, columns), and nothing is turned. Default are axial slices of NIfTI, and pages
    or DICOM slices as they are.

    With ``channels`` the neighbours of a slice become the channels of a colour image (2.5D), the masks being those of
    the slice itself; four channels count as RGBA in steps that treat colours. Of 4D NIfTI files, which hold modalities
    or times, ``modalities`` chooses one, or makes 3 or 4 of them the channels.

    Values become 8 or 16 bits by one range for a whole volume, so that its slices stay comparable. NaN and the padding
    of DICOM files have no part in that range and are black.

    A group is the first folder of the name, ``P01`` here, ``sub-01`` in BIDS, or the PatientID of a DICOM series, so
    slices of a patient never part; folders with files of several groups are reported.

    Label volumes are NIfTI or TIFF, of whole numbers however they are stored, and must lie where their image lies;
    their axes may be stored in another order. Their values name classes: by ``values``; or else by ``labels`` in a
    dataset.json (nnU-Net, Decathlon), unless ``classes`` has others; or else ``classes`` in order from 1; or else each
    value that occurs is a class, named by its number. With ``labels_by: folder`` there is a folder of volumes for each
    class instead, any voxel that is not zero being the class. With ``labels_by: segment`` labels of
    DICOM images are binary DICOM segmentations (SEG): their frames are laid on the slices by their places, the labels
    of their segments name classes, and segments may overlap. Labels are decoded when they are listed, images only when
    they are loaded: whole, and the last ones are kept, up to 512 MiB in each process.

    Where names of images and labels differ, ``image_name`` and ``label_name`` say what in them is the sample's. They
    are regular expressions that names fit, of files below the folder, or of the folders of DICOM files. Images and
    labels may then lie in one folder. Of a case with one file per modality one is read; for colour images make them 4D.

    - nnU-Net: ``images: imagesTr, labels: labelsTr, image_name: (.*)_0000``
    - LiTS: ``images: ., labels: ., image_name: .*volume-(.*), label_name: .*segmentation-(.*)``
    - KiTS: ``images: ., labels: ., image_name: (.*)/imaging, label_name: (.*)/segmentation``
    - BraTS: ``images: ., labels: ., image_name: (.*)_flair, label_name: (.*)_seg``
    - TotalSegmentator: ``images: ., labels: ., labels_by: folder, image_name: (.*)/ct,
    label_name: (.*)/segmentations/(.*)``
    """

    adapter_version: ClassVar[int] = 5
    layout: ClassVar[str] = """\
ROOT/                          source.path
  images/P01/scan1.nii.gz      folders are part of the name, the first is the usual group; .nii, .tif too
  images/P02/ct/IM0001         or a folder for each DICOM series, in files of any name
  images/P03/mr.dcm            or an enhanced DICOM file of many frames
  labels/P01/scan1.nii.gz      the same name; masks: labels/liver/P01/scan1.nii.gz with labels_by: folder
  labels/P02/ct.nii.gz         labels: null where there are none
  labels/P02/ct.dcm            or a DICOM SEG, also labels/P02/ct/1-1.dcm, with labels_by: segment"""

    format: Literal["volume"] = "volume"
    images: str = Field("images", description="folder of the volumes")
    labels: str | None = Field("labels", description="folder of the label volumes; null: nothing is labelled")
    image_name: Pattern | None = Field(
        None,
        description="regular expression that names of images fit, whole and without .nii.gz; its first (group) is the "
        "sample's name, others are refused; null: every volume is an image",
    )
    label_name: Pattern | None = Field(
        None,
        description="the same for labels; its first (group) is the name of their image, with labels_by: folder a "
        "second one the class",
    )
    labels_by: LabelsBy = Field(
        "value",
        description="what names a class: the value of a voxel, the folder that a volume lies in, or a segment of a "
        "DICOM SEG by its label",
    )
    values: dict[int, str] | None = Field(
        None,
        description='voxel value -> label, such as {"1": liver}; null takes dataset.json, or counts the classes from 1',
        examples=[{1: "liver", 2: "spleen"}],
    )
    background: int | None = Field(0, description="value that is no class, unless values names it; null: there is none")
    void: int | None = Field(
        None, description="value of voxels that are class ignore, such as 255; null: there is none"
    )
    missing_labels: Missing = Field(
        "error",
        description="a volume without labels, or without those of a folder or segment: broken, or labelled and empty, "
        "or unknown",
    )
    check_affine: bool = Field(
        True, description="false: labels lie on the image voxel by voxel as stored, whatever their affines say"
    )
    axis: Axis | None = Field(
        None,
        description="slices are axial, coronal or sagittal, or along the file's axis 0, 1 or 2; null: see above",
        examples=["axial"],
    )
    channels: tuple[int, ...] | None = Field(
        None, description="slices that make up a colour image, 3 or 4 of them, such as [-1, 0, 1]; null: gray"
    )
    edge: Literal["repeat", "drop"] = Field(
        "repeat",
        description="where a neighbour lacks: the slice at the edge stands for it, or no sample is made; "
        "a volume too thin for any is refused",
    )
    modalities: Number | tuple[Number, ...] | None = Field(
        None,
        description="which volumes of a 4D NIfTI file are read, counted from 0: one is gray; 3 or 4, such as [0, 1, 3],"
        " are the channels of a colour image, each with a range of its own; null: files hold one volume",
    )
    window: tuple[float, float] | None = Field(
        None,
        description="values from black to white, [low, high], such as [-160, 240] in Hounsfield units",
        examples=[(-160, 240)],
    )
    percentiles: tuple[Percent, Percent] = Field(
        (0, 100), description="without window: percentiles of the volume's values that are black and white"
    )
    bits: Literal[8, 16] = Field(8, description="of the images: uint8 or uint16")

    @model_validator(mode="after")
    def _check_options(self) -> VolumeSlices:
        check_apart(*self._namings, self.labels_by == "folder")
        if self.channels is not None and len(self.channels) not in (3, 4):
            raise ValueError(f"channels are {list(self.channels)}; expected 3 or 4 neighbours, such as [-1, 0, 1]")
        if isinstance(self.modalities, tuple) and len(self.modalities) not in (3, 4):
            raise ValueError(f"modalities are {list(self.modalities)}; expected a number, or 3 or 4, such as [0, 1, 3]")
        if isinstance(self.modalities, tuple) and self.channels is not None:
            raise ValueError("modalities and channels both say what the channels are; give one of the two")
        for key, ends in (("window", self.window), ("percentiles", self.percentiles)):
            if ends is not None and not (np.isfinite(ends).all() and ends[0] < ends[1]):
                raise ValueError(f"{key} are {list(ends)}; expected the lower number first")
        if self.window is not None and "percentiles" in self.model_fields_set:
            raise ValueError("window and percentiles both say what is black and white; give one of the two")
        return self

    @property
    def _volume_numbers(self) -> tuple[int, ...] | None:
        """Numbers of the volumes that are read of a file."""
        return (self.modalities,) if isinstance(self.modalities, int) else self.modalities

    @property
    def _namings(self) -> tuple[Naming, Naming | None]:
        """Of the images and of the labels."""
        labels = None if self.labels is None else Naming("label_name", normal_folder(self.labels), self.label_name)
        return Naming("image_name", normal_folder(self.images), self.image_name), labels

    @property
    def _view(self) -> View:
        return View(self.window, self.percentiles, self.bits, self.channels or (0,))

    # ---- listing ----

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        naming, labels_naming = self._namings
        scan.require_folder(naming.folder)
        if labels_naming is not None:
            scan.require_folder(labels_naming.folder)
        places, files = separate_labels(scan.walk(naming.folder, IMAGES, "a volume"), naming, labels_naming)
        images = image_volumes(scan, naming, places, self.axis, self._volume_numbers)
        warn_of_mixed_patients(scan, ((name, image.facts.get("patient", "")) for name, image in images.items()))
        named = self.values
        if named is None and self.labels is not None and self.labels_by == "value":
            named = named_values(scan, self.background)
        values = ValueNames(self, named, self.background, self.void)
        rules = LabelRules(files, self.labels_by, self.missing_labels, values, self.check_affine)
        labels = rules.list_labels(scan, images)
        records = (record for name, image in images.items() for record in self._make_records(scan, name, image, labels))
        return scan.make_listing(records, labels.table.names)

    def _make_records(self, scan: Scan, name: str, image: Listed, labels: VolumeClasses) -> Iterator[Record]:
        """The slices of a volume."""
        labels.check(scan, name, image)
        if name in scan.bad_names:
            return
        own = labels.of(name)
        data = {**_loading_data(image, own), "names": labels.names, "known": labels.known(name)}
        count, height, width = image.shape
        if not self._slice_range(count):
            detail = f"{image.place} has {count} slices, fewer than channels {list(self.channels or ())} reach over"
            scan.refused.append(Refused(name, "too few slices", detail))
        view = [astuple(self._view), self._volume_numbers, self.edge, data["turn"], data["known"]]
        facts = {**image.facts, "bytes": image.facts["bytes"] // count}
        group = patient_of(name, image.facts.get("patient", ""))
        nothing = slice_digest(np.zeros((height, width))) if self.labels_by == "folder" else None
        for k, class_ in labels.covering(own, self._slice_range(count)):
            scan.note_covered(f"{name}/{k:04d}", class_)
        for k in self._slice_range(count):
            shown = [[label, found.facts["slices"][k]] for label, found in own.items()]
            record = make_record(
                f"{name}/{k:04d}",
                image.place,
                facts,
                labels.table.content([view, shown, labels.names]),
                group=group,
                data={
                    **data,
                    "labels": [[label, *own[label].where] for label, cut in shown if cut != nothing],
                    "slice": k,
                },
                size=(width, height),
                drawn=labels.classes_in(own, k),
            )
            yield replace(record, metadata={"slice": k})

    def _slice_range(self, count: int) -> range:
        if self.channels is None or self.edge == "repeat":
            return range(count)
        return range(max(0, -min(self.channels)), min(count, count - max(self.channels)))

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        volumes = self._load_volumes(record)
        turn = Turn(*record.data["turn"])
        check_slices(self.root / record.data["image"], turn(volumes[0].values), record)
        image = self._view.picture(volumes, turn, record.data["slice"])
        planes = bitmask.empty(record.height, record.width, len(classes))
        for label, place, *cut in record.data["labels"]:
            for name, mask in self._load_masks(record, label, self.root / place, Turn(*cut), volumes[0]):
                if name is not None:
                    bitmask.merge_class(planes, classes.index(name), mask)
        return make_sample(record, image, planes, known_bits(record, classes))

    def _load_volumes(self, record: Record) -> list[Volume]:
        """The record's volume, or one for each of its modalities, kept for its next slice."""
        place, stack, numbers = record.data["image"], record.data["stack"], self._volume_numbers or (0,)

        def read() -> list[Volume]:
            if stack is None:
                return read_volumes(self.root / place, numbers)
            slices, _ = separate_labels(slice_places(self.root, place), *self._namings)
            return [read_stack(self.root, place, slices, stack)] * len(numbers)

        kind = f"volumes {numbers} {stack}"
        return RECENT_FILES.get(self.root / place, kind, read, lambda volumes: sum(volume.nbytes for volume in volumes))

    def _load_masks(
        self, record: Record, label: str, path: Path, turn: Turn, image: Volume
    ) -> Iterator[tuple[str | None, NDArray[np.bool_]]]:
        """The classes that a file names in a slice, by a label or by values, and where they are."""
        names, k = record.data["names"], record.data["slice"]
        if image.stack is not None and self.labels_by == "segment":
            segments = recent_segments(path, image.stack, record.data["lie"])
            yield names[label], segments.mask(turn(segments.codes)[k], label)
            return
        cuts = turn(recent_labels(path).values)
        check_slices(path, cuts, record)
        if self.labels_by == "folder":
            yield names[label], cuts[k] > 0
            return
        for value in distinct(cuts[k]):
            yield names.get(str(value)), cuts[k] == value


def _loading_data(image: Listed, labels: Mapping[str, Labels]) -> dict[str, Any]:
    """What loading needs of a volume for each of its slices: how it is cut, and what DICOM files must be as listed."""
    frames = next((one.facts["frames"] for one in labels.values() if "frames" in one.facts), None)
    return {
        "turn": [image.turn.order, image.turn.flips],
        "stack": image.facts["sha256"] if "slices" in image.facts else None,
        "lie": None if frames is None else placement_digest(frames, image.facts["shape"]),
    }
