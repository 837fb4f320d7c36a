"""What every sample of a version was made of, from its index and its table of samples between stages; no pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from augforge.store.dataset import Dataset
from augforge.store.tables import read_rejected, read_stages

_COLUMNS = ("id", "name", "group", "split", "parents", "lineage")


@dataclass(frozen=True)
class Provenance:
    """The samples of a version and all samples between its stages.

    Table t holds the samples before stage t; the finished ones are the last table. A sample stands in several tables
    if stages pass it on, with one id; it was made by the stage before the first of them.
    """

    dataset: Dataset

    @cached_property
    def tables(self) -> pl.DataFrame:
        """Every sample of every table, with the number of the table as ``stage``."""
        stages = read_stages(self.dataset)
        final = pl.lit(self.final_table(stages), pl.Int32).alias("stage")
        index = self.dataset.index.select(final, *_COLUMNS)
        return pl.concat([stages.select("stage", *_COLUMNS).cast(index.schema), index])

    @staticmethod
    def final_table(stages: pl.DataFrame) -> int:
        """The number of the table of finished samples."""
        last = stages["stage"].max()
        return int(last) + 1 if isinstance(last, int) else 1

    @cached_property
    def rejected(self) -> pl.DataFrame:
        """The rejected samples."""
        return read_rejected(self.dataset)

    @cached_property
    def made(self) -> pl.DataFrame:
        """Each sample once, in the table in which it first stands.

        ``own`` has the steps of the stage that made it: its lineage without the part that its one parent has already.
        """
        first = self.tables.sort("stage").unique("id", keep="first", maintain_order=True)
        first = first.with_columns(steps=pl.col("lineage").struct.field("steps"))
        lengths = self._edges_of(first).join(
            first.select(parent="id", before=pl.col("steps").list.len()), on="parent", how="left"
        )
        before = lengths.group_by("id").agg(pl.col("before").first(), pl.len().alias("count"))
        # An op of several inputs starts the list of steps anew, so that all of them are its own.
        offset = pl.when(pl.col("count") == 1).then("before").otherwise(0).fill_null(0)
        own = pl.col("steps").list.slice(offset, pl.col("steps").list.len()).alias("own")
        return first.join(before, on="id", how="left", maintain_order="left").select(*first.columns, own)

    @cached_property
    def edges(self) -> pl.DataFrame:
        """``id`` of each made sample and of each of its ``parent`` samples."""
        return self._edges_of(self.made)

    def _edges_of(self, made: pl.DataFrame) -> pl.DataFrame:
        parents = made.select("id", stage=pl.col("stage") - 1, name="parents").explode("name").drop_nulls("name")
        ids = self.tables.select("stage", "name", parent="id")
        return parents.join(ids, on=["stage", "name"], how="left", maintain_order="left").select("id", "parent", "name")

    @cached_property
    def own_steps(self) -> pl.DataFrame:
        """``id``, ``step``, ``op`` and whether it ``drawn``, one row for each step of the stage that made a sample."""
        steps = self.made.select("id", "stage", "own").explode("own").drop_nulls("own")
        return steps.select("id", "stage", *(pl.col("own").struct.field(name) for name in ("step", "op", "drawn")))
