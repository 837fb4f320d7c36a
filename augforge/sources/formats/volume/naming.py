"""Which files are images, which are labels, and the sample that each belongs to, by their names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from augforge.errors import SourceError
from augforge.sources.core import Refused
from augforge.sources.formats.dicom.facts import dicom_name
from augforge.sources.formats.volume.file import is_volume, volume_name
from augforge.sources.patterns import check_pattern, search
from augforge.sources.scan.records import normal_folder
from augforge.sources.scan.scanning import Scan
from augforge.sources.scan.walking import is_below, places_outside


@dataclass(frozen=True, slots=True)
class Naming:
    """How the names of files in a folder become the names of samples.

    Attributes:
        option: the recipe's option that holds the pattern.
        folder: relative to the source's root, in the form of `normal_folder`.
        pattern: regular expression for whole file names; its first group is the sample, a second group the label.
            None if file names are sample names.
    """

    option: Literal["image_name", "label_name"]
    folder: str
    pattern: str | None = None

    def sample(self, place: str) -> str | None:
        """The sample of a file: by its name or, for DICOM, that of its folder; None if neither fits."""
        return self._group(place, 0) or (None if is_volume(place) else self.of_folder(place.rpartition("/")[0]))

    def of_folder(self, place: str) -> str | None:
        """The sample of a folder of DICOM files; None if its name does not fit, or if it is the folder of all files."""
        return None if place in ("", self.folder) else self._group(place, 0)

    def label(self, place: str) -> str | None:
        """The label in a file's name, or None."""
        return self._group(place, 1)

    def _group(self, place: str, number: int) -> str | None:
        name = (volume_name if is_volume(place) else dicom_name)(place, self.folder)
        if self.pattern is None:
            return name
        try:
            found = search(self.pattern, name, "fullmatch")
        except ValueError as error:
            raise SourceError(f"{error}. Correct source.{self.option}.") from None
        return (found[number + 1] or "").strip("/") or None if found else None

    @property
    def names_labels(self) -> bool:
        """Whether file names contain labels."""
        return check_pattern(self.pattern or "") > 1

    def within(self, folder: str) -> Naming:
        """The naming for a folder inside this one."""
        return replace(self, folder=normal_folder(f"{self.folder}/{folder}"))

    def keep_fitting(self, scan: Scan, places: Sequence[str]) -> list[str]:
        """The files whose names fit; others, or their DICOM folders, are refused. Raises SourceError if none fits."""
        if self.pattern is None:
            return [*places]
        found = [place for place in places if self.sample(place) is not None]
        if places and not found:
            scan.raise_problems()
            raise SourceError(
                f"{scan.root / self.folder}: no name fits {self.pattern}, but there is {places[0]}; expected names "
                f"below that folder without .nii.gz or the like, whole. Correct source.{self.option}."
            )
        left = dict.fromkeys(_file_or_folder(place) for place in sorted({*places} - {*found}))
        scan.refused += [Refused(place, f"name does not fit {self.option}", place) for place in left]
        return found


def _file_or_folder(place: str) -> str:
    """The place of a volume's file; for a DICOM file, the folder of its series."""
    return place if is_volume(place) else place.rpartition("/")[0] or place


@dataclass(frozen=True, slots=True)
class LabelFiles:
    """Where files of labels lie.

    Attributes:
        naming: of the labels.
        images: naming of the images.
        beside: files of labels that lie in the folder of the images.
    """

    naming: Naming
    images: Naming
    beside: Sequence[str] = ()

    def within(self, folder: str) -> LabelFiles:
        """The files in one folder of the labels."""
        return replace(self, naming=self.naming.within(folder))

    def walk(self, scan: Scan, suffixes: Collection[str], what: str) -> list[str]:
        """Places of the files; those whose names do not fit are refused."""
        top, other = self.naming.folder, self.images.folder
        if top == other:
            places = [*self.beside]
        else:
            places = scan.walk(top, suffixes, what)
            places = places if is_below(top, other) else places_outside(places, [other])
        return self.naming.keep_fitting(scan, places)

    def require_a_match(self, scan: Scan, samples: Collection[str], images: Collection[str]) -> None:
        """Raise SourceError if there are labels and images, but no label has the name of an image."""
        if samples and images and not any(name in images or name in scan.bad_names for name in samples):
            scan.raise_problems()
            raise SourceError(
                f"{scan.root / self.naming.folder} holds no labels of an image: names there are such as "
                f"{next(iter(samples))}, of images {next(iter(images))}; expected the same. Say by source.image_name "
                "and source.label_name what in a name is the sample's (augforge sources volume), or rename the files."
            )


def check_apart(images: Naming, labels: Naming | None, by_folder: bool) -> None:
    """Raise ValueError if images and labels lie in one folder, and their names do not distinguish them."""
    if labels is None or images.folder != labels.folder:
        return
    if labels.pattern is None or (by_folder and not labels.names_labels):
        example = "(.*)/masks/(.*), whose second group is the class" if by_folder else "(.*)_seg"
        raise ValueError(
            f"images and labels both lie in '{images.folder}'; tell them apart by label_name, such as {example}"
        )


def separate_labels(
    places: Sequence[str], images: Naming, labels: Naming | None
) -> tuple[list[str], LabelFiles | None]:
    """The files in the images' folder that are no labels, and where the labels lie."""
    if labels is None:
        return [*places], None
    top, other = images.folder, labels.folder
    if top != other:
        return [*places] if is_below(top, other) else places_outside(places, [other]), LabelFiles(labels, images)
    label_places = {place for place in places if labels.sample(place) is not None}
    beside = sorted(label_places) or places  # if no name fits, `keep_fitting` raises the error
    return [place for place in places if place not in label_places], LabelFiles(labels, images, beside)
