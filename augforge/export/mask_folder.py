"""Mask folders: one PNG of 0 and 255 for each image and class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from augforge.export.core import Entry, Job, Unlabelled
from augforge.export.places import folder_of
from augforge.export.png import mask_png


class MaskFolder(Unlabelled):
    """A folder of masks for each class: PNG, gray, 255 where the class is. Exact, and classes may overlap.

    A mask that is missing says that the class is not there. A class that nobody labelled in a whole split has no
    folder there: list the classes when reading it, and that one is unknown.
    """

    layout: ClassVar[str] = """\
OUT/
  train/images/NAME.png        images as stored, a folder a split
  train/masks/CLASS/NAME.png   only where the class is
  samples.csv                  name, file, split, group, labels, metadata"""


def write_mask_folder(job: Job, entries: Iterable[Entry], options: MaskFolder) -> None:
    """Write a dataset as folders of masks."""
    for split, known in job.known.items():
        for c in np.flatnonzero(known).tolist():
            (job.folder / split / "masks" / folder_of(job.classes[c])).mkdir(parents=True)
    for entry in entries:
        job.put_image(entry, f"{entry.split}/images")
        for c, roi, mask in entry.regions():
            place = f"{entry.split}/masks/{folder_of(job.classes[c])}/{entry.place}.png"
            job.put(place, mask_png(mask, roi, entry.height, entry.width))
