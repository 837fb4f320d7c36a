"""Listing volumes: finding them and their label volumes, and deciding how each is cut into slices."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sources.core import Refused
from augforge.sources.formats.dicom.facts import DICOM_FACTS, DICOM_SUFFIXES, DicomSuffixes, dicom_facts
from augforge.sources.formats.volume.file import VOLUME_FACTS, is_volume, volume_facts
from augforge.sources.formats.volume.grid import Axis, Grid, Turn, align_labels
from augforge.sources.formats.volume.labels import label_facts, label_kind
from augforge.sources.formats.volume.naming import LabelFiles, Naming
from augforge.sources.formats.volume.segments import SEGMENT_FACTS, segment_facts
from augforge.sources.formats.volume.series import FRAMES_FACTS, frames_facts, series_facts
from augforge.sources.scan.agreeing import rename_agreeing
from augforge.sources.scan.scanning import Scan

_LABELS = frozenset({".nii", ".gz", ".tif", ".tiff"})
IMAGES = DicomSuffixes(DICOM_SUFFIXES | _LABELS)
"""Suffixes of files that may be volumes, or slices of a volume."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A volume: the place of its file or folder, its `volume_facts`, and how it is cut."""

    place: str
    facts: Mapping[str, Any]
    turn: Turn

    @property
    def shape(self) -> tuple[int, ...]:
        """Slices, rows and columns."""
        return Grid.of(self.facts).turned(self.turn).shape


@dataclass(frozen=True, slots=True)
class Labels:
    """A label volume: its place, its `label_facts`, and how it is cut."""

    place: str
    facts: Mapping[str, Any]
    turn: Turn

    @property
    def where(self) -> tuple[Any, ...]:
        """What loading needs to find and cut it."""
        return self.place, self.turn.order, self.turn.flips


# ---- images ----------------------------------------------------------------------------------------------------------


def image_volumes(
    scan: Scan, naming: Naming, places: Sequence[str], axis: Axis | None, modalities: Sequence[int] | None = None
) -> dict[str, Listed]:
    """The volumes in some files, by the names of their samples; broken ones are bad samples and left out.

    Args:
        places: of the files; those whose names do not fit are refused.
        axis: to cut along. None means ``axial`` for NIfTI, the slices of a series, and the pages of a TIFF.
        modalities: numbers of the volumes to read from each file; None means its only one.
    """
    files, series = _split_files(scan, naming.keep_fitting(scan, places))
    named = [(str(naming.sample(place)), place) for place in files]
    facts: MutableMapping[str, Any] = scan.facts(named, VOLUME_FACTS, volume_facts, "broken volume")
    for at, members in series.items():
        named += _add_dicom(scan, naming, at, members, facts)
    found: dict[str, Listed] = {}
    for name, place in scan.places_by_name(named).items():
        if place in facts:
            _add_cut(scan, name, place, facts[place], axis, modalities, found)
    return found


