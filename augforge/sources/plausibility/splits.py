"""What the splits share, and how large they come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from augforge.errors import some
from augforge.sources.listing import Finding, Record

SHARED = "same image in two splits"
ALIKE = "nearly the same picture in two splits"
SHARES = "split far from its share"
UNEVEN = "class far from its share"
LEAKS = (SHARED, ALIKE)
_SHOWN = 3
_FACTOR, _LEAST = 1.75, 0.04
"""A share is far from what was asked if it is off by this factor, and by this much."""
_LEAST_SIDE = 48
"""Pixels: smaller pictures, as of digits, look alike without being copies."""


@dataclass
class SharedImages:
    """Images of the same bytes that are in different splits."""

    first: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    sets: dict[str, list[str]] = field(default_factory=dict)

    def see(self, record: Record, split: str) -> None:
        """Take in a sample and its split."""
        if not record.image_sha256:
            return
        place = str(record.data.get("image", record.name))
        name, other, where = self.first.setdefault(record.image_sha256, (record.name, split, place))
        if other != split and where != place:  # frames of one file have the bytes of the file in common
            self.sets.setdefault(record.image_sha256, [name]).append(record.name)

    def findings(self, splits: Mapping[str, str]) -> Iterator[Finding]:
        """The finding, if there is one; ``splits`` has the split of each sample by its name."""
        if self.sets:
            yield leak(SHARED, "the same bytes", list(self.sets.values()), splits)


def find_shared_images(records: Iterable[Record], splits: Mapping[str, str]) -> Iterator[Finding]:
    """Images of the same bytes that are in different splits.

    Args:
        records: the samples.
        splits: the split of each sample by its name; what is not in it is not used.
    """
    shared = SharedImages()
    for record in records:
        if record.name in splits:
            shared.see(record, splits[record.name])
    yield from shared.findings(splits)


def is_comparable(width: int, height: int) -> bool:
    """Whether a picture is large enough for its hash to say something."""
    return min(width, height) >= _LEAST_SIDE


def leak(kind: str, what: str, sets: Sequence[Sequence[str]], splits: Mapping[str, str]) -> Finding:
    """The finding that sets of images, given by their names, show the same in different splits."""
    shown = " and ".join(f"{name} ({splits[name]})" for name in sets[0][:_SHOWN])
    more = f", and {len(sets) - 1} more such sets" if len(sets) > 1 else ""
    return Finding(
        kind,
        f"images of different splits have {what}: {shown}{more}",
        "Remove the copies, or put them into one group by source.group; `leaks: stop` under `split` makes it an error",
        tuple(dict.fromkeys(name for names in sets for name in names)),
    )


def find_far_shares(asked: Mapping[str, float], splits: Sequence[str], groups: int) -> Iterator[Finding]:
    """Splits that got much more or less than their share of the samples.

    Args:
        asked: the share of each split that the recipe asks for.
        splits: the split of each sample that the recipe assigns.
        groups: how many groups these samples are in.
    """
    counts = Counter(splits)
    got = {name: counts[name] / len(splits) for name in asked if splits}
    far = {
        name: share
        for name, share in got.items()
        if abs(share - asked[name]) > _LEAST and not 1 / _FACTOR <= share / asked[name] <= _FACTOR
    }
    if far:
        texts = [
            f"{name} has {counts[name]} of {len(splits)} samples, {share:.0%} instead of {asked[name]:.0%}"
            for name, share in far.items()
        ]
        yield Finding(
            SHARES,
            f"{some(texts)}: {groups} groups are too few, or too unequal, for the share",
            "Add groups, list them in `split`, set `split.stratify: class`, which also matches shares, or another "
            "`split.seed`; or accept it",
            tuple(far),
        )


def find_uneven_strata(
    groups: Mapping[str, Mapping[str, int]], splits: Mapping[str, str], asked: Mapping[str, float], tolerance: float
) -> Iterator[Finding]:
    """Classes, or values of a column, of which a stratified split has another share than was asked.

    A difference of no more than the largest group is what whole groups cost, and no finding.

    Args:
        groups: for each group, how many of its samples are of each stratum.
        splits: the split of each group.
        asked: the share of each split.
        tolerance: how far a share may be off.
    """
    total: Counter[str] = Counter()
    have: Counter[tuple[str, str]] = Counter()
    largest: Counter[str] = Counter()
    for group, counts in groups.items():
        for name, count in counts.items():
            total[name] += count
            have[splits[group], name] += count
            largest[name] = max(largest[name], count)
    far = [
        (name, split, share)
        for split, share in asked.items()
        for name, count in total.items()
        if abs(have[split, name] - share * count) > max(tolerance * count, largest[name])
    ]
    if far:
        texts = [
            f"{split} has {have[split, name]} of {total[name]} samples of '{name}', "
            f"{have[split, name] / total[name]:.0%} instead of {share:.0%}"
            for name, split, share in far
        ]
        yield Finding(
            UNEVEN,
            f"{some(texts, _SHOWN)}: whole groups give no better split",
            "Add groups, or accept it with a larger `split.tolerance`",
            tuple(dict.fromkeys(name for name, *_ in far)),
        )
