"""Which files are images of volumes, which are labels, and the samples that they are of: by their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from augforge.errors import SourceError
from augforge.sources.core import Refused
from augforge.sources.formats.dicom.facts import dicom_name
from augforge.sources.formats.volume.file import is_volume, volume_name
from augforge.sources.scan.records import normal_folder
from augforge.sources.scan.scanning import Scan
from augforge.sources.scan.walking import is_below, places_outside


@dataclass(frozen=True, slots=True)
class Naming:
    """How samples are named after the files of a folder.

    Attributes:
        option: of the recipe that gives the pattern.
        folder: below the source's root, `normal_folder`.
        pattern: that whole names of files fit; its first group is the sample, a second one a label. None: the names are
            the samples.
    """

    option: Literal["image_name", "label_name"]
    folder: str
    pattern: str | None = None

    def sample(self, place: str) -> str | None:
        """The sample of a file, whose name, or for DICOM that of its folder, fits; None if none does."""
        return self._group(place, 0) or (None if is_volume(place) else self.of_folder(place.rpartition("/")[0]))

    def of_folder(self, place: str) -> str | None:
        """The sample of a folder of DICOM files; None if its name does not fit, and for the folder of all."""
        return None if place in ("", self.folder) else self._group(place, 0)

    def label(self, place: str) -> str | None:
        """The label that a file's name says."""
        return self._group(place, 1)

    def _group(self, place: str, number: int) -> str | None:
        name = (volume_name if is_volume(place) else dicom_name)(place, self.folder)
        if self.pattern is None:
            return name
        found = re.fullmatch(self.pattern, name)
        return (found[number + 1] or "").strip("/") or None if found else None

    @property
    def names_labels(self) -> bool:
        """Whether names of files say labels."""
        return re.compile(self.pattern or "").groups > 1

    def within(self, folder: str) -> Naming:
        """The naming for a folder in this one."""
        return replace(self, folder=normal_folder(f"{self.folder}/{folder}"))

    def keep_fitting(self, scan: Scan, places: Sequence[str]) -> list[str]:
        """The files whose names fit; others, or their folders of DICOM, are refused. SourceError if all are."""
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
    """A volume's file, or the folder of slices that a DICOM file lies in."""
    return place if is_volume(place) else place.rpartition("/")[0] or place


@dataclass(frozen=True, slots=True)
class LabelFiles:
    """Where files of labels are found.

    Attributes:
        naming: of them.
        images: of the images.
        beside: files of labels that lie among the images.
    """

    naming: Naming
    images: Naming
    beside: Sequence[str] = ()

    def within(self, folder: str) -> LabelFiles:
        """The files in a folder of the labels."""
        return replace(self, naming=self.naming.within(folder))

    def walk(self, scan: Scan, suffixes: Collection[str], what: str) -> list[str]:
        """Places of the files; those of other names are refused."""
        top, other = self.naming.folder, self.images.folder
        if top == other:
            places = [*self.beside]
        else:
            places = scan.walk(top, suffixes, what)
            places = places if is_below(top, other) else places_outside(places, [other])
        return self.naming.keep_fitting(scan, places)

    def require_a_match(self, scan: Scan, samples: Collection[str], images: Collection[str]) -> None:
        """SourceError if there are labels, and none is of an image, by their names."""
        if samples and images and not any(name in images or name in scan.bad_names for name in samples):
            scan.raise_problems()
            raise SourceError(
                f"{scan.root / self.naming.folder} holds no labels of an image: names there are such as "
                f"{next(iter(samples))}, of images {next(iter(images))}; expected the same. Say by source.image_name "
                "and source.label_name what in a name is the sample's (augforge sources volume), or rename the files."
            )


def check_apart(images: Naming, labels: Naming | None, by_folder: bool) -> None:
    """ValueError if images and labels lie in one folder, and names do not tell them apart."""
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
    """Files in the images' folder without those of labels, and where labels are found."""
    if labels is None:
        return [*places], None
    top, other = images.folder, labels.folder
    if top != other:
        return [*places] if is_below(top, other) else places_outside(places, [other]), LabelFiles(labels, images)
    ours = {place for place in places if labels.sample(place) is not None}
    beside = sorted(ours) or places  # an error if none is ours
    return [place for place in places if place not in ours], LabelFiles(labels, images, beside)