def _split_files(scan: Scan, places: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The files that are volumes, and by their folders the files that may be slices."""
    files: list[str] = []
    series: dict[str, list[str]] = {}
    for place in places:
        if is_volume(place):
            files.append(place)
        elif place.lower().endswith(".gz"):
            scan.refused.append(Refused(place, "not a volume", place))
        else:
            series.setdefault(place.rpartition("/")[0], []).append(place)
    return files, series


def _add_dicom(
    scan: Scan, naming: Naming, folder: str, files: list[str], facts: MutableMapping[str, Any]
) -> list[tuple[str, str]]:
    """Add the facts of the volumes in a folder of DICOM files, and give their names and places.

    A file of several frames is a volume by itself; all other files together are one. If one of them is broken, it is
    not known which of the two it is, so the series is left out. DICOM files that are no images are refused.
    """
    name = naming.of_folder(folder) or ""
    known = scan.facts(((name, place) for place in files), DICOM_FACTS, dicom_facts, "broken DICOM")
    slices: dict[str, Any] = {}
    frames: dict[str, Any] = {}
    for place, fact in known.items():
        if "foreign" in fact:
            reason, detail = fact["foreign"]
            scan.refused.append(Refused(place, reason, f"{place} {detail}".strip()))
        else:
            (slices if fact["frames"] == 1 else frames)[place] = fact
    named = [(str(naming.sample(place)), place) for place in frames]
    found = scan.facts(named, FRAMES_FACTS, frames_facts, "broken volume")
    for place, stack in found.items():
        _warn_of_odd_stack(scan, place, stack)
        facts[place] = {**stack, **{key: frames[place][key] for key in ("bytes", "sha256", "patient")}}
    if slices and len(known) == len(files):
        _add_series(scan, name, folder, slices, facts)
    return [*named, (name, folder)] if slices else named


def _add_series(scan: Scan, name: str, folder: str, slices: Mapping[str, Any], facts: MutableMapping[str, Any]) -> None:
    """Add the facts of the series that some slices form."""
    try:
        if not name:
            raise SourceError(f"{scan.root / folder} holds slices; expected a folder for each series in it. Make one.")
        files = {place.rpartition("/")[2]: fact for place, fact in slices.items()}
        facts[folder] = series_facts(scan.root / folder, files)
        _warn_of_odd_stack(scan, folder, facts[folder])
    except SourceError as error:
        scan.bad_sample(name, "broken series", str(error))


def _warn_of_odd_stack(scan: Scan, place: str, stack: Mapping[str, Any]) -> None:
    if stack["warning"]:
        scan.warnings.append(f"{place}: {stack['warning']}")


def _add_cut(
    scan: Scan,
    name: str,
    place: str,
    facts: Mapping[str, Any],
    axis: Axis | None,
    modalities: Sequence[int] | None,
    found: dict[str, Listed],
) -> None:
    grid = Grid.of(facts)
    usual: Axis = 0 if grid.affine is None or "slices" in facts else "axial"
    try:
        _check_volume_count(scan.root / place, facts, modalities)
        found[name] = Listed(place, facts, grid.cut(usual if axis is None else axis, scan.root / place))
    except SourceError as error:
        scan.bad_sample(name, "no such slices", str(error))


def _check_volume_count(path: Path, facts: Mapping[str, Any], modalities: Sequence[int] | None) -> None:
    """Raise SourceError unless a file holds the volumes that ``modalities`` asks for."""
    count = facts.get("volumes", 1)
    if modalities is None and count > 1:
        raise SourceError(
            f"{path} holds {count} volumes in its fourth dimension; expected one. Choose by modalities which are read, "
            "such as 0 for the first, or [0, 1, 2] for the channels of a colour image."
        )
    if modalities is not None and max(modalities) >= count:
        raise SourceError(
            f"{path} holds {count} volumes, and modalities asks for number {max(modalities)}; expected numbers from 0 "
            f"to {count - 1}. Correct modalities."
        )


# ---- labels ----------------------------------------------------------------------------------------------------------


def label_places(scan: Scan, files: LabelFiles) -> list[str]:
    """Places of the label volumes; others are refused."""
    places = files.walk(scan, _LABELS, "a label volume")
    scan.refused += [Refused(place, "not a label volume", place) for place in places if not is_volume(place)]
    return [place for place in places if is_volume(place)]


def label_volumes(
    scan: Scan, files: LabelFiles, places: Sequence[str], images: Mapping[str, Listed], check_affine: bool
) -> dict[str, Labels]:
    """Label volumes by the names of their images; those that do not fit are bad samples and left out."""
    found = scan.places_by_name((str(files.naming.sample(place)), place) for place in places)
    rename_agreeing(found, images)
    files.require_a_match(scan, found, images)
    scan.check_images_exist(found, images)
    known = scan.facts(found.items(), VOLUME_FACTS, volume_facts, "broken labels")
    cuts: dict[Turn, list[tuple[str, str]]] = {}
    for name, place in found.items():
        if place in known and name in images:
            turn = _align_to_image(scan, name, place, known[place], images[name], check_affine)
            if turn is not None:
                cuts.setdefault(turn, []).append((name, place))
    labels: dict[str, Labels] = {}
    for turn, named in cuts.items():
        facts = scan.facts(named, label_kind(turn), partial(label_facts, turn=turn), "broken labels")
        labels |= {name: Labels(place, facts[place], turn) for name, place in named if place in facts}
    return labels


def _align_to_image(
    scan: Scan, name: str, place: str, facts: Mapping[str, Any], image: Listed, check_affine: bool
) -> Turn | None:
    labels, grid = Grid.of(facts), Grid.of(image.facts)
    try:
        if (count := facts.get("volumes", 1)) > 1:
            raise SourceError(
                f"{scan.root / place} holds {count} volumes; expected one of labels. Save that one alone."
            )
        return align_labels(labels, scan.root / place, grid, scan.root / image.place, image.turn, check_affine)
    except SourceError as error:
        scan.bad_sample(name, "labels do not fit", str(error))
        return None


def find_segmentations(scan: Scan, files: LabelFiles, images: Mapping[str, Listed]) -> dict[str, dict[str, Labels]]:
    """DICOM segmentations, by the labels of their segments and by the names of their images.

    A segmentation is named as its image, or lies alone in a folder that is. Those that do not fit are bad samples.
    """
    named = []
    for place in files.walk(scan, DICOM_SUFFIXES, "a DICOM file"):
        name = str(files.naming.sample(place))
        named.append((name if name in images else files.naming.of_folder(place.rpartition("/")[0]) or name, place))
    found = scan.places_by_name(named)
    rename_agreeing(found, images)
    files.require_a_match(scan, found, images)
    scan.check_images_exist(found, images)
    labels: dict[str, dict[str, Labels]] = {}
    for name, place in found.items():
        if name in images and (facts := _facts_of_segments(scan, name, place, images[name])):
            for label in facts["labels"]:
                labels.setdefault(label, {})[name] = Labels(place, facts, images[name].turn)
    return dict(sorted(labels.items()))


def _facts_of_segments(scan: Scan, name: str, place: str, image: Listed) -> dict[str, Any] | None:
    """`segment_facts` on the slices of an image, or None after reporting a problem."""
    if "slices" not in image.facts:
        fact = f"{scan.root / place} is the segmentation of {scan.root / image.place}; expected an image that is DICOM"
        scan.bad_sample(name, "labels do not fit", f"{fact}. Save the labels as {image.place.rpartition('.')[2]}, too.")
        return None
    grid = {key: image.facts[key] for key in ("shape", "affine", "positions")}
    kind = f"{SEGMENT_FACTS} {digest(grid, image.turn.order, image.turn.flips)}"
    facts = scan.facts([(name, place)], kind, partial(segment_facts, image=grid, turn=image.turn), "labels do not fit")
    return facts.get(place)
