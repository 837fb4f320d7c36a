"""What is implausible about a recipe and its source: gathered, compared with what the recipe accepts, and enforced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from augforge.cache.filecache import FileCache
from augforge.engine.stratifying import group_members
from augforge.errors import PlanError, nearest, some
from augforge.ops.sides import SHOWN as SHOWN_SIDES
from augforge.ops.sides import describe_pairs, pairs_as_yaml
from augforge.planning.splits import Split
from augforge.planning.stratify import EVERY
from augforge.recipe.recipe import Accept, Recipe
from augforge.sources import Listing, Source
from augforge.sources.listing import Finding
from augforge.sources.plausibility.kinds import KINDS
from augforge.sources.plausibility.pictures import find_alike_pictures
from augforge.sources.plausibility.splits import ALIKE, LEAKS, find_far_shares, find_uneven_strata
from augforge.store.manifest import FindingEntry

if TYPE_CHECKING:
    from augforge.engine.sourcetable import SourceTable

NO_SUCH_SAMPLE = "review without effect"
SIDES_FOUND = "sides found by name"
SIDES_LEFT_OUT = "sides left out of swap"
ACCEPTS_NOTHING = "accept without effect"
_SHOWN = 10
_MOST_NAMES = 100
"""Names of a finding that a manifest holds: it is read whenever a dataset is opened."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A finding that the recipe accepts, and the reason that it gives."""

    kind: str
    message: str
    remedy: str
    names: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found, apart from it what the recipe accepts.

    ``waiting`` are entries of ``accept`` about pictures, which are compared when they have been read.
    """

    open: tuple[Finding, ...] = ()
    accepted: tuple[Accepted, ...] = field(default=())
    waiting: tuple[Accept, ...] = ()

    def with_pictures(self, found: Iterable[Finding], complete: bool) -> Findings:
        """These findings, and those of pictures; ``complete`` if all were compared."""
        more = _accept(found, self.waiting)
        left = more.open if complete else tuple(each for each in more.open if each.kind != ACCEPTS_NOTHING)
        return Findings((*self.open, *left), (*self.accepted, *more.accepted))

    def enforce(self, recipe: Recipe) -> None:
        """Raise PlanError if the recipe is strict, or stops at leaks, and something was found that it does not accept.

        Both are a person's demand: a build of a strict recipe that goes through has nothing implausible in it.
        """
        strict = [found for found in self.open if recipe.strict]
        leaks = [found for found in self.open if found.kind in LEAKS and recipe.split.leaks == "stop"]
        if strict or leaks:
            why = "strict" if strict else "split.leaks: stop"
            raise PlanError(_strict_message(strict or leaks, f"{recipe.path}: {why}"))


def _strict_message(findings: Sequence[Finding], where: str) -> str:
    shown = "".join(f"\n  - {found.kind}: {found.message}. {found.remedy}" for found in findings[:_SHOWN])
    more = f"\n  and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    return (
        f"{where}, and {len(findings)} thing{'s are' if len(findings) > 1 else ' is'} implausible:{shown}{more}\n"
        "Mend them, or accept single ones in the recipe: accept: [{kind: ..., names: [...], why: ...}]"
    )


def gather_findings(recipe: Recipe, listing: Listing, table: SourceTable, files: FileCache) -> Findings:
    """Everything implausible: what the listing found, then what recipe and splits say."""
    found = [
        *listing.all_findings,
        *_find_unknown_reviews(recipe, listing),
        *_find_sides(recipe, listing),
        *_find_in_splits(recipe, listing, table, files),
    ]
    _check_kinds(recipe, {each.kind for each in found})
    waiting = tuple(entry for entry in recipe.accept if entry.kind == ALIKE and recipe.split.compare == "auto")
    return replace(_accept(found, [entry for entry in recipe.accept if entry not in waiting]), waiting=waiting)


def _check_kinds(recipe: Recipe, found: Set[str]) -> None:
    """Raise PlanError, with file, line and the nearest kind, if the recipe accepts what no finding is called.

    The source of a plugin may have kinds of its own, of which only those are known that were found.
    """
    members = (member.source for member in getattr(recipe.source, "members", ()))
    if any(source.origin() for source in (recipe.source, *members)):
        return
    known = KINDS | found
    for number, entry in enumerate(recipe.accept):
        if entry.kind not in known:
            raise recipe.fail(
                ("accept", number, "kind"),
                f"no finding is of the kind '{entry.kind}'; expected one as a build prints it."
                f"{nearest(entry.kind, known)}",
            )


def finding_entries(findings: Findings, source: Source) -> list[FindingEntry]:
    """The findings as a manifest holds them: the same for the same data in another folder, and not too many names."""
    found: list[tuple[Finding | Accepted, str | None]] = [(each, None) for each in findings.open]
    found += [(each, each.why) for each in findings.accepted]
    return [
        FindingEntry(
            kind=each.kind,
            message=source.without_root(each.message),
            remedy=source.without_root(each.remedy),
            names=[source.without_root(name) for name in each.names[:_MOST_NAMES]],
            count=len(each.names),
            accepted=why,
        )
        for each, why in found
    ]


def brings_twins_together(recipe: Recipe) -> bool:
    """Whether a step moves what looks alike into one split, so that it is no finding."""
    return any(step.bound.op.moves(step.bound.params) for step in recipe.steps)


def _find_in_splits(recipe: Recipe, listing: Listing, table: SourceTable, files: FileCache) -> Iterator[Finding]:
    splits = {row.name: row.split for row in table.rows}
    if not brings_twins_together(recipe):
        yield from table.shared.findings(splits)
        if recipe.split.compare == "pictures":
            yield from find_alike_pictures(recipe.source, listing.records, splits, files)
    yield from table.classes.findings()
    own = {*splits.values()} - {row.split for row in table.dealt}
    shares = {name: share for name, share in recipe.split.shares.items() if name not in own}
    dealt = [row for row in table.dealt if row.group not in recipe.split.listed]
    if not shares:
        return
    yield from find_far_shares(shares, [row.split for row in dealt], len({row.group for row in dealt}))
    if recipe.split.stratify is not None:
        yield from _find_uneven_strata(recipe.split, shares, listing, {row.name: row.split for row in dealt})


def _find_uneven_strata(
    split: Split, shares: Mapping[str, float], listing: Listing, dealt: Mapping[str, str]
) -> Iterator[Finding]:
    """Strata that whole groups do not let match, among the samples that were dealt by shares."""
    records = [record for record in listing.records if record.name in dealt]
    members = group_members(split, records)
    groups = {group: {name: n for name, n in counts.items() if name != EVERY} for group, counts in members.items()}
    splits = {record.group: dealt[record.name] for record in records}
    yield from find_uneven_strata(groups, splits, shares, split.tolerance)


def _find_sides(recipe: Recipe, listing: Listing) -> Iterator[Finding]:
    """Pairs that are exchanged only because of their names, and sides that a step's ``swap`` passes over."""
    if not listing.sides.pairs:  # to find out what may mirror takes time
        return
    swaps = [step.bound.swap for step in recipe.steps if step.bound.may_mirror]
    found = listing.sides.found
    if found and None in swaps:
        yield Finding(
            SIDES_FOUND,
            f"a mirror exchanges {describe_pairs(found)}, which only their names show to be sides",
            f"Declare them in the source, `sides: {pairs_as_yaml(found)}`; or `sides: none`, to exchange nothing",
            tuple(name for pair in found for name in pair),
        )
    said = [{name for pair in swap for name in pair} for swap in swaps if swap and swap != "none"]
    sides = [name for pair in listing.sides.pairs for name in pair]
    forgotten = tuple(name for name in sides if any(name not in names for names in said))
    if forgotten:
        yield Finding(
            SIDES_LEFT_OUT,
            f"a step's swap overrides the sides of the source and passes over {some(forgotten, SHOWN_SIDES)}",
            "Add them to `swap`, or leave it out, and all sides are exchanged",
            forgotten,
        )


