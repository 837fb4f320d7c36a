"""Scanning a source: walking its folders, keeping facts of its files, and reporting all problems together.

An adapter's `scan` makes a `Scan`, asks it for files and their facts, makes records of them, and gives these to
`Scan.make_listing`. A problem of one sample goes to `Scan.bad_sample`: depending on the source's ``on_error`` it stops
the build, together with all other problems, or becomes a rejected row. A problem of the whole source is a SourceError
at once, or goes to `Scan.source_error`. Facts are what is computed from one file and cached, such as an image's size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from augforge.cache.filecache import FileCache
from augforge.cache.shelf import Shelf
from augforge.errors import OldNames, SourceError
from augforge.sources.core import Listing, Record, Records, Refused, Source
from augforge.sources.detecting.glance import IMAGES
from augforge.sources.licences import Licence
from augforge.sources.looks import as_it_looks, as_spoken, look_alike
from augforge.sources.plausibility.listed import Census
from augforge.sources.scan.agreeing import Agreeing
from augforge.sources.scan.images import IMAGE_FACTS, image_facts
from augforge.sources.scan.joining import check_group_column, open_table, with_group, with_licence, with_row
from augforge.sources.scan.likely import conversion_of, layout_error, report_unread, unread_images
from augforge.sources.scan.orientation import Claim, as_stored, settle_orientation
from augforge.sources.scan.own_splits import Splits
from augforge.sources.scan.reading import readers_of
from augforge.sources.scan.records import composed, name_of, place_inside
from augforge.sources.scan.reporting import ScanReport
from augforge.sources.scan.walking import Found, is_needed, may_be_folder, walk

__all__ = ["IMAGES", "Files", "Scan"]

Files = Iterable[tuple[str, str]]
"""(name of a sample, place of one of its files relative to the root, with ``/``)."""


class Scan(ScanReport, OldNames):
    """One scan of a source: collects problems and warnings on the way, and makes the listing.

    Attributes (and those of `ScanReport`):
        cache: keeps facts of files from one scan to the next.
        root: the source's folder.
        broken_links: names of links that cannot be followed; samples below them may lack files.
        licences: those of the samples, by the keys that their records hold.
        lost_links: places of links that lead nowhere, and may have led to folders of data.
        visited: the first part of each place that was walked or read; ``.`` for the root itself.
        turned: places of the photos that EXIF turns.
    """

    old_names: ClassVar[Mapping[str, str]] = {
        "wrong": "bad_sample",
        "bad": "bad_names",
        "fault": "source_error",
        "lost": "broken_links",
        "raise_all": "raise_problems",
        "need_folder": "require_folder",
        "folders": "folder_names",
        "unique": "places_by_name",
        "need_images": "check_images_exist",
        "need_size": "check_size",
        "images": "image_facts",
        "listing": "make_listing",
        "fact": "file_facts",
    }

    def __init__(self, source: Source, cache: FileCache) -> None:
        super().__init__(source)
        self.cache, self.root = cache, source.root
        self._root_length = len(str(source.root / "x")) - 1
        self._origin = source.origin()  # a plugin that changed reads its files again
        self.broken_links, self.lost_links, self.visited = set[str](), set[str](), set[str]()
        self.licences: dict[str, Licence] = {}
        self.turned: list[str] = []

    # ---- files ----

    def walk(
        self,
        folder: str,
        suffixes: Collection[str] = IMAGES,
        what: str = "an image",
        used: Callable[[str], bool] = lambda _: True,
    ) -> list[str]:
        """Places of all files below a folder that have one of the suffixes, sorted; none if the folder is missing.

        Other files are refused as "not an image", or not whatever ``what`` says; hidden files and what operating
        systems leave behind are passed over. A link that cannot be followed is a bad sample if its name has one of the
        suffixes or the folder that it leads to holds such files, unless ``used`` says of its place that nothing needs
        it; other links are refused.
        """
        found = []
        for file in self._walk_folder(folder, True, lambda file: is_needed(self.root, file, suffixes), used):
            if os.path.splitext(file.place)[1].lower() in suffixes:  # noqa: PTH122 (called 100,000 times)
                found.append(file.place)
            else:
                self.refused.append(Refused(file.name, f"not {what}", file.place))
        return sorted(found)

    def require_folder(self, folder: str) -> None:
        """Raise SourceError, showing the expected layout, unless the folder exists."""
        path = self.root / folder
        if not path.is_dir():
            raise layout_error(self.source, f"{path} is no folder")

    def folder_names(self, folder: str) -> list[str]:
        """Names of the folders in a folder, sorted; files are refused. Raises SourceError if there are no folders."""
        names = []
        for file in self._walk_folder(folder, False, lambda file: file.is_lost or is_needed(self.root, file, IMAGES)):
            if file.folder:
                names.append(file.name)
            else:
                self.refused.append(Refused(file.name, "not a folder of a class", file.place))
        if not names:
            raise layout_error(self.source, f"{self.root / folder} holds no folders")
        return names

    def _walk_folder(
        self, folder: str, deep: bool, needed: Callable[[Found], bool], used: Callable[[str], bool] = lambda _: True
    ) -> Iterator[Found]:
        """The entries of a folder or, if ``deep``, the files in it and below; unusable ones are reported or refused."""
        follow = self.source.follows_links
        inside = place_inside(self.root, folder, f"{self.root}: folder", follow)  # raises if it is out of the root
        self.visited.add(inside.partition("/")[0])
        try:
            for file in walk(self.root, folder, deep, follow):
                if file.fault is not None:
                    self._note_fault(file, file.fault, needed(file), used(file.place))
                elif not file.readable:
                    self.refused.append(Refused(file.name, "name is not UTF-8", file.place))
                else:
                    yield file
        except OSError as error:
            self.source_error(f"{error.filename} cannot be read: {error.strerror}. Make it a readable folder.")

    def _note_fault(self, file: Found, fault: tuple[str, str], needed: bool, used: bool) -> None:
        """Report a link that cannot be followed as a bad sample if it is needed, else refuse it."""
        if used and (needed or may_be_folder(file.place)):
            self.broken_links.add(name_of(file.name))  # samples below it may lack files
        if used and needed:
            self.bad_sample(name_of(file.name), *fault)
        else:
            self.refused.append(Refused(file.name, fault[0], file.place))
            self.lost_links |= {file.place} if used and file.is_lost else set()

    def places_by_name(self, files: Files) -> Shelf[str]:
        """The place of each file by the name of its sample. A name that several files share is a bad sample."""
        places: Shelf[str] = Shelf()
        for name, place in files:
            other = places.setdefault(name, place)
            if other != place:
                self._duplicate_name(name, other, place)
        return places

    def _duplicate_name(self, name: str, one: str, other: str) -> None:
        places = f"{self.root / one} and {self.root / other}"
        self.bad_sample(
            name, "name stands twice", f"{places} share the name {name}; expected one file a name. Rename one."
        )

    def check_images_exist(
        self, annotations: Mapping[str, str], images: Collection[str], near: Collection[str] | None = None
    ) -> None:
        """Report annotation files, given by the names of their images, as bad samples if there is no such image.

        They are kept in ``orphans``: an image without annotation may be the one that such a file belongs to. Messages
        name the image of ``near``, or else of ``images``, that may be meant.
        """
        alike = Agreeing(images if near is None else near, as_spoken)
        for name, place in annotations.items():
            if name not in images and name not in self.bad_names:
                self.orphans[name] = place
                meant = alike.find(name)
                hint = f" Did you mean {meant}?" if meant is not None else ""
                fact = f"{self.root / place} has no image named {name}; expected one.{hint}"
                self.bad_sample(name, "no image", f"{fact} Add the image, or remove the file.")

    def facts(
        self,
        files: Files,
        kind: str,
        compute: Callable[[Path], Any],
        reason: str,
        adjust: Callable[[str, Any], Any] = lambda _, facts: facts,
    ) -> Shelf[Any]:
        """Facts of each file by its place; files for which ``compute`` raises SourceError are left out as bad samples.

        ``kind`` is what the cache calls the result of ``compute``: it names version and options, which decide it too.
        ``adjust`` changes facts, given their place, after the cache.
        """
        by_place: Shelf[Any] = Shelf()
        readers = readers_of(
            files,
            lambda file: self.root / file[1],
            lambda path: self.cache.has(path, kind + self._origin),
            lambda path: self.file_facts(path, kind, compute),
        )
        for (name, place), read in readers:
            try:
                by_place[place] = adjust(place, read())
            except SourceError as error:
                self.bad_sample(name, reason, str(error))
        return by_place

    def image_facts(self, files: Files) -> Shelf[Any]:
        """The `image_facts` of each image by its place; damaged images are bad samples and left out."""
        return self.facts(files, IMAGE_FACTS, image_facts, "broken image", self.note_turned)

    def settle_orientation(self, images: MutableMapping[str, Any], claim_of: Callable[[str], Claim | None]) -> None:
        """`settle_orientation` for the photos that EXIF turns: changes facts of those that were annotated as stored."""
        settle_orientation(self, images, self.turned, claim_of)

    def note_turned(self, place: str, facts: Any) -> Any:
        """The facts of an image; those of a photo that EXIF turns go by the source's option ``exif``."""
        if "turn" not in facts:
            return facts
        self.turned.append(place)
        return as_stored(facts) if getattr(self.source, "exif", "apply") == "ignore" else facts

    def file_facts(self, path: Path, kind: str, compute: Callable[[Path], Any]) -> Any:
        """Facts of one file. Raises SourceError if it cannot be read, and whatever ``compute`` raises."""
        self.visited.add(str(path)[self._root_length :].partition("/")[0])
        try:
            return self.cache.get(path, kind + self._origin, compute)
        except OSError as error:
            fact = f"{path} cannot be read: {error.strerror}"
            raise SourceError(f"{fact}. Restore the file or its permissions.") from error

    # ---- the listing ----

    def make_listing(
        self, records: Iterable[Record], classes: tuple[str, ...], labels: tuple[str, ...] = ()
    ) -> Listing:
        """The listing: all records with groups, splits and metadata, sorted. Raises SourceError with all problems."""
        for name in filter(None, map(look_alike, (classes, labels))):
            raise SourceError(
                f"{self.root}: two classes are named '{name}' and look the same, but are written in different Unicode "
                "forms (NFC and NFD); expected one. Rename one, or merge them by source.class_map."
            )
        found: Shelf[Record] = Shelf()
        by_look: Shelf[Record] = Shelf()
        for record in records:
            other = found.setdefault(record.name, record)  # the record itself if the name is new
            if other is record and not record.name.isascii():
                other = by_look.setdefault(as_it_looks(record.name), record)
            if other is not record:
                self._duplicate_name(record.name, *(str(r.data.get("image", r.name)) for r in (other, record)))
            if self.broken_links:
                self._check_links_above(record)
        kept: Shelf[Record] = Shelf()
        census = Census()
        kept.update((record.name, record) for record in census.counted(self._complete_records(found)))
        self.problems += self.outlines.errors(self.root)
        self.raise_problems()
        for name in self.bad_names:  # only now: completing records may have found more of them
            kept.pop(as_it_looks(name), None)
        unread = unread_images(self.refused)
        if not kept and (unread or not self.refused):
            remedy = f"{conversion_of(unread)}." if unread else "Correct source.path."
            raise layout_error(self.source, f"{self.root} holds no image that is read", remedy)
        report_unread(self, unread)
        self.findings += self.outlines.findings(self.bad_names)
        rows = (row if row.name.isascii() else replace(row, name=as_it_looks(row.name)) for row in self.refused)
        refused = sorted(rows, key=lambda row: (row.name, row.reason, row.detail))
        overall = tuple(census.findings(self, kept.values(), classes, labels))
        told = (tuple(self.warnings), self.licences, tuple(self.findings), overall)
        return Listing(classes, Records(kept), tuple(refused), labels, *told)

    def _check_links_above(self, record: Record) -> None:
        """Report a sample in a folder whose name is a broken link elsewhere, as among masks: it may lack files."""
        parts = record.name.split("/")
        link = next((name for n in range(1, len(parts)) if (name := "/".join(parts[:n])) in self.broken_links), None)
        if link is not None:
            self.bad_sample(record.name, "annotation behind a bad link", f"{link} is a link that cannot be followed.")

    def _complete_records(self, records: Shelf[Record]) -> Iterator[Record]:
        """The records with their splits and groups, and with their rows of metadata. One without a group is bad."""
        splits = Splits.of(self.source, records, self.splits_assigned)
        table = open_table(self.source, self.cache, self.source_error)
        check_group_column(self.source, records.values(), table)
        stated = self.source.stated_licence
        self.licences |= {} if stated is None else {stated.key: stated}
        self.warnings += splits.warnings
        for record in map(composed, records.values()):
            try:
                grouped = with_group(splits.with_own_split(record), self.source)
                whole = with_row(grouped, None if table is None else table.row_of(grouped), self.source)
                yield whole if stated is None else with_licence(whole, stated)
            except SourceError as error:
                self.bad_sample(record.name, "no group", str(error))
        if table is not None and table.rows:
            table.report(self)
