"""Scanning a source: walking its folders, facts of its files, and every problem told together.

An adapter's `scan` makes a `Scan`, asks it for files and their facts, makes records, and gives them to `Scan.listing`.
What is wrong with one sample goes to `Scan.wrong`: by the source's ``on_error`` it stops the build, named together with
all others, or becomes a rejected row. What is wrong with the whole source is a SourceError at once, or `Scan.fault`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from augforge.errors import SourceError
from augforge.keys import digest
from augforge.sources.core import Listing, Record, Refused, Source
from augforge.sources.images import IMAGE_FACTS, image_facts
from augforge.sources.joining import grouped, join_key, joined_rows, with_row
from augforge.sources.options import Join
from augforge.sources.tables import Row
from augforge.store.filecache import FileCache

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_SHOWN = 10
_CHUNK = 64

Files = Iterable[tuple[str, str]]
"""(name of a sample, place of one of its files relative to the root, with ``/``)."""


class Scan:
    """One scan of a source: what it met on the way, and the listing that comes of it.

    Attributes:
        root: the source's folder.
        problems: what stops the build, one message each.
        refused: rejected rows.
        warnings: things worth saying.
    """

    def __init__(self, source: Source, cache: FileCache) -> None:
        self.source, self.cache, self.root = source, cache, source.root
        self.problems: list[str] = []
        self.refused: list[Refused] = []
        self.warnings: list[str] = []

    # ---- what is wrong ----

    def wrong(self, name: str, reason: str, message: str) -> None:
        """Something is wrong with one sample: a problem, or a rejected row. ``reason`` is counted, so a few words."""
        if self.source.on_error == "reject":
            self.refused.append(Refused(name, reason, message.replace(f"{self.root}{os.sep}", "")))
        else:
            self.problems.append(message)

    def fault(self, message: str) -> None:
        """Something is wrong that concerns no sample alone; it stops the build whatever ``on_error`` says."""
        self.problems.append(message)

    def raise_all(self) -> None:
        """Raise SourceError with all problems so far, if there are any."""
        problems = self.problems
        if len(problems) == 1:
            raise SourceError(problems[0])
        if problems:
            more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            shown = "".join(f"\n  - {problem}" for problem in problems[:_SHOWN])
            raise SourceError(f"{len(problems)} problems in {self.root}:{shown}{more}")

    # ---- files ----

    def walk(self, folder: str, suffixes: Collection[str] = IMAGES, what: str = "an image") -> list[str]:
        """Places of all files below a folder whose suffix fits, sorted; a missing folder holds none.

        Other files are refused as "not an image", but for what operating systems leave behind. Links that lead
        nowhere, in a circle or out of the root are wrong.
        """
        prefix = f"{folder.strip('/')}/" if folder.strip("/.") else ""
        top = self.root / folder
        found = []
        for name in self._entries(str(top), "", (os.path.realpath(top),)):
            place = prefix + name
            readable = place.encode(errors="replace").decode()
            if readable != place:  # it cannot stand in a table
                self.refused.append(Refused(readable.removeprefix(prefix), "name is not UTF-8", readable))
            elif os.path.splitext(place)[1].lower() in suffixes:  # noqa: PTH122 (called 100,000 times)
                found.append(place)
            else:
                self.refused.append(Refused(name, f"not {what}", place))
        return sorted(found)

    def _entries(self, folder: str, prefix: str, chain: tuple[str, ...]) -> Iterator[str]:
        """Files below ``folder``, named from ``prefix``; ``chain`` is its real path and those of the folders above."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except OSError as error:
            self.fault(f"{folder} cannot be read: {error.strerror}. Make it a readable folder.")
            return
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in _LITTER:
                continue
            if entry.is_symlink() and not self._sound_link(entry.path, prefix + entry.name, chain):
                continue
            if entry.is_dir():
                real = os.path.realpath(entry.path) if entry.is_symlink() else f"{chain[-1]}{os.sep}{entry.name}"
                yield from self._entries(entry.path, f"{prefix}{entry.name}/", (*chain, real))
            else:
                yield prefix + entry.name

    def _sound_link(self, path: str, name: str, chain: tuple[str, ...]) -> bool:
        real, top = os.path.realpath(path), os.path.realpath(self.root)
        reason = ""
        if not os.path.exists(real):  # noqa: PTH110
            reason, fact = "broken link", "leads nowhere"
        elif not _below(real, top):
            reason, fact = "leaves the root", f"leads to {real}, out of {self.root}"
        elif any(_below(folder, real) for folder in chain):
            reason, fact = "link in a circle", "leads back to a folder that it lies in"
        if reason:
            message = f"{path} is a link that {fact}; expected a file or folder below the root. Copy it there."
            self.wrong(name.encode(errors="replace").decode(), reason, message)
        return not reason

    def unique(self, files: Files) -> dict[str, str]:
        """Place of each name, in order. A name that several files share is wrong, and all of them are left out."""
        places: dict[str, str] = {}
        shared = set()
        for name, place in files:
            other = places.setdefault(name, place)
            if other != place:
                shared.add(name)
                self.wrong(
                    name,
                    "name stands twice",
                    f"{self.root / other} and {self.root / place} share the name {name}; expected one file a name. "
                    "Rename one.",
                )
        return {name: place for name, place in places.items() if name not in shared}

    def facts(self, files: Files, kind: str, compute: Callable[[Path], Any], reason: str) -> dict[str, Any]:
        """What is known of each file, by its place; one that is broken is wrong, for ``reason``, and left out."""

        def get(chunk: Sequence[tuple[str, str]]) -> list[Any]:
            return [self._fact(place, kind, compute) for _, place in chunk]

        known: dict[str, Any] = {}
        with ThreadPoolExecutor(4) as pool:
            chunks = list(_chunks(files))
            for chunk, facts in zip(chunks, pool.map(get, chunks), strict=True):
                for (name, place), fact in zip(chunk, facts, strict=True):
                    if isinstance(fact, SourceError):
                        self.wrong(name, reason, str(fact))
                    else:
                        known[place] = fact
        return known

    def images(self, files: Files) -> dict[str, Any]:
        """`image_facts` of each image by its place; damaged ones are wrong and left out."""
        return self.facts(files, IMAGE_FACTS, image_facts, "broken image")

    def _fact(self, place: str, kind: str, compute: Callable[[Path], Any]) -> Any:
        path = self.root / place
        try:
            return self.cache.get(path, kind, compute)
        except SourceError as error:
            return error
        except OSError as error:
            return SourceError(f"{path} cannot be read: {error.strerror}. Restore the file or its permissions.")

    # ---- the listing ----

    def listing(self, records: Iterable[Record], classes: tuple[str, ...], labels: tuple[str, ...] = ()) -> Listing:
        """The records, grouped, joined with the metadata and sorted by name. Raises SourceError with all problems."""
        kept = self._unique_records(records)
        if self.source.group is not None or self.source.metadata is not None:
            kept = list(self._described(kept))
        self.raise_all()
        if not kept and not self.refused:
            raise SourceError(f"{self.root} holds no image; expected\n{self.source.layout}\nCorrect source.path.")
        kept.sort(key=lambda record: record.name)
        refused = sorted(self.refused, key=lambda row: (row.name, row.reason, row.detail))
        return Listing(classes, tuple(kept), tuple(refused), labels, tuple(self.warnings))

    def _unique_records(self, records: Iterable[Record]) -> list[Record]:
        kept = list(records)
        places = {record.name: record for record in kept}
        if len(places) == len(kept):
            return kept
        unique = self.unique((record.name, str(record.data.get("image", number))) for number, record in enumerate(kept))
        return [record for record in kept if record.name in unique]

    def _described(self, records: Iterable[Record]) -> Iterator[Record]:
        """Records with the group that the recipe asks for and their rows of metadata."""
        join = self.source.join
        rows = self._rows(join) if join else {}
        lonely, fitting = [], 0
        for record in records:
            try:
                found = grouped(record, self.source)
                row = rows.get(join_key(found, join)) if join else None
                lonely += [record.name] if join and row is None else []
                fitting += row is not None
                yield with_row(found, row, self.source)
            except SourceError as error:
                self.wrong(record.name, "no group", str(error))
        if join and lonely and rows:
            self._tell_lonely(join, lonely, fitting)

    def _rows(self, join: Join) -> Mapping[str, Row]:
        try:
            return joined_rows(self.root / join.table, join, self.cache)
        except SourceError as error:
            self.fault(str(error))
            return {}

    def _tell_lonely(self, join: Join, lonely: list[str], fitting: int) -> None:
        said = f"{len(lonely)} samples have no row in {join.table}, such as {lonely[0]}"
        if fitting:
            self.warnings.append(said)
        else:
            self.fault(
                f"{self.root / join.table} fits no sample: {said}; expected their {join.on}s in column "
                f"'{join.key or 1}'. Correct metadata.key or metadata.on."
            )


