"""CSV of run lengths, as segmentation contests want it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from augforge.export.core import Entry, Job, Options
from augforge.export.runs import row_runs

_HEAD = ("image_name", "class", "rle")


class Csv(Options):
    """A row for each image and class, in the class table's order: `image_name,class,rle`.

    Run lengths are `start length` pairs along rows, the first pixel is 1; a class that is not there is an empty
    cell, and one that nobody labelled has no row (read it with `missing_row: unknown`). `image_name` is the file name
    alone, `image1661130828152.png`, where no two samples share it; otherwise all have their folders before it.
    """

    layout: ClassVar[str] = """\
OUT/
  train.csv                    one a split: image_name,class,rle
  images/IMAGE_NAME            images as stored (read it with folder: images)
  samples.csv                  name, file, split, group, labels, metadata"""

    image_name: Literal["auto", "file", "path"] = Field(
        "auto", description="the file name alone, with folders, or alone where it is unique"
    )
    images: bool = Field(True, description="copy the images; false writes the tables alone")


def write_csv(job: Job, entries: Iterable[Entry], options: Csv) -> None:
    """Write a dataset as run lengths."""
    with ExitStack() as stack:
        tables = {}
        for split in job.splits:
            stream = stack.enter_context(job.path(f"{split}.csv").open("w", encoding="utf-8", newline=""))
            tables[split] = csv.writer(stream, lineterminator="\n")
            tables[split].writerow(_HEAD)
        for entry in entries:
            tables[entry.split].writerows(_rows(entry, entry.file, job))
