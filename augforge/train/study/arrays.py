"""The figures that datasets are compared by, from rows of scores: of masks Dice, of labels balanced accuracy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import polars as pl

from augforge.sample import IGNORE
from augforge.train.labels.compare import balanced_accuracies, resample_balanced
from augforge.train.study.bootstrap import Values, mean_scores, resample_means
from augforge.train.study.common import CommonSet


def judged_classes(scores: pl.DataFrame, common: CommonSet, figure: str, regions: Collection[str]) -> list[str]:
    """The classes, or the labels, that the models predict: not those that only weigh pixels (`regions`)."""
    if figure == "dice":
        return [name for name in common.compared[0].dataset.classes if name != IGNORE and name not in regions]
    return scores["class"].unique(maintain_order=True).to_list()


def _mask_figures(
    scores: pl.DataFrame, common: CommonSet, seeds: Sequence[int], classes: Sequence[str], rng: np.random.Generator
) -> tuple[Values, Values]:
    """Dice by dataset and class, (D, C), and in each draw of the bootstrap, (B, D, C)."""
    dices = _array(scores, "dice", common, seeds, classes)
    return mean_scores(dices), resample_means(dices, common.groups, rng)


def _label_figures(
    scores: pl.DataFrame, common: CommonSet, seeds: Sequence[int], classes: Sequence[str], rng: np.random.Generator
) -> tuple[Values, Values]:
    """Balanced accuracy by dataset and label, (D, L), and in each draw of the bootstrap, (B, D, L)."""
    given, others = (_array(scores, column, common, seeds, classes) for column in ("on_given", "on_others"))
    return balanced_accuracies(given, others), resample_balanced(given, others, common.groups, rng)


FIGURES = {"dice": _mask_figures, "balanced_accuracy": _label_figures}
"""By the key of a figure, what computes it."""


def _array(
    scores: pl.DataFrame, column: str, common: CommonSet, seeds: Sequence[int], classes: Sequence[str]
) -> Values:
    """A column of the rows as an array by dataset, seed, image and class: (D, S, I, C)."""
    labels = [each.label for each in common.compared]
    axes: dict[str, Sequence[Any]] = {"dataset": labels, "seed": seeds, "name": common.names, "class": classes}
    values = np.full([len(axis) for axis in axes.values()], np.nan)
    indices = [
        scores[column].replace_strict({value: index for index, value in enumerate(axis)}, return_dtype=pl.Int64)
        for column, axis in axes.items()
    ]
    values[tuple(index.to_numpy() for index in indices)] = scores[column].to_numpy()
    return values
