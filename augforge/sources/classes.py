"""The class table that comes of a recipe's options and the labels that the data names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augforge.errors import SourceError
from augforge.sample import IGNORE
from augforge.sources.core import Source
from augforge.sources.options import REST, Crowd
from augforge.sources.scan.scanning import Scan


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The classes of a source, and those of them that its data can name.

    Attributes:
        names: the class table, in its order.
        known: the classes that some label of the data stands for. A class that the recipe lists and the data never
            labels is not known, in every sample; but `ignore` is, since data that never marks a pixel so has none.
            It goes to ``record.data["known"]``.
    """

    names: tuple[str, ...]
    known: list[str]

    def content(self, annotation: Any) -> Any:
        """An annotation in canonical form with the classes that nobody labelled, for `record_of`."""
        unknown = sorted(set(self.names) - set(self.known))
        return [annotation, unknown] if unknown else annotation


def class_table(source: Source, labels: Iterable[str], where: Path) -> ClassTable:
    """The table for the labels of a data set, in the data's order where the recipe does not fix it.

    Raises SourceError naming ``where`` for a label that has no class, and where there are no classes, or over 256.
    """
    labels = list(labels)
    names = source.classes_of(labels) if source.classes is None else source.classes
    known = {name for label in labels if (name := source.require_class(label, names, str(where))) is not None}
    if REST in names:
        raise SourceError(f"{where}: a class is named '{REST}', which stands for all other labels. Rename it there.")
    if not 1 <= len(names) <= 256:
        raise SourceError(
            f"{where} names {len(names)} classes; expected 1 to 256. List them in source.classes, and merge or leave "
            "out labels by class_map."
        )
    return ClassTable(names, [name for name in names if name in known or name == IGNORE])


def class_table_of_scan(scan: Scan, labels: Iterable[str], where: Path) -> ClassTable:
    """`class_table` of what a scan found; where that fails, broken files, which may be why, are told instead."""
    try:
        return class_table(scan.source, labels, where)
    except SourceError as error:
        scan.raise_problems()
        broken = next((row.detail for row in scan.refused if row.name in scan.bad_names), None)
        if broken is None:
            raise
        raise SourceError(f"{error} Refused before that: {broken}") from error


def check_crowd(crowd: Crowd | None, classes: Collection[str] | None) -> None:
    """ValueError if crowds are to become `ignore`, and the recipe lists classes without it."""
    if crowd == "ignore" and classes is not None and IGNORE not in classes:
        raise ValueError(f"crowd is {IGNORE}, but classes has no '{IGNORE}'; add it to the list")


def crowd_class(crowd: Crowd, name: str) -> str | None:
    """The class that a crowd of class ``name`` becomes; None if it is left out."""
    chosen: dict[Crowd, str | None] = {"ignore": IGNORE, "class": name, "drop": None}
    return chosen[crowd]
