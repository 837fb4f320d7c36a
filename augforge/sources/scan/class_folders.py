"""Folders that stand for the labels of their images: they are no groups, which would put whole classes into a split."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping

from augforge.sources.scan.own_splits import is_split_name

_SURE = 3
"""From so many folders on, one label a folder and one folder a label are no chance of a few patients."""


def class_level(labels: Mapping[str, Hashable]) -> int | None:
    """The index of the folder in samples' names that stands for their label; None if there is none.

    Each folder there has one label, and each label one folder; their names agree, or there are three or more.

    Args:
        labels: the label of each sample by its name.
    """
    for level in range(min((name.count("/") for name in labels), default=0)):
        pairs = _pairs(labels, level)
        if pairs is not None and (len(pairs) >= _SURE or all(_agree(folder, label) for folder, label in pairs)):
            return level
    return None


def doubtful_level(labels: Mapping[str, Hashable]) -> int | None:
    """The index of the folder that may stand for the label or be a patient, of which there are two; None if none."""
    levels = range(min((name.count("/") for name in labels), default=0))
    return next((level for level in levels if _pairs(labels, level) is not None), None)


def _pairs(labels: Mapping[str, Hashable], level: int) -> set[tuple[str, Hashable]] | None:
    """Each folder at a level with its label, if there is one for each of both; folders of splits are none."""
    pairs = {(name.split("/")[level], label) for name, label in labels.items()}
    folders, given = {folder for folder, _ in pairs}, {label for _, label in pairs}
    one_to_one = len(pairs) == len(folders) == len(given) > 1 and len(labels) > len(pairs)
    return pairs if one_to_one and not all(map(is_split_name, folders)) else None


def _agree(folder: str, label: Hashable) -> bool:
    return _plain(folder) == _plain(str(label))


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def group_without_class(name: str, level: int | None) -> str:
    """The usual group of a sample: its folders without that of its class and without a split; its name without any."""
    folders = name.split("/")[:-1]
    if level is None:
        return "/".join(folders) or name
    rest = folders[:level] + folders[level + 1 :]
    return "/".join(rest) if any(not is_split_name(folder) for folder in rest) else name


def shared_folders(classes: Mapping[str, Collection[str]]) -> list[str]:
    """The names of folders that repeat in every class; nothing unless they are two or more, and half of all.

    Args:
        classes: names of the folders in each class's folder.
    """
    if len(classes) < 2:
        return []
    counts: dict[str, int] = defaultdict(int)
    for folders in classes.values():
        for folder in set(folders):
            counts[folder] += 1
    shared = sorted(folder for folder, count in counts.items() if count == len(classes))
    return shared if len(shared) > 1 and 2 * len(shared) >= len(counts) else []
