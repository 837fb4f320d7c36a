"""Where a version's rows are cut into shards: by their ids, so that a changed row changes one shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from augforge.errors import DatasetError, shorten
from augforge.sample import SPLITS

SHARD_PIXELS = 1 << 25
"""About how many pixels the images of a shard have together, on average; see `mean_rows`."""


class Cut(Protocol):
    """What is cut into shards: rows that are to be written, or rows of a plan."""

    @property
    def id(self) -> str:
        """The sample's id, 32 hexadecimal digits."""

    @property
    def split(self) -> str:
        """The sample's split."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""


Row = TypeVar("Row", bound=Cut)


def cut_shards(rows: Iterable[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Sort the rows of each split by id, and cut them into shards: the split and the rows of each.

    An id's last digits decide whether a shard ends after it, and not a count of rows. So a changed, new or removed row
    changes one shard (or splits one, or joins two), and versions share all others. `mean_rows` gives the mean length.

    Args:
        rows: of all splits, in any order.
    """
    by_split: dict[str, list[Row]] = {}
    for row in rows:
        by_split.setdefault(row.split, []).append(row)
    mean = mean_rows([row.size[0] * row.size[1] for part in by_split.values() for row in part])
    stray = by_split.keys() - set(SPLITS)
    if stray:  # it would become part of a path
        raise DatasetError(f"there is a sample in the split {shorten(min(stray))}; expected {', '.join(SPLITS)}")
    for split in sorted(by_split):
        for part in _cut_by_id(sorted(by_split[split], key=lambda row: row.id), mean):
            yield split, part


def mean_rows(pixels: Sequence[int]) -> int:
    """Mean number of rows of a shard: the power of two that gives about SHARD_PIXELS for the median image.

    8 at 2048x2048, 128 at 512x512, at most 8192 (at 64x64).

    Args:
        pixels: of every image.
    """
    if not pixels:
        return 1
    median = sorted(pixels)[len(pixels) // 2]
    wanted = max(1.0, min(8192.0, SHARD_PIXELS / median))
    below = 1 << int(wanted).bit_length() - 1
    return below * 2 if wanted > 1.5 * below else below


def _cut_by_id(rows: Sequence[Row], mean: int) -> Iterator[list[Row]]:
    part: list[Row] = []
    for row in rows:
        part.append(row)
        if int(row.id[-8:], 16) % mean == 0:  # true of one id in `mean`, as ids are digests
            yield part
            part = []
    if part:
        yield part
