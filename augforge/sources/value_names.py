"""What the values in index masks and label volumes mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from augforge.sources.core import Source
from augforge.sources.options import IGNORE
from augforge.sources.scanning import Scan


@dataclass(frozen=True, slots=True)
class ValueNames:
    """How values name classes.

    Attributes:
        source: says which class a label is, and lists classes.
        values: the label of each value; None counts the source's classes from 1, ``ignore`` left out; where it lists
            none, each value that occurs is a label by its number.
        background: the value that is no class, unless ``values`` names it; None: there is none.
        void: the value that is class ``ignore``, unless ``values`` names it; None: there is none.
    """

    source: Source
    values: Mapping[int, str] | None
    background: int | None
    void: int | None

    def meaning(self, found: Iterable[int]) -> dict[int, str]:
        """The label of each value; of void too, where it occurs and is a class."""
        present = set(found)
        if self.values is not None:
            meaning = dict(self.values)
        elif self.source.classes is not None:
            meaning = dict(enumerate((name for name in self.source.classes if name != IGNORE), start=1))
        else:
            meaning = {value: str(value) for value in sorted(present - {self.background, self.void})}
        if self.void is not None and self.void not in meaning:
            listed = self.void in present if self.source.classes is None else IGNORE in self.source.classes
            meaning |= {self.void: IGNORE} if listed else {}
        return meaning

    def check(self, scan: Scan, name: str, place: str, values: Iterable[int], names: Mapping[str, Any]) -> None:
        """Values of a mask that name nothing are wrong; void ones that are no class are told."""
        values = list(values)
        unnamed = [value for value in values if str(value) not in names and value not in (self.background, self.void)]
        if unnamed:
            scan.wrong(
                name,
                "unknown value",
                f"{scan.root / place}: value {unnamed[0]} names no class; expected one of {', '.join(names)}, "
                f"background {self.background} or void {self.void}. Name it in source.values, or correct the mask.",
            )
        if self.void in values and str(self.void) not in names and not scan.warnings:
            scan.warnings.append(
                f"void pixels ({self.void}) are left out; list '{IGNORE}' in source.classes to keep them"
            )
