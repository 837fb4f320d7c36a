"""How likely an image's labels are right, by a model that never saw them; and files that a recipe can use it from.

The score is that of cleanlab (V. Lad and J. Mueller, "Estimating label quality and errors in semantic segmentation data
via any model", arXiv:2307.05080, 2023): a pixel's score is the probability that the model gives to its label, and an
image's is the soft minimum over its pixels, so that one badly labelled region is not lost among many good pixels. There
a pixel has one class; here classes overlap, so each class is scored by itself, as absent or present, and the soft
minimum over the pixels of each class is followed by one over the classes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from augforge.errors import TrainError
from augforge.files import write_text
from augforge.yamlfile import dump_yaml

TEMPERATURE = 0.1
"""Of the soft minimum, as in the paper: towards 0 it becomes the minimum, towards infinity the mean."""

TABLE = {
    "name": pl.String,
    "quality": pl.Float64,
    "dice": pl.Float64,
    "worst_class": pl.String,
    "worst_quality": pl.Float64,
    "worst_dice": pl.Float64,
}
"""Columns of the table of label quality, with one row per source image; a recipe joins it by the first one."""


def softmin(scores: NDArray[np.floating], temperature: float = TEMPERATURE) -> float:
    """A mean of scores from 0 to 1 that weights low scores more; NaN if there are none."""
    if not scores.size:
        return float("nan")
    exact = scores.astype(np.float64)
    weights = np.exp((exact.min() - exact) / temperature)
    return float((exact * weights).sum() / weights.sum())


def class_quality(
    probability: NDArray[np.float32], mask: NDArray[np.uint8], ignore: NDArray[np.bool_] | None = None
) -> float:
    """Label quality of one class in one image, 0 to 1.

    Args:
        probability: (H, W), of the class by a model that was not trained on the image.
        mask: 0 and 1 (H, W), the label.
        ignore: bool (H, W), pixels that do not count; None if all do.
    """
    of_label = np.where(mask, probability, 1 - probability)
    return softmin(of_label if ignore is None else of_label[~ignore])


def source_table(samples: pl.DataFrame) -> pl.DataFrame:
    """One row per source image, which a recipe's ``metadata`` can join by name, from one row per sample and class.

    Values are means over the source image's `least_derived` samples; worst is the class of the lowest quality.

    Args:
        samples: columns source, name, class, quality, dice; null where the class is not known.
    """
    by_class = (
        least_derived(samples).group_by("source", "class", maintain_order=True).agg(pl.col("quality", "dice").mean())
    )
    known = by_class.filter(pl.col("quality").is_not_null())
    worst = known.sort("quality", "class").group_by("source", maintain_order=True).first()
    whole = known.group_by("source", maintain_order=True).agg(
        pl.col("quality").map_batches(lambda s: softmin(s.to_numpy()), returns_scalar=True, return_dtype=pl.Float64),
        pl.col("dice").mean(),
    )
    joined = whole.join(
        worst.select("source", pl.col("class").alias("worst_class"), pl.col("quality", "dice").name.prefix("worst_")),
        on="source",
    )
    return joined.rename({"source": "name"}).select(*TABLE).cast(TABLE).sort("quality", "name")  # type: ignore[arg-type]


def least_derived(samples: pl.DataFrame) -> pl.DataFrame:
    """Of each source image, the samples that the fewest steps have renamed.

    They are the image itself or all its windows, if the dataset has these, and not their rotated and mirrored copies.
    """
    steps = pl.col("name").str.count_matches("~", literal=True)
    return samples.filter(steps == steps.min().over("source"))


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write the table as CSV, the worst first, for people and for a recipe's ``source.metadata``."""
    write_text(path, table.write_csv(float_precision=6))


def propose_drops(
    table: pl.DataFrame, path: Path, worst: int, why: Callable[[dict[str, object]], str] | None = None
) -> list[str]:
    """Write the source images of the lowest label quality as a review file that drops them.

    It is a proposal: a person looks at the images, removes those whose labels are right, and names the file as the
    recipe's ``review``.

    Args:
        table: with the columns ``name`` and ``quality``.
        path: of the file.
        worst: number of source images.
        why: the reason of a row; by default that of masks.

    Returns:
        their names, the worst first.

    Raises:
        TrainError: fewer images than asked for.
    """
    if worst > table.height:
        raise TrainError(f"{worst} images to propose, but only {table.height} were judged. Ask for fewer")
    rows = table.sort("quality", "name").head(worst).rows(named=True)
    verdicts = {row["name"]: {"verdict": "drop", "why": (why or _why)(row)} for row in rows}
    write_text(path, dump_yaml({"samples": verdicts}))
    return list(verdicts)


def _why(row: dict[str, object]) -> str:
    return (
        f"label quality {row['quality']:.3f}, out-of-fold Dice {row['dice']:.3f}; worst {row['worst_class']}, Dice "
        f"{row['worst_dice']:.3f}"
    )
