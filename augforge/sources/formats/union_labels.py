"""Classes and labels of several sources in one table: what those are in samples of a source that does not have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from augforge.errors import some
from augforge.sample import IGNORE, Label
from augforge.sources.core import Listing, Record

Missing = Literal["auto", "absent", "unknown"]

_SHOWN = 10
_ROUNDING = 1e-3  # shares of mixed labels are float32


@dataclass(frozen=True, slots=True)
class UnionLabels:
    """The labels of a union.

    Attributes:
        names: of all sources, one after the other.
        unknown: a label that a source does not have is unknown in its samples, else absent.
    """

    names: tuple[str, ...]
    unknown: bool

    @classmethod
    def of(cls, listings: Sequence[Listing], missing: Missing) -> UnionLabels:
        """The labels of listings; with "auto", missing ones are absent if every sample has exactly one label."""
        names = tuple(dict.fromkeys(label for listing in listings for label in listing.labels))
        if missing != "auto":
            return cls(names, missing == "unknown")
        records = (record for listing in listings if listing.labels for record in listing.records)
        return cls(names, not all(map(_has_one_label, records)))

    def missing_in(self, listing: Listing) -> list[str]:
        """The labels that a source with labels does not have."""
        return [label for label in self.names if label not in listing.labels] if listing.labels else []

    def warning(self, source: str, listing: Listing) -> str:
        """What the missing labels of a source mean; empty if it has all, or none."""
        missing = self.missing_in(listing)
        if not missing:
            return ""
        meaning, other = (_UNKNOWN, "absent") if self.unknown else (_ABSENT, "unknown")
        return f"{source} has no label {some(missing, _SHOWN)}: {meaning}; otherwise write missing_labels: {other}"

    def places(self, listing: Listing) -> dict[str, Any]:
        """Where the labels of a source stand, for `spread`; JSON-like."""
        unknown = self.unknown and bool(self.missing_in(listing))
        return {"at": [*map(self.names.index, listing.labels)], "of": len(self.names), "unknown": unknown}


_UNKNOWN = "unknown in its samples, and left out of losses and figures"
_ABSENT = "it counts as 0 in its samples, since each sample of the union has one label and no other"


def class_warning(source: str, own: Sequence[str], classes: Sequence[str]) -> str:
    """What it means that a source does not label some of a union's classes; empty if it labels all, or none."""
    missing = [name for name in classes if name not in own and name != IGNORE]
    if not missing or not {*own} - {IGNORE}:
        return ""
    return f"{source} does not label {some(missing, _SHOWN)}: {_UNKNOWN}"


def spread(label: Label | None, places: dict[str, Any]) -> Label | None:
    """A label vector of a source spread over the union's labels, NaN where one is unknown."""
    if label is None:
        return None
    made = np.full(places["of"], np.nan if places["unknown"] else 0, np.float32)
    made[places["at"]] = label
    return made


def _has_one_label(record: Record) -> bool:
    """Whether exactly one label is true in a sample, or shares of several; so it counts where there is no label."""
    data = record.data
    while "label" not in data and "data" in data:  # the record of a union
        data = data["data"]
    label = data.get("label")
    return not isinstance(label, Sequence) or abs(sum(weight or 0 for weight in label) - 1) <= _ROUNDING
