"""What Datumaro's importers find in a folder: labels, items, and what they could not read, told apart."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augforge.errors import MissingExtra, SourceError, nearest


@dataclass(frozen=True, slots=True)
class Imported:
    """A data set as Datumaro imports it.

    Attributes:
        labels: by their number.
        items: Datumaro's own, by subset and id.
        faults: by id and subset, the items that it could not read.
    """

    labels: list[str]
    items: list[Any]
    faults: dict[tuple[str, str], str]


def import_items(root: Path, format: str | None) -> Imported:
    """Import a folder as a format of Datumaro's, or one that it finds itself. Raises SourceError with what it says."""
    try:
        from datumaro import AnnotationType, Dataset
        from datumaro.components.contexts.importer import ImportErrorPolicy
    except ImportError as error:
        raise MissingExtra("datumaro", "datumaro", "source format datumaro") from error
    faults: dict[tuple[str, str], str] = {}

    class Tell(ImportErrorPolicy):  # type: ignore[misc]  # the library is untyped
        def report_item_error(self, error: Exception, *, item_id: tuple[str, str]) -> None:
            where = f"{root}: item '{item_id[0]}' of subset '{item_id[1]}'"
            faults[str(item_id[0]), str(item_id[1])] = (
                f"{where} cannot be read by Datumaro ({cause_of(error)}). Correct it there."
            )

    try:
        with quiet():
            dataset = Dataset.import_from(str(root), format, error_policy=Tell())
            items = sorted(dataset, key=lambda item: (item.subset, item.id))
            categories = dataset.categories().get(AnnotationType.label, ())
    except Exception as error:  # its formats raise what their parsers raise
        raise SourceError(_refusal(root, format, error)) from error
    return Imported([label.name for label in categories], items, faults)


def _refusal(root: Path, format: str | None, error: Exception) -> str:
    from datumaro.components.environment import DEFAULT_ENVIRONMENT

    known = list(DEFAULT_ENVIRONMENT.importers)
    if format is not None and format not in known:
        return f"{root}: Datumaro has no format '{format}'.{nearest(format, known)}"
    return (
        f"{root} cannot be read by Datumaro as {format or 'a format that it finds itself'} ({cause_of(error)}). "
        "Correct the data, or name its format in source.dataset_format."
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of the libraries that Datumaro calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def cause_of(error: BaseException) -> str:
    """What an error comes from, in its own words."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    said = [f"{type(cause).__name__}: {str(cause).strip().removesuffix('.')}" for cause in chain]
    return ", for ".join(said[1:] or said)
