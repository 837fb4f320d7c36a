"""The sides of a body, as a manifest holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from augforge.store.values import Frozen, SidePairs

if TYPE_CHECKING:
    from augforge.ops.sides import Sides
    from augforge.store.manifest import Manifest


class SidesEntry(Frozen):
    """Pairs that a person declared, pairs found by name, and names declared to be no sides; classes and labels."""

    stated: SidePairs = ()
    found: SidePairs = ()
    neutral: tuple[str, ...] = ()


def sides_of(manifest: Manifest) -> Sides:
    """The sides that a version was built with; nothing for one that was made before augforge knew sides."""
    from augforge.ops.sides import Sides  # loader processes import this module, and need no op

    entry = manifest.sides
    return Sides() if entry is None else Sides(entry.stated, entry.found, entry.neutral)


def complete_sides(manifest: Manifest) -> Sides:
    """The same with what the names of its classes and labels say, as far as nobody said it."""
    return sides_of(manifest).complete(manifest.classes, manifest.labels)
