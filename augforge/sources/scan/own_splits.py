"""The splits that a data set itself prescribes by the names of its folders, files and parts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from augforge.errors import some
from augforge.sources.core import Record, Source

_SPLITS = {
    **dict.fromkeys(("train", "training"), None),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_YEAR = re.compile(r"[-_]?(19|20)\d\d$")
_COPY = re.compile(r"\.rf\.[0-9A-Za-z]{20,}$")
"""What Roboflow appends to each augmented copy of an image."""


@lru_cache(1 << 12)
def is_split_name(word: str) -> bool:
    """Whether a word is a usual name of a split: train, Val, testing, ``train2017``."""
    return _YEAR.sub("", word.casefold()) in _SPLITS


def own_split(word: str) -> str | None:
    """The split that a part of this name prescribes: val or test. ``train`` and any other word prescribe none."""
    return _SPLITS.get(_YEAR.sub("", word.casefold()))


def split_folder(name: str) -> str:
    """The first folder of a sample's name if it is the name of a split, else ""."""
    folder, _, rest = name.partition("/")
    return folder if rest and is_split_name(folder) else ""


def split_folders(root: Path, inner: str = ".") -> list[str]:
    """The folders in a root that are named as splits and contain a folder ``inner``, sorted."""
    paths = root.iterdir() if root.is_dir() else ()
    return sorted(path.name for path in paths if is_split_name(path.name) and (path / inner).is_dir())


@dataclass(frozen=True, slots=True)
class Splits:
    """The splits that the first folders of samples' names prescribe.

    Attributes:
        source: its option ``own_splits`` decides whether they count.
        mixed: some first folders are named as splits and others are not, so a folder may be a person called Test.
        warnings: of such a mixture.
    """

    source: Source
    mixed: bool
    warnings: list[str]

    @classmethod
    def of(cls, source: Source, names: Iterable[str], assigned: bool) -> Splits:
        """The splits of all samples, by their names; ``assigned`` says that the data names the split of each anyway."""
        tops: dict[str, None] = {}
        if source.names_are_places:
            tops = dict.fromkeys(first for first, inner, _ in (name.partition("/") for name in names) if inner)
        splits = [top for top in tops if is_split_name(top)]
        others = [top for top in tops if not is_split_name(top)]
        warnings = []
        if splits and others and source.own_splits and not assigned:
            warnings.append(
                f"folders {some(splits)} are taken for the data's own splits, beside {some(others, 3)}; set "
                "source.own_splits: false if they are none"
            )
        return cls(source, bool(splits and others), warnings)

    def with_own_split(self, record: Record) -> Record:
        """The record with its own split, and with a group from which a folder that names a split is removed."""
        if not self.source.names_are_places:
            return record
        first, _, rest = record.name.partition("/")
        group, split = record.group, record.split
        if rest and is_split_name(first) and (self.source.own_splits or not self.mixed):
            split = split or own_split(first)
            if group == first:
                group = rest.partition("/")[0] if "/" in rest else record.name
            elif group != record.name:
                group = group.removeprefix(f"{first}/")
        if group == record.name:
            group = _COPY.sub("", group)  # augmented copies of one photo are one group
        split = split if self.source.own_splits else None
        return record if (group, split) == (record.group, record.split) else replace(record, group=group, split=split)
