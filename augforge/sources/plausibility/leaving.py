"""Annotation files and folders of data that nothing of a source reads."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from augforge.errors import plural, some
from augforge.sources.detecting.glance import IMAGES
from augforge.sources.listing import Finding, Refused
from augforge.sources.scan.walking import holds_file

FILES_ASIDE = "annotation files left aside"
FOLDERS_ASIDE = "folders left aside"
LOST_LINKS = "links that lead nowhere"
_ANNOTATIONS = (".json", ".xml", ".txt", ".csv", ".jsonl", ".ndjson")
_IMAGES = (*IMAGES, ".dcm")
_NO_ANNOTATION = ("readme", "license", "licence", "requirements", "classes", "notice", "changelog", "citation")
"""How names of files begin that say something else than what is in an image."""
_SHOWN = 3


def find_files_aside(refused: Iterable[Refused], told: Collection[str] = ()) -> Iterator[Finding]:
    """Files with a suffix of annotations that the listing refused as something that it does not read.

    ``told`` are those of which the format itself said that and why.
    """
    found = sorted(
        row.detail
        for row in refused
        if row.reason.startswith("not ")
        and row.detail not in told
        and row.detail.lower().endswith(_ANNOTATIONS)
        and not _says_else(row.detail)
    )
    if found:
        one = len(found) == 1
        yield Finding(
            FILES_ASIDE,
            f"{plural(len(found), 'file')} that may hold annotations {'is' if one else 'are'} not read: "
            f"{some(found, _SHOWN)}",
            "Name the file by the option of the format that reads it, or move it away",
            tuple(found),
        )


def _says_else(place: str) -> bool:
    return place.rpartition("/")[2].lower().startswith(_NO_ANNOTATION)


def find_folders_aside(root: Path, visited: Collection[str]) -> Iterator[Finding]:
    """Folders in the root that hold images or annotations, and that the scan did not look into.

    Args:
        root: of the source.
        visited: the first part of each place that the scan looked at; ``.`` if it walked the root itself.
    """
    if "." in visited or not visited or not root.is_dir():
        return
    with os.scandir(root) as entries:
        folders = sorted(
            entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        )
    found = [name for name in folders if name not in visited and holds_file(root / name, _is_data)]
    if found:
        one = len(found) == 1
        yield Finding(
            FOLDERS_ASIDE,
            f"{plural(len(found), 'folder')} beside those that are read {'holds' if one else 'hold'} images or "
            f"annotations: {some(found, _SHOWN)}",
            "Read it by the options of the format or as a source of its own in a union, or move it away",
            tuple(found),
        )


def find_lost_links(lost: Collection[str]) -> Iterator[Finding]:
    """Links that lead nowhere, by their places, and that may have led to folders of data."""
    if lost:
        one = len(lost) == 1
        yield Finding(
            LOST_LINKS,
            f"{plural(len(lost), 'link')} that may stand for {'a folder' if one else 'folders'} of data "
            f"{'leads' if one else 'lead'} nowhere: {some(sorted(lost), _SHOWN)}",
            "Copy the data there, correct the link, or remove it",
            tuple(sorted(lost)),
        )


def _is_data(name: str) -> bool:
    return name.lower().endswith((*_IMAGES, *_ANNOTATIONS)) and not _says_else(name)
