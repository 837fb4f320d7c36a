"""How a sample came about: the tree from its source images through every step, with what the steps drew."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from augforge.engine.replay import Replay
from augforge.errors import DatasetError, nearest, visible
from augforge.report.tables import SPLIT_STYLES, plural
from augforge.store.dataset import Dataset
from augforge.store.log import last_build
from augforge.store.tables import read_stages

_DRAWN = 200
"""Most characters of drawn values in the text; JSON has all."""


def trace_sample(dataset: Dataset, name: str) -> dict[str, Any]:
    """The tree of a sample.

    Returns:
        JSON-like. ``tree`` is the sample: ``name``, ``id``, ``split``, ``size``, the ``steps`` of the stage that made
        it, oldest first, each with ``drawn`` values, ``notes`` and ``matrix``, and its ``parents``, which are such
        trees too. One without steps and parents is a source image. ``roots`` are all source images that show in it,
        with the matrix from their pixels to the sample's. ``review`` are a person's verdicts on them, and ``overruled``
        the findings of filters that did not count because of it.

    Raises:
        DatasetError: there is no such sample, or the table of samples between stages is missing or damaged.
    """
    position = dataset.position(name)
    row = dataset.index.row(position, named=True)
    try:
        return _trace_row(dataset, name, row)
    except _FORGED as error:
        raise DatasetError(
            f"the lineage of sample '{name}' in {dataset.folder} is not as augforge writes it "
            f"({type(error).__name__}: {error}); it is damaged or forged. Check the dataset: augforge verify"
        ) from error


_FORGED = (TypeError, KeyError, IndexError, ValueError, RecursionError)


def _trace_row(dataset: Dataset, name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    tables = _Tables(dataset)
    return {
        "dataset": dataset.name,
        "version": dataset.version,
        "name": name,
        "group": row["group"],
        "source": {
            "format": dataset.manifest.source.format,
            "path": last_build(dataset.folder, dataset.version).get("source"),
        },
        "tree": tables.node(row, tables.first_table(row)),
        "roots": row["lineage"]["roots"],
        "review": row["review"] or [],
        "overruled": row["overruled"] or [],
    }


@dataclass(frozen=True)
class _Tables:
    """The samples of a version by table: those before each stage, then the finished ones."""

    dataset: Dataset

    @cached_property
    def stages(self) -> pl.DataFrame:
        return read_stages(self.dataset)

    @cached_property
    def finished(self) -> set[str]:
        """Ids of the samples that the dataset holds."""
        return set(self.dataset.index["id"])

    def first_table(self, row: Mapping[str, Any]) -> int:
        """The first table in which a sample stands: stages pass it on from there."""
        found = self.stages.filter(pl.col("id") == row["id"])["stage"].min()
        last = self.stages["stage"].max()
        return int(found) if isinstance(found, int) else int(last) + 1 if isinstance(last, int) else 0

    def node(self, row: Mapping[str, Any], table: int) -> dict[str, Any]:
        """A sample as a tree; `table` is the first one in which it stands."""
        parents = [self._parent(name, table - 1) for name in row["parents"] or ()]
        steps = row["lineage"]["steps"]
        # An op of several inputs starts the list of steps anew; one with one input goes on with its parent's.
        done = len(parents[0]["lineage"]["steps"]) if len(parents) == 1 else 0
        return {
            "name": row["name"],
            "id": row["id"],
            "split": row["split"],
            "size": [row["width"], row["height"]],
            "tags": list(row["tags"] or ()),
            "in_dataset": row["id"] in self.finished,
            "is_source": not row["parents"],
            "steps": [_plain_step(step) for step in steps[done:]],
            "parents": [self.node(parent, self.first_table(parent)) for parent in parents],
        }

    def _parent(self, name: str, table: int) -> dict[str, Any]:
        found = self.stages.filter((pl.col("stage") == table) & (pl.col("name") == name))
        if not len(found):
            raise DatasetError(
                f"{self.dataset.folder / self.dataset.manifest.stages_path} has no sample '{name}' before stage "
                f"{table}; it is damaged. Build the dataset again.{nearest(name, self.stages['name'].unique())}"
            )
        return found.row(0, named=True)


def _plain_step(step: Mapping[str, Any]) -> dict[str, Any]:
    """A step without empty columns, drawn values and notes as they were."""
    texts = {key: json.loads(step[key]) for key in ("drawn", "notes") if step.get(key) is not None}
    plain = {key: step[key] for key in ("step", "op", "copy", "matrix") if step.get(key) is not None}
    return {**plain, **texts, "placements": step["parents"] or []}


def render_trace(found: Mapping[str, Any], replay: Replay | None, console: Console) -> None:
    """Print a tree of `trace_sample`: the sample on top, what it was made of below it, source images at the ends."""
    tree = Tree(_label(found["tree"]))
    _grow(tree, found["tree"])
    console.print(tree)
    source = found["source"]
    count = len({root["name"] for root in found["roots"]})
    where = f"{source['format']} at {source['path']}" if source["path"] else source["format"]
    console.print(Text(f"made of {plural(count, 'source image')}, {where}", "dim"), soft_wrap=True)
    for line in _review_lines(found):
        console.print(Text(line, "yellow"), soft_wrap=True)
    if replay is not None:
        _render_replay(replay, console)


def _review_lines(found: Mapping[str, Any]) -> Iterator[str]:
    for each in found["review"]:
        yield f"review of {each['sample']}: {each['verdict']}" + (f", {each['why']}" if each["why"] else "")
    for text in found["overruled"]:
        yield f"kept although a filter flagged it: {text}"


def _grow(tree: Tree, node: Mapping[str, Any]) -> None:
    """Add the steps of a sample, newest first, and below them its parents."""
    for step in reversed(node["steps"]):
        tree = tree.add(_step_label(step))
    for parent in node["parents"]:
        _grow(tree.add(_label(parent)), parent)


def _label(node: Mapping[str, Any]) -> Text:
    width, height = node["size"]
    facts = [f"{width}x{height}", *(["source image"] if node["is_source"] else [])]
    text = Text.assemble((visible(node["name"]), "bold"), "  ", (node["split"], SPLIT_STYLES.get(node["split"], "")))
    text.append("  " + "  ".join(facts), "dim")
    for tag in node["tags"]:
        text.append(f"  {visible(tag)}", "yellow")
    return text


def _step_label(step: Mapping[str, Any]) -> Text:
    copy = f", copy {step['copy'] + 1}" if step.get("copy") else ""
    text = Text.assemble((step["step"], "cyan"), (f"  {step['op']}{copy}", "dim"))
    for key in ("drawn", "notes"):
        if step.get(key) not in (None, {}, []):
            text.append(f"  {key} {_short(step[key])}")
    return text


def _short(value: Any) -> str:
    text = json.dumps(_rounded(value), ensure_ascii=False)
    return text if len(text) <= _DRAWN else text[: _DRAWN - 3] + "..."


def _rounded(value: Any) -> Any:
    """Numbers to four digits after the point, for people."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return {key: _rounded(item) for key, item in value.items()} if isinstance(value, dict) else value


def _render_replay(replay: Replay, console: Console) -> None:
    style = "green" if replay.verdict == "equal" else "red"
    console.print(Text.assemble("\nMade again: ", (replay.verdict, style)))
    for line in [*_replay_lines(replay), *replay.reasons]:
        console.print(Text(f"  {line}"), soft_wrap=True)


def _replay_lines(replay: Replay) -> Iterator[str]:
    made = replay.pixels.get("made")
    if made is None:
        return
    if replay.verdict == "equal":
        yield f"image and masks have the pixel digest {made}, " + (
            "and the encoded bytes are the same" if replay.bytes_equal else "though the encoded bytes differ"
        )
        return
    yield f"pixel digest {made}, stored {replay.pixels['stored']}, recorded {replay.pixels['recorded']}"
    masks = "the same" if replay.masks_equal else "different"
    if replay.differing_pixels is None:
        yield f"the image has another size, the masks are {masks}"
    else:
        yield f"{replay.differing_pixels:,} pixels of the image differ, the masks are {masks}"
