"""Checks that the splits of a dataset stay apart: groups, source images, parents and pixels; proven from lineage.

The split that a sample says it is in is compared with what it was made of: the source images that show in it and all
its parents, down to the source, with the groups and splits that the table of source samples has for them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from augforge.checks.core import Check, Finding, Result
from augforge.checks.subject import Subject
from augforge.errors import DatasetError, some
from augforge.report.provenance import Provenance

_MOVES = "near_duplicates"
"""The op that may move whole groups to another split, so that a sample and its parent differ and nothing leaks."""
_REMEDY = "Do not use this version, and build the dataset again. Rename a group that the data itself has in two splits"
_SHOWN = 3


def find_leaks(subject: Subject) -> Iterator[Result]:
    """No group shows in samples of two splits, and no sample has a parent in another split."""
    origins = _origins(subject.provenance)
    yield from _groups_in_two_splits(subject, origins)
    yield from _parents_in_another_split(subject)
    unknown = origins.filter(pl.col("group").is_null())
    if unknown.height:
        name, origin = unknown.select("name", "origin").row(0)
        yield Finding(
            "broken lineage",
            f"{subject.name}: sample '{name}' was made from '{origin}', which is no sample of the source as far as the "
            f"version says, so nothing proves where it came from ({unknown['name'].n_unique()} such samples)",
            _REMEDY,
            "error",
            *subject.where,
            tuple(unknown["name"].unique().sort()),
        )


def _groups_in_two_splits(subject: Subject, origins: pl.DataFrame) -> Iterator[Finding]:
    index = subject.dataset.index.select("split", "name", "group", "groups")
    stated = [index.select("split", "name", "group"), index.select("split", "name", group="groups").explode("group")]
    evidence = pl.concat([*stated, origins.select("split", "name", "group")]).drop_nulls("group")
    torn = _in_several_splits(evidence, "group")
    if torn:
        group, examples = next(iter(torn.items()))
        more = f"; {len(torn)} groups do" if len(torn) > 1 else ""
        yield Finding(
            "group in two splits",
            f"{subject.name}: group '{group}' shows in samples of {_splits_text(examples)}{more}",
            _REMEDY,
            "error",
            *subject.where,
            tuple(torn),
        )


def _parents_in_another_split(subject: Subject) -> Iterator[Finding]:
    if _MOVES in subject.dataset.manifest.ops:  # a group may move after a parent was made
        return
    provenance = subject.provenance
    samples, edges = provenance.tables.select("id", "name", "split").unique(), provenance.edges.select("id", "parent")
    parents = provenance.made.select(parent="id", of="name", theirs="split")
    pairs = samples.join(edges, on="id").join(parents, on="parent")
    crossed = pairs.filter(pl.col("split") != pl.col("theirs")).sort("name", "of")
    if crossed.height:
        row = crossed.row(0, named=True)
        yield Finding(
            "parent in another split",
            f"{subject.name}: '{row['name']}' in {row['split']} was made from '{row['of']}' in {row['theirs']} "
            f"({crossed['name'].n_unique()} such samples)",
            _REMEDY,
            "error",
            *subject.where,
            tuple(crossed["name"].unique().sort()),
        )


def _origins(provenance: Provenance) -> pl.DataFrame:
    """``name`` and ``split`` of each finished sample with each ``origin``, its source samples, and their ``group``.

    Origins are the source images that show in it, and what its parents lead back to. The group is null for an origin
    that is not in the table of the source's samples.
    """
    tables, edges = provenance.tables, provenance.edges.select("id", "parent", missing="name")
    finished = tables.filter(pl.col("stage") == pl.col("stage").max())
    shown = finished.select("name", "split", origin=pl.col("lineage").struct.field("roots")).explode("origin")
    found = [shown.with_columns(pl.col("origin").struct.field("name").alias("origin")).drop_nulls("origin")]
    names = tables.unique("id").select("id", origin="name")
    frontier = finished.select("name", "split", "id")
    while frontier.height:
        steps = frontier.join(edges, on="id", how="left")
        first, missing = pl.col("missing").is_null(), pl.col("parent").is_null() & pl.col("missing").is_not_null()
        found.append(steps.filter(first).join(names, on="id").select("name", "split", "origin"))
        found.append(steps.filter(missing).select("name", "split", origin="missing"))
        frontier = steps.drop_nulls("parent").select("name", "split", id="parent").unique()
    sources = tables.filter(pl.col("stage") == pl.col("stage").min()).select("group", origin="name")
    return pl.concat(found).unique().join(sources, on="origin", how="left").sort("name", "origin")


def _in_several_splits(evidence: pl.DataFrame, key: str) -> dict[str, dict[str, list[str]]]:
    """Values of a column that stand in several splits, each with the names of its samples by split."""
    counts = evidence.group_by(key).agg(pl.col("split").n_unique().alias("splits"))
    several = evidence.join(counts.filter(pl.col("splits") > 1), on=key).sort(key, "split", "name")
    found: dict[str, dict[str, list[str]]] = {}
    for value, split, name in several.select(key, "split", "name").unique(maintain_order=True).iter_rows():
        found.setdefault(value, {}).setdefault(split, []).append(name)
    return found


def _splits_text(samples: dict[str, list[str]]) -> str:
    """``train (a, b and 3 more) and val (c)``."""
    return " and ".join(f"{split} ({some(names, _SHOWN)})" for split, names in samples.items())


def find_equal_pixels(subject: Subject) -> Iterator[Result]:
    """No two samples of different splits have the same image; pictures of a single value are only a warning."""
    index = subject.dataset.index.with_row_index("position")
    torn = _in_several_splits(index.with_columns(_image_digest(index).alias("image")).drop_nulls("image"), "image")
    positions = dict(index.select("name", "position").iter_rows())
    kinds: dict[bool, list[dict[str, list[str]]]] = {False: [], True: []}
    for samples in torn.values():
        kinds[_is_blank(subject, positions[next(iter(samples.values()))[0]])].append(samples)
    for blank, sets in kinds.items():
        if sets:
            yield _equal_pixels(subject, blank, sets)


def _image_digest(index: pl.DataFrame) -> pl.Expr:
    """What is equal for equal images, whatever their masks: the digest of the encoded image.

    Format 1 has none, and there the digest of image and masks together has to do.
    """
    if "payload_digest" not in index.columns:
        return pl.col("pixel_digest")
    size = pl.col("width").cast(pl.String) + "x" + pl.col("height").cast(pl.String)
    return size + pl.col("payload_digest").str.slice(0, 16)


def _equal_pixels(subject: Subject, blank: bool, sets: list[dict[str, list[str]]]) -> Finding:
    names = tuple(dict.fromkeys(name for samples in sets for names in samples.values() for name in names))
    return Finding(
        "blank images in two splits" if blank else "equal pixels in two splits",
        f"{subject.name}: the same pixels are in {_splits_text(sets[0])} ({len(sets)} such sets of samples)",
        "Drop them, with the op empty" if blank else "Drop them, or move them to one split: the op near_duplicates",
        "warning" if blank else "error",
        *subject.where,
        names,
    )


def _is_blank(subject: Subject, position: int) -> bool:
    """Whether a sample's image has one value, and no class: background that looks the same everywhere."""
    try:
        sample = subject.dataset[position]
    except DatasetError:  # another check tells that it is damaged
        return False
    return not sample.masks.any() and bool(np.all(sample.image == sample.image.flat[0]))


CHECKS = [
    Check("splits", find_leaks, needs_dataset=True),
    Check("pixels", find_equal_pixels, needs_dataset=True),
]
