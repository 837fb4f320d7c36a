"""Folds of a dataset by groups: what is held out, and what may be trained on meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from augforge.errors import TrainError
from augforge.keys import unit_hash
from augforge.report.tables import plural
from augforge.store.dataset import Dataset
from augforge.train.study.learner import need_masks


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One part of the groups, held out.

    Attributes:
        number: from 0.
        groups: those held out.
        train: samples in which none of them shows.
        held: samples of them that show one source image.
    """

    number: int
    groups: frozenset[str]
    train: Dataset
    held: Dataset


def folds_of(dataset: Dataset, folds: int, seed: int = 0) -> list[Fold]:
    """The folds of a dataset's samples in ``train`` and ``val``.

    Groups are dealt out in the order of a hash, as by a recipe's ``split: {folds: ..., fold: ...}``. A sample that
    shows several groups, such as a mosaic, is trained on only where none of them is held out; a sample of ``val`` that
    a filter tagged is judged, but not trained on, as filters drop from ``train``.

    Raises:
        TrainError: fewer groups than folds, a fold without a sample to train or judge, or no masks to judge by.
    """
    need_masks(dataset)
    pool = dataset.where(pl.col("split").is_in(["train", "val"]))
    fold_of = fold_by_group(pool.index["groups"].explode().drop_nulls(), folds, seed)
    made = [_fold(pool, k, frozenset(g for g, fold in fold_of.items() if fold == k)) for k in range(folds)]
    for fold in made:
        if not len(fold.train) or not len(fold.held):
            lacking = "train on" if not len(fold.train) else "judge"
            raise TrainError(
                f"fold {fold.number} of {dataset.folder} has no sample to {lacking}: too many show several groups. "
                "Build without mosaics, keep their inputs, or take fewer folds"
            )
    return made


def fold_by_group(groups: Iterable[str], folds: int, seed: int = 0) -> dict[str, int]:
    """The fold of each group: dealt in hash order, so folds are equally large; a new group may move others."""
    dealt = sorted(set(groups), key=lambda group: unit_hash("split", seed, group))
    if folds < 2 or len(dealt) < folds:
        raise TrainError(f"{folds} folds of {plural(len(dealt), 'group')}; expected at least 2, and a group for each")
    return {group: place % folds for place, group in enumerate(dealt)}


def _fold(pool: Dataset, number: int, groups: frozenset[str]) -> Fold:
    held = pl.col("groups").list.set_intersection(sorted(groups)).list.len()
    whole = held == pl.col("groups").list.n_unique()
    by_name = Dataset(pool.folder, pool.manifest, pool.index.sort("name"), pool.remote)
    alone = pl.col("lineage").struct.field("roots").list.len() == 1
    tagged = (pl.col("split") == "val") & (pl.col("tags").list.len() > 0)
    return Fold(number, groups, pool.where(held == 0, ~tagged), by_name.where(held > 0, whole, alone))
