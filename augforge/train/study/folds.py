"""Folds of a dataset by groups: what is held out, and what may be trained on then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from augforge.errors import TrainError, nearest
from augforge.keys import unit_hash
from augforge.report.tables import plural
from augforge.store.dataset import Dataset

if TYPE_CHECKING:
    from augforge.train.config import TrainConfig

_SINGLE_ROOT = pl.col("lineage").struct.field("roots").list.len() == 1
_TAGGED = (pl.col("split") == "val") & (pl.col("tags").list.len() > 0)


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One of several equal parts of the groups, and the samples that follow from holding it out.

    Attributes:
        number: from 0.
        groups: the groups held out.
        train: samples in which none of these groups shows.
        held_out: samples of these groups alone that show a single source image.
        value: that all samples held out share, if folds are held out by it, such as a domain.
    """

    number: int
    groups: frozenset[str]
    train: Dataset
    held_out: Dataset
    value: str | None = None

    @property
    def sources(self) -> list[str]:
        """The name of the source image that each held-out sample shows."""
        return self.held_out.index["lineage"].struct.field("roots").list.first().struct.field("name").to_list()

    def describe(self) -> dict[str, Any]:
        """Its number, what is held out by value, and its numbers of groups and samples, JSON-like."""
        return {
            "fold": self.number,
            **({} if self.value is None else {"held_out": self.value}),
            "groups": len(self.groups),
            "train": len(self.train),
            "held": len(self.held_out),
        }


def folds_of(dataset: Dataset, folds: int, seed: int = 0) -> list[Fold]:
    """The folds of a dataset's samples in ``train`` and ``val``.

    Groups are assigned in the order of a hash, as by a recipe's ``split: {folds: ..., fold: ...}``. A sample that shows
    several groups, such as a mosaic, is trained on only if none of them is held out. A sample of ``val`` that a filter
    tagged is scored but not trained on: from ``train`` the filter would have dropped it.

    Raises:
        TrainError: fewer groups than folds, or a fold without a sample to train or judge.
    """
    pool = _pool(dataset)
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


def folds_by(dataset: Dataset, by: str, label_groups: Mapping[str, Sequence[str]]) -> list[Fold]:
    """A fold for each value of a label group or of a metadata column: leave-one-domain-out.

    A sample in which a group of the held-out samples shows is not trained on then, whatever its own value.

    Args:
        dataset: its samples in ``train`` and ``val``.
        by: ``metadata.COLUMN``, or the name of a label group.
        label_groups: labels by group.

    Raises:
        TrainError: no such column or group, a sample without a value, fewer than two values, or a fold without a
            sample to train on or to judge.
    """
    pool = _pool(dataset)
    values = pl.Series(sample_values(pool, by, label_groups))
    found = sorted(set(values))
    if len(found) < 2:
        raise TrainError(f"{by} is {found[0]} in all samples of {dataset.folder}; expected two values or more")
    return [_fold_of_value(pool, number, by, value, values == value) for number, value in enumerate(found)]


def _pool(dataset: Dataset) -> Dataset:
    return dataset.where(pl.col("split").is_in(["train", "val"]))


