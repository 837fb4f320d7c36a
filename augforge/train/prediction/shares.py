"""Shares of the tables of an ensemble, which sum to 1: of all classes or labels, and of single ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from augforge.errors import TrainError, nearest


def normalise_weights(weights: Sequence[float] | None, tables: int) -> list[float]:
    """The weights scaled to sum to 1."""
    given = np.ones(tables) if weights is None else np.array(weights, np.float64)
    if len(given) != tables or not (np.isfinite(given).all() and (given > 0).all()):
        listed = ", ".join(f"{weight:g}" for weight in given)
        raise TrainError(f"weights are {listed}; expected a number above 0 for each of the {tables} tables")
    return [float(share) for share in given / given.sum()]


def shares_by_class(
    classes: Sequence[str], shares: Sequence[float], class_weights: Mapping[str, Sequence[float]]
) -> dict[str, Sequence[float]]:
    """The share of each table for each class, or label.

    Args:
        classes: all there are.
        shares: of the tables, for classes that no weights are given for.
        class_weights: of the tables, for a class by its name.

    Raises:
        TrainError: a class that the tables do not hold, or weights that do not fit.
    """
    by_class: dict[str, Sequence[float]] = dict.fromkeys(classes, shares)
    for name, given in class_weights.items():
        if name not in by_class:
            raise TrainError(f"class weights name '{name}', which the tables do not hold.{nearest(name, classes)}")
        weights = np.array(given, np.float64)
        if len(weights) != len(shares) or not np.isfinite(weights).all() or weights.min() < 0 or not weights.sum():
            listed = ", ".join(f"{weight:g}" for weight in given)
            raise TrainError(
                f"class weights of {name} are {listed}; expected a number for each of the {len(shares)} tables, 0 or "
                "more, and not all 0"
            )
        by_class[name] = [float(share) for share in weights / weights.sum()]
    return by_class
