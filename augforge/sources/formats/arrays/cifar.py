"""CIFAR-10 and CIFAR-100 as they are distributed for Python: pickles, read without unpickling them."""

from __future__ import annotations

import posixpath
import re
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.sample import Sample
from augforge.sources.core import Listing, Record, Source, source
from augforge.sources.formats.arrays.listing import ImageFile, array_facts, list_arrays, load_from_array
from augforge.sources.formats.arrays.pickled import read_pickle
from augforge.sources.raster.values import is_name
from augforge.sources.scan.recent_files import RECENT_FILES
from augforge.sources.scan.scanning import Scan

_BATCH = re.compile(r"^(data_batch_\d+|test_batch|train|test)$")
_META = ("batches.meta", "meta")
_SIDE = 32
_COLOURS = 3


@source
class Cifar(Source):
    """Reads the pickles of CIFAR-10 and CIFAR-100 ("python version"), without running anything that they hold.

    Labels are named by batches.meta or meta, and by their numbers if there is neither. The split test is test_batch or
    test. Each image is a group of its own. There are no masks: the class table is ``ignore`` alone.
    """

    adapter_version: ClassVar[int] = 1
    names_are_places: ClassVar[bool] = False
    layout: ClassVar[str] = """\
ROOT/                          source.path: cifar-10-batches-py or cifar-100-python
  data_batch_1                 or train
  test_batch                   or test
  batches.meta                 or meta: the names of the labels"""

    format: Literal["cifar"] = "cifar"
    labels: Literal["fine", "coarse"] = Field("fine", description="CIFAR-100's 100 fine labels or its 20 coarse ones")

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        scan.require_folder("")
        places = scan.walk("", {"", ".meta"}, "a batch of CIFAR", _is_named_as_cifar)
        batches = [place for place in places if _BATCH.match(posixpath.basename(place))]
        if not batches and not scan.bad_names:
            raise SourceError(f"{self.root} holds no batch of CIFAR; expected\n{self.layout}\nCorrect source.path.")
        kind = f"cifar@1 {self.labels}"
        facts = scan.facts(((place, place) for place in batches), kind, self._read_batch, "broken image")
        files = [ImageFile(place, place, facts[place], facts[place]["labels"]) for place in batches if place in facts]
        most = max((number for file in files for number in file.labels), default=-1)
        named = self._read_names(scan, places)
        return list_arrays(scan, files, named or [str(number) for number in range(most + 1)])

    def _read_names(self, scan: Scan, places: list[str]) -> list[str]:
        """The names of the labels, in the order of their numbers; none without a file of them."""
        place = next((place for place in places if posixpath.basename(place) in _META), None)
        if place is None:
            return []
        names: list[str] = scan.file_facts(self.root / place, f"cifar names@1 {self.labels}", self._names_in)
        return names

    def _names_in(self, path: Path) -> list[str]:
        meta = read_pickle(path)
        found = meta.get("label_names", meta.get(f"{self.labels}_label_names"))
        names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in found or ()]
        if not names or not all(map(is_name, names)):
            raise SourceError(
                f"{path} names no labels; expected label_names or {self.labels}_label_names. Copy it again."
            )
        return names

    def _read_batch(self, path: Path) -> dict[str, Any]:
        batch = read_pickle(path)
        images, numbers = _images_of(batch, path), batch.get("labels", batch.get(f"{self.labels}_labels"))
        if not isinstance(numbers, list) or {*map(type, numbers)} != {int} or len(numbers) != len(images):
            raise SourceError(f"{path} has no label for each of {len(images)} images. Copy it again from the original.")
        return {**array_facts(images), "labels": numbers}

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        path = self.root / record.data["image"]
        read = partial(_read_images, path)
        images = RECENT_FILES.get(path, "cifar", read, lambda array: array.nbytes)
        image = images[min(record.data["index"], len(images) - 1)]
        return load_from_array(self, record, np.ascontiguousarray(image))


def _is_named_as_cifar(place: str) -> bool:
    name = posixpath.basename(place)
    return name in _META or _BATCH.match(name) is not None


def _read_images(path: Path) -> NDArray[np.uint8]:
    return _images_of(read_pickle(path), path)


def _images_of(batch: dict[str, Any], path: Path) -> NDArray[np.uint8]:
    """The images (N, 32, 32, 3) of a batch, in which each is a row: all red values, then green, then blue."""
    data = batch.get("data")
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != _COLOURS * _SIDE * _SIDE or not len(data):
        raise SourceError(f"{path} holds no images of 32x32 pixels in colour. Copy it again from the original.")
    return np.asarray(data.reshape(-1, _COLOURS, _SIDE, _SIDE).transpose(0, 2, 3, 1), np.uint8)