def sample_values(dataset: Dataset, by: str, label_groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The value of each sample in a metadata column or in a label group; see `folds_by`."""
    column = by.removeprefix("metadata.")
    values = _metadata_values(dataset, column) if column != by else _label_values(dataset, by, label_groups.get(by, ()))
    missing = [name for name, value in zip(dataset.index["name"], values, strict=True) if value is None]
    if missing:
        raise TrainError(
            f"{plural(len(missing), 'sample')} of {dataset.folder}, such as {missing[0]}, have no value of {by}, or "
            "several; expected one. Correct them, or leave them out by a step where"
        )
    return [str(value) for value in values]


def _metadata_values(dataset: Dataset, column: str) -> list[str | None]:
    index = dataset.index
    fields = [field.name for field in index.schema["metadata"].fields] if "metadata" in index.columns else []  # type: ignore[attr-defined]
    if column not in fields:
        raise TrainError(f"{dataset.folder} has no metadata column '{column}'.{nearest(column, fields)}")
    return index["metadata"].struct.field(column).to_list()


def _label_values(dataset: Dataset, by: str, labels: Sequence[str]) -> list[str | None]:
    if not labels:
        raise TrainError(
            f"'{by}' is no group of labels; expected one of label_groups in the configuration, or metadata.COLUMN"
        )
    unknown = [label for label in labels if label not in dataset.labels]
    if unknown:
        raise TrainError(
            f"label_groups.{by}: the dataset has no label '{unknown[0]}'.{nearest(unknown[0], dataset.labels)}"
        )
    columns = [dataset.labels.index(label) for label in labels]
    rows = [[] if row is None else [(row[c] or 0) >= 0.5 for c in columns] for row in dataset.index["label"].to_list()]
    return [labels[row.index(True)] if sum(row) == 1 else None for row in rows]


def _fold_of_value(pool: Dataset, number: int, by: str, value: str, held: pl.Series) -> Fold:
    held_samples = pool.take(held.arg_true().to_numpy())
    groups = frozenset(held_samples.groups)
    shares = pl.col("groups").list.set_intersection(sorted(groups)).list.len() > 0
    by_name = held_samples.take(held_samples.index["name"].arg_sort().to_numpy())
    train = pool.take((~held).arg_true().to_numpy()).where(~shares, ~_TAGGED)
    fold = Fold(number, groups, train, by_name.where(_SINGLE_ROOT), value)
    if not len(fold.train) or not len(fold.held_out):
        lacking = "train on: every other one shows a group that is held out" if not len(fold.train) else "judge"
        raise TrainError(
            f"with {by} {value} held out, {pool.folder} has no sample to {lacking}. Hold out by another column"
        )
    return fold


def fold_by_group(groups: Iterable[str], folds: int, seed: int = 0) -> dict[str, int]:
    """The fold of each group: in turn, in hash order, so that folds are equally large; a new group may move others."""
    ordered = sorted(set(groups), key=lambda group: unit_hash("split", seed, group))
    if folds < 2 or len(ordered) < folds:
        raise TrainError(f"{folds} folds of {plural(len(ordered), 'group')}; expected at least 2, and a group for each")
    return {group: index % folds for index, group in enumerate(ordered)}


def _fold(pool: Dataset, number: int, groups: frozenset[str]) -> Fold:
    held_groups = pl.col("groups").list.set_intersection(sorted(groups)).list.len()
    all_held = held_groups == pl.col("groups").list.n_unique()
    # Sorted, because predictions come in the order of these samples, and their tables are sorted by name.
    by_name = pool.take(pool.index["name"].arg_sort().to_numpy())
    return Fold(
        number, groups, pool.where(held_groups == 0, ~_TAGGED), by_name.where(held_groups > 0, all_held, _SINGLE_ROOT)
    )


def without_group(config: TrainConfig, by: str | None) -> TrainConfig:
    """A configuration without the label group that is held out by, of which no model could learn all labels."""
    if by not in config.label_groups:
        return config
    others = {name: labels for name, labels in config.label_groups.items() if name != by}
    if not others:
        raise TrainError(f"label_groups has no group but {by}, which is held out by; expected another one to learn")
    task = config.task
    kept = {name: kind for name, kind in task.items() if name != by} if isinstance(task, dict) else task
    return config.model_copy(update={"label_groups": others, "task": kept})


def mean_and_sd(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation over folds, of those in which a figure is defined: neither None nor NaN."""
    given = np.array([np.nan if value is None else value for value in values], float)
    known = given[np.isfinite(given)]
    sd = float(known.std(ddof=1)) if len(known) > 1 else None
    return (float(known.mean()) if len(known) else None), sd


def warnings_of(folds: Sequence[Fold]) -> Iterator[str]:
    """Warnings of samples that are not trained on, although they have other values than those held out."""
    for fold in folds:
        others = sum(len(each.held_out) for each in folds if each is not fold)
        if len(fold.train) < others:
            yield (
                f"with {fold.value} held out, {others - len(fold.train)} samples of other values are not trained on: "
                "a group of theirs is held out, or a filter tagged them"
            )
