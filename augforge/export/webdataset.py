"""WebDataset: tar files of samples, to be read sequentially."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, ClassVar, Literal

import numpy as np
from pydantic import Field

from augforge.bitmask import plane_count
from augforge.export.core import Entry, Job, Options, suffix_of
from augforge.export.paths import escape_dots
from augforge.export.png import mask_png

_BLOCK = tarfile.BLOCKSIZE
_END = tarfile.RECORDSIZE


class WebDataset(Options):
    """Tar files with an image, masks and a JSON file per sample, in the order of ids, which is a shuffle.

    Masks are the stored bytes of the dataset, `masks.zst`: zstd of uint8 planes, with class c in bit c % 8 of plane c
    // 8, and the shape in the JSON file. With `masks: png` they are one image of 0 and 255 per class that the sample
    shows, `mask.<c>.png`. The JSON file has name, split, group, width, height, classes, known, planes, labels, label
    and metadata. Dots in the last part of a name are written `%2E` in the key, since a suffix begins at the first dot.
    """

    layout: ClassVar[str] = """\
OUT/
  train-000000.tar             per sample NAME.png or .jpg, NAME.masks.zst, NAME.json"""
    read_back: ClassVar[str] = """\
import json, numpy, webdataset, zstandard
for sample in webdataset.WebDataset("OUT/train-000000.tar", shardshuffle=False):
    image = sample.get("png") or sample.get("jpg")  # encoded
    facts = json.loads(sample["json"])
    content = zstandard.decompress(sample["masks.zst"])
    planes = numpy.frombuffer(content, numpy.uint8).reshape(facts["planes"])
    masks = {name: planes[c // 8] >> (c % 8) & 1 for c, name in enumerate(facts["classes"])}"""

    masks: Literal["planes", "png"] = Field(
        "planes", description="the stored planes, or one PNG per class in the sample"
    )
    max_count: int = Field(10_000, ge=1, description="most samples of a tar file")
    max_bytes: int = Field(1_000_000_000, ge=1, description="most bytes of a tar file, unless one sample has more")


def write_webdataset(job: Job, entries: Iterable[Entry], options: WebDataset) -> None:
    """Write a dataset as tar files."""
    with _Tars(job, options) as tars:
        for entry in entries:
            tars.add(entry)


class _Tars:
    """Writes the tar files of one split after another, one file open at a time."""

    def __init__(self, job: Job, options: WebDataset) -> None:
        self._job, self._options = job, options
        self._tar: tarfile.TarFile | None = None
        self._stream: BinaryIO
        self._split = ""
        self._number = self._count = self._bytes = 0

    def __enter__(self) -> _Tars:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._tar is not None:
            with self._stream:
                self._tar.close()

    def add(self, entry: Entry) -> None:
        """Write a sample; its files stay together in one tar file."""
        key = escape_dots(entry.stem)
        members = [(f"{key}.{suffix}", data) for suffix, data in _members(entry, self._job, self._options)]
        size = sum(_tar_size(len(data)) for _, data in members)
        tar = self._tar_for(entry.split, size)
        for name, data in members:
            tar.addfile(_header(name, len(data)), io.BytesIO(data))
        self._count += 1
        self._bytes += size

    def _tar_for(self, split: str, size: int) -> tarfile.TarFile:
        """The open tar file, or a new one if this one is full or of another split."""
        full = self._count >= self._options.max_count or self._bytes + size + _END > self._options.max_bytes
        if self._tar is None or split != self._split or (full and self._count):
            self._number = self._number + 1 if split == self._split else 0
            self._close()
            self._stream = self._job.open(f"{split}-{self._number:06d}.tar")
            self._tar = tarfile.open(fileobj=self._stream, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115
            self._split, self._count, self._bytes = split, 0, 0
        return self._tar


def _members(entry: Entry, job: Job, options: WebDataset) -> Iterator[tuple[str, bytes | memoryview]]:
    yield suffix_of(entry.image)[1:], entry.image
    yield "json", json.dumps(_facts(entry, job), ensure_ascii=False).encode()
    if options.masks == "planes":
        yield "masks.zst", entry.frame
    else:
        for c, roi, mask in entry.regions():
            yield f"mask.{c}.png", mask_png(mask, roi, entry.height, entry.width)


def _facts(entry: Entry, job: Job) -> dict[str, Any]:
    return {
        "name": entry.name,
        "split": entry.split,
        "group": entry.group,
        "width": entry.width,
        "height": entry.height,
        "classes": job.classes,
        "known": [job.classes[c] for c in np.flatnonzero(entry.known)],
        "planes": [plane_count(len(job.classes)), entry.height, entry.width],
        "labels": job.labels,
        "label": entry.label,
        "metadata": dict(entry.metadata),
    }


def _header(name: str, size: int) -> tarfile.TarInfo:
    """A tar header without time, owner or anything else that would differ between two exports."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header


def _tar_size(size: int) -> int:
    return _BLOCK + -(-size // _BLOCK) * _BLOCK
