"""YOLO segmentation: a text file of normalised polygons per image, and data.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import Field

from augforge.export.core import Entry, Job, UnlabelledOptions, suffix_of
from augforge.export.outlines import polygons
from augforge.sources.formats.yolo.files import DATA, data_text, label_line
from augforge.sources.formats.yolo.layout import label_place

_FOLDER_NAMES = re.compile(r"(?<![^/])(i(?=mages/)|l(?=abels/))")
"""First letters of folders named images or labels inside a sample's name.

YOLO finds a label file by replacing the last folder "images" of the image's path, so these must be named otherwise.
"""

_MISSING_SPLIT = (
    "images, none of them in split {0}: Ultralytics refuses a data.yaml without '{0}:'. Give the recipe another split, "
    "such as 'split: {{val: 0.2}}', and build again, or write '{0}:' into data.yaml"
)


class Yolo(UnlabelledOptions):
    """YOLO segmentation labels: one line per connected piece of a class, with its points relative to the image size.

    Polygons go through the centres of a class's border pixels, shifted right and down by a quarter pixel. Filled with
    their outline by `cv2.fillPoly`, as Ultralytics and augforge do, or by Pillow, they give the same pixels, even a
    single one. Holes are bridged by a line that is followed in both directions. `tolerance: 1` keeps a
    tenth to a third of the points and an IoU of at least 98 % for each class in each image.

    A dataset holds classes, not instances: each connected piece of a class has a line, since YOLO counts objects, but
    objects of a class that touch are one piece. Ultralytics requires a split val in data.yaml, so give the dataset one.
    A labelled image without classes has an empty label file, an unlabelled image has none. Class `ignore` is written
    like any other class.
    """

    layout: ClassVar[str] = """\
OUT/
  data.yaml                    names, and the folders of train, val and test
  images/train/NAME.png        images as stored
  labels/train/NAME.txt        0 0.102417 0.338013 ...    class from 0, then x y of each point
  samples.csv                  name, file, split, group, labels, metadata"""
    read_back: ClassVar[str] = """\
source:
  format: yolo
  path: OUT                    # splits val and test are kept; names begin with the split
  missing_label: unlabelled    # group: {folder: 2} where names begin with the patient's folder"""

    tolerance: float = Field(
        0.0,
        ge=0,
        le=16,
        description="pixels by which outlines may move to save points; less if a class would lose more than 2 %",
    )


def write_yolo(job: Job, entries: Iterable[Entry], options: Yolo) -> None:
    """Write a dataset for YOLO."""
    for entry in entries:
        stem = _FOLDER_NAMES.sub(lambda found: f"%{ord(found[0]):02X}", entry.stem)
        folder, file = f"images/{entry.split}", stem + suffix_of(entry.image)
        job.put_image(entry, folder, file)
        if entry.is_labelled:
            job.put(label_place(f"{folder}/{file}"), "".join(_lines(entry, options)))
        else:
            job.notes["unlabelled images, without a label file"] += 1
    folders = {split: f"images/{split}" for split in job.splits}
    job.put(DATA, data_text(f"{job.dataset} {job.version}", job.classes, folders))
    for split in ("train", "val"):
        if split not in job.splits:
            job.notes[_MISSING_SPLIT.format(split)] += len(job.names)


def _lines(entry: Entry, options: Yolo) -> Iterator[str]:
    for region in entry.regions():
        for points in polygons(region.mask, region.origin, options.tolerance):
            yield label_line(region.c, points, entry.width, entry.height)
