"""Several sources as one, under one class list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError, nearest
from augforge.keys import digest
from augforge.ops.sides import Sides
from augforge.sample import Sample
from augforge.sources.core import SOURCES, Listing, Record, Refused, Source, source
from augforge.sources.formats.union_labels import Missing, UnionLabels, class_warning, spread
from augforge.sources.loading import with_ignore
from augforge.sources.looks import as_it_looks, find_alike
from augforge.sources.options import REST, MetadataColumns
from augforge.sources.plausibility.listed import OF_THE_WHOLE
from augforge.sources.raster.remapping import remap_sample
from augforge.sources.scan.scanning import Scan
from augforge.sources.scan.tables import UnknownColumn
from augforge.sources.sides import stated_sides


def _find_adapter(entry: dict[str, Any]) -> type[Source]:
    name = entry.get("format")
    if not isinstance(name, str) or name not in SOURCES:
        raise ValueError(f"there is no format '{name}'.{nearest(str(name), SOURCES)}")
    return SOURCES[name]


_OWN = ("name", "split")
"""Keys of an entry that the union reads; all others are options of the entry's source."""

_SPLITS = ("train", "val", "test")

_COLUMNS = ("drop", "keep")
"""Keys of an entry's ``metadata`` that the union reads; all others join a table in the entry's source."""


def _options(entry: dict[str, Any]) -> dict[str, Any]:
    """The options of an entry's source."""
    options = {key: value for key, value in entry.items() if key not in _OWN}
    if isinstance(join := options.get("metadata"), dict) and not join.keys().isdisjoint(_COLUMNS):
        join = {key: value for key, value in join.items() if key not in _COLUMNS}
        options = {**options, "metadata": join} if join else {key: options[key] for key in options if key != "metadata"}
    return options


def _columns(entry: dict[str, Any]) -> MetadataColumns:
    """Which columns of metadata an entry drops or keeps."""
    given = entry.get("metadata")
    named = {key: given[key] for key in _COLUMNS if key in given} if isinstance(given, dict) else {}
    return MetadataColumns.model_validate(named)


def _check_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Check that an entry of ``sources`` holds valid options of its source; errors keep their place in the recipe."""
    adapter = _find_adapter(entry)
    for key in _options(entry):
        if key not in adapter.model_fields:
            raise ValueError(
                f"unknown key '{key}' for format {entry['format']}.{nearest(key, [*_OWN, *adapter.model_fields])}"
            )
    adapter.model_validate(_options(entry))
    _columns(entry)
    name = entry.get("name", "x")
    if not isinstance(name, str) or not name.strip("/. "):
        raise ValueError(f"name is {name!r}; expected text that goes before the names of samples")
    if entry.get("split") not in (None, *_SPLITS):
        raise ValueError(
            f"split is {entry['split']!r}; expected {', '.join(_SPLITS)}, or none to leave it to the recipe"
        )
    return entry


Entry = Annotated[dict[str, Any], AfterValidator(_check_entry)]


@dataclass(frozen=True, slots=True)
class Member:
    """One source of a union, the prefix of its samples' names, and the split that its entry prescribes, if any."""

    name: str
    source: Source
    split: str | None = None


