"""Mask folders: one PNG of 0 and 255 for each image and class."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from augforge.export.core import Entry, Job, Unlabelled
from augforge.export.places import folder_of
from augforge.export.png import mask_png


class MaskFolder(Unlabelled):
    """A folder of masks for each class: PNG, gray, 255 where the class is. Exact, and classes may overlap.

    A mask that is missing says that the class is not there. A class that nobody labelled in a whole split has no
    folder there: list the classes when reading it, and that one is unknown. A name that no folder can have is escaped,
    `L5/S1` as `L5%2FS1`; the export names the `class_map` that reads it.
    """

    layout: ClassVar[str] = """\
OUT/
  train/images/NAME.png        images as stored, a folder a split
  train/masks/CLASS/NAME.png   only where the class is
  samples.csv                  name, file, split, group, labels, metadata"""
    read_back: ClassVar[str] = """\
source:
  format: mask-folder
  path: OUT/train              # one split; format union joins several
  classes: [heart, lung]       # the dataset's, in its order
  metadata: {table: ../samples.csv, columns: [group]}
  group: {column: group}"""


def write_mask_folder(job: Job, entries: Iterable[Entry], options: MaskFolder) -> None:
    """Write a dataset as folders of masks."""
    _tell_escaped(job)
    for split, known in job.known.items():
        for c in np.flatnonzero(known).tolist():
            (job.folder / split / "masks" / folder_of(job.classes[c])).mkdir(parents=True)
    for entry in entries:
        job.put_image(entry, f"{entry.split}/images")
        for c, roi, mask in entry.regions():
            place = f"{entry.split}/masks/{folder_of(job.classes[c])}/{entry.place}.png"
            job.put(place, mask_png(mask, roi, entry.height, entry.width))


def _tell_escaped(job: Job) -> None:
    names = {folder_of(name): name for name in job.classes if folder_of(name) != name}
    if names:
        told = json.dumps(names, ensure_ascii=False)
        job.notes[f"folders named otherwise than their class, read them with class_map: {told}"] = len(names)
