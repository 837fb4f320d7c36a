"""MNIST and its relatives: idx files of images and of labels."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.sample import Sample
from augforge.sources.core import Listing, Record, Source, source
from augforge.sources.formats.arrays.idx import read_idx
from augforge.sources.formats.arrays.listing import ImageFile, array_facts, list_arrays, load_from_array
from augforge.sources.scan.recent_files import RECENT_FILES
from augforge.sources.scan.scanning import Scan

_SUFFIXES = frozenset({"", ".gz", ".idx3-ubyte", ".idx1-ubyte"})
_IMAGES = re.compile(r"^(.*?)[-_.]?images[-_.]idx3-ubyte(\.gz)?$")
_LABELS = re.compile(r"^(.*?)[-_.]?labels[-_.]idx1-ubyte(\.gz)?$")
_OWN_FOLDER = re.compile(r"([^/]+)/\1$")
"""A file in a folder of its name, as Kaggle unpacks MNIST, beside a copy of each file without one."""


@source
class MnistIdx(Source):
    """Reads the idx files of MNIST, Fashion-MNIST, KMNIST, EMNIST and others, compressed by gzip or not.

    Labels are the numbers in the files, 0 to the largest that occurs, or their ``names``. Files named t10k or test are
    the split test. Each image is a group of its own. There are no masks: the class table is ``ignore`` alone. If a file
    is there both compressed and not, or also in a folder of its own name, one of the two is read.
    """

    adapter_version: ClassVar[int] = 1
    names_are_places: ClassVar[bool] = False
    layout: ClassVar[str] = """\
ROOT/                          source.path
  train-images-idx3-ubyte      or .gz; and train-labels-idx1-ubyte
  t10k-images-idx3-ubyte       the split test"""

    format: Literal["mnist-idx"] = "mnist-idx"
    names: tuple[str, ...] | None = Field(
        None,
        description="the label of each number, from 0; null takes the numbers themselves",
        examples=[["shirt", "trousers", "pullover"]],
    )
    transposed: bool = Field(
        False, description="rows and columns are exchanged in the files, as in EMNIST's: true turns images upright"
    )

    def scan(self, cache: FileCache) -> Listing:
        scan = Scan(self, cache)
        scan.require_folder("")
        places = scan.walk("", _SUFFIXES, "an idx file", lambda place: any(p.match(place) for p in (_IMAGES, _LABELS)))
        found = _by_name(_IMAGES, places)
        if not found and not scan.bad_names:
            raise SourceError(
                f"{self.root} holds no ...images-idx3-ubyte; expected\n{self.layout}\nCorrect source.path."
            )
        for name, place in _by_name(_LABELS, places).items():
            if name not in found:
                scan.bad_sample(name, "no images", f"{self.root / place} has no file of images beside it. Add it.")
        files = [file for name, place in sorted(found.items()) if (file := self._read_file(scan, name, place, places))]
        most = max((number for file in files for number in file.labels), default=-1)
        if not self.transposed and (emnist := next((name for name in found if "emnist" in name.lower()), None)):
            fact = f"{emnist} is named as EMNIST's files, in which rows and columns are exchanged"
            scan.find("images are transposed", fact, "set 'transposed: true' unless they were turned", [emnist])
        return list_arrays(scan, files, self.names or [str(number) for number in range(most + 1)])

    def _read_file(self, scan: Scan, name: str, place: str, places: list[str]) -> ImageFile | None:
        """The images of a file with their labels; None if they are damaged, which is reported."""
        wanted = place.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
        labels = next((other for other in (wanted, f"{wanted}.gz") if other in places), None)
        if labels is None:
            scan.source_error(f"{self.root / wanted} is missing; expected the labels of {place} there. Add it.")
            return None
        numbers: list[int] = scan.file_facts(self.root / labels, "idx labels@1", _read_labels)
        read = partial(_image_facts, transposed=self.transposed)
        facts = scan.facts([(name, place)], f"idx images@1 {self.transposed}", read, "broken image").get(place)
        if facts is not None and len(facts["sha256"]) != len(numbers):
            count = f"{self.root / place} has {len(facts['sha256'])} images, {labels} {len(numbers)} labels"
            scan.source_error(f"{count}; expected one each. Copy both from the same data set.")
            return None
        return None if facts is None else ImageFile(name, place, facts, numbers)

    def load(self, record: Record, classes: tuple[str, ...]) -> Sample:
        path = self.root / record.data["image"]
        images = RECENT_FILES.get(path, "idx", partial(read_idx, path, 3), lambda array: array.nbytes)
        image = images[min(record.data["index"], len(images) - 1)]
        return load_from_array(self, record, np.ascontiguousarray(image.T if self.transposed else image))


def _by_name(pattern: re.Pattern[str], places: list[str]) -> dict[str, str]:
    """The first file of a kind by the name that begins those of its samples."""
    bare = ((_OWN_FOLDER.sub(r"\1", place), place) for place in reversed(places))
    return {match[1]: place for name, place in bare if (match := pattern.match(name))}


def _read_labels(path: Path) -> list[int]:
    numbers: list[int] = read_idx(path, 1).tolist()
    return numbers


def _image_facts(path: Path, transposed: bool) -> dict[str, Any]:
    images = read_idx(path, 3)
    return array_facts(images.swapaxes(1, 2) if transposed else images)
