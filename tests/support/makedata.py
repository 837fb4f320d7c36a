"""Small annotated data sets on disk, for the tests of the sources."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import cv2
import numpy as np
import pytest
from PIL import Image

from augforge import bitmask
from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.export.index_mask import voc_palette
from augforge.ops.contract_samples import has_extra_bits
from augforge.sample import Sample
from augforge.sources import SOURCES, Listing, Record
from augforge.sources.scan.images import image_facts

Given = ParamSpec("Given")
Found = TypeVar("Found")
Noted = TypeVar("Noted")

SIZE = (20, 16)  # width, height


def put_image(path: Path, size: tuple[int, int] = SIZE) -> Path:
    """A noisy gray image, different for each name."""
    rng = np.random.default_rng(sum(str(path.name).encode()))
    return put_pixels(path, rng.integers(0, 256, size[::-1], dtype=np.uint8))


def put_pixels(path: Path, pixels: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix.lower(), pixels)
    assert done
    path.write_bytes(data.tobytes())
    return path


def read_pixels(path: Path) -> np.ndarray:
    """A picture as OpenCV reads it, BGR."""
    pixels = cv2.imread(str(path))
    assert pixels is not None, f"{path} is no picture"
    return pixels


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image, as a listing has them."""
    facts = image_facts(path)
    return facts["width"], facts["height"]


def png(width: int, height: int, depth: int, colour: int, raw: bytes, extra: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of raw rows, each after its filter byte, with further chunks before and after them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(raw)) + after + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def put_palette(path: Path, values: Any, voc: bool = False) -> Path:
    """A palette PNG, whose colours are not its values; or VOC's colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(values, np.uint8), mode="P")
    picture.putpalette(voc_palette().tobytes() if voc else [(7 * i + 13) % 256 for i in range(768)])
    picture.save(path)
    return path


def put_text(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def put_json(path: Path, content: Any) -> Path:
    """A JSON file, or one of the bytes that are given."""
    return put_text(path, content if isinstance(content, bytes) else json.dumps(content))


def filled(*rings: Any, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Where one of the rings is, 0 or 1: as OpenCV fills them, without the code under test."""
    canvas = np.zeros(size[::-1], np.uint8)
    for ring in rings:
        cv2.fillPoly(canvas, [np.rint(np.reshape(ring, (-1, 2))).astype(np.int32)], (1,))
    return canvas


def block(x0: int, y0: int, x1: int, y1: int, value: int = 255, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask with one rectangle, half-open."""
    mask = np.zeros(size[::-1], np.uint8)
    mask[y0:y1, x0:x1] = value
    return mask


def scan(kind: str, root: Path, cache: FileCache | None = None, **options: Any) -> Listing:
    return SOURCES[kind](format=kind, path=str(root), **options).scan(cache or FileCache())


def only(kind: str, root: Path, **options: Any) -> Record:
    """The one record that is listed."""
    (record,) = scan(kind, root, **options).records
    return record


def first(kind: str, root: Path, **options: Any) -> tuple[Sample, tuple[str, ...]]:
    """The first sample, and the class table."""
    source = SOURCES[kind](format=kind, path=str(root), **options)
    listing = source.scan(FileCache())
    return source.load(listing.records[0], listing.classes), listing.classes


def broken(kind: str, root: Path, *parts: str, **options: Any) -> str:
    """The scan's error, which names something below the root and holds all the parts."""
    with pytest.raises(SourceError) as caught:
        scan(kind, root, **options)
    message = str(caught.value)
    for part in (str(root), *parts):
        assert part in message, f"{part!r} not in {message!r}"
    return message


def rejected(kind: str, root: Path, **options: Any) -> list[tuple[str, str]]:
    """Names and reasons of what the scan refused with ``on_error: reject``; no detail names a place outside."""
    listing = scan(kind, root, on_error="reject", **options)
    assert all(row.detail and str(root) not in row.detail for row in listing.refused)
    return [(row.name, row.reason) for row in listing.refused]


def load(kind: str, root: Path, **options: Any) -> dict[str, Sample]:
    """All samples by name, each checked against its record."""
    source = SOURCES[kind](format=kind, path=str(root), **options)
    listing = source.scan(FileCache())
    samples = {record.name: source.load(record, listing.classes) for record in listing.records}
    for record in listing.records:
        sample = samples[record.name]
        assert (sample.width, sample.height) == (record.width, record.height)
        assert (sample.group, sample.metadata) == (record.group, record.metadata)
        assert not has_extra_bits(sample.masks, len(listing.classes))
    return samples


def masks_of(sample: Sample, classes: tuple[str, ...]) -> Mapping[str, np.ndarray]:
    return dict(zip(classes, bitmask.to_masks(sample.masks, len(classes)), strict=True))


def label_of(sample: Sample) -> list[float]:
    """The label vector, which must be there."""
    assert sample.label is not None
    return [float(value) for value in sample.label]


def known_of(sample: Sample, classes: tuple[str, ...]) -> list[str]:
    flags = bitmask.bits_to_flags(sample.known, len(classes))
    return [name for name, flag in zip(classes, flags, strict=True) if flag]


def spy(function: Callable[Given, Found], calls: list[Noted], note: Callable[Given, Noted]) -> Callable[Given, Found]:
    """The same function, which first adds to `calls` what `note` takes from its arguments."""

    def call(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        calls.append(note(*args, **kwargs))
        return function(*args, **kwargs)

    return call
