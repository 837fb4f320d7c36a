"""Assigns groups to splits by hashing each group, so that neither order nor other groups matter."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Literal
from unicodedata import normalize

from pydantic import Field, field_validator, model_validator

from augforge.errors import PlanError, nearest
from augforge.keys import unit_hash
from augforge.planning.steps import Strict
from augforge.planning.stratify import Members, stratify

Share = Annotated[float, Field(gt=0, lt=1)]
Groups = Annotated[tuple[str, ...], Field(min_length=1)]


class Split(Strict):
    """How groups are assigned to splits: each is hashed as a whole, so that no patient is in two splits.

    `val` and `test` are shares of the groups, or lists of groups. With `folds` and `fold`
    instead, one of several equally large parts becomes `val`.
    """

    val: Share | Groups | None = Field(None, description="share of the groups (0 to 1), or a list of groups")
    test: Share | Groups | None = Field(None, description="share of the groups (0 to 1), or a list of groups")
    folds: Annotated[int, Field(ge=2)] | None = Field(None, description="number of cross-validation folds")
    fold: Annotated[int, Field(ge=0)] | None = Field(None, description="the fold that is `val`, from 0")
    seed: int = Field(
        0,
        description="seed of the hash, apart from the recipe's, so that recipes with other seeds keep their splits",
    )

    stratify: Annotated[str, Field(pattern=r"^(class|metadata\..+)$")] | None = Field(
        None,
        description="class, or metadata.COLUMN: groups are assigned so that each split gets its share of each class or "
        "label, or of each value of the column; then a new group may move others",
    )
    tolerance: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="with stratify: how far the share of a class in a split may be from the split's share"
    )
    leaks: Literal["tell", "stop"] = Field(
        "tell",
        description="images that two splits share are told, or stop the build: before any work, or, if only a look at "
        "the pictures shows it, before the commit",
    )
    compare: Literal["auto", "bytes", "pictures"] = Field(
        "auto",
        description="what is compared to find them: the bytes of the files, and, once a build has read them, what the "
        "pictures look like (auto); the bytes alone; or the pictures before any work, for which every image is decoded "
        "once more",
    )

    @field_validator("val", "test")
    @classmethod
    def _compose(cls, value: Share | Groups | None) -> Share | Groups | None:
        """Groups as samples have them, composed (NFC), however the recipe writes their accents."""
        return tuple(normalize("NFC", name) for name in value) if isinstance(value, tuple) else value

    @model_validator(mode="after")
    def _check(self) -> Split:
        if (self.folds is None) != (self.fold is None):
            raise ValueError("`folds` and `fold` go together")
        if self.folds is not None and self.fold is not None:
            if self.fold >= self.folds:
                raise ValueError(f"fold {self.fold} of {self.folds} does not exist; folds count from 0")
            if self.val is not None:
                raise ValueError("`folds` decides `val`; give one of the two")
        if self.stratify is not None and not self.shares and self.folds is None:
            raise ValueError("`stratify` matches shares; give a share as `val` or `test`, or `folds`")
        if sum(self.shares.values()) >= 1:
            raise ValueError("`val` and `test` leave nothing for train; their shares must sum to less than 1")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The shares of val and test that are asked for, as far as they are shares and no lists or folds."""
        given = {"val": self.val, "test": self.test}
        return {name: share for name, share in given.items() if isinstance(share, float)}

    @property
    def listed(self) -> set[str]:
        """The groups that are listed for val or test."""
        return {name for part in (self.val, self.test) if isinstance(part, tuple) for name in part}


def assign_splits(
    groups: Iterable[str] | Members, split: Split, own: Collection[str] = ()
) -> tuple[dict[str, str], list[str]]:
    """Assign each group to a split; give the assignment and warnings.

    With shares, each group's hash decides alone, so a new group moves nobody. A split that would stay empty takes a
    group from a split that has several: the one with the lowest hash, for train the highest. With folds, the groups
    outside `test` are assigned in hash order: folds are equally large, and each group is `val` in exactly one; a new
    group may move others. With `stratify`, see `planning.stratify`.

    Args:
        groups: those that are in no split of the data's own; for `stratify`, with what their samples show.
        split: the recipe's; a share of a split that the data has itself is not used.
        own: splits that the data has.

    Raises:
        PlanError: fewer groups than splits or folds, a listed group that does not exist, or folds for data that has a
            validation split of its own.
    """
    names = sorted(set(groups))
    if not names:
        return {}, _warn_of_unused_split(split, own)
    if split.folds is not None and "val" in own:
        raise PlanError(
            "split.folds assigns val, and the data has one of its own. Set source.own_splits: false to assign "
            "all, or leave the folds out"
        )
    split, warnings = _without_shares_of_own_splits(split, own)
    hashes = {name: unit_hash("split", split.seed, name) for name in names}
    wanted = ["train", *(name for name in ("val", "test") if getattr(split, name) is not None)]
    if len(names) < len(wanted):
        raise PlanError(
            f"too few groups ({len(names)}: {', '.join(names)}) for the splits {', '.join(wanted)}: a group stays "
            "whole. Ask for fewer splits, add groups, or say with source.group what a group is; "
            "`group: {regex: '(.*)'}` makes each sample one"
        )
    listed = _assign_listed(names, split, own)
    if split.stratify is not None and isinstance(groups, Mapping):
        result = _stratified(groups, split, listed)
        return result, warnings + _fill_empty_splits(result, set(listed), hashes, wanted)
    result = {name: listed.get(name) or _split_by_share(hashes[name], split) for name in names}
    warnings += _fill_empty_splits(result, set(listed), hashes, wanted)
    if split.folds is not None:
        result |= dict.fromkeys(_groups_of_fold(result, hashes, split.folds, split.fold or 0), "val")
    return result, warnings


