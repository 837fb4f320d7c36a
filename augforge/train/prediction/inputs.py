"""The images to predict: image files, or a dataset's samples, grouped by the source image that they show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.errors import SourceError, TrainError
from augforge.export.core import suffix_of
from augforge.files import is_url
from augforge.lineage import Root
from augforge.sample import NO_CLASSES, Sample
from augforge.sources.core import Listing, Record, Source
from augforge.sources.loading import load_image, make_sample
from augforge.sources.scan.records import make_record, name_of
from augforge.sources.scan.scanning import Scan
from augforge.store.dataset import Dataset, open_dataset
from augforge.train.mirrored import Pairs, exchange_finder


@dataclass(frozen=True, slots=True)
class Part:
    """A sample to predict.

    Attributes:
        load: loads it.
        root: where the target lies in it; None if the sample is the target.
        exchange: pairs of classes that are exchanged in it, compared with the target.
    """

    load: Callable[[], Sample]
    root: Root | None = None
    exchange: Pairs = ()


@dataclass(frozen=True, slots=True)
class Target:
    """An image to get predictions: its name, its file, and the samples that show it."""

    name: str
    file: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """All images to predict.

    Attributes:
        origin: where they come from, JSON-like; without a path, because tables of predictions are passed on to others.
        targets: the images, sorted by name.
        skipped: name and reason of each image that cannot be predicted.
        dataset: the one that the images are samples of; None if they are raw images.
        unreadable: the same for targets that turn out to be damaged when they are decoded; filled during prediction.
    """

    origin: dict[str, str]
    targets: list[Target]
    skipped: list[dict[str, str]]
    dataset: Dataset | None = None
    unreadable: list[dict[str, str]] = field(default_factory=list)


class Images(Source):
    """Reads images alone: a folder of them, and the folders in it, or one file. Nothing is labelled."""

    adapter_version: ClassVar[int] = 1
    layout: ClassVar[str] = """\
ROOT/                          a folder
  scan1.png                    images; .jpg, .bmp, .webp, .tif too
  P01/scan2.png                folders are part of the name"""

    format: Literal["images"] = "images"
    file: str | None = Field(None, description="only this one")

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        scan.require_folder("")
        places = scan.walk("") if self.file is None else [self.file]
        images = scan.places_by_name((name_of(place), place) for place in places)
        facts = scan.image_facts(images.items())
        records = (make_record(name, place, facts[place], None) for name, place in images.items() if place in facts)
        return scan.make_listing(records, NO_CLASSES)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        image, unknown = load_image(self.root, record), np.zeros(bitmask.plane_count(len(classes)), np.uint8)
        return make_sample(record, image, bitmask.empty(record.height, record.width, len(classes)), unknown)


def list_inputs(
    images: str | Path | Source | Dataset, split: str | None = None, on_error: Literal["error", "skip"] = "error"
) -> Inputs:
    """The images to predict.

    Args:
        images: a folder of images, one image file, a dataset's folder or URL, a dataset, or any source.
        split: of a dataset; None for all of it.
        on_error: whether a file that cannot be read is an error, or skipped.

    Raises:
        SourceError: broken files, all named, unless they are skipped.
        TrainError: nothing to predict.
    """
    if isinstance(images, Source):
        inputs = _from_source(images)
    elif isinstance(images, Dataset):
        inputs = _from_dataset(images, split)
    elif is_url(images) or (Path(images).expanduser() / "manifest.yaml").exists():
        return list_inputs(open_dataset(images), split, on_error)
    else:
        return list_inputs(_image_source(Path(images).expanduser(), on_error), split, on_error)
    if not inputs.targets:
        raise TrainError(f"{_describe(images)} holds no image to predict. Choose another folder, dataset or split")
    return inputs


def _describe(images: str | Path | Source | Dataset) -> str:
    return images.path if isinstance(images, Source) else str(getattr(images, "folder", images))


def _image_source(path: Path, on_error: str) -> Images:
    if not path.exists():
        raise TrainError(f"{path} does not exist; expected a folder of images, an image or a dataset")
    folder, file = (path.parent, path.name) if path.is_file() else (path, None)
    return Images(path=str(folder), file=file, on_error="reject" if on_error == "skip" else "error")


def _scan(source: Source) -> Listing:
    """List a source; messages do not speak of a recipe, of which there is none."""
    try:
        return source.scan(FileCache())
    except SourceError as error:
        raise SourceError(str(error).replace("Correct source.path.", "Give the folder of the images.")) from None


def _from_source(source: Source) -> Inputs:
    listing = _scan(source)
    targets = [
        Target(
            record.name,
            str(record.data.get("image", record.name)),
            (Part(partial(source.load, record, listing.classes)),),
        )
        for record in listing.records
    ]
    skipped = [
        {"name": refused.name, "reason": ": ".join(filter(None, (refused.reason, refused.detail)))}
        for refused in listing.refused
    ]
    return Inputs({"folder": source.root.resolve().name}, sorted(targets, key=lambda target: target.name), skipped)


def _from_dataset(dataset: Dataset, split: str | None) -> Inputs:
    """The source images that samples show; a sample without a single root (see below) is a target of its own."""
    part = dataset if split is None else dataset.split(split)
    samples_of: dict[str, list[tuple[int, Root | None, Pairs]]] = {}
    for row, (name, root, exchange) in enumerate(_single_roots(part)):
        samples_of.setdefault(root.name if root else name, []).append((row, root, exchange))
    targets = [
        Target(
            name,
            name + suffix_of(part.payload(samples[0][0])[0]),
            tuple(Part(_reader(part, row), root, exchange) for row, root, exchange in samples),
        )
        for name, samples in sorted(samples_of.items())
    ]
    origin = {"dataset": dataset.name, "version": dataset.version}
    return Inputs(origin | ({"split": split} if split else {}), targets, [], dataset)


def _reader(dataset: Dataset, row: int) -> Callable[[], Sample]:
    return lambda: dataset[row]


def _single_roots(dataset: Dataset) -> Iterator[tuple[str, Root | None, Pairs]]:
    """The name of each sample, where the only source image that it shows lies in it, and what is exchanged in it.

    None if it shows several, or if nobody can tell what is exchanged: it cannot be turned back.
    """
    find_exchange = exchange_finder(dataset)
    for name, lineage in dataset.index.select("name", "lineage").iter_rows():
        exchange = find_exchange(lineage) if len(lineage["roots"]) == 1 else None
        yield name, None if exchange is None else Root.from_json(lineage["roots"][0]), exchange or ()
