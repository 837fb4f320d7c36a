"""Pictures of samples for people: overlays with a legend, and contact sheets of a dataset."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from augforge import bitmask
from augforge.errors import AugforgeError, some
from augforge.files import replacing
from augforge.report.colours import Colour, colour_of
from augforge.report.overlay import overlay, scale_to_fit
from augforge.report.paint import (
    BACKGROUND,
    GAP,
    INK,
    MUTED,
    TEXT,
    Picture,
    Span,
    blank,
    centre,
    grid,
    stack,
    text_flow,
    text_line,
    text_width,
)
from augforge.sample import Sample
from augforge.store.dataset import Dataset

__all__ = ["contact_sheet", "legend", "overlay", "save_png", "show_samples"]

SPLIT_COLOURS: Mapping[str, Colour] = {"train": (122, 174, 255), "val": (255, 190, 92), "test": (130, 214, 140)}
_SUFFIXES = (".png", ".jpg", ".jpeg")
_TAG: Colour = (255, 150, 130)
_PARENTS = 9
_LARGE, _MEDIUM = 1400, 760  # most pixels of the longer side of a single sample, and of one of several


def legend(
    classes: Sequence[str], present: Collection[int], width: int, unknown: Collection[int] = (), size: int = TEXT
) -> Picture:
    """Colour chips with class names, in columns.

    Args:
        classes: the class table.
        present: indices of the classes to name.
        width: of the picture in pixels.
        unknown: indices of classes that nobody labelled; they get a hollow chip and a gray name.
        size: of the text in pixels.

    Returns:
        RGB, uint8 (as many lines as needed, width, 3).
    """
    shown = sorted({*present, *unknown})
    if not shown:
        return text_line([("no class is shown", MUTED)], width, size)
    labels = [f"{classes[c]} (unlabelled)" if c in unknown else classes[c] for c in shown]
    cell = min(width, max(text_width(label, size) for label in labels) + 2 * size + GAP)
    columns = width // cell
    cells = [_entry(c, label, c in unknown, cell, size) for c, label in zip(shown, labels, strict=True)]
    table = grid(_down_columns(cells, columns), columns, (size // 4, 0))
    return np.concatenate([table, blank(len(table), width - table.shape[1])], axis=1)


def _entry(c: int, label: str, unknown: bool, width: int, size: int) -> Picture:
    """A chip as high as the text, and the name."""
    text = text_line([(label, MUTED if unknown else INK)], width - size - size // 2, size)
    entry = np.concatenate([blank(len(text), size + size // 2), text], axis=1)
    top = (len(entry) - size) // 2
    entry[top : top + size, :size] = MUTED if unknown else colour_of(c)
    if unknown:
        entry[top + 2 : top + size - 2, 2 : size - 2] = BACKGROUND
    return entry


def _down_columns(cells: Sequence[Picture], columns: int) -> list[Picture | None]:
    """Cells reordered so that a grid filled row by row reads down its columns."""
    rows = -(-len(cells) // columns)
    padded = [*cells, *[None] * (rows * columns - len(cells))]
    return [padded[column * rows + row] for row in range(rows) for column in range(columns)]


def show_samples(
    samples: Sequence[Sample],
    classes: Sequence[str],
    tags: Mapping[str, Sequence[str]] | None = None,
    parents: Mapping[str, Sequence[str]] | None = None,
    reviews: Mapping[str, Sequence[str]] | None = None,
) -> Picture:
    """Large overlays, each with a title, and a common legend.

    Args:
        samples: what to show; at least one.
        classes: the class table.
        tags, parents: by sample name, as the index of a dataset has them.
        reviews: what a person said of samples, by their names.

    Raises:
        AugforgeError: no samples.
    """
    if not samples:
        raise AugforgeError("there is no sample to show. Choose samples by name, or another split")
    side = _side(samples)
    height = max(_scaled_height(sample.width, sample.height, side) for sample in samples)
    titles = [_title(sample, tags or {}) for sample in samples]
    if parents and any(parents.get(sample.name) for sample in samples):
        titles = [[*title, *_parent_lines(parents.get(s.name, ()))] for title, s in zip(titles, samples, strict=True)]
    for sample, title in zip(samples, titles, strict=True):
        title += [[(text, _TAG)] for text in (reviews or {}).get(sample.name, ())]
    most = max(map(len, titles))
    titles = [title + [[("", INK)]] * (most - len(title)) for title in titles]  # captions of all have the same height
    cells = [
        _captioned_overlay(sample, classes, side, height, title) for sample, title in zip(samples, titles, strict=True)
    ]
    body = grid(cells, math.ceil(math.sqrt(len(cells))), (2 * GAP, 2 * GAP))
    return stack([body, _legend_of(samples, classes, body.shape[1], _text_size(side))], 2 * GAP)


def review_texts(index: pl.DataFrame) -> dict[str, list[str]]:
    """What a person's review said, by sample name, in lines; samples of which it says nothing are left out."""
    found = index.filter(pl.col("review").is_not_null()).select("name", "review", "overruled")
    return {
        name: [line for verdict in review for line in _verdict_lines(verdict)]
        + [f"overruled: {text}" for text in overruled or ()]
        for name, review, overruled in found.rows()
    }


