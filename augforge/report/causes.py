"""Why samples of one version are not in another: through which source file, which step, or which parent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from augforge.errors import shorten
from augforge.report.provenance import Provenance
from augforge.store.log import built_recipe

CAUSE = {"id": pl.String, "kind": pl.String, "what": pl.String, "detail": pl.String}
"""Columns of a table of causes: a sample, ``source``, ``step``, ``partners`` and so on, which one, and in what way."""


@dataclass(frozen=True, slots=True)
class RecipeSteps:
    """The steps of a version's recipe by their labels, in order, and what else decides the samples.

    Attributes:
        steps: keys of each step as the recipe gives them.
        seed: of the augmentations.
        source: the source's options without the path.
    """

    steps: dict[str, dict[str, Any]]
    seed: Any
    source: dict[str, Any]


def read_steps(provenance: Provenance) -> RecipeSteps:
    """The steps of a version, as its recipe and the overrides of its last build give them."""
    dataset = provenance.dataset
    data = built_recipe(dataset.folder, dataset.manifest).data
    output = data.get("output") or {}
    given = [step for step in data.get("steps") or () if isinstance(step, dict)]
    if output.get("size") is not None:
        resize = {key: output[key] for key in ("size", "fit") if key in output}
        given.append({"op": "resize", **resize})
    seen: Counter[str] = Counter()
    steps = {}
    for step in given:
        name = str(step.get("op"))
        seen[name] += 1
        steps[name if seen[name] == 1 else f"{name}.{seen[name]}"] = step
    return RecipeSteps(steps, data.get("seed", 0), _without_paths(data.get("source") or {}))


def _without_paths(source: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in source.items() if key != "path"}
    if isinstance(plain.get("sources"), list):
        plain["sources"] = [_without_paths(each) for each in plain["sources"] if isinstance(each, dict)]
    return plain


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

    def in_order(self, mine: Any, theirs: Any) -> tuple[Any, Any]:
        """What is of `this` and what is of `other`, the earlier version's first."""
        return (theirs, mine) if self.forward else (mine, theirs)


def step_changes(pair: Comparison) -> dict[str, str]:
    """By label, what is different about a step of `this` compared with `other`; steps that are alike are left out."""
    mine, theirs = read_steps(pair.this), read_steps(pair.other)
    random_steps = _random_steps(pair.this) if mine.seed != theirs.seed else set()
    found: dict[str, list[str]] = {label: [] for label in mine.steps}
    for label, step in mine.steps.items():
        counterpart = theirs.steps.get(label)
        if counterpart is None:
            found[label].append(pair.present)
            continue
        found[label] += _changed_keys(*pair.in_order(step, counterpart))
        found[label] += _changed_manifest_entries(pair, label, str(step.get("op")))
        if mine.seed != theirs.seed and (label in random_steps or step.get("p", 1) != 1):
            found[label].append("seed: {} -> {}".format(*pair.in_order(mine.seed, theirs.seed)))
    for label in _moved(list(theirs.steps), list(mine.steps)):
        found[label].append("moved to another place")
    return {label: "; ".join(texts) for label, texts in found.items() if texts}


def _changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            old, new = (shorten(step[key]) if key in step else "default" for step in (before, after))
            yield f"{key}: {old} -> {new}"


def _changed_manifest_entries(pair: Comparison, label: str, op: str) -> Iterator[str]:
    before, after = pair.in_order(pair.this.dataset.manifest, pair.other.dataset.manifest)
    if before.ops.get(op) != after.ops.get(op):
        yield f"op version {before.ops.get(op)} -> {after.ops.get(op)}"
    if before.plugins.get(op) != after.plugins.get(op):
        yield "the op's plugin changed"
    if before.fitted.get(label) != after.fitted.get(label):
        yield f"fitted value {shorten(before.fitted.get(label))} -> {shorten(after.fitted.get(label))}"


def _moved(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Labels that stand in both lists, but in another order."""
    common = [label for label in after if label in before]
    old = [label for label in before if label in after]
    return [label for label, was in zip(common, old, strict=True) if label != was]


def _random_steps(provenance: Provenance) -> set[str]:
    """Labels of the steps in which chance decides: they drew something, or they have partners."""
    several = provenance.edges.group_by("id").len().filter(pl.col("len") > 1).select("id")
    steps = provenance.own_steps
    drew = steps.filter(pl.col("drawn").is_not_null())["step"]
    heads = steps.join(several, on="id", how="semi").unique("id", keep="first", maintain_order=True)["step"]
    return {*drew, *heads}


def find_causes(pair: Comparison, changes: Mapping[str, str]) -> pl.DataFrame:
    """Why each sample of any table of `this` that `other` lacks is different, in the columns of `CAUSE`.

    A sample may have several causes: its own step, and those of its parents. One that has none of the known causes is
    left out.

    Args:
        pair: the versions.
        changes: what is different about the steps of `this`; see `step_changes`.
    """
    this = pair.this
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
    added = source.join(known, on="name", how="anti").select(*_cause("source", pl.col("name"), pair.present))
    changed = source.join(known, on="name", how="semi")
    options = _changed_options(pair)
    if options:
        return pl.concat([added, changed.select(*_cause("options", pl.lit("source"), options))])
    return pl.concat([added, changed.select(*_cause("source", pl.col("name"), "image or annotation changed"))])


def _changed_options(pair: Comparison) -> str:
    """What changes every source sample: class table, labels, and the options of the source."""
    before, after = pair.in_order(pair.this, pair.other)
    old, new = before.dataset.manifest, after.dataset.manifest
    texts = [f"{name} changed" for name in ("classes", "labels") if getattr(old, name) != getattr(new, name)]
    return "; ".join([*texts, *_changed_keys(read_steps(before).source, read_steps(after).source)])


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
    missing = theirs.filter(~pl.col("step").is_in(list(read_steps(pair.this).steps)))
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
