"""Which label each value in an index mask or label volume stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from augforge.errors import SourceError, some
from augforge.sample import IGNORE
from augforge.sources.core import Source
from augforge.sources.scan.scanning import Scan

_BACKGROUNDS = frozenset({"background", "bg", "unlabeled", "unlabelled"})


VOID = 255
"""The usual value of pixels that are `ignore`."""


def counted_from_one(classes: Iterable[str]) -> dict[int, str]:
    """The class of each value if the classes are numbered from 1, leaving out `ignore`."""
    return dict(enumerate((name for name in classes if name != IGNORE), start=1))


@dataclass(frozen=True, slots=True)
class ValueNames:
    """How pixel values name classes.

    Attributes:
        source: maps labels to classes, and may list the classes.
        values: the label of each value. None numbers the source's classes from 1, leaving out ``ignore``; if it lists
            no classes, each value that occurs is a label, named by its number.
        background: the value that is no class, unless ``values`` names it; None if there is none.
        void: the value of class ``ignore``, unless ``values`` names it; None if there is none.
    """

    source: Source
    values: Mapping[int, str] | None
    background: int | None
    void: int | None

    def labels_by_value(self, found: Iterable[int]) -> dict[int, str]:
        """The label of each value, including void if it occurs and is a class.

        Raises SourceError if the first class is named as a background.
        """
        present = set(found)
        self._refuse_background()
        if self.values is not None:
            meaning = dict(self.values)
        elif self.source.classes is not None:
            meaning = counted_from_one(self.source.classes)
        else:
            meaning = {value: str(value) for value in sorted(present - {self.background, self.void})}
        if self.void is not None and self.void not in meaning:
            listed = self.void in present if self.source.classes is None else IGNORE in self.source.classes
            meaning |= {self.void: IGNORE} if listed else {}
        return meaning

    def _refuse_background(self) -> None:
        """Raise SourceError if the first class is a background, which is value 0: it would shift all others."""
        classes = self.source.classes or ("",)
        if self.values is None and classes[0].casefold().strip("_") in _BACKGROUNDS:
            raise SourceError(
                f"{self.source.root}: classes begins with '{classes[0]}', but they count from value 1; expected the "
                f"background to be no class. Leave it out, or name all values, such as '{_values_from_zero(classes)}'."
            )

    def labels_by_value_in(
        self, scan: Scan, masks: Iterable[tuple[str, Collection[int]]], found: Collection[int]
    ) -> dict[int, str]:
        """`labels_by_value`, after checks for values that may be misread: those are warned of, or a source error.

        Args:
            scan: gets the warnings and errors.
            masks: for each mask its split, or "", and its values.
            found: all values that occur.
        """
        self._check_void(scan, masks)
        self._warn_of_shift(scan, found)
        return self.labels_by_value(found)

    def _check_void(self, scan: Scan, masks: Iterable[tuple[str, Collection[int]]]) -> None:
        """Report masks in which only void (by default 255) is marked.

        Masks of a single class often hold 0 and 255. Unless the recipe itself sets void, 255 is void by default, and
        such a class would be lost. A warning; a source error if it concerns most masks, or all of a split.
        """
        named = self.values or {}
        if self.void is None or self.void in named or "void" in self.source.model_fields_set:
            return
        held, void, others = Counter[str](), Counter[str](), set[int]()
        for part, values in masks:
            things = {value for value in values if value in named or value != self.background}
            held[part] += bool(things)
            void[part] += things == {self.void}
            others |= things - {self.void}
        if not void.total():
            return
        labels = ", ".join(f"{value}: lesion" for value in [*sorted(others)[:1], self.void])
        fact = f"{void.total()} of {held.total()} masks that are not empty hold nothing but {self.void}, which is void"
        remedy = f"If that is a class, name it: 'values: {{{labels}}}'; if it is void indeed, set 'void: {self.void}'."
        parts = sorted(part for part, count in void.items() if part and count and count == held[part])
        if parts or 2 * void.total() > held.total():
            where = f", and so all of {some(parts)}" if parts and len(parts) < len(+held) else ""
            scan.source_error(f"{self.source.root}: {fact}{where}; expected a class in them. {remedy}")
        else:
            scan.warnings.append(f"{fact}. {remedy}")

    def _warn_of_shift(self, scan: Scan, found: Iterable[int]) -> None:
        """Warn if the values look as if the classes were numbered from 0: numbering from 1 would shift all of them."""
        classes, values = [*counted_from_one(self.source.classes or ()).values()], set(found) - {self.void}
        if self.values is not None or len(classes) < 2 or "background" in self.source.model_fields_set:
            return
        if 0 in values and max(values) == len(classes) - 1:
            scan.warnings.append(
                f"classes count from value 1, but no mask holds {len(classes)} ({classes[-1]}), and some hold 0: if 0 "
                f"is {classes[0]}, name all values, such as '{_values_from_zero(classes)}'; if not, set 'background: 0'"
            )

    def check(
        self, scan: Scan, name: str, place: str, values: Iterable[int], names: Mapping[str, Any], hint: str = ""
    ) -> None:
        """Report values of a mask that name no class; void values that are left out get a warning.

        ``hint`` is a further remedy for the message.
        """
        values = list(values)
        unnamed = [value for value in values if str(value) not in names and value not in (self.background, self.void)]
        if unnamed:
            scan.bad_sample(
                name,
                "unknown value",
                f"{scan.root / place}: value {unnamed[0]} names no class; expected one of {', '.join(names)}, "
                f"background {self.background} or void {self.void}. Name it in source.values, or correct the mask."
                f"{hint}",
            )
        warning = f"void pixels ({self.void}) are left out; list '{IGNORE}' in source.classes to keep them"
        if self.void in values and str(self.void) not in names and warning not in scan.warnings:
            scan.warnings.append(warning)


def _values_from_zero(classes: Sequence[str]) -> str:
    """The beginning of an option ``values`` that numbers the classes from 0."""
    return f"values: {{{', '.join(f'{value}: {name}' for value, name in enumerate(classes[:3]))}}}"
