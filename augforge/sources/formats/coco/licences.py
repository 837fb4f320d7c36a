"""Licences in a COCO file: `licenses`, the `license` of each image, and `info.contributor`, whom to name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from augforge.sources.formats.coco.layout import AnnotationFile
from augforge.sources.licences import Licence
from augforge.sources.scan.scanning import Scan


@dataclass(frozen=True, slots=True)
class FileLicences:
    """The licences of a file's images.

    Attributes:
        licences: those that it lists and that say something.
        by_image: place in `licences` by the image's file name; images without licence are left out.
        unknown: how many images name a licence that the file does not list.
    """

    licences: tuple[Licence, ...]
    by_image: Mapping[str, int]
    unknown: int = 0

    def of(self, file_name: str) -> Licence | None:
        """The licence of an image, or None."""
        place = self.by_image.get(file_name)
        return None if place is None else self.licences[place]

    def to_json(self) -> dict[str, Any]:
        """The licences as the cache keeps them."""
        plain = [licence.model_dump() for licence in self.licences]
        return {"licences": plain, "by_image": dict(self.by_image), "unknown": self.unknown}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FileLicences:
        """`to_json` undone."""
        return cls(tuple(map(Licence.model_validate, data["licences"])), data["by_image"], data["unknown"])


def read_licences(document: Mapping[str, Any], file_names: Mapping[Any, str]) -> FileLicences:
    """The licences of a file's images. What is not as COCO has it says nothing: a licence never stops a build.

    Args:
        document: the file's content.
        file_names: by the ids of its images.
    """
    listed = _listed_licences(document)
    licences = tuple(dict.fromkeys(licence for licence in listed.values() if licence is not None))
    # The only licence of a file is that of images that name none.
    only = licences[0] if len(licences) == 1 and len(listed) == 1 else None
    found: dict[str, int] = {}
    unknown = 0
    for image in document["images"]:
        number, name = image.get("license"), file_names.get(image.get("id"))
        stated = number not in (None, "")
        unknown += stated and str(number) not in listed
        licence = listed.get(str(number)) if stated else only
        if licence is not None and name is not None:
            found[name] = licences.index(licence)
    return FileLicences(licences, found, unknown)


def licences_of_files(scan: Scan, files: Iterable[AnnotationFile]) -> dict[str, FileLicences]:
    """The licences of annotation files by their places; all of them are made known to the scan."""
    found: dict[str, FileLicences] = {}
    for file in files:
        if file.place in found:
            continue
        found[file.place] = licences = FileLicences.from_json(file.facts["licences"])
        scan.licences |= {licence.key: licence for licence in licences.licences}
        if licences.unknown:
            scan.warnings.append(
                f"{file.place}: {licences.unknown} images name a license that is none of licenses; it is left out"
            )
    return found


def _listed_licences(document: Mapping[str, Any]) -> dict[str, Licence | None]:
    """The licences of the file by their ids as text; None for one that says nothing, as tools write by default."""
    entries, info = document.get("licenses"), document.get("info")
    contributor = _text(info.get("contributor")) if isinstance(info, dict) else ""
    found: dict[str, Licence | None] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            found.setdefault(str(entry.get("id")), _licence(entry, contributor))
    return found


def _licence(entry: Mapping[str, Any], contributor: str) -> Licence | None:
    name, url = _text(entry.get("name")), _text(entry.get("url"))
    attribution = _text(entry.get("attribution")) or contributor
    return Licence(name=name or url, url=url, attribution=attribution) if name or url else None


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
