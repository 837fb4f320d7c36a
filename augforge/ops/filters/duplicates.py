"""near_duplicates: pictures that differ only in size, exposure or compression, found by a perceptual hash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augforge.errors import PlanError
from augforge.ops.core import Candidate, Context, Examples, FilterParams, Flag, table_filter
from augforge.ops.filters.levels import to_gray
from augforge.ops.filters.robust import rounded
from augforge.sample import Image, Sample

SIDE, WAVES, FINE_WAVES = 64, 16, 24
"""Pixels of the thumbnail's side; the cosine waves that are used in each direction, and how many are computed."""
BITS = WAVES * WAVES
COSINES = np.rint(
    2**15 * np.cos(np.pi / (2 * SIDE) * np.outer(np.arange(1, FINE_WAVES + 1), 2 * np.arange(SIDE) + 1))
).astype(np.int64)
"""Rows of the discrete cosine transform without the constant one, as integers: every CPU gives the same bits."""
FLOAT_COSINES = COSINES.astype(float)
BLOCK = 1 << 16
"""How many pairs are compared at once: few enough for a core's own cache, which is three times as fast."""
EXACT = 1 << 53
"""Whole numbers up to this one are exact in floating point, so that sums of them are the same in any order."""
MOST_PAIRS = 5_000_000

Words: TypeAlias = NDArray[np.uint64]
"""(n, 4): hashes of 256 bits."""
Pair: TypeAlias = tuple[int, int, int]
"""Two samples and the number of bits in which they differ."""


class NearDuplicates(FilterParams):
    """Pictures that show the same: copies that were resized, exposed or compressed differently or, on demand, mirrored.

    Each picture has a perceptual hash of 256 bits: the signs of the 16x16 lowest frequencies, without the constant
    ones, of the discrete cosine transform of its 64x64 gray thumbnail (after Zauner 2010, Implementation and
    Benchmarking of Perceptual Image Hash Functions). Brightness, contrast and size change it by 0 to 5 bits, JPEG by up
    to 16, a gamma of 0.7 or 1.4 by 10 to 25. A shift by 1 % or a turn by 1 degree changes it by 20 to 45 bits, so these
    do not count as copies. Different radiographs of one kind are mostly 50 to 130 bits apart, and rarely less than 30.
    Blank pictures are duplicates of each other.

    Of twins in one split, the one whose name comes first stays and the others are flagged: in the order of names, a
    sample is flagged if it is near one that stays. So the twin of every flagged sample stays, no two that stay are
    near, and the order of the table does not matter.

    Twins in different splits flatter validation. With `across_splits: error` they are an error that names them. With
    `move`, all samples of both groups move to `train`, and so do the groups that are near those in turn, so that
    neither twins nor groups are separated: validation and test may lose samples, even all, but never hold one that
    training has seen. The moved samples stay, and their twins in `train` are flagged. With `ignore`, pictures are
    compared only within splits. Samples are moved whatever `action` says.

    Every picture is compared with every other: 20,000 take a second or two on one core, 100,000 up to a minute.
    """

    distance: int = Field(20, ge=0, le=64, description="number of the 256 bits in which the hashes of twins may differ")
    within: Literal["group", "all"] = Field("all", description="compare only pictures of one group, or all")
    across_splits: Literal["error", "move", "ignore"] = Field(
        "error", description="what to do about twins in different splits"
    )
    mirrored: bool = Field(False, description="whether a picture and its left-right mirror image are twins")


@table_filter(
    "near_duplicates",
    NearDuplicates,
    version=1,
    moves=lambda params: params.across_splits == "move",
    examples=Examples(
        [{}, {"distance": 64, "mirrored": True, "across_splits": "move"}], picture={"across_splits": "move"}
    ),
)
def near_duplicates(candidates: Sequence[Candidate], params: NearDuplicates, ctx: Context) -> list[Flag | None]:
    """Find twins; move those in different splits if asked to, and flag all but one of each set of twins."""
    rows = sorted(candidates, key=lambda row: row.name)
    pairs = _find_pairs(rows, params)
    across = [pair for pair in pairs if rows[pair[0]].split != rows[pair[1]].split]
    flags: dict[int, Flag] = {}
    if across and params.across_splits == "error":
        raise PlanError(_describe_pairs_across(rows, across))
    if across and params.across_splits == "move":
        flags = _flags_to_move(rows, pairs, across)
    if params.across_splits == "ignore":
        pairs = [pair for pair in pairs if rows[pair[0]].split == rows[pair[1]].split]
    flags |= _flags_to_drop(rows, pairs, flags)
    by_name = {rows[i].name: flag for i, flag in flags.items()}
    return [by_name.get(candidate.name) for candidate in candidates]


