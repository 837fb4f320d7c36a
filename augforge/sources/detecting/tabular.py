"""Clues for tables that name the images: which columns hold images, run lengths, classes and labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from augforge.errors import SourceError
from augforge.sources.detecting.clue import Clue
from augforge.sources.detecting.glance import Glance
from augforge.sources.scan.tables import Table, read_table

_ROWS, _TABLES, _MOST_BYTES = 200, 4, 64 << 20
_RUNS = re.compile(r"\d+ \d+( \d+ \d+)*")
_LABEL_NAMES = ("label", "labels", "class", "class_name", "category", "target", "diagnosis", "y", "species")
_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


def csv_clues(glance: Glance) -> Iterator[Clue]:
    """Tables in the folder that name its images."""
    found = [place for place in glance.places if re.fullmatch(r"[^/]+\.(csv|xlsx|parquet)", place, re.IGNORECASE)]
    for place in sorted(found, key=lambda name: (not name.lower().startswith("train"), name))[:_TABLES]:
        if glance.pictures and (glance.root / place).stat().st_size <= _MOST_BYTES:
            yield from _clues_of(glance, place)


def _clues_of(glance: Glance, place: str) -> Iterator[Clue]:
    try:
        table = read_table(glance.root / place)
    except SourceError:
        return
    named = _image_column(glance, table)
    if named is None:
        yield Clue("csv", f"{place} is a table, but no column of it names the images", {"table": place})
        return
    image, paths = named
    yield from (
        Clue(
            "csv",
            f"column {image} of {place} names the images; {why}",
            {"table": place, "image": image, **paths, **more},
        )
        for why, more in _meanings(table, image)
    )


def _column(table: Table, name: str) -> list[str]:
    """The first cells of a column as text, without empty ones."""
    index = table.column(name)
    return [text for row in table.rows[:_ROWS] if (text := str(row[index]).strip()) not in ("", "None")]


def _image_column(glance: Glance, table: Table) -> tuple[str, dict[str, str]] | None:
    """The first column whose cells are the names of images, with options that complete them to places."""
    folders = ["", *sorted({str(PurePosixPath(place).parent) for place in glance.pictures} - {"."})]
    tops = [*dict.fromkeys([*folders, *sorted({folder.partition("/")[0] for folder in folders})])][:50]
    for name in filter(None, table.columns):
        cells = _column(table, name)[:5]
        for folder in tops:
            for suffix in _SUFFIXES:
                if cells and all(_lies(glance, folder, f"{cell}{suffix}") for cell in cells):
                    options = {"folder": folder, "suffix": suffix}
                    return name, {key: value for key, value in options.items() if value}
    return None


def _lies(glance: Glance, folder: str, cell: str) -> bool:
    try:
        return (glance.root / folder / cell).is_file() and ".." not in cell and not cell.startswith("/")
    except (OSError, ValueError):
        return False


def _meanings(table: Table, image: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the other columns may be, each with the options that say so, the likeliest first."""
    others = [name for name in table.columns if name and name != image]
    runs = [name for name in others if _are_runs(_column(table, name))]
    texts = [name for name in others if name not in runs and 0 < len({*_column(table, name)}) < 60]
    if len(runs) == 1:
        rest = sorted(texts, key=_rank)
        single = {"class_column": None, "classes": ["object"]}
        yield f"column {runs[0]} holds run lengths", {"rle": runs[0], **({"class_column": rest[0]} if rest else single)}
    elif runs:
        yield f"columns {runs[0]} to {runs[-1]} hold run lengths", {"rles": runs}
    else:
        shares = [name for name in others if _are_shares(_column(table, name))]
        named = [name for name in texts if name.lower() in _LABEL_NAMES]
        if len(shares) > 1 and not named:
            yield f"columns {shares[0]} to {shares[-1]} hold weights of labels", {"labels": shares}
        yield from ((f"column {name} is taken for the label", {"label": name}) for name in sorted(texts, key=_rank)[:3])


def _rank(name: str) -> int:
    return _LABEL_NAMES.index(name.lower()) if name.lower() in _LABEL_NAMES else len(_LABEL_NAMES)


def _are_runs(cells: Sequence[str]) -> bool:
    return any(map(_RUNS.fullmatch, cells)) and all(_RUNS.fullmatch(cell) or cell == "-1" for cell in cells)


def _are_shares(cells: Sequence[str]) -> bool:
    return bool(cells) and all(re.fullmatch(r"0|1|0?\.\d+|[01]\.0*|0\.\d+", cell) for cell in cells)
