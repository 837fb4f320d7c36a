"""The class table: made of the recipe's options and of the labels in the data."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from augforge.errors import SourceError
from augforge.sample import IGNORE
from augforge.sources.core import Source
from augforge.sources.looks import as_it_looks
from augforge.sources.options import REST, Crowd
from augforge.sources.scan.scanning import Scan


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The classes of a source, and which of them its data labels.

    Attributes:
        names: the class table, in its order.
        known: the classes that at least one label in the data stands for; goes into ``record.data["known"]``. A class
            that the recipe lists but the data never labels is unknown in every sample. `ignore` is always known: data
            that never marks a pixel as `ignore` has no such pixels.
    """

    names: tuple[str, ...]
    known: list[str]

    def without(self, classes: Collection[str]) -> ClassTable:
        """The table for a sample in which some of the classes are unknown."""
        return replace(self, known=[name for name in self.known if name not in classes]) if classes else self

    def content(self, annotation: Any) -> Any:
        """The ``content`` for `make_record`: an annotation in canonical form, with the classes that nobody labelled."""
        unknown = sorted(set(self.names) - set(self.known))
        return [annotation, unknown] if unknown else annotation


def report_alike_labels(scan: Scan, labels: Iterable[str]) -> None:
    """Tell of labels that look the same and so are one class, although they are written in different Unicode forms."""
    by_look: dict[str, set[str]] = {}
    for label in labels:
        if not label.isascii():
            by_look.setdefault(as_it_looks(label), set()).add(label)
    for look, forms in sorted(by_look.items()):
        if len(forms) > 1:
            scan.find(
                "labels that look the same",
                f"the label '{look}' is written in {len(forms)} different Unicode forms (NFC and NFD), which are taken "
                "for one class",
                "Write it in one form in the data",
                sorted(forms),
            )


def class_table(source: Source, labels: Iterable[str], where: Path, scan: Scan | None = None) -> ClassTable:
    """The class table for the labels of a data set, in the data's order unless the recipe lists the classes.

    A ``scan`` is told of the labels, and of those that look the same.

    Raises SourceError, naming ``where``, if a label has no class, or if there are no classes or more than 256.
    """
    labels = list(labels)
    if scan is not None:
        report_alike_labels(scan, labels)
        scan.note_labels(labels)
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
    """`class_table` for what a scan found; broken files, which may be why it fails, are reported first."""
    try:
        return class_table(scan.source, labels, where, scan)
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
