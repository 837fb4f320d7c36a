"""Volumes as slices: NIfTI, TIFF stacks and DICOM series, with label volumes beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from augforge import bitmask
from augforge.errors import SourceError
from augforge.sample import Image, Sample
from augforge.sources.classes import ClassTable, scanned_table
from augforge.sources.core import Listing, Record, Refused, Source
from augforge.sources.dicom_pixels import between, to_bits
from augforge.sources.index_mask import distinct
from augforge.sources.kept import KEPT
from augforge.sources.loading import check_size, known_bits, loaded
from augforge.sources.options import NO_CLASSES
from augforge.sources.patients import patient_of, tell_mixed
from augforge.sources.records import record_of
from augforge.sources.scanning import Scan
from augforge.sources.value_names import ValueNames
from augforge.sources.volume_file import Volume, read_volume
from augforge.sources.volume_grid import Axis, Grid, Turn
from augforge.sources.volume_labels import kept_labels
from augforge.sources.volume_listing import Labels, Listed, image_volumes, label_volumes
from augforge.sources.volume_series import read_series
from augforge.store.filecache import FileCache

Percent = Annotated[float, Field(ge=0, le=100)]


class VolumeSlices(Source):
    """Reads volumes slice by slice: NIfTI, gray TIFF stacks, and folders of DICOM slices, which are put in order.

    Slices are cut along ``axis`` and named by their number from 0: ``P01/scan1/0042``. The planes ``axial``,
    ``coronal`` and ``sagittal`` are found by the volume's affine, the nearest axis each, and seen as radiologists do:
    the patient's right at the picture's left (front, in sagittal ones), the head or the front above; they count from
    feet to head, front to back, right to left. The axes 0, 1 and 2 are those of the file (nibabel's for NIfTI; for
    TIFF and DICOM pages or files, rows, columns), and nothing is turned. Default are axial slices of NIfTI, and pages
    or files as they are.

    With ``channels`` the neighbours of a slice become the channels of a colour image (2.5D), the masks being those of
    the slice itself; four channels count as RGBA in steps that treat colours. Values become 8 or 16 bits by one range
    for a whole volume, so that its slices stay comparable; NaN is the least.

    A group is the first folder of the name, ``P01`` here, ``sub-01`` in BIDS, or the PatientID of a DICOM series, so
    slices of a patient never part; folders with files of several groups are told.

    Label volumes are NIfTI or TIFF, of whole numbers however they are stored, and must lie where their image lies;
    their axes may be stored in another order. Their values name classes: by ``values``; or else ``classes`` in order
    from 1; or else each value that occurs is a class, named by its number. With ``labels_by: folder`` there is a folder
    of volumes for each class instead, any voxel that is not zero being the class. Label volumes are decoded when they
    are listed, images only when they are loaded: whole, and the last ones are kept, up to 512 MiB in each process.
    """

    adapter_version: ClassVar[int] = 2
    layout: ClassVar[str] = """\
