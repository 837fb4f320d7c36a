"""Listing volumes: which there are, how each is cut into slices, and the label volumes that lie on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from augforge.errors import SourceError
from augforge.sources.core import Refused
from augforge.sources.dicom_facts import (
    DICOM_FACTS,
    DICOM_SUFFIXES,
    DicomSuffixes,
    dicom_facts,
    dicom_name,
)
from augforge.sources.scanning import Scan
from augforge.sources.volume_file import VOLUME_FACTS, is_volume, volume_facts, volume_name
from augforge.sources.volume_grid import Axis, Grid, Turn, aligned
from augforge.sources.volume_labels import label_facts, label_kind
from augforge.sources.volume_series import series_of

_LABELS = frozenset({".nii", ".gz", ".tif", ".tiff"})
_IMAGES = DicomSuffixes(DICOM_SUFFIXES | _LABELS)


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


# ---- images ----------------------------------------------------------------------------------------------------------


def image_volumes(scan: Scan, folder: str, axis: Axis | None) -> dict[str, Listed]:
    """The volumes in a folder by their names; broken ones are wrong and left out.

    Args:
        axis: to cut along; None is ``axial`` for NIfTI, the files of a series and the pages of a TIFF.
    """
    files, series = _walked(scan, folder)
    named = [(volume_name(place, folder), place) for place in files]
    facts = scan.facts(named, VOLUME_FACTS, volume_facts, "broken volume")
    for at, members in series.items():
        name = dicom_name(at, folder) if at.strip("/") != folder.strip("/") else ""
        named.append((name, at))
        _add_series(scan, name, at, members, facts)
    places = scan.unique(named)
    found: dict[str, Listed] = {}
    for name, place in places.items():
        if place in facts:
            _add_cut(scan, name, place, facts[place], axis, found)
    return found


def _walked(scan: Scan, folder: str) -> tuple[list[str], dict[str, list[str]]]:
    """Files that are volumes, and files that may be slices by their folders."""
    files: list[str] = []
    series: dict[str, list[str]] = {}
    for place in scan.walk(folder, _IMAGES, "a volume"):
        if is_volume(place):
            files.append(place)
        elif place.lower().endswith(".gz"):
            scan.refused.append(Refused(place, "not a volume", place))
        else:
            series.setdefault(place.rpartition("/")[0], []).append(place)
    return files, series


def _add_series(scan: Scan, name: str, folder: str, files: list[str], facts: dict[str, Any]) -> None:
    """Enter the facts of a folder of DICOM slices; what is no image in it is refused."""
    known = scan.facts(((name, place) for place in files), DICOM_FACTS, dicom_facts, "broken DICOM")
    slices = {}
    for place, fact in known.items():
        if "foreign" in fact:
            reason, detail = fact["foreign"]
            scan.refused.append(Refused(place, reason, f"{place} {detail}".strip()))
        else:
            slices[place] = fact
    if not slices or len(known) < len(files):
        return
    try:
        if not name:
            raise SourceError(f"{scan.root / folder} holds slices; expected a folder for each series in it. Make one.")
        series = series_of(scan.root / folder, slices)
    except SourceError as error:
        scan.wrong(name, "broken series", str(error))
        return
    facts[folder] = series.facts
    if series.warning:
        scan.warnings.append(f"{folder}: {series.warning}")


def _add_cut(
    scan: Scan, name: str, place: str, facts: Mapping[str, Any], axis: Axis | None, found: dict[str, Listed]
) -> None:
    grid = Grid.of(facts)
    usual: Axis = 0 if grid.affine is None or "files" in facts else "axial"
    try:
        found[name] = Listed(place, facts, grid.cut(usual if axis is None else axis, scan.root / place))
    except SourceError as error:
        scan.wrong(name, "no direction", str(error))


# ---- labels ----------------------------------------------------------------------------------------------------------


def label_volumes(scan: Scan, folder: str, images: Mapping[str, Listed], check_affine: bool) -> dict[str, Labels]:
    """The label volumes in a folder by the names of their images; what does not fit is wrong and left out."""
    places = []
    for place in scan.walk(folder, _LABELS, "a label volume"):
        if is_volume(place):
            places.append((volume_name(place, folder), place))
        else:
            scan.refused.append(Refused(place, "not a label volume", place))
    found = scan.unique(places)
    scan.need_images(found, images)
    known = scan.facts(found.items(), VOLUME_FACTS, volume_facts, "broken labels")
    cuts: dict[Turn, list[tuple[str, str]]] = {}
    for name, place in found.items():
        if place in known and name in images:
            turn = _turn_on(scan, name, place, known[place], images[name], check_affine)
            if turn is not None:
                cuts.setdefault(turn, []).append((name, place))
    labels: dict[str, Labels] = {}
    for turn, files in cuts.items():
        facts = scan.facts(files, label_kind(turn), partial(label_facts, turn=turn), "broken labels")
        labels |= {name: Labels(place, facts[place], turn) for name, place in files if place in facts}
    return labels


def _turn_on(
    scan: Scan, name: str, place: str, facts: Mapping[str, Any], image: Listed, check_affine: bool
) -> Turn | None:
    labels, grid = Grid.of(facts), Grid.of(image.facts)
    try:
        return aligned(labels, scan.root / place, grid, scan.root / image.place, image.turn, check_affine)
    except SourceError as error:
        scan.wrong(name, "labels do not fit", str(error))
        return None
