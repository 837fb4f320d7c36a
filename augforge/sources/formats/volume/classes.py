"""The classes that label volumes name: the class table, the known classes of each volume, and missing labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from augforge.sample import IGNORE, NO_CLASSES
from augforge.sources.classes import ClassTable, class_table_of_scan
from augforge.sources.core import Refused
from augforge.sources.formats.volume.listing import Labels, Listed, find_segmentations, label_places, label_volumes
from augforge.sources.formats.volume.naming import LabelFiles
from augforge.sources.raster.value_names import ValueNames
from augforge.sources.scan.documents import read_json
from augforge.sources.scan.records import normal_folder
from augforge.sources.scan.scanning import Scan
from augforge.sources.scan.walking import is_below

LabelsBy = Literal["value", "folder", "segment"]
Missing = Literal["error", "empty", "unlabelled"]


@dataclass(frozen=True, slots=True)
class LabelRules:
    """How label volumes are read.

    Attributes:
        files: where they lie; None if nothing is labelled.
        by: what names a class.
        missing: what a volume without labels, or without some of them, counts as.
        values: what values mean, if values name classes.
        check_affine: whether the affine of labels must agree with that of their image.
    """

    files: LabelFiles | None
    by: LabelsBy
    missing: Missing
    values: ValueNames
    check_affine: bool

    def list_labels(self, scan: Scan, images: Mapping[str, Listed]) -> VolumeClasses:
        """The label volumes of some images, and the classes that they name."""
        if self.files is None:
            scan.note_labels(())
            return VolumeClasses(self, {}, ClassTable(scan.source.classes or NO_CLASSES, []), {})
        labels = self._find_labels(scan, self.files, images)
        if self.by == "value":
            found = {value for listed in labels[""].values() for value in listed.facts["values"]}
            there = {*map(str, found)}
            meaning = {str(value): label for value, label in self.values.labels_by_value(found).items()}
        else:
            there, meaning = {*labels}, {label: label for label in labels}
        table = class_table_of_scan(scan, meaning.values(), scan.root / self.files.naming.folder)
        scan.drawn_somewhere = {*scan.source.classes_of(label for key, label in meaning.items() if key in there)}
        return VolumeClasses(self, labels, table, {key: scan.source.class_of(label) for key, label in meaning.items()})

    def describe_labels(self, label: str, name: str) -> str:
        """The labels that an image lacks, for messages; ``label`` is empty if values name classes."""
        if self.files is None:
            return "labels"
        naming = self.files.naming
        by_name = f" (label_name: {naming.pattern})" if naming.pattern else ""
        if self.by == "segment":
            return f"segment '{label}' in {normal_folder(f'{naming.folder}/{name}')}{by_name}"
        return f"label volume {normal_folder(f'{naming.folder}/{label}/{name}')}{by_name}"

    def _find_labels(self, scan: Scan, files: LabelFiles, images: Mapping[str, Listed]) -> dict[str, dict[str, Labels]]:
        """Label volumes by label ("" if values name classes) and by the name of their image."""
        scan.require_folder(files.naming.folder)
        if self.by == "segment":
            return find_segmentations(scan, files, images)
        found: dict[str, dict[str, Labels]] = {}
        for label, own, places in self._places_by_label(scan, files):
            scan.note_labels([label] if label else [])
            if self.by == "value" or scan.source.class_of(label) is not None:
                found[label] = label_volumes(scan, own, places, images, self.check_affine)
        return found

    def _places_by_label(self, scan: Scan, files: LabelFiles) -> Iterator[tuple[str, LabelFiles, list[str]]]:
        """Each label, where its volumes are found, and their places."""
        if self.by == "value":
            yield "", files, label_places(scan, files)
        elif files.naming.names_labels:
            places: dict[str, list[str]] = {}
            for place in label_places(scan, files):
                if label := files.naming.label(place):
                    places.setdefault(label, []).append(place)
                else:
                    scan.refused.append(Refused(place, "name does not fit label_name", place))
            yield from ((label, files, places[label]) for label in sorted(places))
        else:
            for label in scan.folder_names(files.naming.folder):
                own = files.within(label)
                if not is_below(files.images.folder, own.naming.folder):
                    yield label, own, label_places(scan, own)


@dataclass(frozen=True, slots=True)
class VolumeClasses:
    """The label volumes of a source.

    Attributes:
        rules: how they are read.
        labels: the volumes by label and by the name of their image.
        table: the classes.
        names: the class of each value, folder or segment.
    """

    rules: LabelRules
    labels: Mapping[str, Mapping[str, Labels]]
    table: ClassTable
    names: dict[str, str | None]

    def of(self, name: str) -> dict[str, Labels]:
        """The label volumes of an image, by label."""
        return {label: found[name] for label, found in self.labels.items() if name in found}

    def covering(self, own: Mapping[str, Labels], numbers: range) -> Iterator[tuple[int, str]]:
        """Number of a slice and the class that covers all of it, in the label volumes of an image."""
        for label, found in own.items():
            shown = enumerate(found.facts.get("shown", ()))
            for number, value in ((number, values[0]) for number, values in shown if len(values) == 1):
                class_ = self._class_of(label, value) if value else None
                if class_ is not None and number in numbers:
                    yield number, class_

    def classes_in(self, own: Mapping[str, Labels], k: int) -> list[str] | None:
        """The classes in slice ``k`` of label volumes; None if that is not known, as of DICOM segments."""
        if not all("shown" in volume.facts for volume in own.values()):
            return None
        found = (self._class_of(label, value) for label, volume in own.items() for value in volume.facts["shown"][k])
        return [name for name in found if name is not None]

    def _class_of(self, label: str, value: int) -> str | None:
        """The class of a value in a label volume, whose folder names the class of all but 0 if values do not."""
        if self.rules.by == "value":
            return self.names.get(str(value))
        return self.names[label] if value else None

    def _missing(self, name: str) -> Iterator[str]:
        return (label for label, found in self.labels.items() if name not in found)

    def check(self, scan: Scan, name: str, image: Listed) -> None:
        """Report an image whose labels are missing, or hold values that name no class."""
        missing = next(self._missing(name), None)
        if missing is not None and self.rules.missing == "error" and name not in scan.bad_names:
            fact = f"{scan.root / image.place} has no {self.rules.describe_labels(missing, name)}"
            scan.bad_sample(name, "no labels", f"{fact}; expected one. Add it, or set missing_labels.")
        if self.rules.by == "value" and (own := self.of(name)):
            self.rules.values.check(scan, name, own[""].place, own[""].facts["values"], self.names)

    def known(self, name: str) -> list[str]:
        """The known classes of a volume; `ignore` is known if any other class is."""
        missing = list(self._missing(name))
        if not missing or self.rules.missing == "empty":
            return self.table.known
        if not self.of(name):
            return []
        lost = {self.names[label] for label in missing} - {IGNORE}
        return [name for name in self.table.known if name not in lost]


# ---- dataset.json ----

_FILE = "dataset.json"
"""The file in which nnU-Net and the Medical Segmentation Decathlon name the values."""


def named_values(scan: Scan, background: int | None) -> dict[int, str] | None:
    """The label of each value, without the background; None if nothing names them, or if the recipe lists others.

    Reads ``{"labels": {"liver": 1}}`` (nnU-Net) and ``{"labels": {"1": "liver"}}`` (Decathlon). A region of several
    values is no name of a value: then none is named, with a warning. Raises SourceError if the file is no JSON.
    """
    path = scan.root / _FILE
    document = read_json(path) if path.is_file() else None
    labels = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(labels, dict) or not labels:
        return None
    pairs = [_value_and_label(key, value) for key, value in labels.items()]
    values = {pair[0]: pair[1] for pair in pairs if pair is not None and pair[0] != background}
    if scan.source.classes is not None and not {*scan.source.classes} <= {
        IGNORE,
        *scan.source.classes_of(values.values()),
    }:
        return None
    if None in pairs:
        scan.warnings.append(f"{_FILE} gives labels several values, so it names none; name them in source.values")
        return None
    return dict(sorted(values.items()))


def _value_and_label(key: str, value: Any) -> tuple[int, str] | None:
    """A value and its label, of either form; None if it is of neither. Values may be written as text."""
    if type(value) is int:
        return value, key
    if not isinstance(value, str):
        return None
    return (int(key), value) if key.isdecimal() else (int(value), key) if value.isdecimal() else None
