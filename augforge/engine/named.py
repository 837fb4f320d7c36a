"""What a recipe names in its data must be there: classes, columns and groups. Seen before any work, in dry runs too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from augforge.errors import PlanError, nearest
from augforge.ops import Context
from augforge.ops.conditions import SAMPLE_COLUMNS, columns_named, fields_named, metadata_named
from augforge.planning.steps import Step
from augforge.recipe.recipe import Recipe
from augforge.sources import Listing
from augforge.yamlfile import KeyPath


def check_named(recipe: Recipe, listing: Listing) -> None:
    """Raise PlanError, with file, line and the nearest name, if a step names a class or column that is not there."""
    context = Context(listing.classes, listing.labels)
    for step in recipe.steps:
        with placed(recipe, path_of(recipe, step)):
            step.bound.params.check(context)
    if any(condition for step in recipe.steps for _, condition in _conditions(step)):
        metadata = {name for record in listing.records for name in record.metadata}
        for number, step in enumerate(recipe.steps):
            measured = [before.bound.label for before in recipe.steps[:number] if before.bound.op.measure is not None]
            for key, condition in _conditions(step):
                judging = step if key == "condition" else step.probe(condition)  # as `where` does, a probe measures
                own = [*getattr(judging.bound.params, "own_columns", ())]
                at = (*path_of(recipe, step), key)
                _check_condition(recipe, at, condition, [*measured, *own], metadata, listing)


@contextmanager
def placed(recipe: Recipe, at: KeyPath) -> Iterator[None]:
    """Raise a PlanError of the block again, with file and line of what it quotes below a key path."""
    try:
        yield
    except PlanError as error:
        raise recipe.fail(_quoted_place(_value_at(recipe.file.data, at), at, str(error)), str(error)) from error


def path_of(recipe: Recipe, step: Step) -> KeyPath:
    """Where a step stands; the resize of ``output.size`` stands under ``output``."""
    return ("steps", step.index - 1) if step.index <= len(recipe.file.data.get("steps") or ()) else ("output",)


def _value_at(data: Any, at: KeyPath) -> Any:
    for part in at:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _quoted_place(value: Any, at: KeyPath, message: str) -> KeyPath:
    """The place of the first key or text below ``at`` that a message quotes; ``at`` if it quotes none.

    What follows as a hint is no fact, and quotes names that are there.
    """
    fact = message.partition(" Did you mean ")[0]
    return next((path for path, text in _texts(value, at) if f"'{text}'" in fact), at)


def _texts(value: Any, at: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield (*at, key), str(key)
            yield from _texts(inner, (*at, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, (*at, number))


def _conditions(step: Step) -> Iterator[tuple[str, str]]:
    """The key and text of a step's condition, and of a filter's."""
    yield from step.conditions.items()
    condition = getattr(step.bound.params, "condition", None)
    if isinstance(condition, str):
        yield "condition", condition


def _check_condition(
    recipe: Recipe,
    at: KeyPath,
    condition: str,
    measured: Sequence[str],
    metadata: set[str],
    listing: Listing,
) -> None:
    known = {*SAMPLE_COLUMNS, *measured}
    folded = {name.lower() for name in known}
    unknown = sorted(name for name in columns_named(condition) if name.lower() not in folded)
    if unknown:
        raise recipe.fail(
            at,
            f"there is no column '{unknown[0]}'; expected one of a sample, metadata.COLUMN, or what an earlier step "
            f"measures.{nearest(unknown[0], known)}",
        )
    lacking = sorted(metadata_named(condition) - metadata)
    if lacking:
        hint = nearest(lacking[0], metadata) or " The source has no metadata."
        raise recipe.fail(at, f"no sample has the metadata column '{lacking[0]}'.{hint}")
    for column, what, names in (("area", "class", listing.classes), ("label", "label", listing.labels)):
        unnamed = sorted(fields_named(condition, column) - {*names}) if column in measured else []
        if unnamed:
            raise recipe.fail(at, f"the data has no {what} '{unnamed[0]}'.{nearest(unnamed[0], names)}")
