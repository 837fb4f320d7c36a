"""Columns of metadata that a recipe leaves out, as they may say something about persons."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from augforge.errors import PlanError, nearest
from augforge.recipe.recipe import Recipe
from augforge.sources import Listing, Record
from augforge.sources.options import MetadataColumns
from augforge.yamlfile import KeyPath

_ALL = MetadataColumns()


def check_columns(recipe: Recipe, listing: Listing) -> None:
    """Raise PlanError if the recipe drops or keeps an unknown column, or if a step reads one that is left out."""
    choices = list(_choices(recipe))
    known: dict[KeyPath, set[str]] = {at: set() for at, _ in choices}
    for record in listing.records if choices else ():
        known.setdefault(_entry_of(recipe, record), set()).update(record.metadata)
    every = set().union(*known.values())
    for at, columns in choices:
        _check_choice(recipe, at, columns, known[at] if at != _RECIPE else every)
    for step in recipe.steps:
        read = sorted(
            (name, at)
            for name in {*step.metadata_read} & every
            for at, columns in choices
            if not columns.takes(name) and (at == _RECIPE or name in known[at])
        )
        if read:
            raise PlanError(
                f"{recipe.path}: step {step.index} ({step.bound.name}) reads metadata.{read[0][0]}, which "
                f"{_described(read[0][1])} leaves out; expected a column that is kept. Keep the column, or change the "
                "step"
            )


_RECIPE: KeyPath = ("metadata",)


def _choices(recipe: Recipe) -> Iterator[tuple[KeyPath, MetadataColumns]]:
    """Where the recipe, or an entry of its union, names columns, and which."""
    entries = enumerate(getattr(recipe.source, "columns_of_entries", ()))
    places = [(_RECIPE, recipe.metadata), *((_entry_path(number), columns) for number, columns in entries)]
    return ((at, columns) for at, columns in places if columns != _ALL)


def _entry_path(number: int) -> KeyPath:
    return ("source", "sources", number, "metadata")


def _entry_of(recipe: Recipe, record: Record) -> KeyPath:
    """The entry of a union that a record comes from; the recipe if it is no union."""
    return _entry_path(record.data["source"]) if hasattr(recipe.source, "columns_of_entries") else _RECIPE


def _described(at: KeyPath) -> str:
    return "the recipe's `metadata`" if at == _RECIPE else f"`{'.'.join(map(str, at))}`"


def _check_choice(recipe: Recipe, at: KeyPath, columns: MetadataColumns, known: Collection[str]) -> None:
    unknown = sorted(set(columns.named) - {*known})
    if unknown:
        key = "keep" if columns.keep is not None else "drop"
        place, hint = (*at, key, columns.named.index(unknown[0])), nearest(unknown[0], known)
        raise PlanError(
            f"{recipe.file.where(place)}: {'.'.join(map(str, at))}.{key} names '{unknown[0]}', and no sample has such "
            f"a column; expected columns of the metadata.{hint or ' The source has no metadata.'}"
        )


def kept_metadata(recipe: Recipe, record: Record) -> Mapping[str, Any]:
    """The metadata of a sample without what the recipe, or the entry of a union, leaves out."""
    choices = [each for each in (recipe.metadata, recipe.source.kept_columns(record)) if each != _ALL]
    if not choices:
        return record.metadata
    return {name: value for name, value in record.metadata.items() if all(each.takes(name) for each in choices)}
