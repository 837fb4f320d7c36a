"""What the samples of each group show, for splits that match the shares of classes or of a column of metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from augforge.errors import PlanError, nearest
from augforge.planning.splits import Split
from augforge.planning.stratify import EVERY
from augforge.sources import Record

CLASS, COLUMN = "class", "metadata."
NO_VALUE = "(none)"


def group_members(split: Split, records: Iterable[Record]) -> dict[str, Counter[str]]:
    """For each group, the number of its samples, in all and of each stratum if the split is stratified.

    Raises:
        PlanError: no sample has the column, or the source does not know the classes of each sample.
    """
    members: dict[str, Counter[str]] = {}
    columns: set[str] = set()
    for record in records:
        counts = members.setdefault(record.group, Counter())
        counts[EVERY] += 1
        if split.stratify is not None:
            counts.update(strata_of(split.stratify, record))
            columns.update(record.metadata)
    if split.stratify is not None and members:
        column = split.stratify.removeprefix(COLUMN)
        if split.stratify != CLASS and column not in columns:
            hint = nearest(column, columns) or " The source has no metadata."
            raise PlanError(f"'{split.stratify}' names a column that no sample has.{hint}")
    return members


def strata_of(stratify: str, record: Record) -> tuple[str, ...]:
    """The classes or labels of a sample, or its value of the column. Raises PlanError if they are not known."""
    if stratify != CLASS:
        return (str(record.metadata.get(stratify.removeprefix(COLUMN), NO_VALUE)),)
    if record.drawn is None:
        raise PlanError(
            f"stratify is class, but the source's format does not say which classes '{record.name}' shows before its "
            "pixels are read; expected a format that does, or stratify: metadata.COLUMN"
        )
    return record.drawn
