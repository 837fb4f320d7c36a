"""YOLO segmentation: a text file of normalised polygons for each image, and data.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import Field

from augforge.export.core import Entry, Job, Unlabelled, suffix_of
from augforge.export.outlines import polygons
from augforge.sources.formats.yolo.files import DATA, data_text, label_line
from augforge.sources.formats.yolo.layout import label_place

_OWN = re.compile(
    r"(?<![^/])(i(?=mages/)|l(?=abels/))"
)  # labels are sought where the last folder named images is labels

_LACKS = (
    "images, none of them in split {0}: Ultralytics refuses a data.yaml without '{0}:'. Give the recipe another split, "
    "such as 'split: {{val: 0.2}}', and build again, or write '{0}:' into data.yaml"
)


class Yolo(Unlabelled):
    """YOLO segmentation labels: a line for each connected piece of a class, with its points as shares of the image.

    Polygons go through the centres of a class's border pixels, a quarter pixel to the right and below: filled with
    their outline by `cv2.fillPoly`, as Ultralytics and augforge do, or by Pillow, they give the same pixels, single
    ones too; holes are bridged, along a line that is walked twice. `tolerance: 1` leaves a tenth to a third of the
    points, and at least 98 % (IoU) of each class in each image.

    A dataset holds classes, not instances: pieces of a class are lines of their own, since YOLO counts objects, but
    instances of a class that touch are one. Ultralytics wants a split val in data.yaml, so give the dataset one. A
    labelled image without classes has an empty label file, an unlabelled one has none. Class `ignore` is a class like
    others.
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
  path: OUT                    # splits val and test stay; a split goes before its samples' names
  missing_label: unlabelled    # group: {folder: 2} where names begin with the patient's folder"""

    tolerance: float = Field(
        0.0,
        ge=0,
        le=16,
        description="pixels that outlines may move to have fewer points; less where a class would lose 2 %",
    )


def write_yolo(job: Job, entries: Iterable[Entry], options: Yolo) -> None:
    """Write a dataset for YOLO."""
    for entry in entries:
        place = _OWN.sub(lambda found: f"%{ord(found[0]):02X}", entry.place)
        folder, file = f"images/{entry.split}", place + suffix_of(entry.image)
        job.put_image(entry, folder, file)
        if entry.labelled:
            job.put(label_place(f"{folder}/{file}"), "".join(_lines(entry, options)))
        else:
            job.notes["unlabelled images, without a label file"] += 1
    folders = {split: f"images/{split}" for split in job.splits}
    job.put(DATA, data_text(f"{job.dataset} {job.version}", job.classes, folders))
    for split in ("train", "val"):
        if split not in job.splits:
            job.notes[_LACKS.format(split)] += len(job.names)


def _lines(entry: Entry, options: Yolo) -> Iterator[str]:
    for region in entry.regions():
        for points in polygons(region.mask, region.origin, options.tolerance):
            yield label_line(region.c, points, entry.width, entry.height)