def _find_unknown_reviews(recipe: Recipe, listing: Listing) -> Iterator[Finding]:
    if not recipe.review:
        return
    names = {record.name for record in listing.records}
    unknown = sorted(recipe.review.keys() - names)
    if unknown:
        more = f", nor of {len(unknown) - 1} more that it names" if len(unknown) > 1 else ""
        yield Finding(
            NO_SUCH_SAMPLE,
            f"the review file names '{unknown[0]}', and the source has no usable sample of that name{more}",
            f"Correct the review file, or take the line out.{nearest(unknown[0], names)}",
            tuple(unknown),
        )


def _accept(findings: Iterable[Finding], accept: Sequence[Accept]) -> Findings:
    """The findings apart from those that are accepted; of a finding with several names, some may be."""
    left, accepted, used = [], [], set()
    for found in findings:
        rest: Finding | None = found
        for number, entry in enumerate(accept):
            if rest is None or entry.kind != found.kind:
                continue
            taken = rest.names if entry.names is None else tuple(name for name in rest.names if name in entry.names)
            if taken or (entry.names is None and not rest.names):
                used.add(number)
                accepted.append(Accepted(found.kind, found.message, found.remedy, taken, entry.why))
                names = tuple(name for name in rest.names if name not in taken)
                rest = replace(rest, names=names) if names else None
        left += [] if rest is None else [rest]
    left += [_without_effect(entry, left) for number, entry in enumerate(accept) if number not in used]
    return Findings(tuple(left), tuple(accepted))


def _without_effect(entry: Accept, findings: Iterable[Finding]) -> Finding:
    about = f" about {', '.join(entry.names)}" if entry.names else ""
    others = {found.kind for found in findings} - {entry.kind}
    hint = "" if entry.kind in KINDS else nearest(entry.kind, others)
    return Finding(
        ACCEPTS_NOTHING,
        f"the recipe accepts '{entry.kind}'{about}, and nothing of that kind was found",
        f"Take the entry out of `accept`, or correct it.{hint}",
        (entry.kind,),
    )
