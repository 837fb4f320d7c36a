"""Unlabelled classes in formats that cannot mark them: what becomes of them is decided before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from augforge.errors import AugforgeError
from augforge.export.core import Options, UnlabelledOptions, UnlabelledScope

_ADVICE = (
    "Write unlabelled classes as absent with --set unknown=absent, or leave such samples out with --set unknown=skip, "
    "or choose a format that can mark them: coco, csv, webdataset."
)


class Selection(NamedTuple):
    """The samples to be written.

    Attributes:
        rows: positions of the samples in the given table, in order.
        known: bool (N, C) of the whole table; classes to be written as absent count as known.
        notes: remarks for the user, and how many samples each concerns.
    """

    rows: list[int]
    known: NDArray[np.bool_]
    notes: Counter[str]


def resolve_unlabelled(
    table: Sequence[Mapping[str, Any]],
    known: NDArray[np.bool_],
    classes: Sequence[str],
    scope: UnlabelledScope,
    options: Options,
) -> Selection:
    """Decide what becomes of classes that the format cannot mark as unlabelled.

    Args:
        table: ``name`` and ``split`` of each sample.
        known: bool (N, C): whether somebody labelled the class in the sample.
        classes: the class table.
        scope: what the format can mark as unlabelled.
        options: those of the format; `UnlabelledOptions.unknown` decides.

    Raises:
        AugforgeError: there are such classes, and ``unknown`` is ``error``, the default; names a sample and a class.
    """
    everything = list(range(len(table)))
    if scope == "each" or not isinstance(options, UnlabelledOptions):
        return Selection(everything, known, Counter())
    ambiguous: NDArray[np.bool_] = ~known & _read_as_absent(table, known, scope)
    affected = ambiguous.any(axis=1)
    if not affected.any():
        return Selection(everything, known, Counter())
    count = int(affected.sum())
    if options.unknown == "error":
        raise _error(table, ambiguous, classes, count)
    if options.unknown == "skip":
        kept = np.flatnonzero(~affected).tolist()
        return Selection(kept, known, Counter({"left out, since not all their classes are labelled": count}))
    return Selection(everything, known | ambiguous, Counter({"unlabelled classes written as absent": count}))


def _read_as_absent(
    table: Sequence[Mapping[str, Any]], known: NDArray[np.bool_], scope: UnlabelledScope
) -> NDArray[np.bool_]:
    """Where readers would take an unlabelled class for absent: bool (N, C), or (N, 1) for all classes of a sample."""
    if scope == "sample":
        return np.asarray(np.any(known, axis=1, keepdims=True), bool)
    splits = [row["split"] for row in table]
    of = {split: np.array([other == split for other in splits]) for split in set(splits)}
    seen = {split: known[rows].any(axis=0) for split, rows in of.items()}
    return np.stack([seen[split] for split in splits])


def _error(
    table: Sequence[Mapping[str, Any]],
    ambiguous: NDArray[np.bool_],
    classes: Sequence[str],
    count: int,
) -> AugforgeError:
    row = int(np.flatnonzero(ambiguous.any(axis=1))[0])
    names = [name for name, flag in zip(classes, ambiguous[row], strict=True) if flag]
    which = f"class {names[0]}" if len(names) == 1 else f"{len(names)} classes, such as {names[0]},"
    others = f"(and {count - 1} other samples have such classes)" if count > 1 else "(the only such sample)"
    return AugforgeError(
        f"nobody labelled {which} of sample {table[row]['name']} {others}; this format would "
        f"show it as absent. {_ADVICE}"
    )