@near_duplicates.measures(reads=())
def measure_hashes(sample: Sample, params: Any, ctx: Context) -> dict[str, Any]:
    """Measure the perceptual hashes of the picture and of its mirror image."""
    return perceptual_hash(sample.image)


def perceptual_hash(image: Image) -> dict[str, str]:
    """The hashes of a picture and of its mirror image, in hexadecimal."""
    waves = cosine_waves(image)[:WAVES, :WAVES]
    mirror = waves * np.where(np.arange(WAVES) % 2, 1, -1)  # the first wave is odd: mirrored, it changes its sign
    return {"hash": sign_bits(waves), "mirror": sign_bits(mirror)}


def cosine_waves(image: Image) -> NDArray[np.int64]:
    """(FINE_WAVES, FINE_WAVES): the cosine transform of a picture's thumbnail without the constant waves.

    It is computed in floating point where that is exact, since integers are multiplied far more slowly.
    """
    small = cv2.resize(to_gray(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.int64)
    small -= int(small.mean())
    if int(np.abs(small).max()) << 15 + 6 + 15 + 6 < EXACT:  # two sums over 64 pixels, of products with 15 bits
        return np.asarray(FLOAT_COSINES @ small.astype(float) @ FLOAT_COSINES.T, np.int64)
    return np.asarray(COSINES @ small @ COSINES.T, np.int64)


def sign_bits(waves: NDArray[np.int64]) -> str:
    """The signs of waves, one bit each, in hexadecimal."""
    return np.packbits(waves.T > 0).tobytes().hex()


def to_words(hashes: Sequence[str]) -> Words:
    """Hashes in hexadecimal as (n, 4) words for `near_pairs`."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), np.uint64).reshape(len(hashes), BITS // 64)


def _find_pairs(rows: Sequence[Candidate], params: NearDuplicates) -> list[Pair]:
    """All pairs of twins, the first before the second in each."""
    words = to_words([row.features["hash"] for row in rows])
    mirror = to_words([row.features["mirror"] for row in rows]) if params.mirrored else None
    parts: Mapping[str, list[int]] = {"": list(range(len(rows)))}
    if params.within == "group":
        parts = defaultdict(list)
        for i, row in enumerate(rows):
            parts[row.group or row.name].append(i)
    found: dict[tuple[int, int], int] = {}
    for part in parts.values():
        for others in (words, mirror):
            if others is not None:
                for first, second, bits in near_pairs(words[part], others[part], params.distance):
                    key = part[first], part[second]
                    found[key] = min(bits, found.get(key, BITS))
                    _check_pair_count(len(found))
    return [(*key, bits) for key, bits in sorted(found.items())]


def near_pairs(words: Words, others: Words, distance: int) -> Iterator[Pair]:
    """Pairs i < j whose hashes `words[i]` and `others[j]` of (n, 4) differ in at most `distance` bits."""
    step = max(1, BLOCK // max(1, len(words)))
    for start in range(0, len(words), step):
        for i, j, bits in near_between(words[start : start + step], others[start:], distance):
            if i < j:
                yield i + start, j + start, bits


def near_between(words: Words, others: Words, distance: int) -> Iterator[Pair]:
    """All pairs of hashes `words[i]` of (n, 4) and `others[j]` of (m, 4) that differ in at most `distance` bits."""
    step = max(1, BLOCK // max(1, len(others)))
    for start in range(0, len(words), step):
        block = words[start : start + step]
        i, j = np.nonzero(_count_ones(block[:, None, 0] ^ others[None, :, 0]) <= distance)
        bits = _count_ones(block[i] ^ others[j]).sum(axis=1, dtype=np.int64)
        near = bits <= distance
        yield from zip((i[near] + start).tolist(), j[near].tolist(), bits[near].tolist(), strict=True)


if hasattr(np, "bitwise_count"):  # numpy 2

    def _count_ones(words: Words) -> NDArray[np.uint8]:
        return np.asarray(np.bitwise_count(words))

else:
    _TABLE = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)

    def _count_ones(words: Words) -> NDArray[np.uint8]:
        parts = _TABLE[np.ascontiguousarray(words).view(np.uint16)]
        return np.asarray(parts.reshape(*words.shape, 4).sum(axis=-1, dtype=np.uint8))


def _check_pair_count(pairs: int) -> None:
    if pairs > MOST_PAIRS:
        raise PlanError(
            f"near_duplicates: more than {MOST_PAIRS:,} pairs of pictures are near each other; expected few. "
            "Lower `distance`, or drop blank pictures first"
        )


def _describe_pairs_across(rows: Sequence[Candidate], across: Sequence[Pair]) -> str:
    first, second, bits = min(across, key=lambda pair: pair[2])
    one, other = rows[first], rows[second]
    return (
        f"near_duplicates: '{one.name}' ({one.split}) and '{other.name}' ({other.split}) show the same "
        f"({bits} of {BITS} bits differ), and {len(across)} such pair(s) are in different splits; validation would be "
        "flattered. Set `across_splits: move` to bring them all to train, or `ignore`, or split by other groups"
    )


def _flags_to_move(rows: Sequence[Candidate], pairs: Sequence[Pair], across: Sequence[Pair]) -> dict[int, Flag]:
    """Flags that move to train every group that is tied to another split by twins."""
    root: dict[str, str] = {}

    def find(group: str) -> str:
        while (up := root.get(group, group)) != group:
            root[group] = root.get(up, up)
            group = up
        return group

    groups = [row.group or row.name for row in rows]
    for group, row in zip(groups, rows, strict=True):  # a mosaic ties the groups that it shows
        for shown in row.groups:
            one, other = sorted((find(group), find(shown)))
            root[other] = one
    for first, second, _ in pairs:
        one, other = sorted((find(groups[first]), find(groups[second])))
        root[other] = one
    torn, twins = {find(groups[first]) for first, _, _ in across}, _twins_of(pairs)
    return {
        i: _move_flag(rows, i, twins.get(i, {}))
        for i, row in enumerate(rows)
        if row.split != "train" and find(groups[i]) in torn
    }


def _move_flag(rows: Sequence[Candidate], i: int, twins: Mapping[int, int]) -> Flag:
    elsewhere = {j: bits for j, bits in twins.items() if rows[j].split != rows[i].split}
    if not elsewhere:
        return Flag("tied to a near-duplicate in another split", move_to="train", detail=f"group {rows[i].group}")
    return _twin_flag("near-duplicate in another split", rows, elsewhere, move_to="train")


def _twin_flag(reason: str, rows: Sequence[Candidate], twins: Mapping[int, int], move_to: str | None = None) -> Flag:
    """A finding that names the nearest twin; its score is the share of equal bits."""
    twin = min(twins, key=lambda j: (twins[j], j))
    return Flag(reason, rounded(1 - twins[twin] / BITS), move_to, f"{rows[twin].name}, {twins[twin]} bits apart")


def _flags_to_drop(rows: Sequence[Candidate], pairs: Sequence[Pair], moved: Mapping[int, Flag]) -> dict[int, Flag]:
    """Flags of the samples that are near one that stays; moved samples stay, then those whose name comes first."""
    gone: dict[int, Flag] = {}
    twins = _twins_of(pairs)
    for i in sorted(twins):
        staying = {j: bits for j, bits in twins[i].items() if j in moved or (j < i and j not in gone)}
        if staying and i not in moved:
            gone[i] = _twin_flag("near-duplicate", rows, staying)
    return gone


def _twins_of(pairs: Sequence[Pair]) -> dict[int, dict[int, int]]:
    """For each sample that has twins, the number of different bits by twin."""
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for first, second, bits in pairs:
        found[first][second] = found[second][first] = bits
    return dict(found)
