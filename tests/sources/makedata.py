"""Small annotated data sets on disk, for the tests of the sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from augforge import bitmask
from augforge.errors import SourceError
from augforge.sample import Sample
from augforge.sources import SOURCES, Listing
from augforge.store.filecache import FileCache

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


def put_palette(path: Path, values: Any) -> Path:
    """A palette PNG, such as VOC's, whose colours are not its values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(values, np.uint8), mode="P")
    picture.putpalette([(7 * i + 13) % 256 for i in range(768)])
    picture.save(path)
    return path


def put_text(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def block(x0: int, y0: int, x1: int, y1: int, value: int = 255, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask with one rectangle, half-open."""
    mask = np.zeros(size[::-1], np.uint8)
    mask[y0:y1, x0:x1] = value
    return mask


def scan(kind: str, root: Path, cache: FileCache | None = None, **options: Any) -> Listing:
    return SOURCES[kind](format=kind, path=str(root), **options).scan(cache or FileCache())


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
        assert not bitmask.invented_bits(sample.masks, len(listing.classes))
    return samples


def masks_of(sample: Sample, classes: tuple[str, ...]) -> Mapping[str, np.ndarray]:
    return dict(zip(classes, bitmask.to_masks(sample.masks, len(classes)), strict=True))


def known_of(sample: Sample, classes: tuple[str, ...]) -> list[str]:
    flags = bitmask.bits_to_flags(sample.known, len(classes))
    return [name for name, flag in zip(classes, flags, strict=True) if flag]