def _stratified(members: Members, split: Split, listed: Mapping[str, str]) -> dict[str, str]:
    """The split of each group, with equal shares of every class; folds are dealt as so many more splits."""
    shares = {"train": 1 - sum(split.shares.values()), **split.shares}
    names = {name: name for name in shares}
    if split.folds is not None:
        if len(members) - len(listed) < split.folds:
            raise PlanError(
                f"too few groups ({len(members)}) for {split.folds} folds: a group stays whole. Ask for fewer"
            )
        folds = {f"fold {n}": shares["train"] / split.folds for n in range(split.folds)}
        shares = {**split.shares, **folds}
        names |= {**dict.fromkeys(folds, "train"), f"fold {split.fold}": "val"}
    free = {group: counts for group, counts in members.items() if group not in listed}
    dealt = stratify(free, shares, split.seed, split.tolerance) if free else {}
    return {group: listed.get(group) or names[dealt[group]] for group in members}


def _warn_of_unused_split(split: Split, own: Collection[str]) -> list[str]:
    """Every sample has a split of its own: warn if the recipe asks for splits, or if none of them is train."""
    asked = (split.val, split.test, split.folds) != (None, None, None)
    if not own or ("train" in own and not asked):
        return []
    fact = f"every sample is in the data's own {' or '.join(sorted(own))}, so the recipe's split assigns nothing"
    return [f"{fact}; set source.own_splits: false to assign all samples"]


def _without_shares_of_own_splits(split: Split, own: Collection[str]) -> tuple[Split, list[str]]:
    """The recipe's split without the shares of val or test that the data itself prescribes, and warnings about them."""
    twice = [part for part in ("val", "test") if part in own and isinstance(getattr(split, part), float)]
    warnings = [
        f"the data has its own {part}, so split.{part} takes nothing more; name groups there to add them, or set "
        "source.own_splits: false to assign all samples"
        for part in twice
    ]
    return split.model_copy(update=dict.fromkeys(twice)), warnings


def _groups_of_fold(result: Mapping[str, str], hashes: Mapping[str, float], folds: int, fold: int) -> list[str]:
    """The groups of one fold."""
    dealt = sorted((name for name in result if result[name] == "train"), key=hashes.__getitem__)
    if len(dealt) < folds:
        raise PlanError(f"too few groups ({len(dealt)}) for {folds} folds: a group stays whole. Ask for fewer folds")
    return dealt[fold::folds]


def _assign_listed(names: list[str], split: Split, own: Collection[str]) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for part in ("val", "test"):
        listed = getattr(split, part)
        for name in listed if isinstance(listed, tuple) else ():
            if name not in names:
                outside = " outside its own splits" if own else ""
                fact = f"split.{part} lists '{name}', but the source has no such group{outside}"
                raise PlanError(f"{fact}.{nearest(name, names)}")
            if name in chosen:
                raise PlanError(f"group '{name}' is listed twice, for {chosen[name]} and for {part}. List it once")
            chosen[name] = part
    return chosen


def _split_by_share(value: float, split: Split) -> str:
    val = split.val if isinstance(split.val, float) else 0.0
    test = split.test if isinstance(split.test, float) else 0.0
    if value < val:
        return "val"
    return "test" if value < val + test else "train"


def _fill_empty_splits(
    result: dict[str, str], fixed: set[str], hashes: Mapping[str, float], wanted: list[str]
) -> list[str]:
    warnings = []
    for part in reversed(wanted):  # train last: it may have to give groups to the others, and is refilled if it ran out
        if part in result.values():
            continue
        spare = [name for name in set(result) - fixed if list(result.values()).count(result[name]) > 1]
        if not spare:
            raise PlanError(f"split {part} would stay empty: every group is listed elsewhere. List fewer groups")
        taken = (max if part == "train" else min)(spare, key=hashes.__getitem__)
        warnings.append(f"no group fell into {part} by its hash; it takes '{taken}' from {result[taken]}")
        result[taken] = part
    return warnings
