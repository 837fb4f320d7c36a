"""What a dataset contains, from its index and manifest alone; no pixel is decoded."""

from __future__ import annotations

from typing import Any

import polars as pl
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.syntax import Syntax
from rich.text import Text

from augforge.report.counting import label_counts, metadata_counts, render_labels, render_metadata
from augforge.report.tables import block, human_bytes, pairs, plural, rejected_table, split_counts, split_order, table
from augforge.sample import IGNORE
from augforge.store.contents import disk_usage
from augforge.store.dataset import Dataset

_MANY_SHARDS = 12
_ON_DISK = {"version": "this version", "other_versions": "others alone", "work": "work area", "rest": "rest"}


def inspect(dataset: Dataset) -> dict[str, Any]:
    """What a dataset, or a part of one, contains.

    Counts are over the samples of `dataset`; shards, rejections, source and recipe are those of the whole version.

    Returns:
        JSON-like. ``bytes`` are those of the version's shards, ``on_disk`` those of the folder by what they belong
        to (see `augforge.store.contents.disk_usage`; None behind a URL). Per class: the number of ``samples`` in which
        it has pixels (also ``per_split``), its ``pixels`` in all of them, and ``known``, the number of samples in which
        it was labelled at all. ``label_counts`` has the same of labels, ``metadata`` what each column holds, and
        ``findings`` what was implausible when the version was built.
    """
    manifest, index = dataset.manifest, dataset.index
    return {
        "name": dataset.name,
        "version": dataset.version,
        "format": manifest.format,
        "folder": str(dataset.folder),
        "samples": len(dataset),
        "splits": _splits(index),
        "groups": index["group"].n_unique(),
        "bytes": sum(shard.bytes for shard in manifest.shards),
        "on_disk": None if dataset.remote else disk_usage(dataset.folder, manifest),
        "steps": _counts(index, "step"),
        "tags": _counts(index.select(tag=pl.col("tags").explode()).drop_nulls(), "tag"),
        "sizes": _sizes(index),
        "classes": class_counts(index, dataset.classes),
        "labels": list(dataset.labels),
        "label_counts": label_counts(index, dataset.labels, _splits(index)),
        "metadata": metadata_counts(index),
        "rejected": dict(manifest.rejected),
        "shards": [shard.model_dump() for shard in manifest.shards],
        "encoding": manifest.encoding,
        "source": manifest.source.model_dump(),
        "fitted": manifest.fitted,
        "ops": dict(manifest.ops),
        "made_by": dict(manifest.made_by),
        "augforge": manifest.augforge,
        "findings": [entry.model_dump() for entry in manifest.findings],
        "licences": [entry.model_dump() for entry in manifest.licences],
        "metadata_columns": list(manifest.metadata_columns),
        "review": manifest.review.model_dump() if manifest.review else None,
        "recipe": manifest.recipe.model_dump(),
    }


