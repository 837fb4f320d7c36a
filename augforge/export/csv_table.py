"""CSV of run lengths, as segmentation contests use it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from augforge.errors import AugforgeError
from augforge.export.core import Entry, Job, Options, Region
from augforge.export.run_lengths import row_runs
from augforge.sources.raster.runs import COLUMNS, format_runs


class Csv(Options):
    """One row per image and class, in the class table's order: `image_name,class,rle`.

    Run lengths are `start length` pairs along rows, and the first pixel is 1. An absent class has an empty cell, an
    unlabelled class has no row. `image_name` is the file name alone, `image1661130828152.png`, if no two samples share
    it; otherwise all of them include their folders.
    """

    layout: ClassVar[str] = """\
OUT/
  train.csv                    one file per split: image_name,class,rle
  images/IMAGE_NAME            images as stored
  samples.csv                  name, file, split, group, labels, metadata"""
    read_back: ClassVar[str] = """\
source:
  format: csv
  path: OUT
  table: train.csv             # one split; format union joins several
  folder: images
  missing_row: unknown
  classes: [heart, lung]       # the dataset's, in its order"""

    image_name: Literal["auto", "file", "path"] = Field(
        "auto",
        description="auto: the file name if all are unique, else the path; file: the file name; path: with folders",
    )
    images: bool = Field(True, description="copy the images; false writes the tables alone")


def write_csv(job: Job, entries: Iterable[Entry], options: Csv) -> None:
    """Write a dataset as run lengths. AugforgeError for a class name or file names that the table cannot represent."""
    _check_classes(job)
    with ExitStack() as stack:
        tables = {}
        for split in job.splits:
            stream = stack.enter_context(job.open_text(f"{split}.csv"))
            tables[split] = csv.writer(stream, lineterminator="\n")
            tables[split].writerow(COLUMNS)
        plain = _uses_plain_names(job, options)
        for entry in entries:
            name = entry.file.rpartition("/")[2] if plain else entry.file
            if options.images:
                job.put_image(entry, "images", name)
            tables[entry.split].writerows(_rows(entry, name, job))
            if not entry.is_labelled:
                job.notes["unlabelled images, without rows"] += 1


def _check_classes(job: Job) -> None:
    padded = next((name for name in job.classes if name != name.strip()), None)
    if padded is not None:
        raise AugforgeError(
            f"class '{padded}' begins or ends with a blank, which readers of tables strip. Rename it by "
            "source.class_map, and build again"
        )


def _uses_plain_names(job: Job, options: Csv) -> bool:
    """Whether ``image_name`` is the file name alone; AugforgeError if that is required but names are not unique."""
    files = Counter(name.rpartition("/")[2] for name in job.names)
    shared = next((name for name, count in files.items() if count > 1), None)
    if options.image_name == "file" and shared is not None:
        raise AugforgeError(
            f"{files[shared]} samples have the file name {shared}; expected one, as image_name is 'file'. "
            "Take their folders too: --set image_name=path"
        )
    return options.image_name != "path" and shared is None


def _rows(entry: Entry, image_name: str, job: Job) -> Iterator[tuple[str, str, str]]:
    texts = {region.c: rle_text(region, entry.width) for region in entry.regions()}
    for c in np.flatnonzero(entry.known).tolist():
        yield image_name, job.classes[c], texts.get(c, "")


def rle_text(region: Region, width: int) -> str:
    """A class as ``start length`` pairs along the rows of an image of that width; the first pixel is 1."""
    return format_runs(*row_runs(region, width))
