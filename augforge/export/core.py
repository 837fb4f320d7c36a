"""What every export format is: checked options and a writer, and what the writers share.

A writer gets a `Job`, the folder to fill, and the `Entry` of each sample one at a time, without pixels being decoded:
images are copied as the bytes that they are stored as, and masks are decoded by `Entry.regions` for the writers that
look at them, class by class in its own box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from augforge import bitmask
from augforge.errors import DatasetError
from augforge.export.places import place_of

Holds: TypeAlias = Literal["each", "sample", "split"]
"""What a format can leave unlabelled: each class of a sample, a whole sample, or a class of a whole split."""


class Options(BaseModel):
    """Options of a format. Unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    layout: ClassVar[str]
    """The files that it writes, as a drawing."""
    read_back: ClassVar[str]
    """The source of a recipe that reads them, or Python where none does."""


class Unlabelled(Options):
    """Options of a format that cannot say of each class and sample whether somebody labelled it."""

    unknown: Literal["error", "absent", "skip"] = Field(
        "error", description="what the format cannot tell from absent: refused, or written as absent, or left out"
    )


class Region(NamedTuple):
    """A class that has pixels, in its own box.

    Attributes:
        c: index of the class.
        roi: the box, as slices of rows and columns.
        mask: uint8 of 0 and 1, C-contiguous, as large as the box.
    """

    c: int
    roi: tuple[slice, slice]
    mask: NDArray[np.uint8]

    @property
    def origin(self) -> tuple[int, int]:
        """x and y of the box's first pixel."""
        return int(self.roi[1].start), int(self.roi[0].start)


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One sample to be written.

    Attributes:
        number: in its split, from 1.
        name, split, group, width, height, metadata: the sample's.
        label: floats, or None.
        known: bool (C,): the classes that somebody labelled.
        image: PNG or JPEG bytes as stored.
        frame: the stored masks; see `bitmask.decode`.
    """

    number: int
    name: str
    split: str
    group: str
    width: int
    height: int
    metadata: Mapping[str, Any]
    label: Sequence[float] | None
    known: NDArray[np.bool_]
    image: memoryview
    frame: memoryview

    @property
    def labelled(self) -> bool:
        return bool(self.known.any())

    @property
    def place(self) -> str:
        """The name as a path without suffix."""
        return place_of(self.name)

    @property
    def file(self) -> str:
        """The image's path below a folder of images."""
        return self.place + suffix_of(self.image)

    def regions(self) -> Iterator[Region]:
        """The classes that are known and have pixels, in class order. DatasetError where they cannot be decoded."""
        try:
            masks = bitmask.decode(self.frame, self.height, self.width, len(self.known))
        except ValueError as error:
            raise DatasetError(
                f"the masks of sample '{self.name}' cannot be decoded: {error}. Check: augforge verify --pixels; "
                "repair: augforge build"
            ) from None
        for c, roi, mask in bitmask.regions(masks, len(self.known)):
            if self.known[c]:
                yield Region(c, roi, np.ascontiguousarray(mask))


@dataclass(frozen=True)
class Job:
    """What is written where.

    Attributes:
        folder: the one to fill.
        dataset, version: what is exported.
        classes, labels: its tables.
        names: of all samples that are written, in order.
        splits: samples of each split that is written.
        known: of each split, bool (C,): the classes that some sample knows.
        notes: what the format could not hold or holds in a way worth saying, with the number of times.
        files: where the image of each sample went; by name. They become ``samples.csv``.
    """

    folder: Path
    dataset: str
    version: str
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    names: Sequence[str]
    splits: Mapping[str, int]
    known: Mapping[str, NDArray[np.bool_]]
    notes: Counter[str] = field(default_factory=Counter)
    files: dict[str, str] = field(default_factory=dict)

    def path(self, place: str) -> Path:
        """A file's path below the folder; the folders above it are made."""
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def put(self, place: str, data: bytes | memoryview | str) -> None:
        """Write a file; text as UTF-8."""
        self.path(place).write_bytes(data.encode() if isinstance(data, str) else data)

    def put_image(self, entry: Entry, folder: str, file: str | None = None) -> None:
        """Copy the image of a sample, as it is stored, to its file (or another one) below a folder."""
        place = f"{folder}/{file or entry.file}"
        self.files[entry.name] = place
        self.put(place, entry.image)


Writer: TypeAlias = Callable[[Job, Iterable[Entry], Any], None]


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its options, its writer, and what the writer relies on.

    Attributes:
        options: the model; its docstring is the format's page.
        write: takes every entry, once, in order.
        holds: what it can leave unlabelled; the rest is settled before by the option ``unknown``.
        order: of the entries in a split: by name for people, or by id, which is a shuffle.
    """

    options: type[Options]
    write: Writer
    holds: Holds = "each"
    order: Literal["name", "id"] = "name"


def suffix_of(image: memoryview) -> str:
    """``.jpg`` or ``.png``, by the bytes."""
    return ".jpg" if bytes(image[:2]) == b"\xff\xd8" else ".png"