def _counts(index: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(index.group_by(column).len().sort(column).rows())


def _splits(index: pl.DataFrame) -> dict[str, int]:
    return split_order(_counts(index, "split"))


def _sizes(index: pl.DataFrame) -> list[dict[str, Any]]:
    columns = ["width", "height", "channels", "dtype"]
    sizes = index.group_by(columns).len("samples").sort("samples", *columns, descending=[True, *[False] * 4])
    return sizes.to_dicts()


def class_counts(index: pl.DataFrame, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """One dict per class; the index's `area` is null in samples in which the class is not known."""
    area = index["area"].struct.unnest()
    shown = area.select((pl.all() > 0).fill_null(False))
    splits = list(_splits(index))
    in_split = {split: shown.filter(index["split"] == split).sum().row(0) for split in splits}
    pixels, known = area.sum().row(0), area.count().row(0)
    return [
        {
            "name": name,
            "samples": int(sum(in_split[split][i] for split in splits)),
            "per_split": {split: int(in_split[split][i]) for split in splits},
            "pixels": int(pixels[i] or 0),
            "known": int(known[i]),
        }
        for i, name in enumerate(classes)
    ]


def render_inspect(report: dict[str, Any], console: Console) -> None:
    """Print a report of `inspect` for people; it fits into 80 columns."""
    console.print(Text.assemble((report["name"], "bold"), "  version ", (report["version"], "cyan")))
    console.print(pairs(_facts(report)), "", sep="\n")
    _render_classes(report, console)
    render_labels(report["label_counts"], console)
    render_metadata(report["metadata"], console)
    _render_findings(report, console)
    _render_sizes(report, console)
    _render_rejected(report, console)
    _render_shards(report, console)
    console.print(Text(f"Recipe {report['recipe']['digest']}", "bold"))
    text = report["recipe"]["text"].rstrip()
    console.print(block(Syntax(text, "yaml", background_color="default").highlight(text)), soft_wrap=True)


def _facts(report: dict[str, Any]) -> dict[str, str | Text]:
    source = report["source"]
    made = {step or "source": count for step, count in report["steps"].items()}
    facts: dict[str, str | Text] = {
        "folder": report["folder"],
        "samples": Text.assemble(f"{report['samples']:,}  ", split_counts(report["splits"])),
        "groups": f"{report['groups']:,}",
        "made by": ", ".join(f"{step} {count:,}" for step, count in made.items()),
        "bytes": f"{human_bytes(report['bytes'])} in {plural(len(report['shards']), 'shard')}, {report['encoding']}",
        "source": f"{source['format']}, {plural(source['samples'], 'sample')}",
    }
    if report["licences"]:
        facts["licences"] = _join_items({entry["licence"]: f"{entry['samples']:,}" for entry in report["licences"]})
    if report["augforge"]:
        facts["built by"] = f"augforge {report['augforge']}"
    if report["on_disk"]:
        sizes = {words: report["on_disk"][kind] for kind, words in _ON_DISK.items() if report["on_disk"][kind]}
        facts["on disk"] = ", ".join(f"{words} {human_bytes(size)}" for words, size in sizes.items())
    for name in ("labels", "tags", "fitted", "metadata_columns"):
        if report[name]:
            facts[name] = _join_items(report[name])
    return facts


def _join_items(values: Any) -> str:
    items = [f"{name} {value}" for name, value in values.items()] if isinstance(values, dict) else values
    return ", ".join(map(str, items))


def _render_classes(report: dict[str, Any], console: Console) -> None:
    classes = report["classes"]
    if all(entry["name"] == IGNORE and not entry["known"] for entry in classes):  # as of data that has labels alone
        return
    splits = [*report["splits"]]
    most, total = (max(1, f(entry["pixels"] for entry in classes)) for f in (max, sum))
    title = f"{plural(len(classes), 'class')}; share: of all pixels of classes"
    shown = table("class", "labelled", "samples", *splits, "share", right=3 + len(splits), title=title)
    shown.add_column()
    for entry in classes:
        bar = ProgressBar(most, entry["pixels"], width=10, complete_style="cyan", finished_style="cyan")
        by_split = (f"{entry['per_split'].get(split, 0):,}" for split in splits)
        numbers = (f"{entry['known']:,}", f"{entry['samples']:,}", *by_split, f"{entry['pixels'] / total:.1%}")
        shown.add_row(Text(entry["name"]), *numbers, bar, style="" if entry["samples"] else "yellow")
    console.print(shown, "", sep="\n")
    _print_missing_classes(classes, console)


def _render_findings(report: dict[str, Any], console: Console) -> None:
    """Print what was implausible when the version was built, and why it was accepted, if so."""
    for entry in report["findings"]:
        accepted = f" (accepted: {entry['accepted']})" if entry["accepted"] is not None else ""
        console.print(Text.assemble((f"Implausible, {entry['kind']}: ", "yellow"), f"{entry['message']}{accepted}\n"))


def _print_missing_classes(classes: list[dict[str, Any]], console: Console) -> None:
    """Print which classes are labelled but in no sample, and which are labelled nowhere."""
    absent = [entry["name"] for entry in classes if entry["samples"] == 0 and entry["known"] > 0]
    unknown = [entry["name"] for entry in classes if entry["known"] == 0]
    if absent:
        console.print(Text(f"Labelled, but in no sample: {', '.join(absent)}\n", "yellow"))
    if unknown:
        console.print(Text(f"Labelled in no sample: {', '.join(unknown)}\n", "yellow"))


def _render_sizes(report: dict[str, Any], console: Console) -> None:
    sizes = table("size", "channels", "type", "samples", right=1)
    for size in report["sizes"]:
        width_height = f"{size['width']} x {size['height']}"
        sizes.add_row(width_height, str(size["channels"]), size["dtype"], f"{size['samples']:,}")
    console.print(sizes, "", sep="\n")


def _render_rejected(report: dict[str, Any], console: Console) -> None:
    if not report["rejected"]:
        console.print("Nothing was rejected.\n")
        return
    console.print(rejected_table(report["rejected"]), "", sep="\n")


def _render_shards(report: dict[str, Any], console: Console) -> None:
    shards = table("shard", "rows", "size", right=2)
    for shard in report["shards"][:_MANY_SHARDS]:
        shards.add_row(Text(shard["path"]), f"{shard['rows']:,}", human_bytes(shard["bytes"]))
    console.print(shards, "", sep="\n")
    if len(report["shards"]) > _MANY_SHARDS:
        console.print(
            f"... and {len(report['shards']) - _MANY_SHARDS:,} more: augforge files {report['folder']}\n", markup=False
        )
