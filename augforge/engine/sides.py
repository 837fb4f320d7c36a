"""The sides of a body in a build: settled before any work, handed to the steps that mirror, and told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from augforge.engine.named import path_of, placed
from augforge.errors import some
from augforge.ops import Context
from augforge.ops.sides import SHOWN, describe_pairs
from augforge.recipe.recipe import Recipe
from augforge.sources.listing import Finding, Listing
from augforge.sources.sides import stated_sides

FOUND = "sides found by name"
LEFT_OUT = "sides left out of swap"


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


def find_sides_to_tell(recipe: Recipe, listing: Listing) -> Iterator[Finding]:
    """Pairs that are exchanged only because of their names, and sides that a step's ``swap`` passes over."""
    swaps = [getattr(step.bound.params, "swap", None) for step in recipe.steps if step.bound.may_mirror]
    found = listing.sides.found
    if found and None in swaps:
        yield Finding(
            FOUND,
            f"a mirror exchanges {describe_pairs(found)}, which only their names show to be sides",
            f"Declare them in the source: `sides: {_as_yaml(found)}`; or `sides: none`, if nothing is to be exchanged",
            tuple(name for pair in found for name in pair),
        )
    said = [{name for pair in swap for name in pair} for swap in swaps if swap and swap != "none"]
    sides = [name for pair in listing.sides.pairs for name in pair]
    forgotten = tuple(name for name in sides if any(name not in names for names in said))
    if forgotten:
        yield Finding(
            LEFT_OUT,
            f"a step's swap overrides the sides of the source and passes over {some(forgotten, SHOWN)}",
            "Add them to `swap`, or leave it out, and all sides are exchanged",
            forgotten,
        )


def _as_yaml(pairs: tuple[tuple[str, str], ...]) -> str:
    more = ", ..." if len(pairs) > SHOWN else ""
    return "[" + ", ".join(f"[{left}, {right}]" for left, right in pairs[:SHOWN]) + more + "]"
