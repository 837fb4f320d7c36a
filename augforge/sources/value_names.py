"""What the values in index masks and label volumes mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from augforge.errors import SourceError
from augforge.sources.core import Source
from augforge.sources.options import IGNORE
from augforge.sources.scanning import Scan

_BACKGROUNDS = frozenset({"background", "bg", "unlabeled", "unlabelled"})


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
        """The label of each value; of void too, where it occurs and is a class.

        SourceError where the first class is the background by its name, and where nothing but void is labelled.
        """
        present = set(found)
        self._need_no_background()
        if self.values is not None:
            meaning = dict(self.values)
        elif self.source.classes is not None:
            meaning = dict(enumerate((name for name in self.source.classes if name != IGNORE), start=1))
        else:
            meaning = {value: str(value) for value in sorted(present - {self.background, self.void})}
        if self.void is not None and self.void not in meaning:
            listed = self.void in present if self.source.classes is None else IGNORE in self.source.classes
            self._need_more_than_void(present, meaning)
            meaning |= {self.void: IGNORE} if listed else {}
        return meaning

    def _need_no_background(self) -> None:
        """Data sets list the background as the class of value 0; counted from 1, it would shift all others."""
        classes = self.source.classes or ("",)
        if self.values is None and classes[0].casefold().strip("_") in _BACKGROUNDS:
            named = ", ".join(f"{value}: {name}" for value, name in enumerate(classes[:3]))
            raise SourceError(
                f"{self.source.root}: classes begins with '{classes[0]}', but they count from value 1; expected the "
                f"background to be no class. Leave it out, or name all values, such as 'values: {{{named}}}'."
            )

    def _need_more_than_void(self, present: set[int], meaning: Mapping[int, str]) -> None:
        """Masks of one class are often 0 and 255; taken for void, it would be lost."""
        if self.void in present <= {self.background, self.void} - meaning.keys() and not self._lists_ignore:
            raise SourceError(
                f"{self.source.root}: {self.void} is the only value in the masks, and it is void; expected one that is "
                f"a class. Name it, such as 'values: {{{self.void}: lesion}}', or '{{{self.void}: {IGNORE}}}' if it is "
                "void indeed."
            )

    @property
    def _lists_ignore(self) -> bool:
        return IGNORE in (self.source.classes or ())

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
