"""Columns of metadata that a recipe leaves out, as they may say something about persons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from augforge.errors import PlanError, nearest
from augforge.recipe.recipe import Recipe
from augforge.sources import Listing


def check_columns(recipe: Recipe, listing: Listing) -> None:
    """Raise PlanError if the recipe drops or keeps an unknown column, or if a step reads one that is left out."""
    columns = recipe.metadata
    if not columns.named:
        return
    known = {name for record in listing.records for name in record.metadata}
    unknown = sorted(set(columns.named) - known)
    if unknown:
        key = "keep" if columns.keep is not None else "drop"
        hint = nearest(unknown[0], known) or " The source has no metadata."
        number = columns.named.index(unknown[0])
        raise PlanError(
            f"{recipe.file.where(('metadata', key, number))}: metadata.{key} names '{unknown[0]}', and no sample has "
            f"such a column; expected columns of the metadata.{hint}"
        )
    for step in recipe.steps:
        read = sorted(name for name in step.metadata_read if name in known and not columns.takes(name))
        if read:
            raise PlanError(
                f"{recipe.path}: step {step.index} ({step.bound.name}) reads metadata.{read[0]}, which the recipe's "
                "`metadata` leaves out; expected a column that is kept. Keep the column, or change the step"
            )


def kept_metadata(recipe: Recipe, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of a sample without what the recipe leaves out."""
    if recipe.metadata.drop is None and recipe.metadata.keep is None:
        return metadata
    return {name: value for name, value in metadata.items() if recipe.metadata.takes(name)}
