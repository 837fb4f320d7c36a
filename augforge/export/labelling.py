"""Classes that nobody labelled, in formats that cannot say so: settled before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from augforge.errors import AugforgeError
from augforge.export.core import Holds, Options, Unlabelled

_ADVICE = (
    "Write unlabelled classes as absent with --set unknown=absent, or leave such samples out with --set unknown=skip, "
    "or choose a format that can say so: coco, csv, webdataset."
)


class Settled(NamedTuple):
    """Samples to be written.

    Attributes:
        rows: index rows of the samples, in order.
        known: bool (N, C), with what is written as absent.
        notes: what was decided.
    """

    rows: list[int]
    known: NDArray[np.bool_]
    notes: Counter[str]


def settle(
    table: Sequence[Mapping[str, Any]], known: NDArray[np.bool_], classes: Sequence[str], holds: Holds, options: Options
) -> Settled:
    """Decide what becomes of classes that a format cannot leave unlabelled.

    Args:
        table: ``name`` and ``split`` of each sample.
        known: bool (N, C).
        classes: the class table.
        holds: what the format can leave unlabelled.
        options: those of the format; `Unlabelled.unknown` decides.

    Raises AugforgeError naming a sample and a class where the option says so, as it does by default.
    """
    everything = list(range(len(table)))
    if holds == "each" or not isinstance(options, Unlabelled):
        return Settled(everything, known, Counter())
    vague: NDArray[np.bool_] = ~known & _doubtful(table, known, holds)
    affected = vague.any(axis=1)
    if not affected.any():
        return Settled(everything, known, Counter())
    count = int(affected.sum())
    if options.unknown == "error":
        raise _error(table, vague, known, classes, count)
    if options.unknown == "skip":
        kept = np.flatnonzero(~affected).tolist()
        return Settled(kept, known, Counter({"left out, since not all their classes are labelled": count}))
    return Settled(everything, known | vague, Counter({"unlabelled classes written as absent": count}))


def _doubtful(table: Sequence[Mapping[str, Any]], known: NDArray[np.bool_], holds: Holds) -> NDArray[np.bool_]:
    """Where an unlabelled class would be taken for absent: bool (N, C), or (N, 1) for all classes of a sample."""
    if holds == "sample":
        return np.asarray(np.any(known, axis=1, keepdims=True), bool)
    splits = [row["split"] for row in table]
    of = {split: np.array([other == split for other in splits]) for split in set(splits)}
    seen = {split: known[rows].any(axis=0) for split, rows in of.items()}
    return np.stack([seen[split] for split in splits])


def _error(
    table: Sequence[Mapping[str, Any]],
    vague: NDArray[np.bool_],
    known: NDArray[np.bool_],
    classes: Sequence[str],
    count: int,
) -> AugforgeError:
    row = int(np.flatnonzero(vague.any(axis=1))[0])
    names = [name for name, flag in zip(classes, vague[row], strict=True) if flag]
    what = f"class {names[0]}" if len(names) == 1 else f"{len(names)} classes, such as {names[0]},"
    others = f", nor are {count - 1} other samples whole" if count > 1 else ""
    return AugforgeError(
        f"{what} of sample {table[row]['name']} was labelled by nobody{others}; this format would show it as absent. "
        f"{_ADVICE}"
    )
