"""Groups (persons) and sides: how evenly they are spread, who differs from others, and what leaks between splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from augforge.report.tables import split_order
from augforge.store.dataset import Dataset
from augforge.store.sides import complete_sides

_MOST = 40
"""Groups that a table names."""


def group_facts(index: pl.DataFrame, sides: pl.DataFrame) -> dict[str, Any]:
    """How the groups of an index are spread; `sides` are those of `class_sides`.

    Returns:
        JSON-like. ``count`` and ``per_split`` count groups; ``samples`` are the numbers of samples of each;
        ``largest`` names those with the most samples; ``leaks`` are groups whose images show in several splits, and
        ``twins`` pixels that do; ``unusual`` are the groups whose classes differ most in size from everybody's median.
    """
    sizes = index.group_by("group").agg(pl.len().alias("samples"), pl.col("split").unique().sort())
    largest = sizes.sort("samples", "group", descending=[True, False])
    return {
        "count": len(sizes),
        "per_split": split_order(dict(index.group_by("split").agg(pl.col("group").n_unique()).rows())),
        "samples": sorted(sizes["samples"].to_list()),
        "largest": largest.head(_MOST).to_dicts(),
        "leaks": _leaks(index),
        "twins": _twins(index),
        "unusual": _unusual(sides),
    }


def _leaks(index: pl.DataFrame) -> list[dict[str, Any]]:
    """Groups whose images show in samples of several splits, those in mosaics too."""
    several = (
        index.select("split", pl.col("groups").fill_null(pl.concat_list("group")))
        .explode("groups")
        .drop_nulls()
        .group_by(group="groups")
        .agg(pl.col("split").unique().sort(), pl.len().alias("samples"))
    )
    return several.filter(pl.col("split").list.len() > 1).sort("group").to_dicts()


def _twins(index: pl.DataFrame) -> list[dict[str, Any]]:
    """Samples with the same pixels in several splits."""
    known = index.filter(pl.col("pixel_digest").is_not_null())
    same = known.group_by("pixel_digest").agg(pl.col("split").unique().sort(), pl.col("name").sort())
    return same.filter(pl.col("split").list.len() > 1).sort("pixel_digest").select("split", names="name").to_dicts()


def class_sides(dataset: Dataset) -> pl.DataFrame:
    """For each sample and class that it shows: ``name``, ``group``, ``class``, and ``side`` as in `class_facts`."""
    index = dataset.index
    return pl.concat(
        index.select("name", "group", pl.lit(name).alias("class"), _side(name).alias("side")).drop_nulls()
        for name in dataset.classes
    )


def _side(name: str) -> pl.Expr:
    area = pl.col("area").struct.field(name)
    share = area / (pl.col("width").cast(pl.Float64) * pl.col("height"))
    return pl.when(area > 0).then(100 * share.sqrt())


def _unusual(sides: pl.DataFrame) -> list[dict[str, Any]]:
    """For each group the class whose mean size is farthest from the median group's, as a factor; the farthest first."""
    means = sides.group_by("group", "class").agg(pl.col("side").mean())
    factors = means.with_columns(
        factor=pl.col("side") / pl.col("side").median().over("class"), groups=pl.len().over("class")
    ).filter(pl.col("groups") > 2)
    far = factors.with_columns(distance=pl.col("factor").log().abs())
    first = far.sort("distance", "group", "class", descending=[True, False, False]).unique("group", keep="first")
    shown = first.sort("distance", "group", descending=[True, False]).head(_MOST)
    return shown.select("group", "class", "side", "factor").to_dicts()


def side_facts(dataset: Dataset, sides: pl.DataFrame) -> list[dict[str, Any]]:
    """One dict for each pair of left and right classes: in how many samples they show, and how large they are."""
    sizes = sides.group_by("class").agg(pl.len().alias("samples"), pl.col("side").median())
    by_class: Mapping[str, Any] = {row["class"]: row for row in sizes.iter_rows(named=True)}
    nothing = {"samples": 0, "side": None}
    pairs = [pair for pair in complete_sides(dataset.manifest).pairs if {*pair} <= {*dataset.classes}]
    return [
        {
            "left": left,
            "right": right,
            "left_samples": by_class.get(left, nothing)["samples"],
            "right_samples": by_class.get(right, nothing)["samples"],
            "left_side": by_class.get(left, nothing)["side"],
            "right_side": by_class.get(right, nothing)["side"],
        }
        for left, right in pairs
    ]
