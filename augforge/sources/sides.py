"""The sides of a body that a source states: by its option ``sides``, and by what its data already knows of them."""

from __future__ import annotations

from augforge.ops.sides import Sides, check_known
from augforge.sources.core import Source
from augforge.sources.listing import Listing


def stated_sides(source: Source, listing: Listing) -> Sides:
    """What the option ``sides`` says, and of names that it leaves open what the data states.

    Raises:
        PlanError: a pair names what is neither class nor label.
    """
    check_known(source.sides, listing.classes, listing.labels)
    return listing.sides.override(source.sides, (*listing.classes, *listing.labels))
