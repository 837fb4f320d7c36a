"""What differs between two versions or datasets, from indexes, tables and manifests; no pixel is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from functools import cached_property
from typing import Any

import polars as pl

from augforge.recipe.recipe import parse_review
from augforge.report.causes import CAUSE, Comparison, find_causes
from augforge.report.inspect import class_counts
from augforge.report.provenance import Provenance
from augforge.report.tables import plural
from augforge.store.dataset import Dataset
from augforge.store.log import recorded_overrides

_EXAMPLES = 3
_KINDS = ("added", "removed", "changed")
_UNKNOWN = "none of the recorded reasons: metadata that a step reads, or which copies were drawn"


@dataclass(frozen=True, slots=True)
class _Samples:
    """Rows of the samples that only one version has, or that both have with other content."""

    added: pl.DataFrame
    removed: pl.DataFrame
    changed: pl.DataFrame
    moved: pl.DataFrame


def compare_versions(a: Dataset, b: Dataset) -> dict[str, Any]:
    """What differs between two datasets, or two versions of one, as one goes from `a` to `b`.

    Returns:
        JSON-like. ``sentence`` says it for people, ``equal`` whether nothing is listed; ``samples`` has the names, with
        the causes of each; ``causes`` counts samples by cause. Wherever two values are compared, they are ``a`` and
        ``b``.

    Raises:
        DatasetError: a table of a version is missing or damaged.
    """
    old, new = Provenance(a), Provenance(b)
    samples = _compare_samples(a.index, b.index)
    causes = _causes(old, new, samples)
    report: dict[str, Any] = {
        "sentence": "",
        "equal": False,
        "a": _identity(a),
        "b": _identity(b),
        "samples": {
            "a": len(a),
            "b": len(b),
            **{kind: _list_samples(getattr(samples, kind), causes[kind]) for kind in _KINDS},
            "moved": samples.moved.select("name", a="split_a", b="split").sort("name").to_dicts(),
        },
        "causes": [row for kind in _KINDS for row in _count_causes(kind, getattr(samples, kind), causes[kind])],
        "classes": _compare_classes(a, b),
        "splits": _pairs(a.manifest.splits, b.manifest.splits, "split"),
        "tags": _pairs(_tag_counts(a), _tag_counts(b), "tag"),
        "recipe": _compare_recipes(a, b),
        "review": _pairs(_verdicts(a), _verdicts(b), "sample", None),
        "rejected": _pairs(a.manifest.rejected, b.manifest.rejected, "reason"),
        "fitted": _pairs(a.manifest.fitted, b.manifest.fitted, "step", None),
        "ops": _pairs(a.manifest.ops, b.manifest.ops, "op", None),
        "libraries": _pairs(a.manifest.made_by, b.manifest.made_by, "library", None),
        "augforge": _pairs({"augforge": a.manifest.augforge}, {"augforge": b.manifest.augforge}, "name", None),
        "licences": _pairs(_licence_counts(a), _licence_counts(b), "licence"),
        "encoding": _pairs({"encoding": a.manifest.encoding}, {"encoding": b.manifest.encoding}, "name", None),
    }
    report["equal"] = a.version == b.version and not _differing(report)
    return {**report, "sentence": _sentence(report)}


def _identity(dataset: Dataset) -> dict[str, str]:
    place = dataset.remote.url if dataset.remote else str(dataset.folder)
    return {"place": place, "name": dataset.name, "version": dataset.version}


def _compare_samples(a: pl.DataFrame, b: pl.DataFrame) -> _Samples:
    columns = ["name", "id", "split", "pixel_digest"]
    old, new = a.select(columns), b.select(columns)
    both = new.join(old, on="name", how="inner", suffix="_a")
    differs = (pl.col("id") != pl.col("id_a")) | (pl.col("pixel_digest") != pl.col("pixel_digest_a"))
    return _Samples(
        added=new.join(old, on="name", how="anti"),
        removed=old.join(new, on="name", how="anti"),
        changed=both.filter(differs),
        moved=both.filter(pl.col("split") != pl.col("split_a")),
    )


def _causes(old: Provenance, new: Provenance, samples: _Samples) -> dict[str, pl.DataFrame]:
    """A table of causes for the added, removed and changed samples: ids are those of the rows."""
    forward, backward = (_OneWay(Comparison(*pair)) for pair in ((new, old, True), (old, new, False)))
    return {
        "added": forward.complete(samples.added),
        "removed": backward.complete(samples.removed),
        "changed": _complete_changed(samples.changed, forward, backward),
    }


@dataclass(frozen=True)
class _OneWay:
    """The causes of what one version has and the other lacks, found when they are first needed."""

    pair: Comparison

    @cached_property
    def causes(self) -> pl.DataFrame:
        return find_causes(self.pair)

    def of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The causes of the samples with these ids."""
        if not len(rows):
            return pl.DataFrame(schema=CAUSE)
        return self.causes.join(rows.select("id"), on="id", how="semi").select(*CAUSE)

    def complete(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The causes of samples of which the other version has none of that name; each gets one or more."""
        other, names = self.pair.other, rows.select("id", "name")
        rejected = names.join(other.rejected.filter(pl.col("step") != "source"), on="name", how="semi")
        found = self.of(rows)
        # Of what the other version rejected, this is the cause, and not how its pixels came about.
        is_rejection = pl.col("kind") == "rejected"
        by_filter = found.filter(is_rejection).join(rejected, on="id", how="semi")
        found = pl.concat([by_filter, found.join(by_filter, on="id", how="anti")])
        rest = names.join(found, on="id", how="anti")
        passed = rest.join(other.made, on="id", how="semi").join(self.pair.this.dataset.index, on="name", how="inner")
        passing = _with_cause(passed, "passing", pl.col("step"), "was made in both, but not passed on")
        unknown = _with_cause(rest.join(passed, on="id", how="anti"), "unknown", pl.lit(""), _UNKNOWN)
        return pl.concat([found, passing, unknown])


def _complete_changed(rows: pl.DataFrame, forward: _OneWay, backward: _OneWay) -> pl.DataFrame:
    """The causes of samples that both versions have, by the ids of the later one; each gets one or more."""
    same_id = rows.filter(pl.col("id") == pl.col("id_a"))
    kind, what, detail = _last_cause(forward.pair)
    found = pl.concat([forward.of(rows), _with_cause(same_id, kind, pl.lit(what), detail)])
    # If the earlier version did more with a sample, such as a resize, the later one has nothing new to explain.
    rest = rows.join(found, on="id", how="anti")
    earlier = backward.of(rest.select(id="id_a")).join(rest.select(id="id_a", new="id"), on="id", how="inner")
    found = pl.concat([found, earlier.select(pl.col("new").alias("id"), "kind", "what", "detail")])
    return pl.concat([found, _with_cause(rows.join(found, on="id", how="anti"), "unknown", pl.lit(""), _UNKNOWN)])


def _with_cause(rows: pl.DataFrame, kind: str, what: pl.Expr, detail: str) -> pl.DataFrame:
    """The same cause for all rows, in the columns of `CAUSE`."""
    return rows.select("id", kind=pl.lit(kind), what=what, detail=pl.lit(detail)).cast(pl.Schema(CAUSE))


def _last_cause(pair: Comparison) -> tuple[str, str, str]:
    """Why a sample of one id has other pixels: its encoding, or the libraries that made it."""
    new, old = pair.this.dataset.manifest, pair.other.dataset.manifest
    if new.encoding != old.encoding:
        return "encoding", "output", f"{old.encoding} -> {new.encoding}"
    changed = ", ".join(row["library"] for row in _pairs(old.made_by, new.made_by, "library", None))
    return "libraries", changed, "other versions of libraries made other pixels"


def _list_samples(rows: pl.DataFrame, causes: pl.DataFrame) -> list[dict[str, Any]]:
    grouped = causes.group_by("id", maintain_order=True).agg(causes=pl.struct("kind", "what", "detail"))
    found = rows.select("name", "split", "id").join(grouped, on="id", how="left").sort("name")
    return found.select("name", "split", "causes").to_dicts()


def _count_causes(change: str, rows: pl.DataFrame, causes: pl.DataFrame) -> list[dict[str, Any]]:
    """The causes of a kind of change with their numbers of samples, the most frequent first, and examples."""
    named = causes.join(rows.select("id", "name"), on="id", how="inner").sort("name")
    counted = named.group_by("kind", "what", "detail", maintain_order=True).agg(
        samples=pl.col("id").n_unique(), examples=pl.col("name").unique(maintain_order=True).head(_EXAMPLES)
    )
    ordered = counted.sort("samples", "kind", "what", descending=[True, False, False])
    return [{"change": change, **row} for row in ordered.to_dicts()]


def _compare_classes(a: Dataset, b: Dataset) -> list[dict[str, Any]]:
    """Classes whose numbers of samples or pixels differ, in the order of `b`, then those that are gone."""
    old, new = ({row["name"]: row for row in class_counts(each.index, each.classes)} for each in (a, b))
    found = []
    for name in dict.fromkeys([*new, *old]):
        before, after = old.get(name), new.get(name)
        entry: dict[str, Any] = {"name": name}
        for key in ("samples", "pixels", "known"):
            entry[key] = {"a": before[key] if before else None, "b": after[key] if after else None}
        if any(entry[key]["a"] != entry[key]["b"] for key in ("samples", "pixels", "known")):
            found.append(entry)
    return found


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any], key: str, missing: Any = 0) -> list[dict[str, Any]]:
    """Entries of two mappings that differ."""
    names = dict.fromkeys([*a, *b])
    rows = [{key: name, "a": a.get(name, missing), "b": b.get(name, missing)} for name in names]
    return [row for row in rows if row["a"] != row["b"]]


def _tag_counts(dataset: Dataset) -> dict[str, int]:
    tags = dataset.index.select(tag=pl.col("tags").explode()).drop_nulls()
    return dict(tags.group_by("tag").len().sort("tag").rows())


def _compare_recipes(a: Dataset, b: Dataset) -> dict[str, Any]:
    """The lines that differ, as a unified diff, and what ``--set`` changed in each."""
    before, after = (each.manifest.recipe.text.splitlines() for each in (a, b))
    lines = list(unified_diff(before, after, f"{a.name} {a.version}", f"{b.name} {b.version}", lineterm=""))
    overrides = [recorded_overrides(each.folder, each.manifest) for each in (a, b)]
    digests = [each.manifest.recipe.digest for each in (a, b)]
    return {
        "equal": digests[0] == digests[1] and overrides[0] == overrides[1],
        "diff": lines,
        "overrides": _pairs(overrides[0], overrides[1], "key", None),
    }


def _licence_counts(dataset: Dataset) -> dict[str, int]:
    return {entry.licence: entry.samples for entry in dataset.manifest.licences}


def _verdicts(dataset: Dataset) -> dict[str, str]:
    """A person's verdict, and why, by the name of the source sample."""
    entry = dataset.manifest.review
    if entry is None:
        return {}
    found = parse_review(entry.text, f"review of {dataset.folder}")
    return {name: ": ".join(filter(None, (each.verdict, each.why))) for name, each in found.items()}


def _differing(report: Mapping[str, Any]) -> list[str]:
    """The parts of a report that list a difference."""
    found = [part for part in ("splits", *_PARTS) if part != "recipe" and report[part]]
    found += [kind for kind in (*_KINDS, "moved") if report["samples"][kind]]
    return found + (["recipe"] if report["recipe"]["diff"] or not report["recipe"]["equal"] else [])


def _sentence(report: Mapping[str, Any]) -> str:
    """The difference in a sentence."""
    samples, differing = report["samples"], _differing(report)
    words = {"moved": "moved to another split"}
    counts = {kind: len(samples[kind]) for kind in (*_KINDS, "moved")}
    texts = [f"{count:,} {words.get(kind, kind)}" for kind, count in counts.items() if count]
    names = f"from {report['a']['version']} to {report['b']['version']}"
    others = [_PARTS[part] for part in differing if part in _PARTS]
    if texts:
        causes = _join([_cause_text(cause) for cause in _main_causes(report["causes"])])
        total = f"Of {plural(samples['b'], 'sample')}, {names}: {_join(texts)}"
        return f"{total}{', through ' + causes if causes else ''}."
    if report["equal"]:
        return f"Nothing differs: both hold version {report['b']['version']} with {plural(samples['b'], 'sample')}."
    alike = f"All {plural(samples['b'], 'sample')} are the same"
    return f"{alike}, but {_join(others)} differ{'s' if len(others) == 1 and others[0][-1] != 's' else ''}."


_PARTS = {
    "classes": "the classes",
    "tags": "the tags of samples",
    "review": "the reviews",
    "rejected": "the rejected samples",
    "fitted": "fitted values",
    "ops": "the versions of ops",
    "libraries": "the versions of libraries",
    "encoding": "the encoding",
    "augforge": "the versions of augforge",
    "licences": "the licences",
    "recipe": "the recipe",
}


def _main_causes(causes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The most frequent causes, each step once; source samples count together."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for cause in causes:
        what = "" if cause["kind"] == "source" else cause["what"]
        first = {"kind": cause["kind"], "what": what, "names": [], "samples": 0}
        entry = merged.setdefault((cause["kind"], what), first)
        entry["names"] += [] if cause["what"] in entry["names"] else [cause["what"]]
        entry["samples"] += cause["samples"]
    return sorted(merged.values(), key=lambda entry: -entry["samples"])[:3]


def _cause_text(cause: Mapping[str, Any]) -> str:
    names = cause["names"]
    texts = {
        "source": f"source sample {names[0]}" if len(names) == 1 else f"{len(names):,} source samples",
        "step": f"step {cause['what']}",
        "partners": f"other partners in {cause['what']}",
        "options": "the source's options",
        "rejected": f"rejections by {cause['what']}",
        "passing": f"what {cause['what'] or 'a step'} passes on",
    }
    return texts.get(cause["kind"], {"unknown": "no recorded reason"}.get(cause["kind"], f"the {cause['kind']}"))


def _join(texts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
