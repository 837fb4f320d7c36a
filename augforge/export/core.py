"""The parts of an export format, its options and its writer, and what all writers share.

A writer gets a `Job`, which knows the folder to fill, and one `Entry` per sample. No pixel is decoded for it: images
are copied as stored bytes, and only writers that need masks decode them, by `Entry.regions`, class by class in its box.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar, Literal, NamedTuple, TextIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from augforge import bitmask
from augforge.errors import DatasetError, shorten
from augforge.export.paths import sample_path
from augforge.files import open_named
from augforge.store.codec import check_image_size
from augforge.store.manifest import LicenceEntry

UnlabelledScope: TypeAlias = Literal["each", "sample", "split"]
"""What a format can mark as unlabelled: each class of each sample, a whole sample, or a class in a whole split."""


class Options(BaseModel):
    """Base of the options of a format; unknown options are refused. The docstring is the format's page."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    layout: ClassVar[str]
    """The files that the format writes, as an outline."""
    read_back: ClassVar[str]
    """The source of a recipe that reads them back, or Python code if no source does."""


class UnlabelledOptions(Options):
    """Base for formats that cannot mark each class of each sample as unlabelled."""

    unknown: Literal["error", "absent", "skip"] = Field(
        "error", description="what the format cannot tell from absent: refused, or written as absent, or left out"
    )


class Region(NamedTuple):
    """One class of a sample that has pixels, in its own box.

    Attributes:
        c: index of the class.
        roi: the box, as slices of rows and columns.
        mask: uint8 of 0 and 1, C-contiguous, with the shape of the box.
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
        number: of the sample in its split, from 1.
        name, split, group, width, height, metadata: the sample's.
        label: the label vector, or None.
        known: bool (C,): whether somebody labelled the class.
        image: PNG or JPEG bytes as stored.
        frame: the stored masks; see `bitmask.decode`.
        licences: keys of the licences of its source images.
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
    licences: tuple[str, ...] = ()

    @property
    def is_labelled(self) -> bool:
        """Whether any class was labelled."""
        return bool(self.known.any())

    @property
    def stem(self) -> str:
        """The name as a path without suffix; see `augforge.export.paths`."""
        return sample_path(self.name)

    @property
    def file(self) -> str:
        """The path of the image, with suffix, below a folder of images."""
        return self.stem + suffix_of(self.image)

    def regions(self) -> Iterator[Region]:
        """The classes that are known and have pixels, in class order; DatasetError if the masks cannot be decoded."""
        try:
            check_image_size(self.image, self.height, self.width)
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
    """What is exported, and where it is written.

    Attributes:
        folder: the folder to fill.
        dataset, version: name and version of the dataset.
        classes, labels: its class and label tables.
        names: of all samples to be written, in order.
        splits: number of samples per split that is written.
        known: per split, bool (C,): whether any sample knows the class.
        notes: remarks for the user, such as on what the format cannot represent, and how often each applies.
        licences: the licences of the dataset by their keys.
        files: path of each sample's image by the sample's name; they become ``samples.csv``.
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
    licences: Mapping[str, LicenceEntry] = field(default_factory=dict)

    def path(self, relative: str) -> Path:
        """The path of a file below the folder; missing folders above it are created.

        Whatever a format makes names of, here no path leads out of the folder, and no file is written twice.
        """
        place = PurePosixPath(relative)
        if place.is_absolute() or ".." in place.parts or "\\" in relative or "\0" in relative:
            raise DatasetError(f"a file would be called {shorten(relative)}, outside the export's folder. {_RENAME}")
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def put(self, relative: str, data: bytes | memoryview | str) -> None:
        """Write a file; text as UTF-8."""
        with self.open(relative) as stream:
            stream.write(data.encode() if isinstance(data, str) else data)

    def open(self, relative: str) -> BinaryIO:
        """Open a new file below the folder for writing. OSErrors name it; DatasetError if it is there already."""
        path = self.path(relative)
        if path.exists():
            raise DatasetError(f"two files would be called {shorten(relative)}. {_RENAME}")
        return open_named(path)

    def open_text(self, relative: str) -> TextIO:
        """Open a file below the folder for writing UTF-8 text with line ends as given. OSErrors name it."""
        return io.TextIOWrapper(self.open(relative), encoding="utf-8", newline="")

    def put_image(self, entry: Entry, folder: str, file: str | None = None) -> None:
        """Write the stored image of a sample to its `Entry.file`, or to ``file``, below a folder."""
        relative = f"{folder}/{file or entry.file}"
        self.files[entry.name] = relative
        self.put(relative, entry.image)


_RENAME = "Rename the sample, class or split, and build the dataset again"

Writer: TypeAlias = Callable[[Job, Iterable[Entry], Any], None]


@dataclass(frozen=True, slots=True)
class Format:
    """An export format.

    Attributes:
        options: the model of its options; its docstring is the format's page.
        write: called once with the job, all entries in order, and the options.
        marks_unlabelled: what the format can mark as unlabelled; the option ``unknown`` decides about the rest.
        order: of the entries within a split: by name for people, or by id, which is a shuffle.
    """

    options: type[Options]
    write: Writer
    marks_unlabelled: UnlabelledScope = "each"
    order: Literal["name", "id"] = "name"


def suffix_of(image: memoryview) -> str:
    """``.jpg`` or ``.png``, by the first bytes of an encoded image."""
    return ".jpg" if bytes(image[:2]) == b"\xff\xd8" else ".png"