ROOT/                          source.path
  images/P01/scan1.nii.gz      folders are part of the name, the first is the usual group; .nii, .tif too
  images/P02/ct/IM0001         or a folder for each DICOM series, in files of any name
  labels/P01/scan1.nii.gz      the same name; masks: labels/liver/P01/scan1.nii.gz with labels_by: folder
  labels/P02/ct.nii.gz         labels: null where there are none"""

    format: Literal["volume"] = "volume"
    images: str = Field("images", description="folder of the volumes")
    labels: str | None = Field("labels", description="folder of the label volumes; null: nothing is labelled")
    labels_by: Literal["value", "folder"] = Field(
        "value", description="what names a class: the value of a voxel, or the folder that a volume lies in"
    )
    values: dict[int, str] | None = Field(
        None,
        description='voxel value -> label, such as {"1": liver, "2": spleen}; null counts the classes from 1',
        examples=[{1: "liver", 2: "spleen"}],
    )
    background: int | None = Field(0, description="value that is no class, unless values names it; null: there is none")
    void: int | None = Field(
        None, description="value of voxels that are class ignore, such as 255; null: there is none"
    )
    missing_labels: Literal["error", "empty", "unlabelled"] = Field(
        "error",
        description="a volume without labels, or without those of a folder: broken, or labelled and empty, or unknown",
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
    def _sound(self) -> VolumeSlices:
        if self.channels is not None and len(self.channels) not in (3, 4):
            raise ValueError(f"channels are {list(self.channels)}; expected 3 or 4 neighbours, such as [-1, 0, 1]")
        for key, ends in (("window", self.window), ("percentiles", self.percentiles)):
            if ends is not None and not (np.isfinite(ends).all() and ends[0] < ends[1]):
                raise ValueError(f"{key} are {list(ends)}; expected the lower number first")
        if self.window is not None and "percentiles" in self.model_fields_set:
            raise ValueError("window and percentiles both say what is black and white; give one of the two")
        return self

    @property
    def _names(self) -> ValueNames:
        return ValueNames(self, self.values, self.background, self.void)

    # ---- listing ----

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        scan.need_folder(self.images)
        folders = self._label_folders(scan)
        images = image_volumes(scan, self.images, self.axis)
        tell_mixed(scan, ((name, image.facts.get("patient", "")) for name, image in images.items()))
        labels = {label: label_volumes(scan, place, images, self.check_affine) for label, place in folders.items()}
        table, names = self._classes(scan, labels)
        records = [
            record
            for name, image in images.items()
            for record in self._records(scan, name, image, labels, table, names)
        ]
        return scan.listing(records, table.names)

    def _label_folders(self, scan: Scan) -> dict[str, str]:
        """Where label volumes lie, by the label that the folder stands for; empty where their values name classes."""
        if self.labels is None:
            return {}
        scan.need_folder(self.labels)
        if self.labels_by == "value":
            return {"": self.labels}
        return {label: f"{self.labels}/{label}" for label in scan.folders(self.labels)}

    def _classes(
        self, scan: Scan, labels: Mapping[str, Mapping[str, Labels]]
    ) -> tuple[ClassTable, dict[str, str | None]]:
        """The class table, and the class of each value or folder."""
        if self.labels is None:
            return ClassTable(self.classes or NO_CLASSES, []), {}
        if self.labels_by == "folder":
            meaning = {label: label for label in labels}
        else:
            found = (value for listed in labels[""].values() for value in listed.facts["values"])
            meaning = {str(value): label for value, label in self._names.meaning(found).items()}
        table = scanned_table(scan, meaning.values(), self.root / self.labels)
        return table, {key: self.class_of(label) for key, label in meaning.items()}

    def _records(
        self,
        scan: Scan,
        name: str,
        image: Listed,
        labels: Mapping[str, Mapping[str, Labels]],
        table: ClassTable,
        names: dict[str, str | None],
    ) -> Iterator[Record]:
        """The slices of a volume."""
        own = {label: found[name] for label, found in labels.items() if name in found}
        missing = [label for label in labels if label not in own]
        self._check(scan, name, image, own, missing, names)
        if name in scan.bad:
            return
        data: dict[str, Any] = {
            "turn": [image.turn.order, image.turn.flips],
            "labels": [[label, found.place, found.turn.order, found.turn.flips] for label, found in own.items()],
            "names": names,
            "known": self._known(table, missing, names),
            "series": image.facts if "files" in image.facts else None,
        }
        count, height, width = image.shape
        if not self._slices(count):
            detail = f"{image.place} has {count} slices, fewer than channels {list(self.channels or ())} reach over"
            scan.refused.append(Refused(name, "too few slices", detail))
        view = [self.window, self.percentiles, self.bits, self.channels, self.edge, data["turn"], data["known"]]
        facts = {**image.facts, "bytes": image.facts["bytes"] // count}
        group = patient_of(name, image.facts.get("patient", ""))
        for k in self._slices(count):
            annotation = table.content(
                [view, [[label, found.facts["slices"][k]] for label, found in own.items()], names]
            )
            record = record_of(
                f"{name}/{k:04d}",
                image.place,
                facts,
                annotation,
                group=group,
                data={**data, "slice": k},
                size=(width, height),
            )
            yield replace(record, metadata={"slice": k})

    def _check(
        self,
        scan: Scan,
        name: str,
        image: Listed,
        own: Mapping[str, Labels],
        missing: Sequence[str],
        names: Mapping[str, str | None],
    ) -> None:
        """Labels that are missing, or whose values name nothing, are wrong."""
        if missing and self.missing_labels == "error" and name not in scan.bad:
            where = "/".join(part for part in (self.labels, missing[0], name) if part)
            fact = f"{scan.root / image.place} has no label volume {where}"
            scan.wrong(name, "no labels", f"{fact}; expected one. Add it, or set missing_labels.")
        if self.labels_by == "value" and own:
            self._names.check(scan, name, own[""].place, own[""].facts["values"], names)

    def _known(self, table: ClassTable, missing: Sequence[str], names: Mapping[str, str | None]) -> list[str]:
        if not missing or self.missing_labels == "empty":
            return table.known
        lost = {names[label] for label in missing} if self.labels_by == "folder" else set(table.known)
        return [name for name in table.known if name not in lost]

    def _slices(self, count: int) -> range:
        if self.channels is None or self.edge == "repeat":
            return range(count)
        return range(max(0, -min(self.channels)), min(count, count - max(self.channels)))

    # ---- loading ----

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        volume = self._volume(record)
        image = self._picture(volume, Turn(*record.data["turn"])(volume.values), record)
        planes = bitmask.empty(record.height, record.width, len(classes))
        for label, place, *turn in record.data["labels"]:
            cuts = Turn(*turn)(kept_labels(self.root / place).values)
            self._check_cuts(place, cuts, record)
            for name, mask in self._masks(cuts[record.data["slice"]], label, record.data["names"]):
                if name is not None:
                    bitmask.merge_class(planes, classes.index(name), mask)
        return loaded(record, image, planes, known_bits(record, classes))

    def _volume(self, record: Record) -> Volume:
        """The record's volume, kept for its next slice."""
        path, facts = self.root / record.data["image"], record.data.get("series")
        if facts is None:
            return KEPT.get(path, "volume", lambda: read_volume(path), lambda volume: volume.nbytes)
        return KEPT.get(
            path,
            f"series {facts['sha256']}",
            lambda: read_series(self.root, facts["files"], Grid.of(facts)),
            lambda volume: volume.nbytes,
        )

    def _check_cuts(self, place: str, cuts: NDArray[Any], record: Record) -> None:
        """SourceError unless a volume still has the slice that was listed."""
        check_size(self.root / place, cuts[0], record)
        if record.data["slice"] >= len(cuts):
            raise SourceError(f"{self.root / place} has {len(cuts)} slices now, fewer than were listed. Start again.")

    def _picture(self, volume: Volume, cuts: NDArray[Any], record: Record) -> Image:
        """A slice with 8 or 16 bits: (H, W), or (H, W, 3|4) of it and its neighbours."""
        self._check_cuts(record.data["image"], cuts, record)
        low, high = self.window or volume.range(self.percentiles)

        def gray(number: int) -> Image:
            cut = cuts[min(max(number, 0), len(cuts) - 1)].astype(np.float64) * volume.slope + volume.inter
            return to_bits(between(np.nan_to_num(cut, nan=low, posinf=high, neginf=low), low, high), self.bits)

        k = record.data["slice"]
        if self.channels is None:
            return np.ascontiguousarray(gray(k))
        return np.ascontiguousarray(np.stack([gray(k + offset) for offset in self.channels], axis=-1))

    def _masks(
        self, cut: NDArray[Any], label: str, names: Mapping[str, str | None]
    ) -> Iterator[tuple[str | None, NDArray[np.bool_]]]:
        """The classes in a slice of labels, and where they are."""
        if self.labels_by == "folder":
            yield names[label], cut > 0
            return
        for value in distinct(cut):
            yield names.get(str(value)), cut == value
