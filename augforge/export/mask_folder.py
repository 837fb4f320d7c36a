"""Mask folders: one PNG of 0 and 255 per image and class."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from augforge.export.core import Entry, Job, UnlabelledOptions
from augforge.export.paths import class_folder
from augforge.export.png import mask_png


class MaskFolder(UnlabelledOptions):
    """One folder of masks per class: gray PNG, 255 where the class is. It is exact, and classes may overlap.

    A missing mask means that the class is absent. A class that nobody labelled in a whole split has no folder there:
    list the classes when reading the split, and it is unknown. A class name that no folder can have is escaped,
    `L5/S1` as `L5%2FS1`; the export prints the `class_map` that reads it.
    """

    layout: ClassVar[str] = """\
OUT/
  train/images/NAME.png        images as stored, one folder per split
  train/masks/CLASS/NAME.png   only if the image shows the class
  samples.csv                  name, file, split, group, labels, metadata"""
    read_back: ClassVar[str] = """\
source:
  format: mask-folder
  path: OUT/train              # one split; format union joins several
  classes: [heart, lung]       # those of the dataset, in its order
  metadata: {table: ../samples.csv, columns: [group]}
  group: {column: group}"""


def write_mask_folder(job: Job, entries: Iterable[Entry], options: MaskFolder) -> None:
    """Write a dataset as folders of masks."""
    _note_escaped_folders(job)
    for split, known in job.known.items():
        for c in np.flatnonzero(known).tolist():
            job.path(f"{split}/masks/{class_folder(job.classes[c])}").mkdir(parents=True)
    for entry in entries:
        job.put_image(entry, f"{entry.split}/images")
        for c, roi, mask in entry.regions():
            path = f"{entry.split}/masks/{class_folder(job.classes[c])}/{entry.stem}.png"
            job.put(path, mask_png(mask, roi, entry.height, entry.width))


def _note_escaped_folders(job: Job) -> None:
    names = {class_folder(name): name for name in job.classes if class_folder(name) != name}
    if names:
        class_map = json.dumps(names, ensure_ascii=False)
        job.notes[f"folders named otherwise than their class, read them with class_map: {class_map}"] = len(names)