def _verdict_lines(verdict: Mapping[str, str]) -> list[str]:
    lines = [f"review: {verdict['verdict']} {verdict['sample']}"]
    return [*lines, verdict["why"]] if verdict["why"] else lines


def _side(samples: Sequence[Sample]) -> int:
    longest = max(max(sample.width, sample.height) for sample in samples)
    return min(_LARGE if len(samples) == 1 else _MEDIUM, max(longest, 512))


def _title(sample: Sample, tags: Mapping[str, Sequence[str]]) -> list[list[Span]]:
    size: Span = (f"{sample.width} x {sample.height}", MUTED)
    tagged: list[Span] = [(tag, _TAG) for tag in tags.get(sample.name, ())]
    return [[(sample.name, INK)], [size, split_span(sample.split), *tagged]]


def _parent_lines(parents: Sequence[str]) -> list[list[Span]]:
    """What a sample was made of, each in a line of its own; of many, the first and how many more."""
    if not parents:
        return [[("source image", MUTED)]]
    more = [[(f"and {len(parents) - _PARENTS} more", MUTED)]] if len(parents) > _PARENTS else []
    return [[("made of", MUTED), (name, INK)] for name in parents[:_PARENTS]] + more


def split_span(split: str) -> Span:
    """The name of a split in its colour."""
    return split, SPLIT_COLOURS.get(split, INK)


