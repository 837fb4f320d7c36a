"""What a source lists: records of samples, what it refused, and the class table they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from augforge.cache.shelf import Shelf
from augforge.ops.sides import Sides
from augforge.sources.licences import Licence


@dataclass(frozen=True, slots=True)
class Record:
    """One listed sample: all that planning needs, and no pixel.

    Attributes:
        name: the stable key, such as ``ID001/image1661130828152``.
        group: samples of one group, such as a patient, never go to different splits.
        split: the split that the data set itself prescribes (``test``), or None.
        width, height: in pixels, of the upright image, as its header says.
        bytes: size of the image file, for estimates.
        content: digest of the image's bytes and the sample's own annotation, after class mapping.
        metadata: JSON-like values joined to the sample.
        data: what the adapter's `load` needs to find it again; JSON-like. It names each file that `load` reads by its
            place; see `Source.files_of`.
        licences: keys of the licences of its image and annotation; see `Listing.licences`.
        image_sha256: SHA-256 of the image file's bytes; empty where the source does not know it.
        drawn: the classes that its annotation draws, or the labels that it gives; None where the source does not know
            that before the pixels are read.
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
    licences: tuple[str, ...] = ()
    image_sha256: str = ""
    drawn: tuple[str, ...] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Each record is pickled into a `Shelf`. This way that is 5 times faster than the way of dataclasses with slots.
        return Record, tuple(getattr(self, name) for name in self.__slots__)


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that the source found but cannot use: it is reported, and becomes a row of the rejected table.

    Name, reason and detail enter the dataset's version, so none of them may depend on the machine.
    """

    name: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something implausible that the source holds: a build goes on, and tells it.

    Attributes:
        kind: a stable name in a few words, such as ``class drawn nowhere``, for machines.
        message: the fact, in one sentence.
        remedy: what to do about it, or how to say that it is meant.
        names: of the samples, classes or files that it is about, all of them.
    """

    kind: str
    message: str
    remedy: str
    names: tuple[str, ...] = ()


class Records(Sequence[Record]):
    """Listed samples, sorted by name; kept on disk if there are many. ``[i]`` reads all: iterate, or use `by_name`.

    Args:
        records: by their names.
    """

    def __init__(self, records: Shelf[Record]) -> None:
        self._records = records

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Any) -> Any:
        return tuple(self)[index]

    __hash__ = None  # type: ignore[assignment]  # as of any mutable sequence that is compared by its items

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and tuple(self) == tuple(other)

    def by_name(self, name: str) -> Record:
        """The record with this name. Raises KeyError."""
        return self._records[name]


@dataclass(frozen=True, slots=True)
class Listing:
    """The contents of a source.

    Attributes:
        classes: the class table: names in the order of their bits.
        records: the samples.
        refused: what was found and cannot be used.
        labels: names of the entries of label vectors; empty if there are none. (The labels that `Source.class_of` takes
            are others: what the files call a class.)
        warnings: messages for the user.
        licences: the licences of the samples, by the keys that the records hold.
        findings: what the source itself found implausible, and told to people and machines.
        overall: what is implausible about the listing as a whole, whatever its format; see `sources.plausibility`.
        sides: of a body, as far as the data itself states them, as a dataset does. A build completes them by the
            option `Source.sides` and by names.
    """

    classes: tuple[str, ...]
    records: Records
    refused: tuple[Refused, ...] = ()
    labels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    licences: Mapping[str, Licence] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    overall: tuple[Finding, ...] = ()
    sides: Sides = field(default_factory=Sides)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """All that is implausible."""
        return self.findings + self.overall
