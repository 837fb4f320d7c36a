"""What every source adapter is: options that are checked, a listing without pixels, and a loader."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from augforge.cache.filecache import FileCache
from augforge.catalogue import Catalogue, empty_instance, origin_of, plugin_file
from augforge.errors import SourceError, nearest
from augforge.ops.sides import Swap, check_pairs
from augforge.sample import Sample
from augforge.sources.class_lists import CLASS_LISTS
from augforge.sources.detecting.glance import IMAGES
from augforge.sources.licences import Licence
from augforge.sources.listing import Listing, Record, Records, Refused
from augforge.sources.looks import as_it_looks, find_alike
from augforge.sources.options import REST, GroupBy, Join, MetadataColumns

__all__ = ["SOURCES", "Listing", "PhotoSource", "Record", "Records", "Refused", "Source", "source"]


class Source(BaseModel, ABC):
    """An adapter, with its options as fields. Unknown options in a recipe are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    adapter_version: ClassVar[int]
    """Raised when the same files give other samples. It enters samples' ids."""
    takes_urls: ClassVar[bool] = False
    """Whether ``path`` may be a URL."""
    names_are_places: ClassVar[bool] = True
    """Whether the folders in samples' names are folders of the data, so that `val/` and `test/` name splits."""
    layout: ClassVar[str]
    """The expected files as a drawing, for ``augforge sources NAME``."""

    format: str = Field(description="the adapter's name")
    path: str = Field(description="folder of the data, relative to the recipe")
    classes: tuple[str, ...] | None = Field(
        None, description="a named class list, or the list itself; null takes what the data names, in its own order"
    )
    class_map: dict[str, str | None] = Field(
        default_factory=dict,
        description="label in the files -> class: renames, and merges labels of one class; null leaves the label out; "
        "the label '*' stands for every other label that is not a class itself",
    )
    group: GroupBy | None = Field(
        None,
        description="what must stay in one split: a folder, a part of the name or a column of the metadata",
    )
    metadata: Join | str | None = Field(
        None, description="table joined to the samples; its path alone joins the first column to the names"
    )
    licence: Licence | str | None = Field(
        None,
        description="licence of the data, its name or {name, url, attribution}; it goes with every sample, beside what "
        "the files say themselves",
    )
    sides: Swap | None = Field(
        None,
        description="pairs of classes, or of labels, that are the two sides of a body, which every mirror exchanges: "
        "[[left-lung, right-lung]]; none: nothing is a side; null finds pairs by name (left/right, L/R)",
    )
    own_splits: bool = Field(
        True,
        description="keep the data's own val and test, as folders or files name them (val/..., test/...); what is "
        "called train is left to the recipe, and with false everything is",
    )
    links: Literal["inside", "follow"] = Field(
        "inside",
        description="links that lead out of path: errors, or followed (follow), as in a Hugging Face cache or with DVC",
    )
    on_error: Literal["error", "reject"] = Field(
        "error", description="broken files stop the build, which names them all; or each becomes a rejected row"
    )

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        if "://" in value and not cls.takes_urls:
            raise ValueError(
                f"path is the URL {value}; expected a folder, as only format dataset reads URLs. Copy the data to a "
                "folder and give that"
            )
        return value

    @field_validator("classes", mode="before")
    @classmethod
    def _find_class_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in CLASS_LISTS:
                raise ValueError(f"no class list is named '{value}'.{nearest(value, CLASS_LISTS)}")
            return CLASS_LISTS[value]
        return value

    @field_validator("classes")
    @classmethod
    def _check_class_list(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None:
            twice = sorted({name for name in value if value.count(name) > 1})
            if twice:
                raise ValueError(f"duplicate names in classes: {', '.join(twice)}")
            if REST in value:
                raise ValueError(
                    f"a class is named '{REST}', which stands for all other labels in class_map; rename it"
                )
            if not 1 <= len(value) <= 256:
                raise ValueError(f"{len(value)} classes; expected 1 to 256")
        return value

    @field_validator("sides")
    @classmethod
    def _check_sides(cls, value: Swap | None) -> Swap | None:
        check_pairs(value, "sides")
        return value

    @field_validator("licence")
    @classmethod
    def _check_licence(cls, value: Licence | str | None) -> Licence | str | None:
        if isinstance(value, str) and not value.strip():
            raise ValueError("licence is empty; expected its name, such as CC BY 4.0, or leave the key out")
        return value

    @model_validator(mode="after")
    def _check_class_map(self) -> Source:
        for label, name in self.class_map.items():
            if name is not None and self.classes is not None and name not in self.classes:
                raise ValueError(
                    f"class_map sends '{label}' to '{name}', which is not in classes.{nearest(name, self.classes)}"
                )
        return self

    @model_validator(mode="after")
    def _check_join(self) -> Source:
        by_group = isinstance(self.metadata, Join) and self.metadata.on == "group"
        if by_group and self.group is not None and self.group.column is not None:
            raise ValueError(
                "group comes from a column of the metadata, so metadata.on cannot be group; join it by name or stem"
            )
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # `empty_instance` loads the plugin file that defines the source, if there is one, before its options are read.
        cls = type(self)
        return empty_instance, (plugin_file(cls.__module__), cls.__module__, cls.__qualname__), self.__getstate__()

    @classmethod
    def adapter(cls) -> str:
        """What ids hold of a source's code: format and adapter version, and where the code of a plugin comes from."""
        return f"{cls.model_fields['format'].default}@{cls.adapter_version}{cls.origin()}"

    @classmethod
    def origin(cls) -> str:
        """``+`` and where the code comes from, for a plugin's source; empty for augforge's own."""
        origin = origin_of(cls.__module__)
        return f"+{origin}" if origin else ""

    @property
    def stated_licence(self) -> Licence | None:
        """The licence that the recipe states, or None."""
        return Licence(name=self.licence) if isinstance(self.licence, str) else self.licence

    @property
    def root(self) -> Path:
        """The folder of the data."""
        return Path(self.path)

    @property
    def follows_links(self) -> bool:
        """Whether links that lead out of the root are followed."""
        return self.links == "follow"

    @property
    def join(self) -> Join | None:
        """How a metadata table is joined."""
        return Join(table=self.metadata) if isinstance(self.metadata, str) else self.metadata

    def class_of(self, label: str) -> str | None:
        """The class that a label in the files stands for, or None if ``class_map`` leaves the label out.

        Labels that look the same are one, in Unicode's composed form (NFC) or as ``classes`` writes them.
        """
        if not label.isascii():
            label = find_alike(label, (*self.class_map, *(self.classes or ()))) or as_it_looks(label)
        if label in self.class_map:
            label = self.class_map[label]  # type: ignore[assignment]
        elif REST in self.class_map and label not in (self.classes or self.class_map.values()):
            label = self.class_map[REST]  # type: ignore[assignment]
        return label

    def require_class(self, label: str, classes: Collection[str], where: str) -> str | None:
        """`class_of`; raises SourceError, which begins with ``where``, if the class is not among ``classes``."""
        name = self.class_of(label)
        if name is not None and name not in classes:
            raise SourceError(
                f"{where}: label '{label}' is not in classes.{nearest(name, classes)} "
                f"Map it: 'class_map: {{{label}: CLASS}}', or null to leave it out; '\"*\": null' drops all others."
            )
        return name

    def classes_of(self, labels: Iterable[str]) -> tuple[str, ...]:
        """The classes that labels stand for, without duplicates, in the order of the labels."""
        return tuple(dict.fromkeys(name for label in labels if (name := self.class_of(label)) is not None))

    def refused_row(self, name: str, reason: str, message: str) -> Refused:
        """A rejected row, without the root's path in its message.

        Rejected rows are part of a dataset's version, which has to be the same on every machine.
        """
        return Refused(name, reason, self.without_root(message))

    def without_root(self, message: str) -> str:
        """A message without the path of the root, so that it is the same on every machine."""
        root = re.escape(str(self.root))  # only a whole path counts: data is not the root in old/data/ or data-2
        inner = re.sub(rf"(?<![\w./-]){root}/", "", message)
        return re.sub(rf"(?<![\w./-]){root}(?![\w.-])", "the source", inner)

    def refused_when_unreadable(self, record: Record, error: SourceError) -> Refused | None:
        """The rejected row for a sample that `load` cannot read, or None if that has to stop the build.

        Its name is that of the record in this source. The caller puts the sample's own name there, which is longer if
        the source is part of a union.
        """
        return self.refused_row(record.name, "broken pixels", str(error)) if self.on_error == "reject" else None

    def files_of(self, record: Record) -> set[Path] | None:
        """The files that `load` reads for a record; None if that is not known, as for a plugin that does not say.

        A source that knows them loses only its own samples when one of them is touched during a build. Those here name
        each of them in `Record.data` by its place, which the contract of sources checks.
        """
        return None if origin_of(type(self).__module__) else set(map(self.root.joinpath, _texts(record.data)))

    def image_path(self, record: Record) -> Path | None:
        """The file that holds a record's picture and nothing else; None if there is none, as in a volume."""
        place = record.data.get("image")
        return self.root / place if isinstance(place, str) and Path(place).suffix.lower() in IMAGES else None

    def kept_columns(self, record: Record) -> MetadataColumns:
        """Which columns of a record's metadata go into the dataset, as an entry of a union may say."""
        return MetadataColumns()

    @abstractmethod
    def scan(self, cache: FileCache) -> Listing:
        """List the samples without decoding pixels. Raises SourceError naming every broken file that was found."""

    @abstractmethod
    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        """Read one sample: image and bit-planes. Raises SourceError naming the file."""


class PhotoSource(Source):
    """A source of photos, whose EXIF may say that the pixels are to be turned before they are shown."""

    exif: Literal["auto", "apply", "ignore"] = Field(
        "auto",
        description="EXIF orientation: turn photos upright (apply), or read pixels as stored (ignore); auto applies it "
        "unless a size shows that a photo was annotated as stored, which then holds for its whole annotation file",
    )


def _texts(value: Any) -> Iterator[str]:
    """The texts in JSON-like data that are short enough for a path."""
    if isinstance(value, str):
        if 0 < len(value) < _LONGEST_PATH:
            yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


_LONGEST_PATH = 4096

SOURCES: Catalogue[type[Source]] = Catalogue("source format", "augforge.sources.formats", "augforge.sources")
"""Every source by its format's name."""

SourceClass = TypeVar("SourceClass", bound=Source)


def source(cls: type[SourceClass]) -> type[SourceClass]:
    """Register a source under its format's name, the default of its field `format`.

    Raises:
        ValueError: `format` is no Literal with a default, or `adapter_version`, `layout`, `scan` or `load` is missing.
    """
    field = cls.model_fields["format"]
    missing = [name for name in ("adapter_version", "layout") if not hasattr(cls, name)] + sorted(
        cls.__abstractmethods__
    )
    if get_origin(field.annotation) is not Literal or not isinstance(field.default, str):
        raise ValueError(f'{cls.__name__} names no format; expected a field such as format: Literal["mine"] = "mine"')
    if missing:
        raise ValueError(f"{cls.__name__} has no {', '.join(missing)}; a source needs them all. Add what is missing")
    SOURCES.add(field.default, cls, cls.__module__)
    return cls
