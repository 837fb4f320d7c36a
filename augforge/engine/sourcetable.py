"""The rows of a listed source: which samples are used, their ids and their splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from sys import intern

from augforge.engine.named import placed
from augforge.engine.personal import check_columns, kept_metadata
from augforge.engine.stratifying import group_members
from augforge.errors import PlanError, shorten
from augforge.keys import digest, unit_hash
from augforge.lineage import Lineage
from augforge.planning.rows import Row
from augforge.planning.splits import assign_splits
from augforge.recipe.recipe import Recipe
from augforge.sample import SPLITS
from augforge.sources import Listing, Record
from augforge.sources.plausibility.splits import SharedImages


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A source's rows with ids and splits, and warnings.

    Attributes:
        rows: the samples that are used.
        warnings: messages for the user.
        dealt: those rows whose split the recipe decides, and not the data.
        shared: images that are in several splits.
    """

    rows: list[Row]
    warnings: list[str]
    dealt: list[Row] = field(default_factory=list)
    shared: SharedImages = field(default_factory=SharedImages)

    @property
    def digest(self) -> str:
        """Digest over the ids of its samples, in any order: 32 hexadecimal digits, as manifest and registry hold it."""
        return digest("source", sorted(row.id for row in self.rows))


def source_table(listing: Listing, recipe: Recipe) -> SourceTable:
    """Rows of what a source listed, with ids, splits and lineage.

    Raises:
        PlanError: the source holds no usable sample, or the splits cannot be assigned.
    """
    if not listing.records:
        raise PlanError(f"the source at {recipe.source.path} holds no usable sample; {_refusals(listing)}")
    check_columns(recipe, listing)
    records = listing.records if recipe.fraction is None else _share_of(recipe, listing.records)
    _check_own_splits(listing)
    own = {record.split for record in records if record.split is not None}
    with placed(recipe, ("split",)):
        members = group_members(recipe.split, (record for record in records if record.split is None))
        splits, warnings = assign_splits(members, recipe.split, own)
    table = SourceTable([], warnings)
    for record in records:
        row = _source_row(record, listing, recipe, record.split or splits[record.group])
        table.rows.append(row)
        table.shared.see(record, row.split)
        if record.split is None:
            table.dealt.append(row)
    return table


def _share_of(recipe: Recipe, records: Iterable[Record]) -> list[Record]:
    """The samples of the share of groups that a light experiment takes, by the groups' hash.

    A group's hash decides alone, so groups that come later move nobody, and a larger share holds the smaller one. It is
    not the hash that assigns splits, so each split keeps its share. Groups that the recipe lists for a split stay.
    """
    seed, share, listed = recipe.split.seed, recipe.fraction or 1.0, recipe.split.listed
    kept = [record for record in records if record.group in listed or unit_hash("fraction", seed, record.group) < share]
    if not kept:
        raise recipe.fail(
            ("fraction",), f"no group is in the share {share:g} of the groups; expected some. Choose a larger share"
        )
    return kept


def _refusals(listing: Listing) -> str:
    """How many samples were refused, and the most frequent reason."""
    reason, count = Counter(row.reason for row in listing.refused).most_common(1)[0]
    first = next(row for row in listing.refused if row.reason == reason)
    return f"{len(listing.refused)} refused, {count} for: {reason}. Such as {first.name}: {first.detail or reason}"


def _check_own_splits(listing: Listing) -> None:
    """Raise PlanError for an unknown split, or a group in two of the source's own splits, or in one and outside."""
    odd = next((record for record in listing.records if record.split not in (None, *SPLITS)), None)
    if odd is not None:
        raise PlanError(
            f"the source puts sample {odd.name} into the split {shorten(odd.split)}; expected one of "
            f"{', '.join(SPLITS)}. Rename the split in the data"
        )
    places: dict[str, set[str]] = {}
    for record in listing.records:
        for group in record.data.get("groups") or (record.group,):
            places.setdefault(group, set()).add(record.split or "")
    both = sorted(group for group, found in places.items() if len(found) > 1)
    if both:
        found = " and ".join(
            f"its own {name}" if name else "what the recipe splits" for name in sorted(places[both[0]])
        )
        raise PlanError(
            f"group '{both[0]}' of the source has samples in {found} ({len(both)} such groups): it would be "
            "in two splits. Rename the groups, or leave one part out; if the name stands for different groups, set "
            "source.group, such as `group: {regex: '(.*)/'}`, the whole folder"
        )


def _source_row(record: Record, listing: Listing, recipe: Recipe, split: str) -> Row:
    return Row(
        name=record.name,
        id=digest("source", record.name, record.content, listing.classes, listing.labels, recipe.source.adapter()),
        group=intern(record.group),  # one text for all samples of a group
        split=split,
        width=record.width,
        height=record.height,
        lineage=Lineage.of_source(record.name, record.width, record.height),
        groups=tuple(record.data.get("groups") or (record.group,)),
        metadata=kept_metadata(recipe, record),
        licences=record.licences,
    )
