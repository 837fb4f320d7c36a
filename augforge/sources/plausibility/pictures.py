"""Pictures that look nearly the same in two splits, by the perceptual hash of the op near_duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.ops.filters.duplicates import near_pairs, perceptual_hash, to_words
from augforge.sources.core import Source
from augforge.sources.listing import Finding, Record
from augforge.sources.plausibility.splits import ALIKE, leak
from augforge.sources.scan.images import read_bytes, read_image

PICTURE_HASH = "perceptual@1"
"""The kind of a picture's hash in a file cache."""
DISTANCE = 20
"""Of 256 bits; as in the op, where copies of other size, exposure or compression differ in less."""
_LEAST_SIDE = 48
"""Pixels: smaller pictures, as of digits, look alike without being copies."""
_REDUCED_SIDE = 64
"""Pixels of the smallest side that is left of a JPEG which is decoded at an eighth of its size."""
_JPEG = b"\xff\xd8\xff"


def find_alike_pictures(
    source: Source, records: Iterable[Record], splits: Mapping[str, str], cache: FileCache
) -> Iterator[Finding]:
    """Pictures of different splits that look nearly the same, though their bytes differ.

    Every image is decoded once, by far the most of the cost, and its hash is cached. A picture that cannot be decoded
    is left out: the build itself reports it.

    Args:
        source: knows the files of its records.
        records: the samples; those whose image is no file of its own are left out.
        splits: the split of each sample by its name; what is not in it is not used.
        cache: keeps the hashes.
    """
    known: dict[str, str] = {}
    digests: dict[str, str] = {}
    chosen = [(record, path) for record in records if record.name in splits and (path := source.image_path(record))]
    with ThreadPoolExecutor(4) as pool:
        for (record, _), found in zip(chosen, pool.map(lambda each: _hash_of(each[1], cache), chosen), strict=True):
            if found:
                known[record.name], digests[record.name] = found, record.image_sha256
    names = sorted(known)
    if len(set(splits.values())) < 2 or not names:
        return
    words = to_words([known[name] for name in names])
    sets = [
        (names[i], names[j])
        for i, j, _ in near_pairs(words, words, DISTANCE)
        if splits[names[i]] != splits[names[j]] and (not digests[names[i]] or digests[names[i]] != digests[names[j]])
    ]
    if sets:
        yield leak(ALIKE, "nearly the same picture", sets, splits)


def _hash_of(path: Path, cache: FileCache) -> str:
    """The hash of an image's picture; empty if it cannot be decoded, is small, or is blank and so like others."""
    try:
        return str(cache.get(path, PICTURE_HASH, _picture_hash))
    except (SourceError, OSError):
        return ""


def _picture_hash(path: Path) -> str:
    data = read_bytes(path)
    pixels = None
    if data.startswith(_JPEG):  # an eighth of the size is enough for the hash, and decoded many times as fast
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        pixels = pixels if pixels is not None and min(pixels.shape) >= _REDUCED_SIDE else None
    picture = read_image(path) if pixels is None else pixels
    small = min(picture.shape[:2]) < _LEAST_SIDE
    return "" if small or picture.min() == picture.max() else perceptual_hash(picture)["hash"]
