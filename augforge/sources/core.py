"""What every source adapter is: options that are checked, a listing without pixels, and a loader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from augforge.errors import nearest
from augforge.sample import Sample
from augforge.sources.class_lists import CLASS_LISTS
from augforge.store.filecache import FileCache


@dataclass(frozen=True, slots=True)
class Record:
    """One listed sample: all that planning needs, and no pixel.

    Attributes:
        name: the stable key, such as ``ID001/image1661130828152``.
        group: what may not part between splits.
        split: the split that the data set itself prescribes (``test``), or None.
        width, height: pixels, from the image's header.
        bytes: size of the image file, for estimates.
        content: digest of the image's bytes and the sample's own annotation, after class mapping.
        metadata: JSON-like values joined to the sample.
        data: what the adapter's `load` needs to find it again; JSON-like.
    """

    name: str
    group: str
    split: str | None
    width: int
    height: int
    bytes: int
    content: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """Something the source found and could not use: it is reported and stands in the rejected table."""

    name: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source holds: the class table, its samples, what it refused, the label names, and things worth saying."""

    classes: tuple[str, ...]
    records: tuple[Record, ...]
    refused: tuple[Refused, ...] = ()
    labels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Source(BaseModel, ABC):
    """Options of a source as they stand in a recipe, and the adapter itself. Unknown options are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    adapter_version: ClassVar[int]
    layout: ClassVar[str]
    """The expected files as a drawing, for ``augforge sources NAME``."""

    format: str = Field(description="the adapter's name")
    path: str = Field(description="folder of the data, relative to the recipe, or a URL")
    classes: tuple[str, ...] | None = Field(None, description="a named class list, or the list itself")
    class_map: dict[str, str | None] = Field(
        default_factory=dict, description="label in the files -> class; null leaves the label out"
    )

    @field_validator("classes", mode="before")
    @classmethod
    def _named_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in CLASS_LISTS:
                raise ValueError(f"no class list is named '{value}'.{nearest(value, CLASS_LISTS)}")
            return CLASS_LISTS[value]
        return value

    @field_validator("classes")
    @classmethod
    def _sound_list(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None:
            twice = sorted({name for name in value if value.count(name) > 1})
            if twice:
                raise ValueError(f"classes stand twice in the list: {', '.join(twice)}")
            if not 1 <= len(value) <= 256:
                raise ValueError(f"{len(value)} classes; expected 1 to 256")
        return value

    @property
    def root(self) -> Path:
        return Path(self.path)

    @abstractmethod
    def scan(self, cache: FileCache) -> Listing:
        """List the samples without decoding a pixel. Raises SourceError naming every broken file it met."""

    @abstractmethod
    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        """Read one sample: image and bit-planes. Raises SourceError naming the file."""
