"""LabelMe: a JSON file of shapes beside each image."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from augforge.export.core import Entry, Job, Region, UnlabelledOptions
from augforge.export.outlines import polygons
from augforge.sources.formats.labelme.writing import mask_entry, shape_entry

VERSION = "5.5.0"
"""The version of LabelMe whose file format is written."""


class LabelMe(UnlabelledOptions):
    """LabelMe files: polygons that people can edit, or masks that are exact.

    Each connected piece of a class is a polygon; the pieces of one class share a `group_id`. Polygons go through the
    centres of a class's border pixels, shifted right and down by a quarter pixel, and are to be filled with their
    outline, as LabelMe, Pillow and `cv2.fillPoly` do. Holes are bridged by a line that is followed in both directions.
    `tolerance: 0` is exact, with a point at every bend; 1 keeps a tenth to a third of the points and an IoU of at least
    98 % for each class in each image. Objects of a class that touch are one piece. A labelled image without classes has
    a file without shapes, an unlabelled image has no file.
    """

    layout: ClassVar[str] = """\
OUT/
  train/NAME.png               images as stored, one folder per split
  train/NAME.json              imagePath is the image beside it
  samples.csv                  name, file, split, group, labels, metadata"""
    read_back: ClassVar[str] = """\
source:
  format: labelme
  path: OUT                    # splits val and test are kept; names begin with the split
  classes: [heart, lung]       # those of the dataset, in its order"""

    masks: Literal["polygons", "masks"] = Field("polygons", description="polygons, or shapes of type mask (LabelMe 5)")
    tolerance: float = Field(
        1.0,
        ge=0,
        le=16,
        description="pixels by which outlines may move to save points; less if a class would lose more than 2 %",
    )


def write_labelme(job: Job, entries: Iterable[Entry], options: LabelMe) -> None:
    """Write a dataset for LabelMe."""
    for entry in entries:
        job.put_image(entry, entry.split)
        if entry.is_labelled:
            job.put(f"{entry.split}/{entry.stem}.json", json.dumps(_document(entry, job, options), ensure_ascii=False))
        else:
            job.notes["unlabelled images, without a file"] += 1


def _document(entry: Entry, job: Job, options: LabelMe) -> dict[str, Any]:
    shapes = _masks if options.masks == "masks" else _polygons
    return {
        "version": VERSION,
        "flags": {},
        "shapes": [shape for region in entry.regions() for shape in shapes(region, job.classes[region.c], options)],
        "imagePath": entry.file.rpartition("/")[2],
        "imageData": None,
        "imageHeight": entry.height,
        "imageWidth": entry.width,
    }


def _polygons(region: Region, label: str, options: LabelMe) -> Iterator[dict[str, Any]]:
    found = polygons(region.mask, region.origin, options.tolerance)
    group = region.c if len(found) > 1 else None
    for points in found:
        yield shape_entry(label, points.round(2).tolist(), "polygon", group)


def _masks(region: Region, label: str, options: LabelMe) -> Iterator[dict[str, Any]]:
    yield mask_entry(label, region.mask, *region.origin)
