"""The sides of a body, as a manifest holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from augforge.store.values import Frozen, SidePairs

if TYPE_CHECKING:
    from augforge.ops.sides import Sides
    from augforge.store.manifest import Manifest


class SidesEntry(Frozen):
    """Pairs that a person declared, pairs found by name, names declared to be no sides; classes and labels.

    And names of a side without counterpart, which only manifests hold that have any.
    """

    stated: SidePairs = ()
    found: SidePairs = ()
    neutral: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _without_what_few_have(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in serialise(self).items() if key != "alone" or value}


def sides_of(manifest: Manifest) -> Sides:
    """The sides that a version was built with; nothing for one that was made before augforge knew sides."""
    from augforge.ops.sides import Sides  # loader processes import this module, and need no op

    entry = manifest.sides
    return Sides() if entry is None else Sides(entry.stated, entry.found, entry.neutral, entry.alone)


def complete_sides(manifest: Manifest) -> Sides:
    """The same with what the names of its classes and labels say, as far as nobody said it."""
    return sides_of(manifest).complete(manifest.classes, manifest.labels)
