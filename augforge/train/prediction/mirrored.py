"""Mirrored samples whose left and right classes were exchanged: they cannot be turned back to their source."""

from __future__ import annotations

from augforge.lineage import Root
from augforge.store.dataset import Dataset
from augforge.train.built import built_recipe


def exchanges_classes(dataset: Dataset) -> bool:
    """Whether a step of the dataset's recipe exchanges classes where it mirrors."""
    return any(step.get("swap") for step in built_recipe(dataset).data.get("steps") or ())


def is_mirrored(root: Root) -> bool:
    """Whether a sample shows its source image mirrored."""
    (a, b, _), (d, e, _) = root.matrix
    return a * e - b * d < 0
