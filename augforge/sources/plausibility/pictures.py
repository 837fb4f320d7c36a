"""Pictures that look nearly the same in two splits, by the perceptual hash of the op near_duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from augforge.cache.filecache import FileCache
from augforge.errors import SourceError
from augforge.ops.filters.duplicates import BITS, WAVES, cosine_waves, near_between, sign_bits, to_words
from augforge.sample import Image
from augforge.sources.core import Source
from augforge.sources.listing import Finding, Record
from augforge.sources.plausibility.splits import ALIKE, is_comparable, leak
from augforge.sources.scan.images import read_bytes, read_image

PICTURE_HASH = "perceptual@2"
"""The kind of a picture's hash in a file cache."""
DISTANCE = 20
"""Of 256 bits; as in the op, where copies of other size, exposure or compression differ in less."""
FINE_DISTANCE = 48
"""Of 320 bits: copies differ in up to 45 of them, different hands of one pose in 60 or more (ADR 19)."""
_COARSE = BITS // 4
"""Hexadecimal digits of the coarse bits."""
_REDUCED_SIDE = 64
"""Pixels of the smallest side that is left of a JPEG which is decoded at an eighth of its size."""
_READ_ROWS = 512
"""Rows of a picture that are read for its hash, or up to twice as many."""
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
    yield from find_alike_hashes(known, digests.__getitem__, splits)


def find_alike_hashes(
    hashes: Mapping[str, str], digest_of: Callable[[str], str], splits: Mapping[str, str]
) -> Iterator[Finding]:
    """The finding that pictures of different splits have nearly the same hash, if some have.

    Args:
        hashes: of `picture_hash`, by the samples' names.
        digest_of: gives the SHA-256 of an image's bytes, or an empty text: the same bytes are a finding of their own.
        splits: the split of each sample.
    """
    parts: dict[str, list[str]] = {}
    for name in sorted(hashes):
        parts.setdefault(splits[name], []).append(name)
    words = {split: to_words([hashes[name][:_COARSE] for name in names]) for split, names in parts.items()}
    pairs = [
        sorted((parts[one][i], parts[other][j]))
        for one, other in combinations(sorted(parts), 2)
        for i, j, _ in near_between(words[one], words[other], DISTANCE)
    ]
    sets = [
        (one, other)
        for one, other in pairs
        if _fine_distance(hashes[one], hashes[other]) <= FINE_DISTANCE
        and (not digest_of(one) or digest_of(one) != digest_of(other))
    ]
    if sets:
        yield leak(ALIKE, "nearly the same picture", sorted(sets), splits)


def _fine_distance(one: str, other: str) -> int:
    return (int(one[_COARSE:], 16) ^ int(other[_COARSE:], 16)).bit_count()


def compared_pairs(splits: Iterable[str]) -> int:
    """How many pairs of pictures of different splits there are, given the split of each."""
    counts = Counter(splits)
    return (counts.total() ** 2 - sum(count**2 for count in counts.values())) // 2


def picture_hash(image: Image) -> str:
    """The hash of a picture, 256 coarse and 320 fine bits in hexadecimal; empty if it is blank, and so like others.

    The fine bits are the signs of waves that are up to half as long: pictures of one kind in one pose, such as
    radiographs of hands, may agree in the coarse bits alone, and copies agree in both. Of a large picture only some
    rows are read, 8 or more for each row of the hash's thumbnail: all of them would cost some hundredths of what a
    build takes, and change the hash by a few bits.
    """
    waves = cosine_waves(image[:: max(1, image.shape[0] // _READ_ROWS)])
    if not waves.any():
        return ""
    return sign_bits(waves[:WAVES, :WAVES]) + sign_bits(
        np.concatenate((waves[:WAVES, WAVES:].ravel(), waves[WAVES:].ravel()))
    )


def _hash_of(path: Path, cache: FileCache) -> str:
    """The hash of an image's picture; empty if it cannot be decoded, is small, or is blank and so like others."""
    try:
        return str(cache.get(path, PICTURE_HASH, _hash_file))
    except (SourceError, OSError):
        return ""


def _hash_file(path: Path) -> str:
    data = read_bytes(path)
    pixels = None
    if data.startswith(_JPEG):  # an eighth of the size is enough for the hash, and decoded many times as fast
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        pixels = pixels if pixels is not None and min(pixels.shape) >= _REDUCED_SIDE else None
    picture = read_image(path) if pixels is None else pixels
    return picture_hash(picture) if is_comparable(*picture.shape[:2]) else ""