@source
class Union(Source):
    """Reads several sources as one: each is an entry with its own format, path and options, under one class list.

    A class that a source never labelled is unknown in its samples, not absent; but a source without ``ignore`` has no
    such pixels. A label that a source does not have is unknown, too, unless each sample has exactly one label, which
    then is no other. Each source has its own class_map, and the resulting classes must be among ``classes``; without
    that list the classes are those of the sources, one source after the other.

    Samples' names begin with the ``name`` of their source, by default that of its folder, so that they differ. So do
    groups, unless ``shared_groups`` says that the same group is the same patient everywhere. With ``split: test`` (or
    ``val``, or ``train``) in an entry all its samples are in this split, whatever the source or the recipe's ``split``
    says. ``metadata: {drop: [birth]}``, or ``keep``, in an entry leaves columns of its samples out of the dataset, as
    the recipe's own ``metadata`` does for all; beside ``table``, it leaves out columns of this table, too.
    """

    adapter_version: ClassVar[int] = 2
    names_are_places: ClassVar[bool] = False
    layout: ClassVar[str] = """\
source:                        in the recipe
  format: union
  classes: [heart, left-lung, right-lung]
  sources:
    - {format: coco, path: ../data/clinic-a, class_map: {Heart: heart}}
    - {format: mask-folder, path: ../data/b/train, name: clinic-b}      else its samples begin with train/
    - {format: yolo, path: ../data/c, split: test}                       all of it is for testing"""

    format: Literal["union"] = "union"
    path: str = Field(".", description="folder that the sources' paths start from; default the recipe's")
    sources: tuple[Entry, ...] = Field(
        min_length=1,
        description="each source's format, path and options; a name for its samples' names to begin with; a split for "
        "all of them; and columns that are left out, as metadata: {drop: [...]} or {keep: [...]}",
        examples=[[{"format": "hand-bone", "path": "../data/FOLDER"}]],
    )
    shared_groups: bool = Field(False, description="a group's name means the same group in all sources")
    missing_labels: Missing = Field(
        "auto",
        description="what a label is in samples of a source that does not have it: absent if each sample of the union "
        "has exactly one label, else unknown; or what is said here",
    )

    @model_validator(mode="after")
    def _check_one_class_list(self) -> Union:
        if self.class_map:
            raise ValueError("class_map stands here, where labels have no meaning yet; give each source its own")
        for number, member in enumerate(self.members):
            named = {*member.source.class_map.values(), *(member.source.classes or ())} - {None}
            for name in sorted(str(name) for name in named):
                if self.classes is not None and name not in self.classes:
                    raise ValueError(
                        f"sources.{number}: '{name}' is not in the union's classes.{nearest(name, self.classes)}"
                    )
        return self

    @model_validator(mode="after")
    def _check_names_differ(self) -> Union:
        seen: dict[str, str] = {}
        for member, entry in zip(self.members, self.sources, strict=True):
            # as written in the recipe: the folder that paths are relative to is not known yet
            written = f"{entry.get('name') or entry.get('path', '.')}"
            if member.name in seen:
                raise ValueError(
                    f"two sources, {seen[member.name]} and {written}, have one name for their samples' names to begin "
                    "with; expected names that differ. Set `name` in one of them"
                )
            seen[member.name] = written
        return self

    @property
    def members(self) -> tuple[Member, ...]:
        """The sources, with their paths resolved."""
        return tuple(map(self._make_member, self.sources))

    def _make_member(self, entry: dict[str, Any]) -> Member:
        adapter, options = _find_adapter(entry), _options(entry)
        place = adapter.model_validate(options).path
        path = place if "://" in place else str(self.root / place)
        own = {"on_error": self.on_error, "own_splits": self.own_splits, "links": self.links}
        options = {**own, **options, "path": path}
        if self.classes is not None and REST in options.get("class_map", {}) and options.get("classes") is None:
            options["class_map"] = {name: name for name in self.classes} | options["class_map"]
        name = entry.get("name") or Path(path).resolve().name or "root"
        return Member(name, adapter.model_validate(options), entry.get("split"))

    # ---- listing ----

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        listings = []
        for number, member in enumerate(self.members):
            try:
                listings.append(member.source.scan(cache))
            except UnknownColumn as error:
                raise UnknownColumn(str(error), ("sources", number, *error.at)) from error
            except SourceError as error:
                scan.source_error(str(error))
        scan.raise_problems()
        classes = self._class_table(listings)
        labels = UnionLabels.of(listings, self.missing_labels)
        for member, listing in zip(self.members, listings, strict=True):
            self._take_over(scan, member, listing, classes, labels)
        records = (
            self._make_record(number, member, listing, record, labels)
            for number, (member, listing) in enumerate(zip(self.members, listings, strict=True))
            for record in listing.records
        )
        return replace(scan.make_listing(records, classes, labels.names), sides=self._united_sides(listings))

    def _united_sides(self, listings: Sequence[Listing]) -> Sides:
        """The sides of all sources, under the union's names. Raises PlanError if they contradict each other."""
        united = Sides()
        for member, listing in zip(self.members, listings, strict=True):
            united = united.unite(stated_sides(member.source, listing).rename(self._as_listed))
        return united

    def refused_when_unreadable(self, record: Record, error: SourceError) -> Refused | None:
        member, inner = self._member_record(record)
        return member.source.refused_when_unreadable(inner, error)

    def kept_columns(self, record: Record) -> MetadataColumns:
        number: int = record.data["source"]
        return self.columns_of_entries[number]

    @cached_property
    def columns_of_entries(self) -> tuple[MetadataColumns, ...]:
        """For each source, which columns of metadata its entry drops or keeps."""
        return tuple(map(_columns, self.sources))

    def files_of(self, record: Record) -> set[Path] | None:
        member, inner = self._member_record(record)
        return member.source.files_of(inner)

    def image_path(self, record: Record) -> Path | None:
        member, inner = self._member_record(record)
        return member.source.image_path(inner)

    def _member_record(self, record: Record) -> tuple[Member, Record]:
        """The source that a record comes from, and the record in that source."""
        inner = replace(record, name=record.data["name"], data=record.data["data"])
        return self.members[record.data["source"]], inner

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        member, inner = self._member_record(record)
        names = record.data["classes"]
        sample = member.source.load(inner, names)
        mapping = [classes.index(self._as_listed(name)) for name in names]
        label = spread(sample.label, record.data["labels"])
        found = remap_sample(sample, mapping, len(classes))
        return replace(found, name=record.name, label=label, known=with_ignore(found.known, classes))

    def _class_table(self, listings: Sequence[Listing]) -> tuple[str, ...]:
        """The class table. Raises SourceError for a class of a source that is not in ``classes``."""
        if self.classes is None:
            return tuple(dict.fromkeys(self._as_listed(name) for listing in listings for name in listing.classes))
        for member, listing in zip(self.members, listings, strict=True):
            for name in listing.classes:
                if self._as_listed(name) not in self.classes:
                    raise SourceError(
                        f"{member.source.path}: label '{name}' is not in the union's classes."
                        f"{nearest(name, self.classes)} Map it in that source: 'class_map: {{{name}: CLASS}}', or null "
                        "to leave it out."
                    )
        return self.classes

    def _as_listed(self, name: str) -> str:
        """A class of a source as the union writes it, however its accents are composed."""
        return find_alike(name, self.classes or ()) or as_it_looks(name)

    def _take_over(
        self, scan: Scan, member: Member, listing: Listing, classes: tuple[str, ...], labels: UnionLabels
    ) -> None:
        """Take over what a source refused and warned of, and warn of the classes and labels that it lacks."""
        scan.refused += [replace(row, name=f"{member.name}/{row.name}") for row in listing.refused]
        scan.warnings += [f"{member.name}: {text}" for text in listing.warnings]
        scan.licences |= listing.licences
        for found in listing.all_findings:
            if found.kind not in OF_THE_WHOLE:  # these are looked for once more, in the union
                scan.findings.append(replace(found, message=f"{member.name}: {found.message}"))
        own = [self._as_listed(name) for name in listing.classes]
        scan.warnings += filter(None, [class_warning(member.name, own, classes), labels.warning(member.name, listing)])

    def _make_record(
        self, number: int, member: Member, listing: Listing, record: Record, labels: UnionLabels
    ) -> Record:
        places = labels.places(listing)
        unknown = labels.missing_in(listing) if places["unknown"] else []  # no other ids hold them
        return replace(
            record,
            name=f"{member.name}/{record.name}",
            group=self._group_of(member, record.group),
            split=member.split or record.split,
            content=digest(
                member.source.adapter(), record.name, record.content, listing.classes, listing.labels, *unknown
            ),
            data={
                "source": number,
                "name": record.name,
                "data": record.data,
                "classes": listing.classes,
                "labels": places,
                "groups": [self._group_of(member, group) for group in record.data.get("groups", [record.group])],
            },
        )

    def _group_of(self, member: Member, group: str) -> str:
        return group if self.shared_groups else f"{member.name}/{group}"
