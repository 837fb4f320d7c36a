"""Folds of a dataset by groups: what is held out, and what may be trained on then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from augforge.errors import TrainError
from augforge.keys import unit_hash
from augforge.report.tables import plural
from augforge.store.dataset import Dataset
from augforge.train.evaluation.scores import check_has_masks


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One of several equal parts of the groups, and the samples that follow from holding it out.

    Attributes:
        number: from 0.
        groups: the groups held out.
        train: samples in which none of these groups shows.
        held_out: samples of these groups alone that show a single source image.
    """

    number: int
    groups: frozenset[str]
    train: Dataset
    held_out: Dataset


def folds_of(dataset: Dataset, folds: int, seed: int = 0) -> list[Fold]:
    """The folds of a dataset's samples in ``train`` and ``val``.

    Groups are assigned in the order of a hash, as by a recipe's ``split: {folds: ..., fold: ...}``. A sample that shows
    several groups, such as a mosaic, is trained on only if none of them is held out. A sample of ``val`` that a filter
    tagged is scored but not trained on: from ``train`` the filter would have dropped it.

    Raises:
        TrainError: fewer groups than folds, a fold without a sample to train or judge, or no masks to judge by.
    """
    check_has_masks(dataset)
    pool = dataset.where(pl.col("split").is_in(["train", "val"]))
    fold_of = fold_by_group(pool.index["groups"].explode().drop_nulls(), folds, seed)
    all_folds = [_fold(pool, k, frozenset(g for g, fold in fold_of.items() if fold == k)) for k in range(folds)]
    for fold in all_folds:
        if not len(fold.train) or not len(fold.held_out):
            lacking = "train on" if not len(fold.train) else "judge"
            raise TrainError(
                f"fold {fold.number} of {dataset.folder} has no sample to {lacking}: too many show several groups. "
                "Build without mosaics, keep their inputs, or take fewer folds"
            )
    return all_folds


def fold_by_group(groups: Iterable[str], folds: int, seed: int = 0) -> dict[str, int]:
    """The fold of each group: in turn, in hash order, so that folds are equally large; a new group may move others."""
    ordered = sorted(set(groups), key=lambda group: unit_hash("split", seed, group))
    if folds < 2 or len(ordered) < folds:
        raise TrainError(f"{folds} folds of {plural(len(ordered), 'group')}; expected at least 2, and a group for each")
    return {group: index % folds for index, group in enumerate(ordered)}


def _fold(pool: Dataset, number: int, groups: frozenset[str]) -> Fold:
    held_groups = pl.col("groups").list.set_intersection(sorted(groups)).list.len()
    all_held = held_groups == pl.col("groups").list.n_unique()
    single_root = pl.col("lineage").struct.field("roots").list.len() == 1
    tagged = (pl.col("split") == "val") & (pl.col("tags").list.len() > 0)
    # Sorted, because predictions come in the order of these samples, and their tables are sorted by name.
    by_name = pool.take(pool.index["name"].arg_sort().to_numpy())
    return Fold(
        number, groups, pool.where(held_groups == 0, ~tagged), by_name.where(held_groups > 0, all_held, single_root)
    )
