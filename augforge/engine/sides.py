"""The sides of a body in a build: settled before any work, and handed to the steps that mirror."""

from __future__ import annotations

from dataclasses import replace

from augforge.engine.named import path_of, placed
from augforge.ops import Context
from augforge.recipe.recipe import Recipe
from augforge.sources.listing import Listing
from augforge.sources.sides import stated_sides


def with_sides(recipe: Recipe, listing: Listing) -> Listing:
    """The listing with all sides: declared, stated by the data, or found by name.

    Raises:
        PlanError: the recipe declares a name that the data does not have; with file and line.
    """
    with placed(recipe, ("source", "sides")):
        stated = stated_sides(recipe.source, listing)
    return replace(listing, sides=stated.complete(listing.classes, listing.labels))


def settle_steps(recipe: Recipe, listing: Listing) -> Recipe:
    """The recipe whose steps know what a mirrored picture exchanges.

    Raises:
        PlanError: a step mirrors names that look like sides, and nobody says what becomes of them; with file and line.
    """
    context, steps = Context(listing.classes, listing.labels), []
    for step in recipe.steps:
        with placed(recipe, path_of(recipe, step)):
            steps.append(replace(step, bound=step.bound.settle_sides(listing.sides, context)))
    return replace(recipe, steps=tuple(steps))