def _captioned_overlay(
    sample: Sample, classes: Sequence[str], width: int, height: int, caption: Iterable[Sequence[Span]]
) -> Picture:
    """The overlay, scaled to fit and centred in (height, width), with the lines of the caption below."""
    picture = overlay(scale_to_fit(sample, width, height), classes)
    lines = [text_line(spans, width, _text_size(width)) for spans in caption]
    return np.concatenate([centre(picture, height, width), blank(GAP // 2, width), *lines])


def _text_size(width: int) -> int:
    """Size of the text for a picture of this width, so that it is readable when the whole picture is on the screen."""
    return min(max(TEXT, 10 + width // 60), 24)


def _scaled_height(width: int, height: int, side: int) -> int:
    """Height of an image scaled to fit into a square."""
    return max(1, round(height * side / max(width, height)))


def _legend_of(samples: Iterable[Sample], classes: Sequence[str], width: int, size: int) -> Picture:
    present, unknown = np.zeros(len(classes), bool), np.zeros(len(classes), bool)
    for sample in samples:
        known = bitmask.bits_to_flags(sample.known, len(classes))
        present |= known & (bitmask.areas_and_boxes(sample.masks, len(classes))[0] > 0)
        unknown |= ~known
    never = unknown & ~present
    return legend(classes, np.flatnonzero(present).tolist(), width, np.flatnonzero(never).tolist(), size)


def contact_sheet(
    dataset: Dataset, *, columns: int | None = None, tile: int = 320, limit: int = 24, split: str | None = None
) -> Picture:
    """Small overlays of samples from every split and step, sorted by split, step and name.

    Args:
        dataset: what to show.
        columns: tiles side by side; by default chosen so that the sheet is somewhat wider than high.
        tile: width of a tile in pixels.
        limit: most samples to show.
        split: show only this split.

    Raises:
        AugforgeError: no sample to show, or no such split.
    """
    part = dataset if split is None else dataset.split(split)
    chosen = choose_rows(part.index, limit)
    if not chosen:
        raise AugforgeError(f"{dataset.folder} has no sample to show here. Choose another split, or a limit above 0")
    rows = part.index.select("name", "split", "step", "tags", "width", "height", "area", "label")[chosen].to_dicts()
    columns = max(1, min(columns or math.ceil(math.sqrt(len(rows) * 1.5)), len(rows)))
    height = max(_scaled_height(row["width"], row["height"], tile) for row in rows)
    tiles = [
        _captioned_overlay(part[i], part.classes, tile, height, _caption(row, part.labels))
        for i, row in zip(chosen, rows, strict=True)
    ]
    body = grid(tiles, columns, (GAP + GAP // 2, GAP))
    width, size = body.shape[1], _text_size(tile)
    header, key = _header(part, len(rows), width, size), _legend_from_index(rows, part.classes, width, size)
    return stack([header, body, key], GAP + GAP // 2)


def choose_rows(index: pl.DataFrame, limit: int) -> list[int]:
    """Positions of up to ``limit`` index rows to show, sorted by split, step and name.

    Each pair of split and step gets an equal share where it can, spread evenly over its names.
    """
    table = index.select("split", "step", "name").with_row_index()
    order = pl.col("split").replace_strict({"train": 0, "val": 1, "test": 2}, default=3)
    strata = [
        group["index"].to_list()
        for _, group in table.sort(order, "step", "name").group_by("split", "step", maintain_order=True)
    ]
    shares = _shares([len(stratum) for stratum in strata], limit)
    return [
        stratum[(2 * k + 1) * len(stratum) // (2 * share)]
        for stratum, share in zip(strata, shares, strict=True)
        for k in range(share)
    ]


def _shares(sizes: Sequence[int], limit: int) -> list[int]:
    """How many rows each stratum gets: one after another goes to the one with the fewest that has rows left."""
    shares = [0] * len(sizes)
    for _ in range(min(limit, sum(sizes))):
        open_strata = [i for i, size in enumerate(sizes) if shares[i] < size]
        shares[min(open_strata, key=lambda i: shares[i])] += 1
    return shares


def _caption(row: Mapping[str, Any], labels: Sequence[str] = ()) -> list[list[Span]]:
    facts: list[Span] = [split_span(row["split"]), (row["step"] or "source", MUTED)]
    if (given := row.get("label")) is not None:
        facts.append((some([name for name, weight in zip(labels, given, strict=False) if weight], 2), MUTED))
    elif all(pixels is None for pixels in row["area"].values()):
        facts.append(("unlabelled", MUTED))
    return [[(row["name"], INK)], [*facts, *((tag, _TAG) for tag in row["tags"] or ())]]


def _header(dataset: Dataset, shown: int, width: int, size: int) -> Picture:
    counts = dataset.index.group_by("split").len().sort("split").rows()
    facts: list[Span] = [
        (f"version {dataset.version}", MUTED),
        (f"{len(dataset)} samples", INK),
        *((f"{split} {count}", split_span(split)[1]) for split, count in counts),
        (f"{len(dataset.classes)} classes", INK),
        *([(f"{shown} shown", MUTED)] if shown < len(dataset) else []),
    ]
    return np.concatenate([text_line([(dataset.name, INK)], width, 24), text_flow(facts, width, size)])


def _legend_from_index(rows: Sequence[Mapping[str, Any]], classes: Sequence[str], width: int, size: int) -> Picture:
    """The legend of some index rows, from their areas instead of their masks."""
    areas = [list(row["area"].values()) for row in rows]
    present = {c for area in areas for c, pixels in enumerate(area) if pixels}
    unknown = {c for area in areas for c, pixels in enumerate(area) if pixels is None}
    return legend(classes, present, width, unknown - present, size)


def save_png(picture: Picture, path: str | Path) -> None:
    """Write a picture as PNG or JPEG, by the suffix.

    Raises:
        AugforgeError: another suffix, or no such folder.
        StorageError: there is no space or right to write it.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise AugforgeError(f"{path} does not end in {', '.join(_SUFFIXES)}. Name the picture {path.stem}.png")
    if not path.parent.is_dir():
        raise AugforgeError(f"the folder {path.parent} does not exist. Make it first: mkdir -p {path.parent}")
    encoded = io.BytesIO()  # Pillow itself takes a half-written JPEG on a full disk for a whole one
    Image.fromarray(picture).save(encoded, format="PNG" if path.suffix.lower() == ".png" else "JPEG")
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())