def record_of(
    name: str,
    place: str,
    facts: Mapping[str, Any],
    content: Any,
    *,
    group: str | None = None,
    split: str | None = None,
    data: Mapping[str, Any] | None = None,
    size: tuple[int, int] | None = None,
) -> Record:
    """The record of an image file.

    Args:
        name: the sample's.
        place: of the image, relative to the root; `load` finds it in ``data["image"]``.
        facts: its `image_facts`.
        content: the sample's own annotation in canonical form (or a digest of it), JSON-like, and all else that
            decides what `load` gives, such as which classes are known.
        group: default the name.
        split: that the data set prescribes.
        data: what else `load` needs.
    """
    width, height = size or (facts["width"], facts["height"])
    return Record(
        name=name,
        group=name if group is None else group,
        split=split,
        width=width,
        height=height,
        bytes=facts["bytes"],
        content=digest(facts["sha256"], content),
        data={"image": place, **(data or {})},
    )


def name_of(place: str, folder: str = "") -> str:
    """The sample's name: a file's place below a folder, without its suffix."""
    inner = place.removeprefix(f"{folder.strip('/')}/") if folder.strip("/.") else place
    return os.path.splitext(inner)[0]  # noqa: PTH122 (called 100,000 times)


def folder_or_name(name: str) -> str:
    """The usual group: the folder that a sample lies in, or its own name where there is none."""
    return name.rpartition("/")[0] or name


def inside(root: Path, place: str, where: str) -> str:
    """A path from an annotation as a place below the root; SourceError where it leaves the root."""
    path = PurePosixPath(place.replace("\\", "/").replace("\0", "/../../"))
    plain = os.path.normpath(path)
    leaves = path.is_absolute() or plain.startswith("..")
    if leaves or not _below(os.path.realpath(root / path), os.path.realpath(root)):
        raise SourceError(f"{where}: '{place}' leaves {root}; expected a path below it. Move the file there.")
    return plain


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _chunks(files: Files) -> Iterator[list[tuple[str, str]]]:
    rest = iter(files)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
