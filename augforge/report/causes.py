"""Why samples of one version are not in another: through which source file, which step, or which parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from augforge.engine.changes import RecipeSteps, changed_options, changed_steps
from augforge.report.provenance import Provenance

CAUSE = {"id": pl.String, "kind": pl.String, "what": pl.String, "detail": pl.String}
"""Columns of a table of causes: a sample, ``source``, ``step``, ``partners`` and so on, which one, and in what way."""


@dataclass(frozen=True)
class Comparison:
    """Two versions, seen from one of them.

    Attributes:
        this: the version whose samples are explained.
        other: the version that lacks them.
        forward: whether `this` is the later one, so that texts go from `other` to `this`.
    """

    this: Provenance
    other: Provenance
    forward: bool = True

    @property
    def present(self) -> str:
        """What to say of something that stands in `this` alone."""
        return "is new" if self.forward else "is gone"

    @property
    def absent(self) -> str:
        """What to say of something that stands in `other` alone."""
        return "is gone" if self.forward else "is new"

    @cached_property
    def steps(self) -> RecipeSteps:
        """What decides the samples of `this`."""
        return _read_steps(self.this)

    @cached_property
    def other_steps(self) -> RecipeSteps:
        """What decides the samples of `other`."""
        return _read_steps(self.other)


def _read_steps(provenance: Provenance) -> RecipeSteps:
    dataset = provenance.dataset
    return RecipeSteps.of_version(dataset.folder, dataset.manifest, lambda: _random_steps(provenance))


def _random_steps(provenance: Provenance) -> set[str]:
    """Labels of the steps in which chance decides: they drew something, or they have partners."""
    several = provenance.edges.group_by("id").len().filter(pl.col("len") > 1).select("id")
    steps = provenance.own_steps
    drew = steps.filter(pl.col("drawn").is_not_null())["step"]
    heads = steps.join(several, on="id", how="semi").unique("id", keep="first", maintain_order=True)["step"]
    return {*drew, *heads}


def find_causes(pair: Comparison) -> pl.DataFrame:
    """Why each sample of any table of `this` that `other` lacks is different, in the columns of `CAUSE`.

    A sample may have several causes: its own step, and those of its parents. One that has none of the known causes is
    left out.
    """
    this, changes = pair.this, changed_steps(pair.steps, pair.other_steps, pair.forward)
    new = this.made.join(pair.other.made.select("id"), on="id", how="anti")
    steps = pl.concat([_step_causes(new, this, changes), _missing_causes(new, pair)])
    # Another seed or weight draws other partners: then the step says all.
    partners = _partner_causes(new.join(steps.select("id"), on="id", how="anti"), pair.other)
    own = [_source_causes(new, pair), steps, partners, _rejections(pair)]
    found = pl.concat([part.select(pl.col(name).cast(kind) for name, kind in CAUSE.items()) for part in own])
    # From table to table: what changed a parent changed what was made of it.
    for stage in sorted(new["stage"].unique()):
        made = new.filter(pl.col("stage") == stage).select("id")
        edges = this.edges.join(made, on="id", how="semi").select("id", "parent")
        inherited = edges.join(found.rename({"id": "parent"}), on="parent", how="inner")
        found = pl.concat([found, inherited.select(*CAUSE)]).unique(maintain_order=True)
    return found


def _rejections(pair: Comparison) -> pl.DataFrame:
    """Samples of any table that the other version rejected, and of which it therefore made nothing."""
    rejected = pair.other.rejected.filter(pl.col("step") != "source").unique("name", keep="first", maintain_order=True)
    found = pair.this.made.select("id", "name").join(rejected.select("name", "step", "reason"), on="name", how="inner")
    return found.select(*_cause("rejected", pl.col("step"), pl.col("reason")))


def _cause(kind: str, what: pl.Expr, detail: pl.Expr | str) -> list[pl.Expr]:
    text = pl.lit(detail) if isinstance(detail, str) else detail
    return [pl.col("id"), pl.lit(kind).alias("kind"), what.alias("what"), text.alias("detail")]


def _source_causes(new: pl.DataFrame, pair: Comparison) -> pl.DataFrame:
    """Source samples that the other version lacks, or whose files or options changed."""
    source, known = new.filter(pl.col("stage") == 0), pair.other.made.filter(pl.col("stage") == 0).select("name")
    # What a review dropped there was listed there too: the review is the cause, as `_rejections` says.
    listed = pl.concat([known, pair.other.rejected.filter(pl.col("step") == "review").select("name")])
    added = source.join(listed, on="name", how="anti").select(*_cause("source", pl.col("name"), pair.present))
    changed = source.join(known, on="name", how="semi")
    earlier, later = (pair.other_steps, pair.steps) if pair.forward else (pair.steps, pair.other_steps)
    options = changed_options(earlier, later)
    if options:
        return pl.concat([added, changed.select(*_cause("options", pl.lit("source"), options))])
    return pl.concat([added, changed.select(*_cause("source", pl.col("name"), "image or annotation changed"))])


def _step_causes(new: pl.DataFrame, this: Provenance, changes: Mapping[str, str]) -> pl.DataFrame:
    """Samples whose own steps are not those of the other recipe."""
    table = pl.DataFrame(
        {"step": list(changes), "detail": list(changes.values())}, schema={"step": pl.String, "detail": pl.String}
    )
    steps = this.own_steps.join(new.select("id"), on="id", how="semi").join(table, on="step", how="inner")
    return steps.select(*_cause("step", pl.col("step"), pl.col("detail")))


def _last_of_each_name(provenance: Provenance) -> pl.DataFrame:
    """The last sample of each name: ops that prepare keep the name."""
    return provenance.made.unique("name", keep="last", maintain_order=True)


def _missing_causes(new: pl.DataFrame, pair: Comparison) -> pl.DataFrame:
    """Samples that the other version made by a step that this recipe lacks."""
    last = _last_of_each_name(pair.other)
    labels = last.select("name", step=pl.col("steps").list.eval(pl.element().struct.field("step")))
    theirs = new.select("id", "name").join(labels.explode("step").drop_nulls("step"), on="name", how="inner")
    missing = theirs.filter(~pl.col("step").is_in(list(pair.steps.steps)))
    return missing.unique(maintain_order=True).select(*_cause("step", pl.col("step"), pair.absent))


def _partner_causes(new: pl.DataFrame, other: Provenance) -> pl.DataFrame:
    """Samples of several inputs of which the other version had others."""
    last = _last_of_each_name(other)
    partners = new.filter(pl.col("parents").list.len() > 1).join(
        last.select("name", before="parents"), on="name", how="inner"
    )
    other_partners = partners.filter(pl.col("parents") != pl.col("before"))
    first = pl.col("own").list.first().struct.field("step")
    return other_partners.select(*_cause("partners", first, "other partners were drawn"))
